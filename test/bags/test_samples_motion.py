"""The robot's motion during a scan is undone, by odometry or by transforms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drive_samples import MS, SECOND, START, samples_of

from dpt_ros.bags.samples import SampleError
from dpt_ros.bags.scan_placement import Scan, place_scan
from dpt_ros.bags.transforms import TransformGraph


def pose(x, y, yaw):
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def turning_robot(recordings, times, how, stop_ns=0, frame="lidar"):
    """A robot at 4 m/s that turns with 0.5 rad/s; its LiDAR sees posts, one after the other.

    Returns messages and where the posts are in the picture. The scan takes 0.1 s up to the picture;
    in the frame "odom" it has the posts where they are in the world.
    """
    picture_ns = START + SECOND
    base_lidar = np.eye(4)
    base_lidar[:3, 3] = [0.2, 0.1, 0.5]
    base_camera = np.eye(4)
    base_camera[:3, :3] = np.linalg.inv(recordings.OPTICAL_FROM_LIDAR)[:3, :3]
    base_camera[:3, 3] = [0.4, 0.0, 0.3]

    def base_at(ns):
        seconds = (ns - START) / SECOND
        return pose(4.0 * seconds, 0.0, 0.5 * seconds)

    heading = base_at(picture_ns)
    ahead = np.array([[6.0 + 0.3 * i, 0.35 * (i - 10), 0.1 * (i % 5), 1.0] for i in range(21)])
    posts = ahead @ heading.T
    stamps = picture_ns - 100 * MS + np.arange(21) * 5 * MS
    points = np.array(
        [
            (np.linalg.inv(base_at(int(ns)) @ base_lidar) @ post)[:3]
            for ns, post in zip(stamps, posts, strict=True)
        ]
    )
    offsets = (stamps - stamps[0]).astype("u4") if times else None
    points = posts[:, :3] if frame == "odom" else points
    scan = recordings.cloud(int(stamps[0]), points, times=offsets)
    scan.header.frame_id = frame
    scan_ns = int(stamps[0])
    rgb = np.zeros((240, 320, 3), np.uint8)
    messages = [
        (
            "/tf_static",
            START,
            recordings.transforms(
                START, ("base_link", "lidar", base_lidar), ("base_link", "camera", base_camera)
            ),
        ),
        ("/camera/camera_info", picture_ns, recordings.info(picture_ns, 320, 240, 200.0)),
        ("/camera/image_raw", picture_ns + 10 * MS, recordings.image(picture_ns, rgb)),
        ("/points", scan_ns + 110 * MS, scan),
    ]
    for ns in range(START + 800 * MS, START + 1200 * MS, 10 * MS):
        if stop_ns and ns > stop_ns:
            break
        if how == "odometry":
            messages.append(("/odom", ns + 15 * MS, recordings.odometry(ns, base_at(ns))))
        elif how == "tf":
            item = ("odom", "base_link", base_at(ns))
            messages.append(("/tf", ns + 15 * MS, recordings.transforms(ns, item)))
    seen = posts @ np.linalg.inv(heading @ base_camera).T
    pixels = np.floor(seen[:, :2] / seen[:, 2:3] * 200.0 + [159.5, 119.5] + 0.5).astype(int)
    return messages, pixels, seen[:, 2]


def depth_near(depth_m, pixels):
    """The depth at each pixel (column, row), or beside it: posts fall on borders of pixels."""
    around = (depth_m[r - 1 : r + 2, c - 1 : c + 2] for c, r in pixels)
    return [float(np.nanmin(values)) for values in around if np.isfinite(values).any()]


@pytest.mark.parametrize("how", ["odometry", "tf"])
def test_motion_is_undone_point_by_point(tmp_path, recordings, how):
    """Each post, measured at its own time, lands where the picture sees it: 4x4 by 4x4."""
    messages, pixels, z = turning_robot(recordings, True, how)
    bag = recordings.write_bag(tmp_path / "bag", messages)
    settings = {"max_gap_s": 0.2, "lidar": no_occlusion()}
    (sample,), stream = samples_of(bag, **settings)
    assert stream.warnings == []
    assert int(np.isfinite(sample.depth_m).sum()) == 21
    assert depth_near(sample.depth_m, pixels) == pytest.approx(z, abs=0.001)
    # Without it, the posts measured first are 0.4 m off.
    (smeared,), _ = samples_of(bag, motion_compensation=False, **settings)
    values = smeared.depth_m[np.isfinite(smeared.depth_m)]
    assert np.abs(np.sort(values)[:, None] - z).min(axis=1).max() > 0.03
    assert len(values) > 10
    assert not np.allclose(np.sort(values)[:10], np.sort(z)[:10], atol=0.1)


def no_occlusion():
    from dpt_ros.geometry.lidar import LidarSettings

    return LidarSettings(occlusion_window_m=0.0)


def test_the_robots_own_points_move_along_with_it(recordings):
    """At 4 m/s, a post seen 0.1 s before the picture is 0.4 m nearer in it; the bumper is not."""
    graph = TransformGraph()
    graph.add_static("base_link", "lidar", np.eye(4))
    for ns in (0, 100 * MS):
        graph.add_odometry(recordings.odometry(ns, pose(4.0 * ns / SECOND, 0, 0)))
    points = np.array([[6.0, 0, 0], [0.5, 0, 0]], np.float32)
    scan = Scan("lidar", 0, points, np.zeros(2, np.int64))
    placed = place_scan(scan, graph, "base_link", 100 * MS, "odom", np.array([False, True]))
    np.testing.assert_allclose(placed, [[5.6, 0, 0], [0.5, 0, 0]], atol=1e-9)


def test_motion_without_times_is_undone_as_a_whole_and_warned_of(tmp_path, recordings):
    messages, _, z = turning_robot(recordings, False, "odometry")
    bag = recordings.write_bag(tmp_path / "bag", messages)
    (sample,), stream = samples_of(bag, max_gap_s=0.2, lidar=no_occlusion())
    assert len(stream.warnings) == 1
    assert "do not say when each point was measured" in stream.warnings[0]
    assert np.nanmin(sample.depth_m) < z.min()  # the last posts are moved by 0.4 m too much


@pytest.mark.parametrize("how", ["odometry", "tf"])
def test_points_that_a_mapper_placed_in_the_world_are_not_said_to_be_smeared(
    tmp_path, recordings, how
):
    messages, pixels, z = turning_robot(recordings, False, how, frame="odom")
    bag = recordings.write_bag(tmp_path / "bag", messages)
    (sample,), stream = samples_of(bag, max_gap_s=0.2, lidar=no_occlusion())
    assert depth_near(sample.depth_m, pixels) == pytest.approx(z, abs=0.001)
    assert stream.warnings == []


def test_an_empty_scan_is_not_said_to_lack_times(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "tf")
    empty = recordings.cloud(START + 1100 * MS, np.empty((0, 3)))
    ns = START + 1100 * MS
    messages.append(("/points", ns, empty))
    picture = recordings.image(ns, np.zeros((240, 320, 3), np.uint8))
    messages.append(("/camera/image_raw", ns, picture))
    bag = recordings.write_bag(tmp_path / "bag", messages)
    _, stream = samples_of(bag, max_gap_s=0.2)
    assert stream.rejected == {"fewer than 1 points in the picture": 1}
    assert stream.warnings == []


def robot_with_a_turning_mount(recordings, turning):
    """It stands still without odometry; its LiDAR or its camera turns with 0.5 rad/s.

    Returns messages and where the posts are in the picture, which is taken when the scan ends.
    """
    picture_ns = START + SECOND
    posts = np.array([[6.0 + 0.3 * i, 0.35 * (i - 10), 0.1 * (i % 5), 1.0] for i in range(21)])
    stamps = picture_ns - 100 * MS + np.arange(21) * 5 * MS
    optical = np.linalg.inv(recordings.OPTICAL_FROM_LIDAR)

    def mount_at(name, ns):
        turned = pose(0.2, 0.1, 0.5 * (ns - START) / SECOND if name == turning else 0.5)
        return turned @ optical if name == "camera" else turned

    points = [
        (np.linalg.inv(mount_at("lidar", int(ns))) @ post)[:3]
        for ns, post in zip(stamps, posts, strict=True)
    ]
    scan = recordings.cloud(int(stamps[0]), points, times=(stamps - stamps[0]).astype("u4"))
    picture = recordings.image(picture_ns, np.zeros((240, 320, 3), np.uint8))
    still = "camera" if turning == "lidar" else "lidar"
    static = recordings.transforms(START, ("base_link", still, mount_at(still, START)))
    messages = [
        ("/tf_static", START, static),
        ("/camera/camera_info", picture_ns, recordings.info(picture_ns, 320, 240, 200.0)),
        ("/camera/image_raw", picture_ns + 10 * MS, picture),
        ("/points", picture_ns + 10 * MS, scan),
    ]
    for ns in range(START + 800 * MS, START + 1200 * MS, 10 * MS):
        item = ("base_link", turning, mount_at(turning, ns))
        messages.append(("/tf", ns, recordings.transforms(ns, item)))
    seen = posts @ np.linalg.inv(mount_at("camera", picture_ns)).T
    pixels = np.floor(seen[:, :2] / seen[:, 2:3] * 200.0 + [159.5, 119.5] + 0.5).astype(int)
    is_inside = ((pixels > 0) & (pixels < [319, 239])).all(axis=1)
    return messages, pixels[is_inside], seen[is_inside, 2]


@pytest.mark.parametrize("turning", ["lidar", "camera"])
def test_a_mount_that_turns_on_a_robot_without_odometry_smears_nothing(
    tmp_path, recordings, turning
):
    messages, pixels, z = robot_with_a_turning_mount(recordings, turning)
    bag = recordings.write_bag(tmp_path / "bag", messages)
    (sample,), stream = samples_of(bag, max_gap_s=0.2, lidar=no_occlusion())
    assert len(z) > 10
    assert depth_near(sample.depth_m, pixels) == pytest.approx(z, abs=0.001)
    assert [text[:11] for text in stream.warnings] == ["no odometry"]  # the robot might move


def test_a_fixed_frame_may_be_named(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "tf")
    for topic, _, message in messages:
        if topic == "/tf":
            message.transforms[0].header.frame_id = "world"
    bag = recordings.write_bag(tmp_path / "bag", messages)
    _, stream = samples_of(bag, max_gap_s=0.2)
    assert "--fixed-frame" in stream.warnings[0]
    _, stream = samples_of(bag, max_gap_s=0.2, fixed_frame="world")
    assert stream.warnings == []


def test_odometry_of_a_frame_that_nothing_connects_is_told(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "odometry")
    for topic, _, message in messages:
        if topic == "/odom":
            message.child_frame_id = "base_footprint"
    bag = recordings.write_bag(tmp_path / "bag", messages)
    for settings in ({}, {"odometry_topic": "/odom"}):
        _, stream = samples_of(bag, max_gap_s=0.2, lidar=no_occlusion(), **settings)
        assert stream.warnings == [
            "/odom moves 'base_footprint', which no transform connects to 'lidar' and 'camera': "
            "give it in a file of transforms (--transforms); if the robot moved, its scans are "
            "smeared and its depth is off"
        ]
    given = tmp_path / "given.yaml"
    mount = "{parent: base_footprint, child: base_link, translation_m: [0, 0, 0], "
    given.write_text(f"transforms: [{mount}rotation_xyzw: [0, 0, 0, 1]}}]\n")
    _, stream = samples_of(bag, max_gap_s=0.2, transforms=str(given))
    assert stream.warnings == []


def test_odometry_that_came_too_late_is_not_said_to_be_absent(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "none")
    late = START + 2 * SECOND
    picture = recordings.image(late, np.zeros((240, 320, 3), np.uint8))
    messages.append(("/camera/image_raw", late, picture))
    messages.append(("/odom", late + MS, recordings.odometry(late, np.eye(4))))
    bag = recordings.write_bag(tmp_path / "bag", messages)
    _, stream = samples_of(bag, max_gap_s=0.2)
    assert stream.warnings[0].startswith("no odometry from /odom in time and no /tf to a frame")


def test_odometry_between_frames_that_are_fixed_to_each_other_is_told(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "odometry")
    fixed = recordings.transforms(START, ("odom", "base_link", np.eye(4)))
    bag = recordings.write_bag(tmp_path / "bag", [*messages, ("/tf_static", START, fixed)])
    _, stream = samples_of(bag, max_gap_s=0.2)
    assert stream.warnings[0].startswith("the LiDAR does not move in the frame 'odom'")


def test_odometry_that_breaks_off_is_told(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "odometry", stop_ns=START + 950 * MS)
    bag = recordings.write_bag(tmp_path / "bag", messages)
    told = r"transform that is not known .*odom <- base_link.*ends .* earlier; .*--no-motion-comp"
    with pytest.raises(SampleError, match=told):
        samples_of(bag, max_gap_s=0.2)


def test_transforms_that_come_late_are_waited_for(tmp_path, recordings):
    """/tf is recorded 0.3 s after what it tells of: still every sample is compensated."""
    messages, pixels, z = turning_robot(recordings, True, "tf")
    late = [(t, ns + 300 * MS if t == "/tf" else ns, m) for t, ns, m in messages]
    extra = START + 1150 * MS  # a second picture and scan, so that the stream goes on
    late.append(
        ("/camera/image_raw", extra, recordings.image(extra, np.zeros((240, 320, 3), "u1")))
    )
    bag = recordings.write_bag(tmp_path / "bag", late)
    samples, _ = samples_of(bag, max_gap_s=0.2, lidar=no_occlusion())
    assert depth_near(samples[0].depth_m, pixels) == pytest.approx(z, abs=0.001)


def test_transforms_that_always_come_late_are_waited_for(tmp_path, recordings):
    """A mapper tells 0.9 s late where the robot was, which goes on for as long as it drives."""
    messages = recordings.drive([START + i * 100 * MS for i in range(30)])
    for ns in range(START - 100 * MS, START + 3000 * MS, 20 * MS):
        item = ("odom", "lidar", pose((ns - START) / SECOND, 0.0, 0.0))
        messages.append(("/tf", ns + 900 * MS, recordings.transforms(ns, item)))
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert stream.rejected == {}
    assert len(samples) == 30


@pytest.mark.parametrize(("apart_m", "is_told"), [(0.2, True), (0.0, False)])
def test_a_transform_that_two_nodes_publish_is_told(tmp_path, recordings, apart_m, is_told):
    """The wheels' driver and a filter both say where the robot is, and have drifted apart."""
    messages = recordings.drive([START + i * 100 * MS for i in range(10)])
    for ns in range(START - 100 * MS, START + 1000 * MS, 20 * MS):
        x = 1.5 * math.sin(3.0 * (ns - START) / SECOND)  # turns back itself, once
        for late_ns, y in ((0, 0.0), (5 * MS, apart_m)):
            item = ("odom", "lidar", pose(x, y, 0.0))
            messages.append(("/tf", ns + late_ns, recordings.transforms(ns + late_ns, item)))
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert len(samples) == 10
    told = "odom <- lidar jumps to and fro, by up to 0.20 m: do two nodes publish it?"
    assert any(told in text for text in stream.warnings) == is_told


