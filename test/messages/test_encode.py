from __future__ import annotations

import array
import copy
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from dpt_ros.messages.decode import image_to_rgb
from dpt_ros.messages.encode import (
    float_to_image,
    millimetres_to_image,
    points_to_cloud,
    rgb_to_image,
)
from dpt_ros.messages.errors import MessageError

NAN, INF = float("nan"), float("inf")
DEPTH_M = np.array([[1.5, NAN, INF], [-INF, 0.25, 80.0]], np.float32)
RGB_BITS = struct.unpack("<f", struct.pack("<I", 0x00C80A14))[0]  # red 200, green 10, blue 20


def to_bytes(message):
    return bytes(memoryview(message.data))


def cloud_points():
    """[2,3,4]: the hole is at row 1, column 2."""
    points = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    points[..., 3] = RGB_BITS
    points[1, 2, :3] = np.nan
    return points


def make_cloud(family, points):
    return points_to_cloud(points, family.header(), family.PointCloud2, family.PointField)


def check_image(message, encoding, width, height, step):
    assert (message.encoding, message.width, message.height) == (encoding, width, height)
    assert message.step == step
    assert message.is_bigendian == 0
    assert len(message.data) == step * height


def test_float_image_keeps_what_rep_117_says(family):
    message = float_to_image(DEPTH_M, family.header(), family.Image)
    check_image(message, "32FC1", width=3, height=2, step=12)
    values = struct.unpack("<6f", to_bytes(message))
    assert values[0] == 1.5
    assert np.isnan(values[1])
    assert values[2:] == (INF, -INF, 0.25, 80.0)


def test_millimetre_image(family):
    depth_mm = np.array([[0, 1500, 65535]], np.uint16)
    message = millimetres_to_image(depth_mm, family.header(), family.Image)
    check_image(message, "16UC1", width=3, height=1, step=6)
    assert struct.unpack("<3H", to_bytes(message)) == (0, 1500, 65535)


def test_rgb_image(family):
    rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    message = rgb_to_image(rgb, family.header(), family.Image)
    check_image(message, "rgb8", width=3, height=2, step=9)
    assert to_bytes(message) == bytes(range(18))
    np.testing.assert_array_equal(image_to_rgb(message), rgb)


def test_organised_cloud(family):
    cloud = make_cloud(family, cloud_points())
    assert (cloud.width, cloud.height) == (3, 2)
    assert (cloud.point_step, cloud.row_step) == (16, 48)
    assert cloud.is_bigendian is False
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
        ("rgb", 12, 7, 1),
    ]
    data = to_bytes(cloud)
    assert len(data) == 96
    # The point at row 1, column 1 is the fifth: 16, 17, 18 metres, red 200, green 10, blue 20.
    assert struct.unpack_from("<3f", data, 48 + 16) == (16.0, 17.0, 18.0)
    assert data[48 + 16 + 12 : 48 + 16 + 16] == bytes([20, 10, 200, 0])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_is_dense_is_the_truth(family, axis, value):
    points = np.ones((3, 4, 4), np.float32)
    assert make_cloud(family, points).is_dense is True
    points[2, 1, axis] = value
    assert make_cloud(family, points).is_dense is False


def encoders(family):
    return [
        (float_to_image, np.ones((2, 3), np.float32), (family.Image,)),
        (millimetres_to_image, np.ones((2, 3), np.uint16), (family.Image,)),
        (rgb_to_image, np.ones((2, 3, 3), np.uint8), (family.Image,)),
        (points_to_cloud, cloud_points(), (family.PointCloud2, family.PointField)),
    ]


def test_header_is_the_callers_and_unchanged(family):
    for encode, values, types in encoders(family):
        header = family.header("some_frame")
        before = copy.deepcopy(header)
        message = encode(values, header, *types)
        assert message.header == before
        assert header == before


def test_arrays_of_any_layout(family):
    for encode, values, types in encoders(family):
        expected = to_bytes(encode(values, family.header(), *types))
        apart = np.repeat(values, 2, axis=1)[:, ::2]
        assert not apart.flags.c_contiguous
        assert to_bytes(encode(apart, family.header(), *types)) == expected
        assert to_bytes(encode(np.asfortranarray(values), family.header(), *types)) == expected
        swapped = values.astype(values.dtype.newbyteorder(">"))
        assert to_bytes(encode(swapped, family.header(), *types)) == expected


def test_message_does_not_share_the_array(family):
    for encode, values, types in encoders(family):
        message = encode(values, family.header(), *types)
        before = to_bytes(message)
        values[...] = 9
        assert to_bytes(message) == before


