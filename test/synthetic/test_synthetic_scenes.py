import numpy as np
import pytest

from dpt_ros.synthetic.drive import STEP_S, drive_path
from dpt_ros.synthetic.scene import SceneBuilder
from dpt_ros.synthetic.scenes import KINDS, make_scene
from dpt_ros.synthetic.scenes.furniture import door, person, table
from dpt_ros.synthetic.scenes.outdoor_things import car
from dpt_ros.synthetic.scenes.placing import footprints
from dpt_ros.synthetic.seeds import split_seed
from dpt_ros.synthetic.settings import SPLITS
from dpt_ros.synthetic.textures import TILE_PX, TILES, pyramid


def same(one, other):
    a, b = one.primitives, other.primitives
    return (
        len(a) == len(b) and np.array_equal(a.centre, b.centre) and np.array_equal(a.tint, b.tint)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_stands_for_one_scene(kind):
    first = make_scene(kind, 3)
    assert same(first, make_scene(kind, 3))
    assert not same(first, make_scene(kind, 4))
    assert all(
        np.array_equal(a.tile, b.tile)
        for a, b in zip(first.materials, make_scene(kind, 3).materials, strict=True)
    )


def test_splits_and_seeds_and_scenes_share_no_stream():
    streams = {
        tuple(split_seed(seed, split, index).generate_state(4))
        for split in SPLITS
        for seed in range(20)
        for index in range(20)
    }
    assert len(streams) == 3 * 20 * 20


def test_wrong_kind_split_and_seed_are_refused_with_the_right_ones():
    with pytest.raises(ValueError, match="room, corridor, street, yard"):
        make_scene("forest", 0)
    with pytest.raises(ValueError, match="train, validation, test"):
        split_seed(0, "all", 0)
    with pytest.raises(ValueError, match="-1"):
        make_scene("room", -1)
    with pytest.raises(ValueError, match="-2"):
        split_seed(-2, "test", 0)
    with pytest.raises(ValueError, match="4294967296"):  # would be the numbers 0 and 1
        split_seed(2**32, "test", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_stands_on_the_ground_and_refers_to_materials(kind):
    for seed in range(3):
        scene = make_scene(kind, seed)
        primitives = scene.primitives
        assert primitives.material.min() >= 0 and primitives.material.max() < len(scene.materials)
        assert (primitives.half > 0).all() and np.isfinite(primitives.centre).all()
        corners = primitives.corners()
        # Spheres of bushes reach into the ground; nothing hangs below it or flies off.
        assert corners[..., 2].min() >= -1.5 and corners[..., 2].max() <= 30
        axes = np.einsum("nij,nik->njk", primitives.rotation, primitives.rotation)
        np.testing.assert_allclose(axes, np.broadcast_to(np.eye(3), axes.shape), atol=1e-9)


def extent(thing, *arguments):
    b = SceneBuilder(np.random.default_rng(0))
    with b.at(2.0, 1.0, 0.0):
        thing(b, *arguments)
    corners = b.primitives().corners().reshape(-1, 3)
    return corners.max(0) - corners.min(0), corners.min(0)


def test_things_have_the_sizes_they_have_in_life():
    size, low = extent(car)
    assert 3.9 <= size[0] <= 4.8 and 1.6 <= size[1] <= 2.0 and 1.35 <= size[2] <= 1.6
    assert low[2] == pytest.approx(0.0, abs=0.02)
    size, _ = extent(door, (0.5, 0.4, 0.3))
    assert size[2] == pytest.approx(2.13) and size[1] == pytest.approx(1.1)
    size, _ = extent(person)
    assert 1.5 <= size[2] <= 1.95
    b = SceneBuilder(np.random.default_rng(0))
    table(b)
    assert 0.72 <= b.primitives().centre[0, 2] + b.primitives().half[0, 2] <= 0.76


def test_builder_frames_are_nested():
    b = SceneBuilder(np.random.default_rng(0))
    with b.at(1.0, 0.0, np.pi / 2), b.at(2.0, 0.0):
        b.box(0.5, 0, 0, (0.2, 0.4, 1.0), b.material("metal", 1.0))
    np.testing.assert_allclose(b.primitives().centre[0], (1.0, 2.5, 0.5), atol=1e-12)
    b.box(0, 0, 0, (1, 1, 1), 0)
    np.testing.assert_allclose(b.primitives().centre[1], (0, 0, 0.5))


@pytest.mark.parametrize("name", sorted(TILES))
def test_tiles_are_sensible_and_halve_to_their_mean(name):
    tile = TILES[name](np.random.default_rng(1))
    assert tile.shape == (TILE_PX, TILE_PX, 3) and tile.dtype == np.float32
    assert np.isfinite(tile).all() and tile.min() >= 0 and tile.max() <= 1.6
    levels = pyramid(tile)
    assert [len(level) for level in levels] == [128, 64, 32, 16, 8, 4, 2, 1]
    np.testing.assert_allclose(levels[-1][0, 0], tile.mean((0, 1), dtype=float), rtol=1e-5)


def test_clearance_of_hand_placed_footprints():
    b = SceneBuilder(np.random.default_rng(0))
    metal = b.material("metal", 1.0)
    b.box(0, 0, -0.1, (100, 100, 0.1), metal)  # the ground
    b.box(3, 0, 0, (2, 4, 1), metal)
    b.box(0, 5, 0, (2, 2, 1), metal, turn=(np.pi / 4, 0, 0))
    b.box(0, -3, 1.5, (2, 2, 1), metal)  # hangs above the robot
    b.box(0, -3, 0, (2, 2, 0.05), metal)  # a kerb
    points = np.array([[0.0, 0.0], [3.0, 1.0], [6.0, 6.0], [0.0, -3.0], [0.0, 3.0]])
    clearance = footprints(b.primitives()).clearance(points)
    # (0, -3) and (6, 6) are nearest to the first box's corners (2, -2) and (4, 2); (0, 3) to the
    # turned box's corner, which reaches from (0, 5) to (0, 5 - sqrt 2).
    expected = [2.0, 0.0, np.hypot(2, 4), np.hypot(2, 1), 2 - np.sqrt(2)]
    np.testing.assert_allclose(clearance, expected, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_drive_keeps_clear_and_is_smooth(kind):
    scene = make_scene(kind, 1)
    path = drive_path(scene, np.random.default_rng(2), 12.0)
    assert path.duration_s == pytest.approx(12.0)
    assert footprints(scene.primitives).clearance(path.place).min() >= 0.3
    x_min, y_min, x_max, y_max = scene.region
    assert (path.place >= (x_min, y_min)).all() and (path.place <= (x_max, y_max)).all()
    assert np.abs(np.diff(path.speed)).max() <= 3.0 * STEP_S + 1e-9
    assert np.abs(np.diff(path.turn_rate)).max() <= 2.5 * STEP_S + 1e-9
    # Places follow from speed and direction, directions from turn rate.
    moved = np.diff(path.place, axis=0)
    mean_speed = (path.speed[1:] + path.speed[:-1]) / 2
    np.testing.assert_allclose(np.hypot(*moved.T), np.abs(mean_speed) * STEP_S, atol=1e-9)
    mean_turn = (path.turn_rate[1:] + path.turn_rate[:-1]) / 2
    np.testing.assert_allclose(np.diff(path.yaw_rad), mean_turn * STEP_S, atol=1e-9)
    heading = np.arctan2(moved[:, 1], moved[:, 0])
    middle = (path.yaw_rad[1:] + path.yaw_rad[:-1]) / 2
    moving = mean_speed > 0.05
    off = (heading - middle + np.pi) % (2 * np.pi) - np.pi
    assert moving.any() and np.abs(off[moving]).max() < 0.02
    assert np.abs(path.shake[:, 0]).max() < 0.06 and np.abs(path.shake[:, 1:]).max() < 0.06


def test_poses_lie_between_the_rows():
    path = drive_path(make_scene("room", 0), np.random.default_rng(0), 1.0)
    np.testing.assert_allclose(path.pose_at(0.3)[:2, 3], path.place[3], atol=1e-9)
    middle = path.pose_at(0.25)
    np.testing.assert_allclose(middle[:2, 3], (path.place[2] + path.place[3]) / 2, atol=1e-9)
    np.testing.assert_allclose(middle[:3, :3] @ middle[:3, :3].T, np.eye(3), atol=1e-12)
    assert path.velocity_at(0.4)[0] == pytest.approx(path.speed[4])
    with pytest.raises(ValueError, match=r"1\.5 s"):
        path.pose_at(1.5)
    with pytest.raises(ValueError, match="more than 0"):
        drive_path(make_scene("room", 0), np.random.default_rng(0), 0.0)
