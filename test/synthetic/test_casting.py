import math

import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.casting import cast
from dpt_ros.synthetic.primitives import BOX, CYLINDER, ELLIPSOID, Primitives, turned
from dpt_ros.synthetic.ray_grids import PinholeGrid, SpinGrid
from dpt_ros.synthetic.rig import ROTATION_BODY_OPTICAL

CAMERA = Camera(65, 49, 60.0, 55.0, 32.0, 24.0)


def solids(*rows):
    """Rows of (shape, centre, half, rotation)."""
    count = len(rows)
    return Primitives(
        shape=np.array([row[0] for row in rows]),
        centre=np.array([row[1] for row in rows], float),
        rotation=np.array([row[3] if len(row) > 3 else np.eye(3) for row in rows]),
        half=np.array([row[2] for row in rows], float),
        material=np.zeros((count, 2), np.int64),
        tint=np.ones((count, 3)),
        offset_m=np.zeros((count, 2)),
    )


def looking_along_x(height=0.0, pitch=0.0, yaw=0.0, place=(0.0, 0.0)):
    pose = np.eye(4)
    pose[:3, :3] = turned(yaw, pitch) @ ROTATION_BODY_OPTICAL
    pose[:3, 3] = *place, height
    return pose


def depth_of(hits):
    return np.where(hits.solid.numpy() >= 0, 1.0 / hits.inverse.numpy().clip(1e-12), np.nan)


def test_wall_at_five_metres_has_depth_five_everywhere():
    wall = solids((BOX, (6.0, 0, 0), (1.0, 50, 50)))
    hits = cast(wall, PinholeGrid(CAMERA), looking_along_x())
    np.testing.assert_allclose(depth_of(hits), 5.0, rtol=1e-6)
    assert (hits.solid == 0).all()


@pytest.mark.parametrize("pitch_deg", [0.0, 4.0, 17.0])
def test_ground_depth_is_height_over_the_rays_fall(pitch_deg):
    # A ray (x, y, 1) of a camera pitched down by p falls by y cos p + sin p a metre of Z.
    ground = solids((BOX, (0, 0, -0.5), (500, 500, 0.5)))
    pitch, height = math.radians(pitch_deg), 0.5
    hits = cast(ground, PinholeGrid(CAMERA), looking_along_x(height, pitch))
    y = (np.arange(CAMERA.height) - CAMERA.cy_px) / CAMERA.fy_px
    fall = y * math.cos(pitch) + math.sin(pitch)
    seen = fall > 0.01
    expected = np.broadcast_to((height / fall[seen])[:, None], (seen.sum(), CAMERA.width))
    np.testing.assert_allclose(depth_of(hits)[seen], expected, rtol=2e-6)
    assert np.isnan(depth_of(hits)[fall < 0]).all()


def test_ball_is_nearest_at_its_middle_and_round():
    ball = solids((ELLIPSOID, (4.0, 0, 0), (1.0, 1.0, 1.0)))
    depth = depth_of(cast(ball, PinholeGrid(CAMERA), looking_along_x()))
    assert depth[24, 32] == pytest.approx(3.0, rel=1e-6)
    # Ray (0.1, 0, 1): (0.1 Z)^2 + (Z - 4)^2 = 1.
    x = 6 / 60
    root = (4 - math.sqrt(16 - 15 * (1 + x * x))) / (1 + x * x)
    assert depth[24, 38] == pytest.approx(root, rel=1e-6)
    # Its outline: tan = 1 / sqrt(15), which is 15.49 px from the middle.
    assert np.isfinite(depth[24, 32 + 15]) and np.isnan(depth[24, 32 + 16])


def test_ellipsoid_is_as_long_as_its_radii():
    egg = solids((ELLIPSOID, (4.0, 0, 0), (0.5, 0.2, 1.0)))
    depth = depth_of(cast(egg, PinholeGrid(CAMERA), looking_along_x()))
    assert depth[24, 32] == pytest.approx(3.5, rel=1e-6)
    rows, columns = np.isfinite(depth).sum(0).max(), np.isfinite(depth).sum(1).max()
    # Half-angles: 1 / sqrt(16 - 0.25) of 55 px and 0.2 / sqrt(16 - 0.25) of 60 px.
    assert rows == pytest.approx(2 * 55 / math.sqrt(15.75), abs=1.5)
    assert columns == pytest.approx(2 * 60 * 0.2 / math.sqrt(15.75), abs=1.5)


def test_cylinder_from_the_side_and_from_above():
    post = solids((CYLINDER, (3.0, 0, 0), (0.5, 0.5, 1.0)))
    depth = depth_of(cast(post, PinholeGrid(CAMERA), looking_along_x()))
    assert depth[24, 32] == pytest.approx(2.5, rel=1e-6)
    assert depth[30, 32] == pytest.approx(2.5, rel=1e-6)  # upright: the same along its height
    assert np.isnan(depth[24 + 23, 32])  # 1 m below at 2.5 m is 22 px
    above = np.eye(4)
    above[:3, :3] = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    above[:3, 3] = 3.0, 0.0, 5.0
    depth = depth_of(cast(post, PinholeGrid(CAMERA), above))
    assert depth[24, 32] == pytest.approx(4.0, rel=1e-6)  # its upper end
    assert np.isfinite(depth).sum() == pytest.approx(math.pi * 60 * 55 / 8**2, rel=0.06)


def test_nearer_solid_hides_the_one_behind():
    two = solids((BOX, (6, 0, 0), (1, 9, 9)), (BOX, (3, 0, 0), (0.5, 0.3, 0.3)))
    hits = cast(two, PinholeGrid(CAMERA), looking_along_x())
    assert depth_of(hits)[24, 32] == pytest.approx(2.5)
    assert hits.solid[24, 32] == 1 and hits.solid[0, 0] == 0


