"""Which topics, frames and transforms of a recording are used, and what is said when one lacks."""

from __future__ import annotations

import numpy as np
import pytest
from drive_samples import STAMPS, samples_of

from dpt_ros.bags.reader import BagError
from dpt_ros.bags.transforms import TransformError
from dpt_ros.config import ConfigError


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
