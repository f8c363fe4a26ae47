"""The file for Foxglove, read back with another library (mcap) than the one that wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from dpt_ros.config import ConfigError
from dpt_ros.evaluation.foxglove_file import POINT, FoxgloveFile, predicted_points
from dpt_ros.evaluation.live import LiveFrame
from dpt_ros.evaluation.scoring import FrameScore
from dpt_ros.geometry.camera import Camera
from dpt_ros.metrics import METRICS

WIDTH, HEIGHT = 32, 24
STAMP_NS = 1_700_000_000_123_456_789
CAMERA = Camera(WIDTH, HEIGHT, 30.0, 31.0, 15.2, 11.7)
TOPICS = {"/tf", "/camera", "/camera_info", "/depth", "/points", "/lidar", "/error", "/scores"}


def make_frame(truth: bool = True) -> LiveFrame:
    random = np.random.default_rng(0)
    depth_m = random.uniform(4.0, 4.3, (HEIGHT, WIDTH)).astype(np.float32)
    depth_m[0, 0], depth_m[2, 2] = np.inf, np.nan
    truth_m = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    truth_m[5, 7], truth_m[20, 30] = 2.0, 4.0
    return LiveFrame(
        name="a/1",
        stamp_ns=STAMP_NS,
        rgb=np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8),
        inverse_depth=1.0 / depth_m,
        depth_m=depth_m,
        truth_m=truth_m if truth else None,
        camera=CAMERA if truth else None,
    )


def make_score() -> FrameScore:
    values = np.arange(len(METRICS), dtype=np.float64)[None]
    values[0, 1] = np.nan
    return FrameScore("a/1", "full", "calibration", values, np.array([2]))


def read(path: Path) -> dict[str, tuple[int, Any]]:
    """By topic: the time at which the last message was logged, and the message."""
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory

    found = {}
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            if channel.message_encoding == "json":
                decoded = json.loads(message.data)
            else:
                decoder = DecoderFactory().decoder_for(channel.message_encoding, schema)
                assert decoder is not None
                decoded = decoder(message.data)
            found[channel.topic] = (message.log_time, decoded)
    return found


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Any]]:
    path = tmp_path_factory.mktemp("foxglove") / "new" / "scored.mcap"
    frame = make_frame()
    with FoxgloveFile(path) as file:
        file.add(frame, make_score(), frame.depth_m)
    assert [p.name for p in path.parent.iterdir()] == ["scored.mcap"]
    return read(path)


def points_of(message: Any) -> Any:
    assert [(f.name, f.offset) for f in message.fields] == [
        (name, offset) for name, (_, offset) in POINT.fields.items()
    ]
    assert message.frame_id == "camera"
    return np.frombuffer(message.data, POINT)


def test_every_topic_has_the_pictures_stamp(messages):
    assert set(messages) == TOPICS
    for topic, (logged_ns, message) in messages.items():
        assert logged_ns == STAMP_NS
        if topic != "/scores":
            assert message.timestamp.ToNanoseconds() == STAMP_NS


def test_depth_is_what_was_shown(messages):
    depth = messages["/depth"][1]
    assert (depth.encoding, depth.width, depth.height, depth.step) == ("32FC1", 32, 24, 128)
    read_back = np.frombuffer(depth.data, "<f4").reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(read_back, make_frame().depth_m)


def test_camera_info_is_the_cameras(messages):
    info = messages["/camera_info"][1]
    assert list(info.K) == [30.0, 0.0, 15.2, 0.0, 31.0, 11.7, 0.0, 0.0, 1.0]
    assert list(info.P) == [30.0, 0.0, 15.2, 0.0, 0.0, 31.0, 11.7, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert (info.width, info.height, info.distortion_model, list(info.D)) == (32, 24, "", [])


def test_points_fall_on_their_pixels_in_the_pictures_colour(messages):
    points = points_of(messages["/points"][1])
    assert len(points) == (HEIGHT // 2) * (WIDTH // 2) - 2  # no point at +Inf and at NaN
    xyz = torch.from_numpy(np.stack([points[name] for name in "xyz"], -1).astype(np.float64))
    pixels = CAMERA.project(xyz).numpy()
    places = pixels.round().astype(int)
    np.testing.assert_allclose(pixels, places, atol=1e-4)
    assert not (places % 2).any()
    depth_m = make_frame().depth_m
    np.testing.assert_array_equal(points["z"], depth_m[places[:, 1], places[:, 0]])
    assert {tuple(p)[3:] for p in points.tolist()} == {(200, 100, 50, 255)}


def test_points_that_hang_between_an_object_and_what_is_behind_it_are_left_out():
    depth_m = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth_m[:, 16], depth_m[:, 17:] = 4.0, 8.0
    points = predicted_points(depth_m, make_frame().rgb, CAMERA)
    assert set(points["z"].tolist()) == {2.0, 8.0}
    assert len(points) == (HEIGHT // 2) * (WIDTH // 2 - 1)


def test_measured_points_are_where_they_were_measured(messages):
    points = points_of(messages["/lidar"][1])
    assert points["z"].tolist() == [2.0, 4.0]
    assert points["x"][0] == pytest.approx((7 - 15.2) / 30.0 * 2.0, abs=1e-6)
    assert points["y"][1] == pytest.approx((20 - 11.7) / 31.0 * 4.0, abs=1e-6)


def test_pictures_are_jpeg(messages):
    for topic in ("/camera", "/error"):
        picture = messages[topic][1]
        pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert (picture.format, pixels.shape) == ("jpeg", (HEIGHT, WIDTH, 3))
        if topic == "/camera":
            assert np.abs(pixels[12, 16].astype(int) - (200, 100, 50)).max() < 6


def test_scores_are_json_without_nan(messages):
    scores = messages["/scores"][1]
    assert scores["alignment"] == "calibration"
    assert (scores["abs_rel"], scores["sq_rel"], scores["rmse"]) == (0.0, None, 2.0)


def test_forward_is_foxgloves_x(messages):
    """The optical z axis, turned by the quaternion, is x; the optical y axis (down) is -z."""
    rotation = messages["/tf"][1].rotation
    w, v = rotation.w, np.array([rotation.x, rotation.y, rotation.z])

    def turn(p):
        return p + 2.0 * np.cross(v, np.cross(v, p) + w * p)

    np.testing.assert_allclose(turn(np.array([0.0, 0.0, 1.0])), [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(turn(np.array([0.0, 1.0, 0.0])), [0.0, 0.0, -1.0], atol=1e-12)


def test_without_metres_or_camera_there_is_the_picture(tmp_path):
    path = tmp_path / "a.mcap"
    with FoxgloveFile(path) as file:
        file.add(make_frame(truth=False), None, None)
    assert set(read(path)) == {"/tf", "/camera"}


def test_what_broke_off_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.mcap"
    path.write_bytes(b"earlier")
    with pytest.raises(KeyError), FoxgloveFile(path) as file:
        file.add(make_frame(), make_score(), None)
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["a.mcap"]
    assert path.read_bytes() == b"earlier"


def test_a_disk_that_is_nearly_full_is_told_and_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.mcap"
    path.write_bytes(b"earlier")
    free = iter([60, 40, 60])
    monkeypatch.setattr(
        "dpt_ros.evaluation.foxglove_file.shutil.disk_usage",
        lambda folder: SimpleNamespace(free=next(free) << 20),
    )
    with FoxgloveFile(path) as file:
        file.add(make_frame(), None, None)
        assert file.failure == ""
        file.add(make_frame(), None, None)
        file.add(make_frame(), None, None)
    assert "the disk is nearly full: less than 50 MiB are free at" in file.failure
    assert [p.name for p in tmp_path.iterdir()] == ["a.mcap"]
    assert path.read_bytes() == b"earlier"


def test_what_the_library_could_not_write_is_told(tmp_path):
    """A file may grow no larger here, as at 4 GiB on a stick with FAT."""
    program = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from dpt_ros.evaluation.foxglove_file import FoxgloveFile\n"
        "from dpt_ros.evaluation.live import LiveFrame\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "depth_m = np.random.default_rng(0).uniform(1, 9, (480, 640)).astype(np.float32)\n"
        "frame = LiveFrame('a/1', 1, np.zeros((480, 640, 3), np.uint8), depth_m)\n"
        "with FoxgloveFile(sys.argv[1]) as file:\n"
        "    file.add(frame, None, depth_m)\n"
        "print(file.failure)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.mcap")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("it could not be written: ")
    assert not list(tmp_path.iterdir())


def test_says_how_to_install_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "foxglove", None)
    with pytest.raises(ConfigError, match=r"a\.mcap.*pip install foxglove-sdk"):
        FoxgloveFile(tmp_path / "a.mcap")
    assert not list(tmp_path.iterdir())
