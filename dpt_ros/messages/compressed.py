"""CompressedImage messages (JPEG, PNG and what else OpenCV reads) to rgb arrays.

`format` is read as compressed_image_transport writes it: `ORIGINAL; CODEC compressed [STORED]`.
The picture's own bytes decide the codec; of `format` only this counts: `compressedDepth` is
refused, `compressed rgb...` means that the colours were stored in swapped order (what the transport
undoes on receipt), and a grey picture whose original is `bayer_...` is a mosaic. EXIF orientation
is ignored, since camera_info describes the sensor's own rows.
"""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpt_ros.messages.color import BAYER_MINIMUM_SIDE, BAYER_TO_RGB, convert, demosaic
from dpt_ros.messages.errors import MessageError
from dpt_ros.messages.payload import payload_bytes
from dpt_ros.messages.tiff import without_orientation

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff+([^\xff\x00\xd0-\xd7])", re.DOTALL)
"""Neither a 255 of the picture's data nor a restart within them."""


def compressed_to_rgb(msg: Any) -> NDArray[np.uint8]:
    """Decode a sensor_msgs CompressedImage -> rgb uint8 [H,W,3], C-contiguous.

    Raises:
        MessageError: no data, broken or truncated data, or a compressed depth image.
    """
    stored = msg.format.partition(";")[2] or msg.format
    if "compressedDepth" in msg.format:
        raise MessageError(
            f"the compressed image has format {msg.format!r}, which is a depth image: expected a "
            "JPEG or PNG picture; connect the camera's .../compressed topic"
        )
    pixels = _decode(payload_bytes(msg.data), msg.format)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise MessageError(
            f"the compressed image {msg.format!r} has {pixels.dtype} values, expected 8 or 16 "
            "unsigned bits: store it as JPEG or PNG"
        )
    if pixels.ndim == 3:
        swapped = "compressed rgb" in stored
        return pixels if swapped else convert(pixels, cv2.COLOR_BGR2RGB)
    pattern = msg.format[len("bayer_") :][:4] if msg.format.startswith("bayer_") else ""
    if pattern in BAYER_TO_RGB and min(pixels.shape) >= BAYER_MINIMUM_SIDE:
        return demosaic(pixels, pattern)
    return convert(pixels, cv2.COLOR_GRAY2RGB)


def _decode(data: NDArray[np.uint8], message_format: str) -> NDArray[Any]:
    """cv2.imdecode -> [H,W] grey or [H,W,3] in stored order, 8 or 16 bits."""
    if len(data) == 0:
        raise MessageError(
            f"the compressed image {message_format!r} has no data: check the camera's driver"
        )
    if is_cut_off_jpeg(data):
        raise MessageError(
            f"the compressed image {message_format!r} of {len(data)} bytes is a JPEG without its "
            "end: the message was cut off; check the sender and the network"
        )
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(without_orientation(data), flags)
    except cv2.error as error:
        raise MessageError(
            f"the compressed image {message_format!r} of {len(data)} bytes cannot be decoded: "
            f"{error.err}"
        ) from error
    if pixels is None:
        raise MessageError(
            f"the compressed image {message_format!r} of {len(data)} bytes, which starts with "
            f"{data[:8].tobytes().hex(' ')}, cannot be decoded: expected an intact JPEG or PNG; "
            "check the sender and the network"
        )
    return pixels


def is_cut_off_jpeg(data: NDArray[np.uint8]) -> bool:
    """Whether bytes [N] are a JPEG without its end, whose missing rows OpenCV fills with grey."""
    if data[:2].tobytes() != _JPEG_START or data[-2:].tobytes() == _JPEG_END:
        return False
    stream, position = data.tobytes(), len(_JPEG_START)
    while (marker := _JPEG_MARKER.search(stream, position)) is not None:
        kind = marker[1]
        if kind == _JPEG_END[1:]:
            return False  # what follows is no part of it: a phone's short film, say
        # A segment is passed over as a whole: an EXIF thumbnail has an end of its own.
        length = stream[marker.end() : marker.end() + 2]
        position = marker.end() + int.from_bytes(length, "big")
    return True