def drive_with_slow_mount(recordings, period_ms, late_ms=0):
    """Forty pictures and scans of 10 Hz; between the two frames the same transform now and then."""
    messages = recordings.drive([START + i * 100 * MS for i in range(40)], static=False)
    mount = ("lidar", "camera", np.linalg.inv(recordings.OPTICAL_FROM_LIDAR))
    for ns in range(START, START + 4000 * MS, period_ms * MS):
        messages.append(("/tf", ns + late_ms * MS, recordings.transforms(ns, mount)))
    return messages


@pytest.mark.parametrize(("period_ms", "late_ms", "last_ms"), [(1000, 0, 3000), (1200, 98, 3600)])
def test_a_mount_published_slowly_costs_no_sample(
    tmp_path, recordings, period_ms, late_ms, last_ms
):
    messages = drive_with_slow_mount(recordings, period_ms, late_ms)
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    expected = [START + ms * MS for ms in range(0, last_ms + 100, 100)]
    assert [sample.stamp_ns for sample in samples] == expected
    assert stream.rejected == {"transform that is not known": 40 - len(expected)}
    assert "--transforms" in stream.info["examples"]["transform that is not known"]


@pytest.mark.parametrize("stands", [True, False])
def test_a_mount_that_stands_need_not_be_known_to_the_end_of_a_scan(tmp_path, recordings, stands):
    """It is published slowly: it is known at the picture, and the scan's last points come later."""
    messages, _, _ = robot_with_a_turning_mount(recordings, "lidar")
    first = next(message for topic, _, message in messages if topic == "/tf").transforms[0]
    for topic, _, message in messages:
        if topic.startswith("/camera"):
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(
                START + 950 * MS, SECOND
            )
        elif topic == "/tf" and stands:
            message.transforms[0].transform = first.transform
    kept = [each for each in messages if each[0] != "/tf" or each[1] < START + 970 * MS]
    bag = recordings.write_bag(tmp_path / "bag", kept)
    if stands:
        assert len(samples_of(bag, max_gap_s=0.2)[0]) == 1
        return
    with pytest.raises(SampleError, match="base_link <- lidar is not known"):
        samples_of(bag, max_gap_s=0.2)
