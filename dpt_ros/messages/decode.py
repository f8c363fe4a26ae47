"""Image and CompressedImage messages to rgb arrays.

ROS's cv_bridge is not used, not for the uncommon encodings either: its Python half shears the
picture where a padded `step` is no multiple of the pixel, calls ndarray.newbyteorder (gone from
NumPy 2) for big-endian data, and knows no nv12, nv21, nv24 or i420; the `cv-bridge` on PyPI is a
ROS 1 build that ignores `step`. The rest of it is a call to cv2.cvtColor, made here directly.

What the ROS encodings leave open:

- 8UC1, 8UC3, 8UC4 and 16UC1, 16UC3, 16UC4 are grey, bgr and bgra, as cv_bridge shows them.
- 16-bit values become 8-bit by `>> 8`: full scale is 65535. A driver whose 12-bit values sit in the
  low bits gives a dark picture and must scale them itself; `low_bits_doubt` tells.
- 32FC1 and 32FC3 (grey, bgr) are 0 to 1; NaN and infinities become 0. A range far from 0 to 1 is
  refused, since a depth image wired to the wrong topic would otherwise pass as a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpt_ros.messages.color import (
    BAYER_MINIMUM_SIDE,
    BAYER_TO_RGB,
    convert,
    demosaic,
    yuv444_to_rgb,
)
from dpt_ros.messages.compressed import compressed_to_rgb
from dpt_ros.messages.errors import MessageError
from dpt_ros.messages.payload import payload_bytes

__all__ = ["ENCODINGS", "MessageError", "image_to_rgb", "low_bits_doubt"]


@dataclass(frozen=True)
class _Packed:
    """Interleaved pixels: values per pixel, bytes per value, cv2's code to rgb (None: is rgb)."""

    channels: int
    value_bytes: int
    code: int | None
    even_width: bool = False