def test_all_of_an_array_of_bytes_is_taken_without_a_copy():
    messages = pytest.importorskip("sensor_msgs.msg", reason="no ROS 2 message packages")
    from std_msgs.msg import Header

    memory = array.array("B", bytes(2 * 3 * 4))
    pixels = np.frombuffer(memory, np.float32).reshape(2, 3)
    pixels[...] = DEPTH_M
    message = float_to_image(pixels, Header(), messages.Image)
    assert message.data is memory
    assert bytes(message.data) == DEPTH_M.tobytes()


@pytest.mark.parametrize(
    "part",
    [
        lambda pixels: pixels[:1],
        lambda pixels: pixels[:, ::-1],
        lambda pixels: pixels.T,
        lambda pixels: pixels.astype(">f4"),
    ],
)
def test_another_view_of_an_array_of_bytes_is_copied(family, part):
    memory = array.array("B", DEPTH_M.tobytes())
    view = part(np.frombuffer(memory, np.float32).reshape(2, 3))
    message = float_to_image(view, family.header(), family.Image)
    assert message.data is not memory
    assert to_bytes(message) == np.ascontiguousarray(view, "<f4").tobytes()


def test_wrong_arrays_are_refused(family):
    header = family.header()
    with pytest.raises(MessageError, match=r"got float64 \[2, 2\], expected float32 \[H,W\]"):
        float_to_image(np.ones((2, 2)), header, family.Image)
    with pytest.raises(MessageError, match=r"got float32 \[1, 2, 2\], expected float32 \[H,W\]"):
        float_to_image(np.ones((1, 2, 2), np.float32), header, family.Image)
    with pytest.raises(MessageError, match=r"got int32 \[2, 2\], expected uint16"):
        millimetres_to_image(np.ones((2, 2), np.int32), header, family.Image)
    with pytest.raises(MessageError, match=r"expected uint8 \[H,W,3\]"):
        rgb_to_image(np.ones((2, 2, 4), np.uint8), header, family.Image)
    with pytest.raises(MessageError, match=r"expected float32 \[H,W,4\]"):
        make_cloud(family, np.ones((2, 4), np.float32))
    with pytest.raises(MessageError, match="expected both or neither"):
        points_to_cloud(cloud_points(), header, family.PointCloud2)


@pytest.mark.parametrize("family", ["rclpy"], indirect=True)
def test_rosbags_reads_what_rclpy_serialises(family):
    """The default types, through the real serialiser, to another implementation of CDR."""
    serialization = pytest.importorskip("rclpy.serialization")
    store = get_typestore(Stores.ROS2_JAZZY)
    header = family.header()
    image = store.deserialize_cdr(
        serialization.serialize_message(float_to_image(DEPTH_M, header)), "sensor_msgs/msg/Image"
    )
    np.testing.assert_array_equal(image.data.view("<f4").reshape(2, 3), DEPTH_M)
    assert (image.header.stamp.sec, image.header.stamp.nanosec) == (1_600_000_000, 123_456_789)
    cloud = store.deserialize_cdr(
        serialization.serialize_message(points_to_cloud(cloud_points(), header)),
        "sensor_msgs/msg/PointCloud2",
    )
    np.testing.assert_array_equal(cloud.data.view("<f4").reshape(2, 3, 4), cloud_points())
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"]
    assert cloud.is_dense is False


FIELD_CHECKS = """
import time
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from dpt_ros.messages.encode import float_to_image, points_to_cloud

def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start

depth = np.ones((480, 640), np.float32)
points = np.ones((480, 640, 4), np.float32)
byte_by_byte = seconds(lambda: setattr(Image(), "data", depth.tobytes()))
quick = min(
    seconds(lambda: (float_to_image(depth, Header()), points_to_cloud(points, Header())))
    for _ in range(3)
)
print(byte_by_byte, quick)
"""


def test_field_checks_do_not_slow_it_down():
    """With checks on, as always on Humble, a plain assignment looks at each byte in Python."""
    pytest.importorskip("sensor_msgs.msg", reason="no ROS 2 message packages")
    output = subprocess.run(
        [sys.executable, "-c", FIELD_CHECKS],
        env={**os.environ, "ROS_PYTHON_CHECK_FIELDS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    byte_by_byte, quick = map(float, output.split())
    if byte_by_byte < 0.02:
        pytest.skip("this distribution does not check fields")
    assert quick < byte_by_byte / 5
