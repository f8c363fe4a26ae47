from __future__ import annotations

import cv2
import numpy as np
import pytest

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.lidar import LidarSettings, project_scan

CAMERA = Camera(20, 16, 10.0, 20.0, 9.0, 7.0)
IDENTITY = np.eye(4)
KEEP_ALL = LidarSettings(occlusion_window_m=0.0)


def known(depth_m):
    """{(row, column): depth} of an image."""
    return {
        (int(row), int(column)): float(depth_m[row, column])
        for row, column in zip(*np.nonzero(np.isfinite(depth_m)), strict=True)
    }


def test_z_by_hand_not_range():
    """u = 10 x / z + 9, v = 20 y / z + 7: (1, 0.5, 5) falls on column 11, row 9; its z is 5."""
    depth_m = project_scan(np.array([[1.0, 0.5, 5.0]]), CAMERA, IDENTITY, KEEP_ALL).depth_m
    assert depth_m.dtype == np.float32
    assert depth_m.shape == (16, 20)
    assert known(depth_m) == {(9, 11): 5.0}


def test_a_transform_takes_lidar_points_to_the_camera():
    """LiDAR: x forward, y left, z up, 0.4 m above the camera: (4, -0.8, 0) is (0.8, -0.4, 4)."""
    transform = np.array([[0, -1, 0, 0], [0, 0, -1, -0.4], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    depth_m = project_scan(np.array([[4.0, -0.8, 0.0]]), CAMERA, transform, KEEP_ALL).depth_m
    assert known(depth_m) == {(5, 11): 4.0}


def test_a_pixel_reaches_half_a_pixel_around_its_centre():
    def column_of(u):
        point = np.array([[(u - 9) / 10, 0, 1.0]])
        depth_m = project_scan(point, CAMERA, IDENTITY, KEEP_ALL).depth_m
        return [column for _, column in known(depth_m)]

    assert column_of(-0.49) == [0]
    assert column_of(-0.51) == []
    assert column_of(0.51) == [1]
    assert column_of(19.49) == [19]
    assert column_of(19.51) == []


def test_left_out_are_points_behind_too_near_and_too_far():
    points = np.array([[0, 0, -5.0], [0, 0, 0.0], [0, 0, 0.05], [0, 0, 300.0]])
    projection = project_scan(points, CAMERA, IDENTITY)
    assert (projection.in_front, projection.in_image) == (0, 0)
    assert np.isnan(projection.depth_m).all()
    settings = LidarSettings(near_m=0.01, far_m=1000.0)
    assert known(project_scan(points, CAMERA, IDENTITY, settings).depth_m) == {
        (7, 9): pytest.approx(0.05)
    }


def test_of_several_points_in_a_pixel_the_nearest_counts():
    points = np.array([[0, 0, 8.0], [0, 0, 3.0], [0, 0, 5.0]])
    assert known(project_scan(points, CAMERA, IDENTITY, KEEP_ALL).depth_m) == {(7, 9): 3.0}


def test_no_point_at_all():
    projection = project_scan(np.empty((0, 3)), CAMERA, IDENTITY)
    assert np.isnan(projection.depth_m).all()
    assert projection.hidden == 0


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", (-0.3, 0.1, 0.002, -0.003, 0.0)),
        ("rational_polynomial", (0.2, -0.1, 0.001, 0.001, 0.01, 0.3, -0.05, 0.02)),
        ("equidistant", (0.05, -0.01, 0.002, -0.0004)),
    ],
)
def test_the_full_lens_model_as_opencv_projects(model, d):
    """Every point within the picture lands on the pixel that OpenCV gives, with its z."""
    camera = Camera(320, 240, 150.0, 160.0, 155.0, 122.0, model, d)
    rng = np.random.default_rng(0)
    z = rng.uniform(1.0, 20.0, 400)
    points = np.stack([rng.uniform(-0.9, 0.9, 400) * z, rng.uniform(-0.6, 0.6, 400) * z, z], 1)
    k = np.array([[150.0, 0, 155.0], [0, 160.0, 122.0], [0, 0, 1]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    if model == "equidistant":
        pixels, _ = project(points[None], np.zeros(3), np.zeros(3), k, np.array(d))
    else:
        pixels, _ = project(points, np.zeros(3), np.zeros(3), k, np.array(d))
    expected = {}
    for (u, v), depth in zip(pixels.reshape(-1, 2), z, strict=True):
        row, column = int(np.floor(v + 0.5)), int(np.floor(u + 0.5))
        if 0 <= row < 240 and 0 <= column < 320:
            expected[row, column] = min(depth, expected.get((row, column), np.inf))
    found = known(project_scan(points, camera, IDENTITY, KEEP_ALL).depth_m)
    assert len(expected) > 200
    assert found.keys() == expected.keys()
    for pixel, depth in expected.items():
        assert found[pixel] == pytest.approx(depth, rel=1e-6)


def visible_by_definition(points, camera, settings):
    """Which points the camera sees: every pair of points compared, as the settings say it."""
    u = np.floor(camera.fx_px * points[:, 0] / points[:, 2] + camera.cx_px + 0.5)
    v = np.floor(camera.fy_px * points[:, 1] / points[:, 2] + camera.cy_px + 0.5)
    z = points[:, 2].astype(np.float32)
    focal_px = max(camera.fx_px, camera.fy_px)
    reach = np.minimum(
        np.floor(focal_px * settings.occlusion_window_m / z), settings.occlusion_window_max_px
    )
    visible = np.ones(len(points), bool)
    for i in range(len(points)):
        for j in range(len(points)):
            near = max(abs(u[i] - u[j]), abs(v[i] - v[j])) <= reach[j] and reach[j] > 0
            if near and z[i] > z[j] * np.float32(1 + settings.occlusion_step):
                visible[i] = False
    return visible


def test_hidden_points_are_those_of_the_definition():
    """A near post before a wall and noise, each pair compared in Python."""
    camera = Camera(80, 60, 60.0, 60.0, 39.5, 29.5)
    rng = np.random.default_rng(1)
    wall = np.stack([rng.uniform(-3, 3, 150), rng.uniform(-2, 2, 150), np.full(150, 6.0)], 1)
    post = np.stack([np.zeros(30), np.linspace(-0.7, 0.7, 30), np.full(30, 2.0)], 1)
    noise_z = rng.uniform(1.0, 9.0, 60)
    noise = np.stack(
        [rng.uniform(-0.5, 0.5, 60) * noise_z, rng.uniform(-0.4, 0.4, 60) * noise_z, noise_z], 1
    )
    points = np.concatenate([wall, post, noise])
    settings = LidarSettings(occlusion_window_m=0.15)
    visible = visible_by_definition(points, camera, settings)
    assert 20 < (~visible).sum() < 200
    expected = project_scan(points[visible], camera, IDENTITY, KEEP_ALL).depth_m
    found = project_scan(points, camera, IDENTITY, settings).depth_m
    # Two points in one pixel hide one another by being nearer, whatever the step.
    np.testing.assert_array_equal(found, expected)


def test_the_window_shrinks_with_range():
    """With focal length 100 and 0.1 m: 5 px at 2 m, 1 px at 10 m; the wall is far behind both."""
    camera = Camera(101, 41, 100.0, 100.0, 50.0, 20.0)
    settings = LidarSettings(occlusion_window_m=0.1, occlusion_window_max_px=50)
    columns = np.arange(101)
    wall = np.stack([(columns - 50) * 0.3, np.zeros(101), np.full(101, 30.0)], 1)
    for distance_m, reach in ((2.0, 5), (10.0, 1)):
        scan = np.concatenate([wall, [[0.0, 0.0, distance_m]]])
        depth_m = project_scan(scan, camera, IDENTITY, settings).depth_m
        assert depth_m[20, 50] == distance_m
        gone = [c for c in columns if np.isnan(depth_m[20, c])]
        assert gone == [c for c in range(50 - reach, 51 + reach) if c != 50]


@pytest.mark.parametrize(("fx_px", "fy_px"), [(50.0, 100.0), (100.0, 50.0)])
def test_the_window_goes_by_the_longer_focal_length(fx_px: float, fy_px: float):
    """100 px of the two, 0.1 m at 2 m: 5 px, whichever axis has it."""
    camera = Camera(101, 41, fx_px, fy_px, 50.0, 20.0)
    columns = np.arange(101)
    wall = np.stack([(columns - 50) * 30.0 / fx_px, np.zeros(101), np.full(101, 30.0)], 1)
    settings = LidarSettings(occlusion_window_m=0.1, occlusion_window_max_px=50)
    points = np.concatenate([wall, [[0, 0, 2.0]]])
    depth_m = project_scan(points, camera, IDENTITY, settings).depth_m
    gone = np.nonzero(np.isnan(depth_m[20]))[0].tolist()
    assert gone == [45, 46, 47, 48, 49, 51, 52, 53, 54, 55]


def test_the_window_has_a_largest_size():
    camera = Camera(101, 41, 100.0, 100.0, 50.0, 20.0)
    columns = np.arange(101)
    wall = np.stack([(columns - 50) * 0.3, np.zeros(101), np.full(101, 30.0)], 1)
    scan = np.concatenate([wall, [[0.0, 0.0, 0.5]]])
    settings = LidarSettings(occlusion_window_m=0.1, occlusion_window_max_px=3)
    depth_m = project_scan(scan, camera, IDENTITY, settings).depth_m
    assert int(np.isnan(depth_m[20]).sum()) == 6


def test_the_robots_own_points_hide_what_is_behind_them_and_give_no_depth():
    """The body at 2 m hides a wall at 30 m for 5 px around it, its own pixel included."""
    camera = Camera(101, 41, 100.0, 100.0, 50.0, 20.0)
    settings = LidarSettings(occlusion_window_m=0.1, occlusion_window_max_px=50)
    wall = np.stack([(np.arange(101) - 50) * 0.3, np.zeros(101), np.full(101, 30.0)], 1)
    scan = np.concatenate([wall, [[0.0, 0.0, 2.0]]])
    is_body = np.arange(102) == 101
    projection = project_scan(scan, camera, IDENTITY, settings, is_body)
    gone = np.nonzero(np.isnan(projection.depth_m[20]))[0].tolist()
    assert gone == list(range(45, 56))
    np.testing.assert_array_equal(np.delete(projection.depth_m[20], gone), 30.0)
    assert (projection.in_front, projection.in_image, projection.hidden) == (101, 101, 11)


@pytest.mark.parametrize(("other_m", "expected"), [(1.9, {(7, 9): 1.9}), (2.0, {}), (2.1, {})])
def test_where_the_body_is_nearest_in_its_pixel_there_is_no_depth(other_m, expected):
    """Whatever the step: 2.1 m is not far enough behind 2 m to be hidden."""
    points = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, other_m]])
    is_body = np.array([True, False])
    projection = project_scan(points, CAMERA, IDENTITY, None, is_body)
    assert known(projection.depth_m) == pytest.approx(expected)
    assert (projection.in_image, projection.hidden) == (1, int(not expected))