_UYVY = _Packed(2, 1, cv2.COLOR_YUV2RGB_UYVY, even_width=True)
_YUYV = _Packed(2, 1, cv2.COLOR_YUV2RGB_YUY2, even_width=True)
_PACKED = {
    "rgb8": _Packed(3, 1, None),
    "bgr8": _Packed(3, 1, cv2.COLOR_BGR2RGB),
    "rgba8": _Packed(4, 1, cv2.COLOR_RGBA2RGB),
    "bgra8": _Packed(4, 1, cv2.COLOR_BGRA2RGB),
    "mono8": _Packed(1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Packed(3, 2, None),
    "bgr16": _Packed(3, 2, cv2.COLOR_BGR2RGB),
    "rgba16": _Packed(4, 2, cv2.COLOR_RGBA2RGB),
    "bgra16": _Packed(4, 2, cv2.COLOR_BGRA2RGB),
    "mono16": _Packed(1, 2, cv2.COLOR_GRAY2RGB),
    "8UC1": _Packed(1, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Packed(3, 1, cv2.COLOR_BGR2RGB),
    "8UC4": _Packed(4, 1, cv2.COLOR_BGRA2RGB),
    "16UC1": _Packed(1, 2, cv2.COLOR_GRAY2RGB),
    "16UC3": _Packed(3, 2, cv2.COLOR_BGR2RGB),
    "16UC4": _Packed(4, 2, cv2.COLOR_BGRA2RGB),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
}
_BAYER = {
    f"bayer_{pattern}{8 * value_bytes}": (pattern, value_bytes)
    for pattern in BAYER_TO_RGB
    for value_bytes in (1, 2)
}
_FLOAT_CHANNELS = {"32FC1": 1, "32FC3": 3}
_YUV420_TO_RGB = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
    "i420": cv2.COLOR_YUV2RGB_I420,
}

#: The values of `encoding` that image_to_rgb reads.
ENCODINGS = (*_PACKED, *_BAYER, *_FLOAT_CHANNELS, *_YUV420_TO_RGB, "nv24")

_BRIGHTEST_OF_12_BITS = 2**12 >> 8

#: A float picture may overshoot 0 to 1 by this much (resampling does) and is then clipped.
_FLOAT_OVERSHOOT = 0.1


def image_to_rgb(msg: Any) -> NDArray[np.uint8]:
    """Decode a sensor_msgs Image or CompressedImage of rclpy or rosbags.

    Returns:
        rgb uint8 [H,W,3], C-contiguous. For rgb8 without row padding it is a read-only view of the
        message's own data: copy it before changing it or reusing the message.

    Raises:
        MessageError: the message is empty, too short, of unknown encoding or broken.
    """
    if hasattr(msg, "encoding"):
        return _raw_to_rgb(msg)
    if hasattr(msg, "format"):
        return compressed_to_rgb(msg)
    raise MessageError(
        f"got a {type(msg).__name__}, expected a sensor_msgs Image or CompressedImage: "
        "subscribe to a camera's picture"
    )


def low_bits_doubt(msg: Any, rgb: NDArray[np.uint8]) -> str:
    """That an Image of 16-bit values seems to have its picture in the lower 12; "" if it does not.

    Args:
        msg: the message; only raw ones are doubted.
        rgb: what `image_to_rgb` made of it.
    """
    encoding = getattr(msg, "encoding", "")
    packed = _PACKED.get(encoding)
    value_bytes = packed.value_bytes if packed else _BAYER.get(encoding, ("", 1))[1]
    if value_bytes < 2 or int(rgb.max()) >= _BRIGHTEST_OF_12_BITS:
        return ""
    return (
        f"the {encoding} images have no value of 4096 or more, of 65535: if the camera has 12 bits "
        "or fewer, scale them to 16 in its driver; depth of nearly black pictures means nothing"
    )


def _raw_to_rgb(msg: Any) -> NDArray[np.uint8]:
    encoding = msg.encoding
    if encoding not in ENCODINGS:
        raise MessageError(
            f"unknown image encoding {encoding!r}: expected one of {', '.join(ENCODINGS)}; "
            "convert the picture in its driver or with image_proc"
        )
    if msg.width < 1 or msg.height < 1:
        raise MessageError(
            f"{_name(msg)} has no pixels: expected width and height of at least 1; "
            "check the camera's driver"
        )
    if encoding in _PACKED:
        return _packed_to_rgb(msg, _PACKED[encoding])
    if encoding in _BAYER:
        return _bayer_to_rgb(msg, *_BAYER[encoding])
    if encoding in _FLOAT_CHANNELS:
        return _float_to_rgb(msg, _FLOAT_CHANNELS[encoding])
    if encoding in _YUV420_TO_RGB:
        return _yuv420_to_rgb(msg)
    return _nv24_to_rgb(msg)


def _packed_to_rgb(msg: Any, packed: _Packed) -> NDArray[np.uint8]:
    if packed.even_width and msg.width % 2:
        raise MessageError(
            f"{_name(msg)} has an odd width: two pixels share their colour, so expected an even "
            "width; crop it in the driver"
        )
    rows = _rows(msg, msg.width * packed.channels * packed.value_bytes)
    values = _most_significant(rows, packed.value_bytes, msg.is_bigendian)
    pixels = values.reshape(msg.height, msg.width, packed.channels)
    return np.ascontiguousarray(pixels) if packed.code is None else convert(pixels, packed.code)


def _bayer_to_rgb(msg: Any, pattern: str, value_bytes: int) -> NDArray[np.uint8]:
    if min(msg.width, msg.height) < BAYER_MINIMUM_SIDE:
        raise MessageError(
            f"{_name(msg)} is too small to interpolate colours: expected at least "
            f"{BAYER_MINIMUM_SIDE}x{BAYER_MINIMUM_SIDE} pixels"
        )
    rows = _rows(msg, msg.width * value_bytes)
    return demosaic(_most_significant(rows, value_bytes, msg.is_bigendian), pattern)


def _float_to_rgb(msg: Any, channels: int) -> NDArray[np.uint8]:
    rows = _rows(msg, msg.width * channels * 4)
    values = rows.view(">f4" if msg.is_bigendian else "<f4")
    finite = np.isfinite(values)
    if not finite.any():
        raise MessageError(f"{_name(msg)} has no finite value: expected a picture of 0 to 1")
    values = np.where(finite, values, np.float32(0))
    low, high = float(values.min()), float(values.max())
    if low < -_FLOAT_OVERSHOOT or high > 1 + _FLOAT_OVERSHOOT:
        raise MessageError(
            f"{_name(msg)} has values from {low:g} to {high:g}, expected a picture of 0 to 1: "
            "is this a depth image? Connect the camera's picture, or scale it to 0 to 1"
        )
    scaled = np.clip(values, 0, 1) * np.float32(255) + np.float32(0.5)
    pixels = scaled.astype(np.uint8).reshape(msg.height, msg.width, channels)
    return convert(pixels, cv2.COLOR_GRAY2RGB if channels == 1 else cv2.COLOR_BGR2RGB)


def _yuv420_to_rgb(msg: Any) -> NDArray[np.uint8]:
    """Decode nv12, nv21 and i420: `step` is the luma row, the chroma rows follow it."""
    height, width = msg.height, msg.width
    if width % 2 or height % 2:
        raise MessageError(
            f"{_name(msg)} has an odd side: four pixels share their colour, so expected even "
            "width and height; crop it in the driver"
        )
    flat, stride = _planes(msg, Fraction(3, 2))
    if msg.encoding != "i420" or stride == width:
        buffer = flat.reshape(height * 3 // 2, stride)[:, :width]
    else:  # each chroma row has half the luma's stride: take the padding out plane by plane
        if stride % 2:
            raise MessageError(f"{_name(msg)} has step {stride}, expected an even step")
        luma = flat[: stride * height].reshape(height, stride)[:, :width]
        chroma = flat[stride * height :].reshape(height, stride // 2)[:, : width // 2]
        buffer = np.concatenate([luma.ravel(), chroma.ravel()]).reshape(height * 3 // 2, width)
    return convert(buffer, _YUV420_TO_RGB[msg.encoding])


def _nv24_to_rgb(msg: Any) -> NDArray[np.uint8]:
    """Decode nv24: luma rows of `step` bytes, then u-v rows of twice that."""
    height, width = msg.height, msg.width
    flat, stride = _planes(msg, Fraction(3))
    luma = flat[: stride * height].reshape(height, stride)[:, :width]
    chroma = flat[stride * height :].reshape(height, 2 * stride)[:, : 2 * width]
    return yuv444_to_rgb(np.dstack([luma, chroma.reshape(height, width, 2)]))


def _planes(msg: Any, bytes_per_pixel: Fraction) -> tuple[NDArray[np.uint8], int]:
    """All planes as flat bytes, and the luma stride.

    `step` is the luma stride as V4L2 and common_interfaces define it. Drivers that count a pixel's
    bytes over all planes (step = width * bytes per pixel, data = step * height) are read, too.
    """
    data = payload_bytes(msg.data)
    stride = msg.step
    needed = int(stride * msg.height * bytes_per_pixel)
    if stride == msg.width * bytes_per_pixel and len(data) == stride * msg.height:
        return data, msg.width
    if stride < msg.width:
        raise _step_error(msg, msg.width)
    if len(data) < needed:
        raise MessageError(
            f"{_name(msg)} has {len(data)} bytes, expected step {stride} x height x "
            f"{float(bytes_per_pixel):g} = {needed} with its colour planes: the message was cut "
            "off; check its driver or bridge"
        )
    return data[:needed], stride


def _rows(msg: Any, row_bytes: int) -> NDArray[np.uint8]:
    """The picture's bytes without row padding: uint8 [H, row_bytes], a strided view."""
    if msg.step < row_bytes:
        raise _step_error(msg, row_bytes)
    data = payload_bytes(msg.data)
    needed = msg.step * msg.height
    if len(data) < needed:
        raise MessageError(
            f"{_name(msg)} has {len(data)} bytes, expected step {msg.step} x height = {needed}: "
            "the message was cut off; check its driver or bridge"
        )
    return data[:needed].reshape(msg.height, msg.step)[:, :row_bytes]


def _step_error(msg: Any, row_bytes: int) -> MessageError:
    return MessageError(
        f"{_name(msg)} has step {msg.step}, expected at least {row_bytes} bytes a row: "
        "the driver fills in `step`, `width` or `encoding` wrongly"
    )


def _most_significant(
    rows: NDArray[np.uint8], value_bytes: int, is_bigendian: bool
) -> NDArray[np.uint8]:
    """The high byte of each value (value >> 8 for 16 bits), [H, values], contiguous if copied."""
    if value_bytes == 1:
        return rows
    return np.ascontiguousarray(rows[:, (0 if is_bigendian else 1) :: 2])


def _name(msg: Any) -> str:
    return f"the {msg.width}x{msg.height} {msg.encoding} image"
