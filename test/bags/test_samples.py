from __future__ import annotations

import math

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from dpt_ros.bags.reader import BagError
from dpt_ros.bags.samples import SampleError, SampleSettings, iterate_samples
from dpt_ros.bags.transforms import TransformError
from dpt_ros.config import ConfigError

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_600_000_000 * SECOND
STAMPS = [START + index * 100 * MS for index in range(4)]


def samples_of(bag, **settings):
    stream = iterate_samples(bag, SampleSettings(**{"min_points": 1, **settings}))
    return list(stream), stream


@pytest.fixture
def drive(tmp_path, recordings):
    """A bag of four pictures and scans of walls 4, 5, 6 and 7 m away."""
    messages = recordings.drive(STAMPS, [4.0, 5.0, 6.0, 7.0])
    return recordings.write_bag(tmp_path / "drive", messages)


def test_pictures_come_with_camera_and_depth(drive):
    samples, stream = samples_of(drive)
    assert [sample.stamp_ns for sample in samples] == STAMPS
    assert samples[2].id == f"drive/{STAMPS[2]:020d}"
    for index, sample in enumerate(samples):
        assert (sample.rgb == index).all()
        assert (sample.camera.width, sample.camera.height, sample.camera.fx_px) == (32, 24, 25.0)
        values = sample.depth_m[np.isfinite(sample.depth_m)]
        assert len(values) > 100
        np.testing.assert_allclose(values, 4.0 + index, rtol=1e-6)
    assert stream.rejected == {}
    assert "no odometry" in stream.warnings[0]
    assert stream.info["scans"] == stream.tally.scans_total == 4
    assert stream.info["calibration"]["camera_frame"] == "camera"


def test_points_fall_where_they_are_by_hand(tmp_path, recordings):
    """LiDAR (5, 1, -0.4) is (-1, 0.4, 5) of the camera: u = -25 / 5 + 15.5, v = 10 / 5 + 11.5."""
    messages = recordings.drive(STAMPS[:1])
    messages[-1] = ("/points", STAMPS[0], recordings.cloud(STAMPS[0], [[5.0, 1.0, -0.4]]))
    (sample,), _ = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert np.argwhere(np.isfinite(sample.depth_m)).tolist() == [[14, 11]]
    assert sample.depth_m[14, 11] == 5.0


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("mode", [None, CompressionMode.MESSAGE, CompressionMode.FILE])
def test_every_storage_and_compression(tmp_path, recordings, plugin, mode):
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive(STAMPS[:2]), plugin, mode)
    samples, _ = samples_of(bag)
    assert [sample.stamp_ns for sample in samples] == STAMPS[:2]
    assert np.nanmax(samples[1].depth_m) == pytest.approx(5.0)


def test_raw_pictures_take_k_and_d_rectified_ones_p(tmp_path, recordings):
    d = (-0.2, 0.05, 0.0, 0.0, 0.0)
    messages = [
        (topic, ns, m) for topic, ns, m in recordings.drive(STAMPS[:1]) if "camera" not in topic
    ]
    info = recordings.info(STAMPS[0], 32, 24, 25.0, d, p_scale=0.8)
    picture = recordings.image(STAMPS[0], np.zeros((24, 32, 3), np.uint8))
    for name, of_name in (("image_raw", "raw"), ("image_rect_color", "rectified")):
        bag = recordings.write_bag(
            tmp_path / name,
            [
                *messages,
                ("/cam/camera_info", STAMPS[0], info),
                (f"/cam/{name}", STAMPS[0], picture),
            ],
        )
        for pictures in ("auto", "raw", "rectified"):
            (sample,), _ = samples_of(bag, pictures=pictures)
            is_raw = (of_name if pictures == "auto" else pictures) == "raw"
            assert sample.camera.distortion == (d if is_raw else ())
            assert sample.camera.fx_px == (25.0 if is_raw else 20.0)