def test_a_floor_seen_from_a_low_robot_stays_whole():
    """Rows of a floor 0.5 m below the camera, down to 1 m: nothing of it is behind anything."""
    camera = Camera(640, 480, 457.0, 457.0, 319.5, 239.5)
    z = np.linspace(1.0, 15.0, 400)
    points = np.stack([np.zeros_like(z), np.full_like(z, 0.5), z], 1)
    assert project_scan(points, camera, IDENTITY).hidden == 0


def test_no_point_hides_itself_where_any_step_hides():
    # 0.7 is less in float32 than in float64.
    points = np.array([[0.0, 0.0, 0.7]])
    depth_m = project_scan(points, CAMERA, IDENTITY, LidarSettings(occlusion_step=0.0)).depth_m

    assert np.isfinite(depth_m).sum() == 1


def test_settings_and_shapes_are_checked():
    with pytest.raises(ValueError, match="near_m < far_m"):
        LidarSettings(near_m=5.0, far_m=1.0)
    with pytest.raises(ValueError, match=r"points \(3,\)"):
        project_scan(np.zeros(3), CAMERA, IDENTITY)
    with pytest.raises(ValueError, match=r"transform \(3, 3\)"):
        project_scan(np.zeros((1, 3)), CAMERA, np.eye(3))
