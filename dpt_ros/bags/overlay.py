"""Depth drawn over its picture, for people to see whether camera and LiDAR fit together."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_STRIP_PX = 26


def draw_overlay(rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture, dimmed, with a dot for every pixel whose depth is known.

    Args:
        rgb: uint8 [H, W, 3].
        depth_m: [H, W], metres, NaN where unknown.

    Returns:
        uint8 [H + 26, W, 3]; below the picture a strip tells which colour is how many metres.
        Colours go by the logarithm of depth, near is red.
    """
    valid = np.isfinite(depth_m) & (depth_m > 0)
    picture = (rgb // 2 + rgb // 8).astype(np.uint8)
    values = np.log(depth_m[valid])
    if not values.size:
        return np.vstack([picture, np.zeros((_STRIP_PX, rgb.shape[1], 3), np.uint8)])
    low, high = np.percentile(values, (1.0, 99.0))
    high = max(high, low + 0.1)
    rows, columns = np.nonzero(valid)
    colors = _colors((high - values) / (high - low))
    if valid.mean() > 0.5:
        picture[rows, columns] = colors
    else:
        _draw_dots(picture, rows, columns, colors, radius=max(1, rgb.shape[1] // 900))
    strip = _strip(rgb.shape[1], float(np.exp(low)), float(np.exp(high)))
    return np.vstack([picture, strip])


def _draw_dots(
    picture: NDArray[np.uint8],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    colors: NDArray[np.uint8],
    radius: int,
) -> None:
    """Squares of `2 * radius + 1` pixels, all at once; the last one drawn is on top."""
    height, width = picture.shape[:2]
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            at_row = np.clip(rows + down, 0, height - 1)
            picture[at_row, np.clip(columns + right, 0, width - 1)] = colors


def _colors(shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Shares [N] of 0 to 1 -> rgb [N, 3]."""
    levels = np.clip(np.rint(shares * 255.0), 0, 255).astype(np.uint8)
    bgr = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_TURBO)
    return np.asarray(bgr.reshape(-1, 3)[:, ::-1], np.uint8)


def _strip(width: int, near_m: float, far_m: float) -> NDArray[np.uint8]:
    """The legend, uint8 [26, width, 3]."""
    strip = np.repeat(_colors(np.linspace(1.0, 0.0, width))[None], _STRIP_PX, axis=0)
    strip = np.ascontiguousarray(strip)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = f"{near_m * (far_m / near_m) ** share:.3g} m"
        (length, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        place = (int(share * (width - length)), _STRIP_PX - 8)
        cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,) * 3, 1, cv2.LINE_AA)
    return strip
