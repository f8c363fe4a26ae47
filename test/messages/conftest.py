"""The same messages from both makers: rclpy's types and rosbags' types."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

STAMP = (1_600_000_000, 123_456_789)


def _rclpy_family():
    messages = pytest.importorskip("sensor_msgs.msg", reason="no ROS 2 message packages")
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    def fill(message, data):
        message.data.frombytes(np.ascontiguousarray(data, np.uint8).tobytes())
        return message

    return SimpleNamespace(
        name="rclpy",
        Time=Time,
        Header=Header,
        Image=messages.Image,
        CompressedImage=messages.CompressedImage,
        CameraInfo=messages.CameraInfo,
        RegionOfInterest=messages.RegionOfInterest,
        PointCloud2=messages.PointCloud2,
        PointField=messages.PointField,
        with_data=lambda cls, data, **fields: fill(cls(**fields), data),
    )


def _rosbags_family():
    types = get_typestore(Stores.ROS2_JAZZY).types
    names = ("Image", "CompressedImage", "CameraInfo", "RegionOfInterest")
    return SimpleNamespace(
        name="rosbags",
        Time=types["builtin_interfaces/msg/Time"],
        Header=types["std_msgs/msg/Header"],
        **{name: types[f"sensor_msgs/msg/{name}"] for name in names},
        PointCloud2=types["sensor_msgs/msg/PointCloud2"],
        PointField=types["sensor_msgs/msg/PointField"],
        with_data=lambda cls, data, **fields: cls(
            **fields, data=np.array(data, np.uint8).reshape(-1)
        ),
    )


@pytest.fixture(params=["rclpy", "rosbags"])
def family(request):
    """Message classes of one maker, and functions that fill them in."""
    family = _rclpy_family() if request.param == "rclpy" else _rosbags_family()

    def header(frame_id="camera_optical_frame"):
        stamp = family.Time(sec=STAMP[0], nanosec=STAMP[1])
        return family.Header(stamp=stamp, frame_id=frame_id)

    def image(encoding, width, height, step, data, is_bigendian=0):
        return family.with_data(
            family.Image,
            data,
            header=header(),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=is_bigendian,
            step=step,
        )

    def compressed(message_format, data):
        return family.with_data(
            family.CompressedImage, data, header=header(), format=message_format
        )

    def camera_info(**changes):
        roi = dict.fromkeys(("x_offset", "y_offset", "height", "width"), 0)
        fields = {
            "width": 640,
            "height": 480,
            "distortion_model": "plumb_bob",
            "d": np.array([0.1, -0.2, 0.001, 0.002, 0.03]),
            "k": np.array([500.0, 0, 320, 0, 510, 240, 0, 0, 1]),
            "r": np.eye(3).reshape(-1),
            "p": np.array([400.0, 0, 310, -40, 0, 420, 230, 0, 0, 0, 1, 0]),
            "binning_x": 0,
            "binning_y": 0,
            **changes,
        }
        roi.update(fields.pop("roi", {}))
        roi = family.RegionOfInterest(**roi, do_rectify=False)
        return family.CameraInfo(header=header(), roi=roi, **fields)

    family.header, family.image = header, image
    family.compressed, family.camera_info = compressed, camera_info
    return family
