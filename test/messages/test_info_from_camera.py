from __future__ import annotations

import pytest
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
