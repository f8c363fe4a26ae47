"""Bayer mosaics and YUV buffers to rgb; knows arrays only, no messages.

OpenCV names a Bayer pattern after the second and third pixel of its second row, ROS after the
first two pixels of the first two rows: ROS's `rggb` is OpenCV's `BayerBG`. OpenCV's clearer
`BayerRGGB` names are missing from the releases of older ROS distributions, hence the old ones.
YUV is ITU-R BT.601 with limited range (16-235), as V4L2's default for these formats.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

#: ROS's pattern name -> OpenCV's conversion.
BAYER_TO_RGB = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

#: OpenCV fills nothing in for a mosaic with a side shorter than this.
BAYER_MINIMUM_SIDE = 3

# [R, G, B] = _BT601 @ [Y - 16, U - 128, V - 128]
_BT601 = np.array(
    [
        [255 / 219, 0.0, 1.402 * 255 / 224],
        [255 / 219, -0.344136 * 255 / 224, -0.714136 * 255 / 224],
        [255 / 219, 1.772 * 255 / 224, 0.0],
    ]
)
_BT601_AFFINE = np.column_stack([_BT601, _BT601 @ [-16.0, -128.0, -128.0]])


def convert(pixels: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
    """One pass of cv2.cvtColor: uint8 [H,W] or [H,W,C] (rows may be strided) -> [H,W,3]."""
    return cast("NDArray[np.uint8]", cv2.cvtColor(pixels, code))


def demosaic(mosaic: NDArray[np.uint8], pattern: str) -> NDArray[np.uint8]:
    """Bayer mosaic uint8 [H,W] with pattern rggb, bggr, gbrg or grbg -> rgb [H,W,3], bilinear."""
    return convert(mosaic, BAYER_TO_RGB[pattern])


def yuv444_to_rgb(yuv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 limited-range YUV, uint8 [H,W,3] -> rgb [H,W,3]; OpenCV has it subsampled only."""
    return cast("NDArray[np.uint8]", cv2.transform(yuv, _BT601_AFFINE))
