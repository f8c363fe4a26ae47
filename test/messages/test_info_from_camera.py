from __future__ import annotations

import pytest
import torch
from std_msgs.msg import Header

from dpt_ros.geometry.camera import Camera
from dpt_ros.messages.camera_info import camera_from_info, info_from_camera


@pytest.mark.parametrize(
    "camera",
    [
        Camera(64, 48, 50.0, 51.0, 30.0, 20.0),
        Camera(64, 48, 50.0, 51.0, 30.0, 20.0, "plumb_bob", (-0.1, 0.01, 0.0, 0.0, 0.0)),
        Camera(64, 48, 50.0, 51.0, 30.0, 20.0, "equidistant", (0.1, 0.01, 0.0, 0.0)),
    ],
)
def test_a_camera_survives_the_way_through_a_message(camera):
    header = Header(frame_id="camera_optical_frame")
    info = info_from_camera(camera, header)
    assert camera_from_info(info, rectified=False) == camera
    assert (info.p[0], info.p[2], info.p[5], info.p[6]) == (50.0, 30.0, 51.0, 20.0)
    assert info.header.frame_id == "camera_optical_frame"


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
def test_coefficients_of_zero_come_back_as_none_and_the_same_rays(model):
    count = 5 if model == "plumb_bob" else 8
    camera = Camera(64, 48, 50.0, 51.0, 30.0, 20.0, model, (0.0,) * count)
    read = camera_from_info(info_from_camera(camera, Header()), rectified=False)
    assert (read.distortion_model, read.distortion) == ("none", ())
    assert torch.equal(read.rays(), camera.rays())