@pytest.mark.parametrize("shape", [BOX, ELLIPSOID, CYLINDER])
def test_solid_around_the_eye_or_behind_it_is_not_seen(shape):
    around = solids((shape, (0, 0, 0), (1, 1, 1)), (shape, (-5, 0, 0), (1, 1, 1)))
    hits = cast(around, PinholeGrid(CAMERA), looking_along_x())
    assert (hits.solid == -1).all() and (hits.inverse == 0).all()


def oracle(primitives, origin, directions):
    """Distance to the nearest solid, float64, ray by ray: slabs and quadratics in its own axes."""
    nearest = np.full(len(directions), np.inf)
    for n in range(len(primitives)):
        rotation, half = primitives.rotation[n], primitives.half[n]
        o = rotation.T @ (origin - primitives.centre[n]) / half
        d = directions @ rotation / half
        with np.errstate(divide="ignore", invalid="ignore"):
            first, last = np.sort([(-1 - o) / d, (1 - o) / d], axis=0)
        round_axes = {BOX: 0, CYLINDER: 2, ELLIPSOID: 3}[primitives.shape[n]]
        enter, leave = first[:, round_axes:], last[:, round_axes:]
        if round_axes:
            a = (d[:, :round_axes] ** 2).sum(1)
            b = (d[:, :round_axes] * o[:round_axes]).sum(1)
            c = (o[:round_axes] ** 2).sum() - 1
            with np.errstate(invalid="ignore"):
                root = np.sqrt(b * b - a * c)
            enter = np.column_stack([enter, (-b - root) / a])
            leave = np.column_stack([leave, (-b + root) / a])
        begin, end = enter.max(1), leave.min(1)
        hit = (begin <= end) & (begin > 0)
        nearest = np.where(hit, np.minimum(nearest, begin), nearest)
    return nearest


def scattered(seed, count=40):
    rng = np.random.default_rng(seed)
    return solids(
        *(
            (
                int(rng.integers(3)),
                rng.uniform((1, -5, -3), (14, 5, 3)),
                rng.uniform(0.05, 1.0, 3),
                turned(*rng.uniform(-3, 3, 3)),
            )
            for _ in range(count)
        )
    )


def agree(found, expected):
    """Equal, but for rays that graze an edge."""
    both = np.isfinite(found) & np.isfinite(expected)
    assert both.sum() > 300
    close = np.isclose(found[both], expected[both], rtol=1e-5)
    assert close.mean() > 0.999
    assert (np.isfinite(found) == np.isfinite(expected)).mean() > 0.998


@pytest.mark.parametrize("seed", range(3))
def test_camera_agrees_with_an_oracle(seed):
    primitives, pose = scattered(seed), looking_along_x(0.1, 0.1, 0.2)
    found = depth_of(cast(primitives, PinholeGrid(CAMERA), pose)).reshape(-1)
    rays = CAMERA.rays().numpy().reshape(-1, 2).astype(float)
    directions = np.column_stack([rays, np.ones(len(rays))]) @ pose[:3, :3].T
    agree(found, oracle(primitives, pose[:3, 3], directions))


@pytest.mark.parametrize("seed", range(2))
def test_scanner_agrees_with_an_oracle(seed):
    primitives, pose = scattered(seed), np.eye(4)
    pose[:3, :3] = turned(0.3, 0.05)
    grid = SpinGrid(np.radians(np.linspace(-20, 20, 24)), np.radians(np.linspace(-60, 60, 120)))
    found = depth_of(cast(primitives, grid, pose)).reshape(-1)
    directions = grid.directions().reshape(-1, 3) @ pose[:3, :3].T
    agree(found, oracle(primitives, pose[:3, 3], directions))


@pytest.mark.parametrize("seed", range(4))
def test_culling_changes_nothing(seed):
    # Eyes among the solids too, with solids behind, around and across the image's plane.
    primitives = scattered(seed, 60)
    for place in ((0.0, 0.0), (6.0, 0.5), (15.0, 0.0)):
        pose = looking_along_x(0.2, 0.1, seed - 1.0, place)
        spin = SpinGrid(np.radians(np.linspace(-20, 20, 8)), np.linspace(-3.1, -2.4, 50) + seed)
        for grid in (PinholeGrid(CAMERA), spin):
            culled, whole = (cast(primitives, grid, pose, culled=c) for c in (True, False))
            # Batches of small solids round differently by a few parts in ten million.
            torch.testing.assert_close(culled.inverse, whole.inverse, rtol=2e-6, atol=1e-7)
            assert (culled.solid == whole.solid).float().mean() > 0.999


def test_sun_far_away_sees_small_things_sharply():
    # A ball of 0.3 m from 1 km through 1000000 px focal length: its outline is a circle of 300 px.
    ball = solids((ELLIPSOID, (1000.0, 0, 0), (0.3, 0.3, 0.3)))
    camera = Camera(801, 801, 1e6, 1e6, 400.0, 400.0)
    hits = cast(ball, PinholeGrid(camera), looking_along_x())
    assert (hits.solid[400] == 0).sum() == pytest.approx(600, abs=2)
    assert 1 / float(hits.inverse[400, 400]) == pytest.approx(999.7, abs=0.01)


def test_distorted_camera_is_refused():
    with pytest.raises(ValueError, match="plumb_bob"):
        PinholeGrid(Camera(64, 48, 50, 50, 32, 24, "plumb_bob", (0.1, 0, 0, 0, 0)))
