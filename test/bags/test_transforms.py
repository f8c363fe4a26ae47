from __future__ import annotations

import math

import numpy as np
import pytest

from dpt_ros.bags.transforms import TransformError, TransformGraph
from dpt_ros.bags.transforms_file import read_transforms
from dpt_ros.config import ConfigError

SECOND = 1_000_000_000


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0):
    """[4, 4] worked out by hand: a turn about z, then a move."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


def at(*stamps_ns):
    return np.array(stamps_ns, np.int64)


def test_chains_both_ways():
    """map <- odom <- base <- lidar, base <- mast <- camera: matrices multiplied by hand."""
    base_lidar, base_mast, mast_camera = pose(1, 0, 2, 0.3), pose(0, 0.5, 1, -1), pose(0.1, yaw=2)
    graph = TransformGraph()
    graph.add_static("base", "lidar", base_lidar)
    graph.add_static("base", "mast", base_mast)
    graph.add_static("mast", "camera", mast_camera)
    expected = np.linalg.inv(base_mast @ mast_camera) @ base_lidar
    found = graph.lookup("camera", "lidar", at(0, 5))
    assert found.shape == (2, 4, 4)
    np.testing.assert_allclose(found, [expected, expected], atol=1e-12)
    np.testing.assert_allclose(
        graph.lookup("lidar", "camera", at(0))[0], np.linalg.inv(expected), atol=1e-12
    )
    np.testing.assert_allclose(graph.lookup("lidar", "lidar", at(0))[0], np.eye(4))
    assert not graph.is_moving("camera", "lidar")
    assert graph.wait_ns("camera", "lidar", 5) == 0


def test_a_message_means_parent_from_child(recordings):
    """The LiDAR 2 m before the base, turned left by 90 degrees: its x axis is the base's y."""
    graph = TransformGraph()
    item = ("/base", "lidar", pose(2, yaw=math.pi / 2))
    graph.add_message(recordings.transforms(0, item), is_static=True)
    point = graph.lookup("base", "lidar", at(0))[0] @ [3, 0, 0, 1]
    np.testing.assert_allclose(point, [2, 3, 0, 1], atol=1e-12)


