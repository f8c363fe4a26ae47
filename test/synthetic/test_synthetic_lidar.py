import math

import numpy as np
import pytest
import torch

from dpt_ros.synthetic.drive import Trajectory, drive_path
from dpt_ros.synthetic.lidar import Lidar
from dpt_ros.synthetic.ray_grids import SpinGrid
from dpt_ros.synthetic.render import Renderer
from dpt_ros.synthetic.rig import (
    RigSettings,
    rig_camera,
    transform_base_camera,
    transform_base_lidar,
)
from dpt_ros.synthetic.scene import Air, Scene, SceneBuilder
from dpt_ros.synthetic.scenes import make_scene
from dpt_ros.synthetic.settings import LidarSettings

QUIET = LidarSettings(noise_m=0.0, dropout=0.0, rings=16, steps=360)
RIG = RigSettings()


def field(*boxes):
    b = SceneBuilder(np.random.default_rng(0))
    metal = b.material("metal", 1.0)
    b.box(0, 0, -0.1, (400, 400, 0.1), metal)
    for place, size in boxes:
        b.box(*place, size, metal)
    air = Air((1.0,) * 3, (1.0,) * 3, (1.0,) * 3)
    return Scene("test", b.primitives(), tuple(b.materials), (), None, air, (-5, -5, 5, 5), 0)


def still(speed=0.0, turn_rate=0.0, count=12):
    """A robot that drives straight along x, or turns on the spot."""
    time_s = np.arange(count) * 0.1
    place = np.stack([speed * time_s, np.zeros(count)], 1)
    ones = np.ones(count)
    return Trajectory(
        place, turn_rate * time_s, speed * ones, turn_rate * ones, np.zeros((count, 3))
    )


