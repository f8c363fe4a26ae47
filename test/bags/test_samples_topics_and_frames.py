"""Which topics, frames and transforms of a recording are used, and what is said when one lacks."""

from __future__ import annotations

import numpy as np
import pytest
from drive_samples import STAMPS, samples_of

from dpt_ros.bags.reader import BagError, BagReader
from dpt_ros.bags.topics import camera_info_beside, camera_info_topic, find_topics, is_rectified
from dpt_ros.bags.transforms import TransformError
from dpt_ros.config import ConfigError


@pytest.mark.parametrize(
    ("image", "camera_info"),
    [
        ("/camera/image_rect", "/camera/camera_info"),
        ("/camera/image_rect/compressed", "/camera/camera_info"),
        ("/image", "/camera_info"),
        ("left/image", "left/camera_info"),
        ("image_rect", "camera_info"),
        ("image_rect/compressed", "camera_info"),
    ],
)
def test_a_camera_info_lies_beside_its_pictures_in_their_namespace(image, camera_info):
    assert camera_info_beside(image) == camera_info


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


def test_pictures_recorded_twice_are_taken_uncompressed(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    for ns in STAMPS:
        rgb = np.full((24, 32, 3), 200, np.uint8)
        messages.append(("/camera/image_raw/compressed", ns, recordings.compressed(ns, rgb)))
    samples, _ = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [int(sample.rgb[0, 0, 0]) for sample in samples] == [0, 1, 2, 3]
    fewer = [m for m in messages if m[0] != "/camera/image_raw" or m[1] != STAMPS[1]]
    bag = recordings.write_bag(tmp_path / "fewer", fewer)
    with pytest.raises(BagError, match=r"no topic was chosen.*/camera/image_raw/compressed"):
        samples_of(bag)


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
        "transforms:\n  - {parent: camera, child: lidar, "
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


def two_cameras(tmp_path, recordings, info_frame="right", image_frame="left"):
    """Pictures of both cameras of a pair, and the camera_info of the right one alone."""
    names = {"/camera/image_raw": "/left/image_raw", "/camera/camera_info": "/right/camera_info"}
    messages = [(names.get(topic, topic), ns, m) for topic, ns, m in recordings.drive(STAMPS[:1])]
    images = [(topic, ns, m) for topic, ns, m in messages if topic == "/left/image_raw"]
    messages += [("/right/image_raw", ns, m) for _, ns, m in images]
    for topic, _, message in messages:
        if topic in ("/left/image_raw", "/right/camera_info"):
            message.header.frame_id = image_frame if "image" in topic else info_frame
    return recordings.write_bag(tmp_path / "bag", messages)


def test_the_calibration_of_another_camera_is_not_taken_unasked(tmp_path, recordings):
    bag = two_cameras(tmp_path, recordings)
    chosen = {"image_topic": "/left/image_raw", "camera_frame": "camera"}
    said = (
        "has no /left/camera_info, and /right/camera_info has the frame 'right', /left/image_raw "
        "the frame 'left'.*--camera-info-topic"
    )
    with pytest.raises(BagError, match=said):
        samples_of(bag, **chosen)
    with BagReader(bag) as reader:
        assert camera_info_topic(reader, "/left/image_raw") is None
    samples, stream = samples_of(bag, camera_info_topic="/right/camera_info", **chosen)
    assert len(samples) == 1
    assert "'left': is it the same camera?" in stream.warnings[0]


@pytest.mark.parametrize(("info_frame", "image_frame"), [("left", "/left"), ("", "left")])
def test_the_only_calibration_is_taken_where_no_frame_speaks_against_it(
    tmp_path, recordings, info_frame, image_frame
):
    bag = two_cameras(tmp_path, recordings, info_frame, image_frame)
    samples, stream = samples_of(bag, image_topic="/left/image_raw", camera_frame="camera")
    assert len(samples) == 1
    assert not any("same camera" in text for text in stream.warnings)


def test_several_odometries_are_named(tmp_path, recordings):
    messages = recordings.drive(STAMPS[:1])
    names = ["/odom", "/odometry/filtered"]
    messages += [(name, STAMPS[0], recordings.odometry(STAMPS[0], np.eye(4))) for name in names]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    _, stream = samples_of(bag)
    said = "several odometry topics (/odom, /odometry/filtered), none chosen by --odometry-topic"
    assert said in stream.warnings[0]
    with BagReader(bag) as reader:
        assert find_topics(reader, odometry="/odom").odometry_choices == ()


@pytest.mark.parametrize(
    "topic",
    [
        "/image_rect",
        "/cam/image_rect_color/compressed",
        "/infra1/image_rect_raw",
        "/left/rectified/image",
        "/cam/rect/image",
        "/zed/left/image_rectified",
    ],
)
def test_names_that_say_rectified(topic):
    assert is_rectified(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "/cam/image_unrectified",
        "/cam/direct_image",
        "/direct/image_raw",
        "/rect/left/image_raw",
        "/cam/image_raw/compressed",
    ],
)
def test_names_that_do_not(topic):
    assert not is_rectified(topic)
