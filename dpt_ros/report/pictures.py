"""Pictures as part of an HTML file: pixels to data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_SIDE_PX = 1600
"""Larger pictures are scaled down: a report is read on a screen, and sent by mail."""

_FEW_COLORS = 256
_JPEG_QUALITY = 90


def picture_to_data_uri(rgb: NDArray[np.uint8]) -> str:
    """A picture as a `data:` URI: PNG for drawings of few colours, JPEG for the rest.

    Args:
        rgb: uint8 [H, W, 3].

    Raises:
        ValueError: another shape or type.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"picture: got {rgb.dtype} {rgb.shape}, expected uint8 (H, W, 3), none 0")
    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if image.getcolors(_FEW_COLORS) is not None:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        # Without subsampling: single coloured pixels (LiDAR points) keep their colour.
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