def at_height(height, yaw=0.0):
    mount = np.eye(4)
    mount[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    mount[2, 3] = height
    return mount


def test_rings_meet_the_ground_at_height_over_sine():
    settings = LidarSettings(
        noise_m=0.0, dropout=0.0, rings=3, steps=64, lowest_deg=-30.0, highest_deg=30.0
    )
    scan = Lidar(field(), settings, at_height(0.7)).scan(still(), 0.0, 1)
    assert (scan.ring == 0).all()  # level and upwards there is nothing
    assert len(scan.xyz) == 64
    np.testing.assert_allclose(np.linalg.norm(scan.xyz, axis=1), 0.7 / 0.5, rtol=1e-5)
    np.testing.assert_allclose(scan.xyz[:, 2], -0.7, atol=1e-5)
    # It begins behind and turns to the left.
    np.testing.assert_allclose(scan.xyz[0, :2], (-0.7 / math.tan(math.radians(30)), 0), atol=1e-5)
    assert scan.xyz[16, 1] < -1 and scan.xyz[48, 1] > 1


def test_points_come_in_the_order_of_their_time():
    scan = Lidar(make_scene("room", 1), QUIET, at_height(0.7)).scan(still(), 0.2, 1)
    assert scan.stamp_ns == 200_000_000
    assert (np.diff(scan.time_s) >= 0).all()
    assert scan.time_s[0] == 0.0 and scan.time_s[-1] == pytest.approx(0.1 * 359 / 360, rel=1e-5)
    assert set(scan.ring) == set(range(16))
    assert scan.xyz.dtype == np.float32 and scan.ring.dtype == np.uint16
    assert scan.intensity.min() >= 0 and scan.intensity.max() <= 255


def test_moving_robot_measures_from_where_it_is():
    # A wall at x = 10; at 2 m/s the ray straight ahead, half a turn after the start, sees it from
    # 0.1 m further on.
    scene = field(((10.5, 0, 0), (1, 40, 10)))
    scan = Lidar(scene, QUIET, at_height(0.7)).scan(still(speed=2.0), 0.0, 1)
    ahead = (np.abs(scan.xyz[:, 1]) < 1e-3) & (scan.xyz[:, 0] > 8)
    assert ahead.any()
    np.testing.assert_allclose(scan.xyz[ahead, 0], 9.9, atol=0.008)


def test_turning_robot_sees_a_wall_slanted_by_its_turn():
    # At 1 rad/s, 0.05 s after the start the robot has turned by 0.05 rad when the beam is ahead.
    scene = field(((10.5, 0, 0), (1, 40, 10)))
    scan = Lidar(scene, QUIET, at_height(0.7)).scan(still(turn_rate=1.0), 0.0, 1)
    ahead = (np.abs(scan.xyz[:, 1]) < 1e-3) & (scan.xyz[:, 0] > 8)
    np.testing.assert_allclose(scan.xyz[ahead, 0], 10.0 / math.cos(0.05), rtol=1e-4)


@pytest.mark.parametrize("kind", ["room", "street"])
def test_points_fall_on_the_pictures_depth(kind):
    scene = make_scene(kind, 4)
    path = drive_path(scene, np.random.default_rng(0), 3.0)
    settings = LidarSettings(noise_m=0.02, dropout=0.0, rings=16, steps=720)
    mount = transform_base_lidar(RIG)
    scan = Lidar(scene, settings, mount).scan(path, 1.0, 3)
    camera = rig_camera(RIG, 320, 240)
    pose = path.pose_at(1.0) @ transform_base_camera(RIG)
    depth_m = Renderer(scene).render(camera, pose).depth_m
    points = np.empty((len(scan.xyz), 3))
    for time_s in np.unique(scan.time_s):
        chosen = scan.time_s == time_s
        transform = np.linalg.inv(pose) @ path.pose_at(1.0 + float(time_s)) @ mount
        points[chosen] = scan.xyz[chosen] @ transform[:3, :3].T + transform[:3, 3]
    pixels = camera.project(torch.from_numpy(points)).numpy()
    with np.errstate(invalid="ignore"):
        inside = ((pixels > 0) & (pixels < (319, 239))).all(1)
    column, row = pixels[inside].round().astype(int).T
    off = points[inside, 2] - depth_m[row, column]
    off = off[np.isfinite(off)]
    assert len(off) > 1000
    assert abs(np.median(off)) < 0.004
    relative = (
        np.abs(off) / points[inside, 2][np.isfinite(points[inside, 2] - depth_m[row, column])]
    )
    assert np.quantile(np.abs(off), 0.5) < 0.03
    assert (relative > 0.1).mean() < 0.04  # at outlines, where both see different things


def test_noise_and_dropout_are_as_set():
    scene, path = make_scene("room", 2), still()
    exact = Lidar(scene, QUIET, at_height(0.7)).scan(path, 0.0, 1)
    settings = LidarSettings(noise_m=0.05, dropout=0.25, rings=16, steps=360)
    lidar = Lidar(scene, settings, at_height(0.7))
    noisy = lidar.scan(path, 0.0, 1)
    assert len(noisy.xyz) / len(exact.xyz) == pytest.approx(0.75, abs=0.02)
    key = {(r, t): x for r, t, x in zip(exact.ring, exact.time_s, exact.xyz, strict=True)}
    off = [
        np.linalg.norm(x) - np.linalg.norm(key[r, t])
        for r, t, x in zip(noisy.ring, noisy.time_s, noisy.xyz, strict=True)
    ]
    assert np.std(off) == pytest.approx(0.05, rel=0.06)
    assert np.mean(off) == pytest.approx(0.0, abs=0.004)
    np.testing.assert_array_equal(lidar.scan(path, 0.0, 1).xyz, noisy.xyz)
    assert not np.array_equal(lidar.scan(path, 0.0, 2).ring, noisy.ring)


def test_ranges_beyond_the_limits_are_left_out():
    settings = LidarSettings(noise_m=0.0, dropout=0.0, rings=16, steps=90, near_m=2.0, far_m=5.0)
    scan = Lidar(field(), settings, at_height(0.7)).scan(still(), 0.0, 1)
    range_m = np.linalg.norm(scan.xyz, axis=1)
    assert range_m.min() >= 2.0 and range_m.max() <= 5.0


def test_windows_hold_every_hit_across_the_seam():
    # Boxes all around, also behind, where the azimuth jumps from pi to -pi.
    around = np.arange(0, 2 * np.pi, 0.7)
    scene = field(*(((4 * math.cos(a), 4 * math.sin(a), 0), (1, 1, 2)) for a in around))
    scan = Lidar(scene, QUIET, at_height(0.7, 2.0)).scan(still(), 0.0, 1)
    upper = scan.xyz[scan.xyz[:, 2] > 0.0]
    directions = np.arctan2(upper[:, 1], upper[:, 0]) + 2.0
    for a in around:
        off = np.abs((directions - a + np.pi) % (2 * np.pi) - np.pi)
        assert (off < 0.12).sum() > 20


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="rings from 20"):
        Lidar(field(), LidarSettings(lowest_deg=20.0, highest_deg=0.0), np.eye(4))
    with pytest.raises(ValueError, match="ranges from 5"):
        Lidar(field(), LidarSettings(near_m=5.0, far_m=2.0), np.eye(4))


def test_directions_have_length_one_and_go_up_and_left():
    grid = SpinGrid(np.radians([0.0, 30.0]), np.radians([0.0, 90.0]))
    directions = grid.directions()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1.0)
    np.testing.assert_allclose(directions[0], [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(directions[1, 0], [math.sqrt(0.75), 0, 0.5], atol=1e-12)