def test_moving_transforms_are_interpolated(recordings):
    """From the origin to (2, 4, 0) turned by 80 degrees: a quarter of the way is (0.5, 1), 20."""
    graph = TransformGraph()
    for stamp_ns, matrix in ((0, pose()), (SECOND, pose(2, 4, yaw=math.radians(80)))):
        graph.add_message(
            recordings.transforms(stamp_ns, ("odom", "base", matrix)), is_static=False
        )
    graph.add_static("base", "lidar", pose(z=1))
    found = graph.lookup("odom", "lidar", at(SECOND // 4, SECOND, 0))
    np.testing.assert_allclose(found[0], pose(0.5, 1, 1, math.radians(20)), atol=1e-12)
    np.testing.assert_allclose(found[1], pose(2, 4, 1, math.radians(80)), atol=1e-12)
    np.testing.assert_allclose(found[2], pose(z=1), atol=1e-12)
    assert graph.is_moving("odom", "lidar")
    assert graph.wait_ns("lidar", "odom", SECOND) == 0
    assert graph.wait_ns("lidar", "odom", SECOND + 1) == 2 * SECOND


def test_stamps_since_1970_keep_their_nanoseconds(recordings):
    """At 1 m/s a nanosecond is a nanometre; in float64 seconds since 1970 it would be lost."""
    start = 1_600_000_000 * SECOND + 1
    graph = TransformGraph()
    for stamp_ns, x in ((start, 0.0), (start + 1000, 1e-6)):
        graph.add_odometry(recordings.odometry(stamp_ns, pose(x), "odom", "base"))
    found = graph.lookup("odom", "base", at(start + 250))[0]
    assert found[0, 3] == pytest.approx(0.25e-6, rel=1e-6)


def test_poses_out_of_order_are_sorted(recordings):
    graph = TransformGraph()
    for stamp_ns, x in ((0, 0.0), (200_000_000, 2.0), (100_000_000, 5.0)):
        graph.add_odometry(recordings.odometry(stamp_ns, pose(x), "odom", "base"))
    assert graph.lookup("odom", "base", at(150_000_000))[0, 0, 3] == pytest.approx(3.5)


def test_nothing_is_extrapolated_or_guessed_over_a_break(recordings):
    graph = TransformGraph()
    for stamp_ns in (SECOND, 2 * SECOND, 5 * SECOND):
        graph.add_odometry(recordings.odometry(stamp_ns, pose(), "odom", "base"))
    with pytest.raises(TransformError, match=r"it begins 0\.500 s later"):
        graph.lookup("odom", "base", at(SECOND // 2, SECOND))
    with pytest.raises(TransformError, match=r"it ends 0\.250 s earlier"):
        graph.lookup("odom", "base", at(5 * SECOND + SECOND // 4))
    with pytest.raises(TransformError, match=r"a break of 3\.0 s"):
        graph.lookup("odom", "base", at(3 * SECOND))
    assert graph.lookup("odom", "base", at(5 * SECOND)).shape == (1, 4, 4)


def mount(recordings, *poses):
    """A graph of base <- lidar on /tf, a pose each 1.2 s."""
    graph = TransformGraph()
    for index, matrix in enumerate(poses):
        message = recordings.transforms(index * 1200 * SECOND // 1000, ("base", "lidar", matrix))
        graph.add_message(message, is_static=False)
    return graph


def test_a_mount_that_comes_slowly_is_held_from_one_pose_to_the_next(recordings):
    graph = mount(recordings, pose(1, yaw=0.3), pose(1, yaw=0.3), pose(1, yaw=0.3))
    found = graph.lookup("base", "lidar", at(SECOND // 2, 2 * SECOND))
    np.testing.assert_allclose(found, [pose(1, yaw=0.3)] * 2, atol=1e-12)
    with pytest.raises(TransformError, match=r"ends 0\.600 s earlier; if it is a mount .*--transf"):
        graph.lookup("base", "lidar", at(3 * SECOND))


def test_equal_poses_are_not_held_for_as_long_as_an_odometry_may_take_to_begin_anew(recordings):
    graph = TransformGraph()
    for stamp_ns in (0, 11 * SECOND):
        graph.add_message(recordings.transforms(stamp_ns, ("odom", "base", pose())), False)
    with pytest.raises(TransformError, match=r"break of 11\.0 s .*--transforms"):
        graph.lookup("odom", "base", at(SECOND))


@pytest.mark.parametrize("other", [pose(1.001, yaw=0.3), pose(1, yaw=0.301)])
def test_a_transform_that_moves_is_not_held(recordings, other):
    """A millimetre, or a milliradian, is movement."""
    graph = mount(recordings, pose(1, yaw=0.3), other)
    with pytest.raises(TransformError, match=r"break of 1\.2 s around the sample$"):
        graph.lookup("base", "lidar", at(SECOND // 2))
    with pytest.raises(TransformError, match=r"earlier$"):
        graph.lookup("base", "lidar", at(2 * SECOND))


def test_a_quaternion_and_its_negative_are_one_rotation(recordings):
    graph = TransformGraph()
    for index, sign in enumerate((1, -1)):
        message = recordings.transforms(index * 2 * SECOND, ("base", "lidar", pose(1, yaw=0.3)))
        turn = message.transforms[0].transform.rotation
        turn.x, turn.y, turn.z, turn.w = (sign * v for v in (turn.x, turn.y, turn.z, turn.w))
        graph.add_message(message, is_static=False)
    found = graph.lookup("base", "lidar", at(SECOND))[0]
    np.testing.assert_allclose(found, pose(1, yaw=0.3), atol=1e-12)


def test_slow_transforms_are_waited_for_two_periods_and_three_seconds_at_most(recordings):
    graph = mount(recordings, pose(1))
    assert graph.wait_ns("base", "lidar", 1) == 3 * SECOND  # of one pose there is no period
    graph = mount(recordings, pose(1), pose(1))
    assert graph.wait_ns("base", "lidar", 2 * SECOND) == 2 * 1_200_000_000
    graph.add_message(recordings.transforms(9 * SECOND, ("base", "lidar", pose(1))), False)
    assert graph.wait_ns("base", "lidar", 10 * SECOND) == 3 * SECOND


def test_old_poses_are_forgotten(recordings):
    graph = TransformGraph()
    for index in range(3000):
        stamp_ns = index * SECOND // 100
        graph.add_odometry(recordings.odometry(stamp_ns, pose(index), "odom", "base"))
    (track,) = graph._odometry.values()
    assert len(track.stamps_ns) <= 1102
    assert graph.lookup("odom", "base", at(25 * SECOND))[0, 0, 3] == pytest.approx(2500)


def test_a_fixed_transform_is_not_overruled_by_a_moving_one(recordings):
    graph = TransformGraph()
    graph.add_static("base", "lidar", pose(1))
    graph.add_message(recordings.transforms(7, ("base", "lidar", pose(9))), is_static=False)
    assert graph.lookup("base", "lidar", at(7))[0, 0, 3] == 1
    graph.add_static("lidar", "base", pose(5))  # a file's, the other way round
    assert graph.lookup("base", "lidar", at(7))[0, 0, 3] == -5


@pytest.mark.parametrize(
    "recorded",
    [
        [("lidar", "camera", pose(9))],
        [("camera", "lidar", pose(9))],
        [("base", "arm", pose(7)), ("arm", "lidar", pose(7)), ("arm", "camera", pose(9))],
    ],
    ids=["lidar-camera", "camera-lidar", "through an arm"],
)
def test_transforms_of_a_file_win_over_shorter_ways_through_the_recording(recorded):
    graph = TransformGraph()
    graph.override([("base", "lidar", pose(1)), ("base", "camera", pose(3))])
    for edge in recorded:
        graph.add_static(*edge)
    assert graph.lookup("lidar", "camera", at(0))[0, 0, 3] == pytest.approx(2)


def test_a_file_may_name_parent_and_child_the_other_way_round(recordings):
    graph = TransformGraph()
    graph.add_static("base", "camera", pose(9))
    for stamp_ns, x in ((0, 0.0), (SECOND, 2.0)):
        graph.add_message(recordings.transforms(stamp_ns, ("odom", "base", pose(x))), False)
    graph.override([("camera", "base", pose(-3))])
    assert graph.lookup("base", "camera", at(0))[0, 0, 3] == pytest.approx(3)
    assert graph.lookup("odom", "camera", at(SECOND // 2))[0, 0, 3] == pytest.approx(1 + 3)


def test_a_file_leaves_alone_what_it_does_not_contradict(recordings):
    """The recording knows no camera: the file hangs it onto the LiDAR, the other way round."""
    graph = TransformGraph()
    graph.override([("camera", "lidar", pose(-2))])
    graph.add_static("base", "lidar", pose(5))
    for stamp_ns in (0, SECOND):
        graph.add_message(recordings.transforms(stamp_ns, ("odom", "base", pose(1))), False)
    assert graph.lookup("base", "lidar", at(0))[0, 0, 3] == pytest.approx(5)
    assert graph.lookup("odom", "camera", at(0))[0, 0, 3] == pytest.approx(1 + 5 + 2)


def test_a_chain_in_the_file_wins_over_one_in_the_recording(recordings):
    graph = TransformGraph()
    graph.override([("base", "lidar", pose(1)), ("lidar", "camera", pose(2))])
    graph.add_static("base", "camera", pose(9))
    graph.add_static("camera", "lidar", pose(-4))
    graph.add_message(recordings.transforms(0, ("odom", "base", pose(10))), False)
    for target, source, x in (("base", "camera", 3), ("lidar", "camera", 2), ("odom", "lidar", 11)):
        assert graph.lookup(target, source, at(0))[0, 0, 3] == pytest.approx(x)


def test_odometry_is_not_mixed_into_what_tf_says_of_the_same_frames(recordings):
    graph = TransformGraph()
    graph.add_odometry(recordings.odometry(0, pose(5), "odom", "base"))
    assert graph.lookup("odom", "base", at(0))[0, 0, 3] == 5
    for stamp_ns in (0, SECOND):
        graph.add_message(recordings.transforms(stamp_ns, ("odom", "base", pose(0))), False)
    graph.add_odometry(recordings.odometry(SECOND // 2, pose(5.5), "odom", "base"))
    np.testing.assert_allclose(
        graph.lookup("odom", "base", at(0, SECOND // 2, SECOND))[:, 0, 3], [0, 0, 0]
    )


def test_a_fixed_transform_that_changes_is_noted():
    graph = TransformGraph()
    graph.add_static("base", "camera", pose(1))
    graph.add_static("base", "camera", pose(1))
    assert not graph.changed_static
    graph.add_static("base", "camera", pose(2))
    assert list(graph.changed_static) == ["base <- camera"]
    graph = TransformGraph()
    graph.override([("base", "camera", pose(3))])
    graph.add_static("base", "camera", pose(1))
    graph.add_static("base", "camera", pose(2))
    assert not graph.changed_static, "neither is taken"


def test_frames_that_are_not_connected_are_listed():
    graph = TransformGraph()
    graph.add_static("base", "lidar", pose())
    with pytest.raises(TransformError, match=r"from 'lidar' to 'cam'; frames known: base, lidar"):
        graph.lookup("cam", "lidar", at(0))
    assert not graph.is_connected("cam", "lidar")
    graph.add_static("base", "cam", pose())
    assert graph.is_connected("cam", "/lidar")


def test_a_rotation_that_is_none_is_refused(recordings):
    message = recordings.transforms(0, ("a", "b", pose()))
    message.transforms[0].transform.rotation.w = 0.0
    with pytest.raises(TransformError, match="a <- b"):
        TransformGraph().add_message(message, is_static=True)
    message.transforms[0].transform.rotation.w = float("nan")
    with pytest.raises(TransformError, match="a <- b"):
        TransformGraph().add_message(message, is_static=True)


def test_a_rotation_that_is_none_costs_no_other_transform(recordings):
    moved = pose(x=2.0, yaw=0.5)
    message = recordings.transforms(0, ("a", "b", pose()), ("a", "c", moved))
    message.transforms[0].transform.rotation.w = 0.0
    graph = TransformGraph()
    with pytest.raises(TransformError, match="a <- b"):
        graph.add_message(message, is_static=True)
    np.testing.assert_allclose(graph.lookup("a", "c", at(0))[0], moved, atol=1e-12)


def test_a_file_of_transforms(tmp_path):
    path = tmp_path / "extrinsics.yaml"
    path.write_text(
        """
transforms:
  - {parent: base, child: lidar, translation_m: [1, 2, 3], rotation_xyzw: [0, 0, 1, 1]}
  - {parent: base, child: camera, rotation_rpy_rad: [-1.5707963267948966, 0, -1.5707963267948966]}
  - parent: a
    child: b
    matrix: [[0, -1, 0, 4], [1, 0, 0, 5], [0, 0, 1, 6], [0, 0, 0, 1]]
"""
    )
    (lidar, camera, matrix) = read_transforms(path)
    np.testing.assert_allclose(lidar[2], pose(1, 2, 3, math.pi / 2), atol=1e-12)
    assert camera[:2] == ("base", "camera")
    # The usual optical frame: its z looks along the base's x, its x to the base's right.
    np.testing.assert_allclose(camera[2][:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(camera[2][:3, :3] @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(matrix[2], pose(4, 5, 6, math.pi / 2), atol=1e-12)


@pytest.mark.parametrize(
    ("item", "match"),
    [
        ("{parent: a, child: b}", "expected rotation_xyzw, rotation_rpy_rad or matrix"),
        ("{parent: a, child: b, rotation_xyzw: [0, 0, 0, 0]}", "expected rotation_xyzw"),
        ("{parent: a, child: b, rotation_xyzw: [0, 0, 1]}", "expected 4 numbers"),
        ("{parent: a, child: b, translation_m: 3, rotation_rpy_rad: [0, 0, 0]}", "3 numbers"),
        ("{parent: a, child: b, rotation: [0, 0, 0]}", "unknown key 'rotation'"),
        ("{child: b, rotation_rpy_rad: [0, 0, 0]}", "got None and 'b'"),
        ("{parent: a, child: b, matrix: [[1, 0], [0, 1]]}", "expected 4 rows of 4 numbers"),
        (
            "{parent: a, child: b, matrix: [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], "
            "[0, 0, 0, 1]]}",
            "a rotation, a translation",
        ),
        (
            "{parent: a, child: b, rotation_xyzw: [0, 0, 0, 1], rotation_rpy_rad: [0, 0, 1]}",
            r"extrinsics.yaml: transforms\[0\]: got rotation_xyzw and rotation_rpy_rad, expected "
            "only one of",
        ),
        (
            "{parent: a, child: b, rotation_rpy_rad: [0, 0, 1], matrix: [[1, 0, 0, 0], "
            "[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}",
            "got rotation_rpy_rad and matrix",
        ),
        (
            "{parent: a, child: b, translation_m: [0, .nan, 0], rotation_rpy_rad: [0, 0, 0]}",
            r"extrinsics.yaml: transforms\[0\]: translation_m: got .*nan.*, expected 3 numbers",
        ),
        (
            "{parent: a, child: b, rotation_xyzw: [0, 0, .nan, 1]}",
            r"extrinsics.yaml: transforms\[0\]: rotation_xyzw: got .*nan.*, expected 4 numbers",
        ),
        ("{parent: a, child: b, rotation_rpy_rad: [0, .inf, 1]}", "rotation_rpy_rad: got .*inf"),
        (
            "{parent: a, child: b, matrix: [[1, 0, 0, .nan], [0, 1, 0, 0], [0, 0, 1, 0], "
            "[0, 0, 0, 1]]}",
            "expected 4 rows of 4 numbers",
        ),
        (
            "{parent: /a, child: a, rotation_rpy_rad: [0, 0, 0]}",
            r"extrinsics.yaml: transforms\[0\]: got '/a' as parent and child, expected two frames",
        ),
        (
            "{parent: a, child: b, translation_m: [0, 0, 1], matrix: [[1, 0, 0, 0], [0, 1, 0, 0], "
            "[0, 0, 1, 0], [0, 0, 0, 1]]}",
            "got matrix and translation_m",
        ),
        ("[a, b]", "expected parent, child and numbers"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path, item, match):
    path = tmp_path / "extrinsics.yaml"
    path.write_text(f"transforms:\n  - {item}\n")
    with pytest.raises(ConfigError, match=match):
        list(read_transforms(path))
    path.write_text("frames: []\n")
    with pytest.raises(ConfigError, match="expected one key, transforms"):
        list(read_transforms(path))