def test_compressed_pictures(tmp_path, recordings):
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    messages = [
        ("/camera/image_raw/compressed", ns, recordings.compressed(ns, rgb))
        if topic == "/camera/image_raw"
        else (topic, ns, message)
        for topic, ns, message in recordings.drive(STAMPS[:1])
    ]
    (sample,), _ = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    np.testing.assert_array_equal(sample.rgb, rgb)


def test_a_doubtful_frame_is_warned_of(tmp_path, recordings):
    """R turns by 0.01 rad about y; P[3] / P[0] is -0.12 m."""
    messages = recordings.drive(STAMPS[:1])
    info = next(m for topic, _, m in messages if topic == "/camera/camera_info")
    c, s = math.cos(0.01), math.sin(0.01)
    info.r[:] = [c, 0, s, 0, 1, 0, -s, 0, c]
    info.p[3] = -0.12 * info.p[0]
    _, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert any("turns the picture by 0.57 degrees" in text for text in stream.warnings)
    assert any("moves the picture by 0.120 m" in text for text in stream.warnings)


def test_topics_are_found_by_type_or_named(tmp_path, recordings):
    messages = recordings.drive(STAMPS[:1])
    second = [(topic.replace("/camera/", "/rear/"), ns, m) for topic, ns, m in messages]
    bag = recordings.write_bag(tmp_path / "two", messages + [m for m in second if "rear" in m[0]])
    with pytest.raises(BagError, match=r"no topic was chosen.*/camera/image_raw.*/rear/image_raw"):
        samples_of(bag)
    (sample,), _ = samples_of(bag, image_topic="/rear/image_raw")
    assert sample.camera.width == 32
    for setting in ("image_topic", "points_topic", "camera_info_topic", "odometry_topic"):
        with pytest.raises(BagError, match="got topic '/nothing'|no messages of type nav_msgs"):
            samples_of(bag, **{"image_topic": "/rear/image_raw", setting: "/nothing"})


@pytest.mark.parametrize("gone", ["/points", "/camera/image_raw", "/camera/camera_info"])
def test_a_missing_topic_is_named_with_those_there_are(tmp_path, recordings, gone):
    messages = [m for m in recordings.drive(STAMPS[:1]) if m[0] != gone]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(BagError, match=r"no messages of type sensor_msgs.*its topics: /"):
        samples_of(bag)


def test_a_missing_transform_is_told_at_once_and_may_come_from_a_file(tmp_path, recordings):
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive(STAMPS, static=False))
    with pytest.raises(TransformError, match=r"from 'lidar' to 'camera'.*--transforms"):
        samples_of(bag)
    path = tmp_path / "extrinsics.yaml"
    path.write_text(
        "transforms:\n  - {parent: camera, child: lidar, translation_m: [0, 0, 1], "
        "matrix: [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 2], [0, 0, 0, 1]]}\n"
    )
    samples, stream = samples_of(bag, transforms=str(path))
    assert len(samples) == 4
    assert np.nanmin(samples[0].depth_m) == pytest.approx(7.0)  # a wall 5 m before the LiDAR
    assert stream.info["calibration"]["transform_camera_lidar"][2][3] == 2.0


def test_a_file_replaces_the_transform_of_the_recording(drive, tmp_path):
    path = tmp_path / "extrinsics.yaml"
    path.write_text(
        "transforms:\n  - parent: camera\n    child: lidar\n"
        "    matrix: [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 2], [0, 0, 0, 1]]\n"
    )
    samples, _ = samples_of(drive, transforms=str(path))
    assert np.nanmin(samples[0].depth_m) == pytest.approx(6.0)
    path.write_text("transforms: 3\n")
    with pytest.raises(ConfigError, match="expected one key"):
        samples_of(drive, transforms=str(path))


def test_frames_that_messages_do_not_name(tmp_path, recordings):
    messages = recordings.drive(STAMPS[:1])
    for _, _, message in messages[1:]:
        message.header.frame_id = ""
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(TransformError, match="--camera-frame, --lidar-frame"):
        samples_of(bag)
    samples, _ = samples_of(bag, camera_frame="camera", lidar_frame="lidar")
    assert len(samples) == 1


