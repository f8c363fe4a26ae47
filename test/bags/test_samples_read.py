"""Pictures, cameras and depths of a recording become samples, however they are stored."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drive_samples import STAMPS, samples_of
from rosbags.rosbag2 import CompressionMode, StoragePlugin


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
    bag = recordings.write_bag(tmp_path / "bag", messages)
    _, stream = samples_of(bag, pictures="rectified")
    assert any("turns the picture by 0.57 degrees" in text for text in stream.warnings)
    assert any("moves the picture by 0.120 m" in text for text in stream.warnings)


def test_raw_pictures_are_neither_turned_nor_moved(tmp_path, recordings):
    """R and P of a stereo pair hold for its rectified pictures alone."""
    messages = recordings.drive(STAMPS[:1])
    info = next(m for topic, _, m in messages if topic == "/camera/camera_info")
    info.p[3] = -0.12 * info.p[0]
    _, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert not any("the picture by" in text for text in stream.warnings)


def test_a_cloud_far_from_the_origin_of_its_map_keeps_its_depth(tmp_path, recordings):
    """UTM, five million metres north of the equator: float32 counts in half metres there."""
    map_lidar = np.eye(4)
    map_lidar[:3, 3] = [500_000.3, 5_400_000.3, 200.3]
    map_camera = map_lidar @ np.linalg.inv(recordings.OPTICAL_FROM_LIDAR)
    at = STAMPS[0]
    wall = recordings.wall(5.25)
    records = np.zeros(len(wall), [(name, "<f8") for name in "xyz"])
    for axis, name in enumerate("xyz"):
        records[name] = wall[:, axis] + map_lidar[axis, 3]
    messages = recordings.drive([at], static=False)
    scan = recordings.cloud_of_records(at, records, "map")
    messages[-1] = ("/points", at, scan)
    pose = ("map", "camera", map_camera)
    messages.append(("/tf_static", at, recordings.transforms(at, pose)))
    (sample,), _ = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    depth_m = sample.depth_m[np.isfinite(sample.depth_m)]
    assert len(depth_m) > 20
    np.testing.assert_allclose(depth_m, 5.25, atol=1e-4)
