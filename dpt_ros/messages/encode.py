"""Arrays to Image and PointCloud2 messages, per REP 117 and REP 118.

`image_type`, `cloud_type` and `field_type` are message classes; None means sensor_msgs.msg. Those
of a rosbags type store work as well (a header of the same store with them). The header object is
taken as it is, stamp and frame untouched; the pixels are copied once, or not at all if all of an
`array.array("B")` is what the array shows: a ROS message then takes that as its data.

ROS's cv_bridge and sensor_msgs_py are not used: cv_bridge copies twice through `tobytes()`, and
sensor_msgs_py.point_cloud2.create_cloud swaps width and height of an organised cloud.
"""

from __future__ import annotations

import array
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.messages.errors import MessageError

_FLOAT32 = 7  # sensor_msgs/PointField.FLOAT32
_POINT_FIELDS = ("x", "y", "z", "rgb")
_ROWS_AT_ONCE = 16


def float_to_image(values: NDArray[np.float32], header: Any, image_type: Any | None = None) -> Any:
    """Depth in metres or inverse depth, float32 [H,W] -> Image 32FC1 (NaN and Inf kept).

    Raises:
        MessageError: another shape or dtype.
    """
    _check(values, np.float32, "[H,W]", values.ndim == 2)
    return _image(values, "32FC1", header, image_type)


def millimetres_to_image(
    depth_mm: NDArray[np.uint16], header: Any, image_type: Any | None = None
) -> Any:
    """Depth in millimetres (0 = invalid), uint16 [H,W] -> Image 16UC1.

    Raises:
        MessageError: another shape or dtype.
    """
    _check(depth_mm, np.uint16, "[H,W]", depth_mm.ndim == 2)
    return _image(depth_mm, "16UC1", header, image_type)


def rgb_to_image(rgb: NDArray[np.uint8], header: Any, image_type: Any | None = None) -> Any:
    """Colours, uint8 [H,W,3] -> Image rgb8.

    Raises:
        MessageError: another shape or dtype.
    """
    _check(rgb, np.uint8, "[H,W,3]", rgb.ndim == 3 and rgb.shape[-1] == 3)
    return _image(rgb, "rgb8", header, image_type)


def points_to_cloud(
    points: NDArray[np.float32],
    header: Any,
    cloud_type: Any | None = None,
    field_type: Any | None = None,
    is_dense: bool | None = None,
) -> Any:
    """Organised cloud, float32 [H,W,4] of x, y, z in metres and packed rgb -> PointCloud2.

    Args:
        points: rgb is 0x00RRGGBB reinterpreted as float32, as PCL and RViz read it.
        header: std_msgs Header of the same family of types.
        cloud_type: PointCloud2 class; None for sensor_msgs.msg.PointCloud2.
        field_type: PointField class, needed when cloud_type is given.
        is_dense: whether all of x, y, z is finite; None looks for it.

    Raises:
        MessageError: another shape or dtype, or only one of the two types given.
    """
    _check(points, np.float32, "[H,W,4]", points.ndim == 3 and points.shape[-1] == 4)
    if (cloud_type is None) != (field_type is None):
        raise MessageError(
            f"got cloud_type={cloud_type} and field_type={field_type}, expected both or neither"
        )
    if cloud_type is None or field_type is None:
        from sensor_msgs.msg import PointCloud2, PointField

        cloud_type, field_type = PointCloud2, PointField
    height, width, _ = points.shape
    fields = [
        field_type(name=name, offset=4 * index, datatype=_FLOAT32, count=1)
        for index, name in enumerate(_POINT_FIELDS)
    ]
    return _message(
        cloud_type,
        points,
        header=header,
        height=height,
        width=width,
        fields=fields,
        is_bigendian=False,
        point_step=16,
        row_step=16 * width,
        is_dense=_is_finite(points) if is_dense is None else is_dense,
    )


def _check(values: NDArray[Any], dtype: Any, shape: str, shape_fits: bool) -> None:
    if values.dtype.newbyteorder("=") != dtype or not shape_fits:
        raise MessageError(
            f"got {values.dtype} {list(values.shape)}, expected {np.dtype(dtype).name} {shape}"
        )


def _is_finite(points: NDArray[np.float32]) -> bool:
    """Whether no value is NaN or infinite; a packed 0x00RRGGBB never is.

    A few rows at a time stay in the cache, and a sky in the first of them is the answer.
    """
    starts = range(0, len(points), _ROWS_AT_ONCE)
    return all(np.isfinite(points[row : row + _ROWS_AT_ONCE]).all() for row in starts)


def _image(pixels: NDArray[Any], encoding: str, header: Any, image_type: Any | None) -> Any:
    if image_type is None:
        from sensor_msgs.msg import Image

        image_type = Image
    height, width = pixels.shape[:2]
    pixel_bytes = pixels.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)
    return _message(
        image_type,
        pixels,
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * pixel_bytes,
    )


def _message(message_type: Any, values: NDArray[Any], **fields: Any) -> Any:
    """Build the message with the array's bytes, little-endian and in C order, as its data."""
    little = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    flat = little.reshape(-1).view(np.uint8)
    is_rosbags = dataclasses.is_dataclass(message_type)
    if is_rosbags:
        return message_type(**fields, data=flat.copy())
    message = message_type(**fields)
    if (memory := _array_below(flat)) is not None and _take(message, memory):
        return message
    # Appending to the fresh array.array is one memcpy in every distribution; assigning to `data`
    # checks each byte in Python where field checks are on.
    message.data.frombytes(flat)
    return message


def _take(message: Any, memory: array.array[int]) -> bool:
    """Make `memory` the data of a message, if its class lets us; whether it did."""
    try:
        # Not through `data`: since Jazzy its setter copies, unless field checks are on.
        message._data = memory
    except AttributeError:
        return False
    return message.data is memory


def _array_below(flat: NDArray[np.uint8]) -> array.array[int] | None:
    """The array.array of bytes that `flat` shows all of; None if there is none."""
    base: Any = flat
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    is_bytes = isinstance(base, array.array) and base.typecode == "B"
    return base if is_bytes and len(base) == flat.size else None