def test_stamps_that_never_pair_tell_the_smallest_gap(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    for topic, _, message in messages:
        if topic == "/points":
            message.header.stamp.sec += 7
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(
        SampleError, match=r"4 x scan without a picture.*gap .* is 6\.700 s.*clocks"
    ):
        samples_of(bag)
    assert len(samples_of(bag, max_gap_s=7.0)[0]) >= 1


def test_a_scan_that_never_falls_in_the_picture(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    behind = recordings.wall(5.0) * [-1, 1, 1]
    messages = [
        (topic, ns, recordings.cloud(ns, behind) if topic == "/points" else m)
        for topic, ns, m in messages
    ]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(SampleError, match=r"4 x fewer than 1 points.*400 points, 0 of them in fro"):
        samples_of(bag)


def test_a_cloud_without_xyz(tmp_path, recordings):
    records = np.zeros(4, [("x", "<f4"), ("range", "<f4")])
    messages = [
        (topic, ns, recordings.cloud_of_records(ns, records) if topic == "/points" else m)
        for topic, ns, m in recordings.drive(STAMPS)
    ]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(SampleError, match=r"4 x scan that cannot be read .*no field y, z"):
        samples_of(bag)


def test_what_cannot_be_used_is_counted_and_the_rest_is_kept(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    pictures = [m for topic, _, m in messages if topic == "/camera/image_raw"]
    pictures[1].encoding = "bogus"
    clouds = [m for topic, _, m in messages if topic == "/points"]
    clouds[2].fields.pop()
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.stamp_ns for sample in samples] == [STAMPS[0], STAMPS[3]]
    assert stream.rejected == {
        "picture or camera_info that cannot be used": 1,
        "scan that cannot be read": 1,
    }
    assert "bogus" in stream.info["examples"]["picture or camera_info that cannot be used"]


@pytest.mark.parametrize("topic", ["/points", "/camera/image_raw"])
@pytest.mark.parametrize("stamp_s", [2_000_000_000, 0])
def test_one_damaged_stamp_costs_its_own_frame_alone(tmp_path, recordings, topic, stamp_s):
    stamps = [START + index * 100 * MS for index in range(12)]
    messages = recordings.drive(stamps)
    damaged = [message for name, _, message in messages if name == topic][4]
    damaged.header.stamp.sec = stamp_s
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.stamp_ns for sample in samples] == [*stamps[:4], *stamps[5:]]
    assert stream.rejected["stamp more than a minute from where it should be"] == 1
    assert topic in stream.info["examples"]["stamp more than a minute from where it should be"]


def test_pictures_of_one_stamp_give_one_sample(tmp_path, recordings):
    messages = recordings.drive([STAMPS[0]] * 3)
    for index, (topic, _, message) in enumerate(messages):
        messages[index] = (topic, STAMPS[0] + index, message)
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert len(samples) == 1
    assert stream.rejected["picture that is not newer than the one before"] >= 1


def test_thinned_out(drive):
    samples, stream = samples_of(drive, interval_s=0.2)
    assert [sample.stamp_ns for sample in samples] == [STAMPS[0], STAMPS[2]]
    assert stream.rejected == {"less than 0.2 s after the sample before": 2}


def test_the_body_is_masked_by_a_box_and_a_polygon(drive):
    whole = samples_of(drive)[0][0].depth_m
    left = "lidar 0 10 0 9 -9 9"  # y >= 0: what is to the left, and the middle
    (sample, *_), stream = samples_of(drive, body_box=left)
    known = np.isfinite(sample.depth_m)
    assert known.any()
    assert not known[:, :15].any()
    np.testing.assert_array_equal(sample.depth_m[:, 17:], whole[:, 17:])
    assert stream.tally.points["body"] > 0
    # The same box in the camera's frame: x right, y down, z forward.
    (other, *_), _ = samples_of(drive, body_box="camera -9 0 -9 9 0 10; camera 90 91 0 1 0 1")
    np.testing.assert_array_equal(other.depth_m, sample.depth_m)
    (polygon, *_), _ = samples_of(drive, body_polygon="0 12, 31 12, 31 23, 0 23")
    assert not np.isfinite(polygon.depth_m[12:]).any()
    np.testing.assert_array_equal(polygon.depth_m[:12], whole[:12])


@pytest.mark.parametrize(
    ("setting", "value", "match"),
    [
        ("body_box", "base_link 0 1 0 1", "expected FRAME X0 X1 Y0 Y1 Z0 Z1"),
        ("body_box", "base_link 1 0 0 1 0 1", "expected X0 < X1"),
        ("body_box", "base_link 0 nan 0 1 0 1", "expected FRAME"),
        ("body_polygon", "0 0 1 1", "three corners or more"),
        ("body_polygon", "a b c", "three corners or more"),
    ],
)
def test_wrong_masks_are_explained(drive, setting, value, match):
    with pytest.raises(ConfigError, match=match):
        samples_of(drive, **{setting: value})


def pose(x, y, yaw):
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def turning_robot(recordings, times, how, stop_ns=0):
    """A robot at 4 m/s that turns with 0.5 rad/s; its LiDAR sees posts, one after the other.

    Returns messages and where the posts are in the world. The scan takes 0.1 s up to the picture.
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
    scan = recordings.cloud(int(stamps[0]), points, times=offsets)
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


def test_motion_without_times_is_undone_as_a_whole_and_warned_of(tmp_path, recordings):
    messages, _, z = turning_robot(recordings, False, "odometry")
    bag = recordings.write_bag(tmp_path / "bag", messages)
    (sample,), stream = samples_of(bag, max_gap_s=0.2, lidar=no_occlusion())
    assert len(stream.warnings) == 1
    assert "do not say when each point was measured" in stream.warnings[0]
    assert np.nanmin(sample.depth_m) < z.min()  # the last posts are moved by 0.4 m too much


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


def test_odometry_that_breaks_off_is_told(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "odometry", stop_ns=START + 950 * MS)
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(SampleError, match=r"transform that is not known .*odom <- base_link.*ends"):
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


def test_a_recording_that_breaks_off_keeps_what_came_before(tmp_path, recordings):
    stamps = [START + index * 100 * MS for index in range(12)]
    bag = recordings.write_bag(
        tmp_path / "bag", recordings.drive(stamps, size=(64, 48)), StoragePlugin.SQLITE3
    )
    import sqlite3

    (file,) = bag.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE messages SET data = x'00010000ff' WHERE id > 30")
    database.close()
    samples, stream = samples_of(bag)
    assert 8 <= len(samples) < 12
    assert [sample.stamp_ns for sample in samples] == stamps[: len(samples)]
    assert "cannot be read" in stream.info["damage"]
    assert stream.info["damage"] in stream.warnings


def test_a_recording_of_a_robot_that_lost_power(tmp_path, recordings):
    """Cut off within its last chunk, without metadata, zeros behind: what is whole is used."""
    stamps = [START + index * 100 * MS for index in range(40)]
    messages = recordings.drive(stamps, size=(320, 240))
    bag = recordings.write_bag(tmp_path / "bag", messages)
    (file,) = bag.glob("*.mcap")
    whole = file.read_bytes()
    (bag / "metadata.yaml").unlink()
    for tail in (b"", bytes(5000)):
        file.write_bytes(whole[: len(whole) * 3 // 4] + tail)
        samples, stream = samples_of(bag)
        assert 10 < len(samples) < 31
        assert [sample.stamp_ns for sample in samples] == stamps[: len(samples)]
        assert "is cut off" in stream.info["damage"]
        assert stream.info["damage"] in stream.warnings


def test_a_recording_that_cannot_be_opened(tmp_path, recordings):
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive(STAMPS))
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(BagError, match=r"cut off before the end of the first.*mcap recover"):
        samples_of(bag)
    with pytest.raises(BagError, match="there is no recording"):
        samples_of(tmp_path / "nowhere")
