"""Float and millimetre images to arrays: what the depth node publishes, read back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.messages.errors import MessageError
from dpt_ros.messages.payload import payload_bytes

DEPTH_ENCODINGS = ("32FC1", "16UC1", "mono16")


def image_to_float(msg: Any) -> NDArray[np.float32]:
    """Depth in metres or inverse depth from an Image.

    Args:
        msg: 32FC1, taken as it is (NaN, +Inf and -Inf kept, REP 117); 16UC1 or mono16 in
            millimetres, 0 = unknown (REP 118).

    Returns:
        float32 [H,W]: of 32FC1 its values, of millimetres metres with NaN where unknown.

    Raises:
        MessageError: another encoding, or fewer bytes than the size says.
    """
    encoding = getattr(msg, "encoding", type(msg).__name__)
    if encoding not in DEPTH_ENCODINGS:
        raise MessageError(
            f"got an image with encoding {encoding!r}, expected depth as "
            f"{', '.join(DEPTH_ENCODINGS)}: subscribe to a depth image"
        )
    kind = np.dtype(np.float32 if encoding == "32FC1" else np.uint16)
    kind = kind.newbyteorder(">" if msg.is_bigendian else "<")
    data = payload_bytes(msg.data)
    row_bytes = msg.width * kind.itemsize
    needed = msg.step * (msg.height - 1) + row_bytes
    if msg.width < 1 or msg.height < 1 or msg.step < row_bytes or data.size < needed:
        raise MessageError(
            f"got a {msg.width} x {msg.height} image of {encoding} with step {msg.step} and "
            f"{data.size} bytes, expected a step of at least {row_bytes} and {needed} bytes"
        )
    strides = (msg.step, kind.itemsize)
    shape = (msg.height, msg.width)
    pixels: NDArray[Any] = np.ndarray(shape, kind, data, strides=strides)
    if encoding == "32FC1":
        return pixels.astype(np.float32)  # a copy: the message's own data is read-only
    return np.where(pixels == 0, np.nan, pixels * np.float32(1e-3)).astype(np.float32)
