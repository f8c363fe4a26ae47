"""Camera files as `ros2 topic echo` prints them; those of camera_calibration: test_sources.py."""

from __future__ import annotations

import pytest

from dpt_ros.cli.camera_file import read_camera_file
from dpt_ros.config import ConfigError
from dpt_ros.messages.camera_info import camera_from_info

ECHOED = """
header:
  stamp: {sec: 1, nanosec: 0}
  frame_id: camera
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.1
- 0.0
- 0.0
- 0.0
- 0.0
k: [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [450.0, 0.0, 319.0, 0.0, 0.0, 460.0, 239.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 2
binning_y: 2
roi: {x_offset: 0, y_offset: 40, height: 400, width: 640, do_rectify: false}
---
"""


def test_an_echoed_message_is_read_as_it_was_published(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(ECHOED + ECHOED.replace("500.0", "1.0"))  # of several messages the first
    info = read_camera_file(path)
    assert (info.width, info.height, info.distortion_model) == (640, 480, "plumb_bob")
    assert info.d == [0.1, 0.0, 0.0, 0.0, 0.0]
    assert (info.k[0], info.k[4], info.p[0], info.p[5]) == (500.0, 510.0, 450.0, 460.0)
    assert (info.binning_x, info.binning_y) == (2, 2)
    roi = info.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (0, 40, 640, 400)
    # Two pixels of the sensor are one of the picture, whose first row is the sensor's 40th.
    camera = camera_from_info(info, True, 320, 200)
    assert (camera.fx_px, camera.fy_px) == (225.0, 230.0)


def test_an_echoed_message_of_ros_1_is_read(tmp_path):
    path = tmp_path / "camera.yaml"
    text = ECHOED.replace("\nd:", "\nD:").replace("\nk:", "\nK:").replace("\np:", "\nP:")
    path.write_text(text)
    assert read_camera_file(path).k[0] == 500.0
    path.write_text("width: 640\nheight: 480\nK: [1, 0, 2, 0, 1, 2, 0, 0, 1]\n")
    info = read_camera_file(path)
    assert info.p == [1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert (info.d, info.binning_x, info.roi.width) == ([], 0, 0)


@pytest.mark.parametrize(
    ("given", "replaced", "message"),
    [
        ("height: 480", "height: tall", "height: expected an integer, got 'tall'"),
        ("k: [500.0, ", "k: [", "k: expected a list of 9 numbers"),
        ("binning_x: 2", "binning_x: 0.5", "binning_x: expected an integer, got 0.5"),
        ("roi: {x_offset: 0", "roi: {x_offset: a", "x_offset: expected an integer, got 'a'"),
        ("roi: {x_offset: 0, ", "roi: 4 # ", "roi: expected a mapping, got 4"),
    ],
)
def test_a_faulty_echoed_message_is_refused(tmp_path, given, replaced, message):
    path = tmp_path / "camera.yaml"
    path.write_text(ECHOED.replace(given, replaced))
    with pytest.raises(ValueError, match=f"{message}.*ros2 topic echo --once"):
        read_camera_file(path)


@pytest.mark.parametrize("text", ["", "- a\n", "%YAML:1.0\n---\nimage_width: 640\n"])
def test_what_is_no_camera_file_says_which_are(tmp_path, text):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"camera.yaml(.|\n)*as ROS's camera_calibration writes"):
        read_camera_file(path)
