"""Pictures of a frame for people: depth in colour, measured points, and where depth is wrong."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.inference.colormap import ColormapSettings, colorize

Rgb = NDArray[np.uint8]
Depth = NDArray[np.floating]

ERROR_LIMIT = 0.5
"""Relative error that gets the last colour: half as far again, or half as near again."""

COLORS = ColormapSettings("turbo")

_SPARSE = 0.3  # share of pixels with truth up to which points are drawn larger than a pixel
_DIMMED = 0.45


def color_limits(depth_m: Depth) -> tuple[float, float]:
    """The inverse depths, 1/m, of the first and last colour: 2nd and 98th percentile."""
    known = depth_m[np.isfinite(depth_m) & (depth_m > 0.0)]
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(1.0 / known.astype(np.float64), [2.0, 98.0])
    return float(low), float(max(high, low + 1e-6))


def depth_picture(depth_m: Depth, limits: tuple[float, float]) -> Rgb:
    """Depth [H,W] in metres to colours: red is near, blue is far; rgb uint8 [H,W,3]."""
    with np.errstate(divide="ignore"):
        inverse = (1.0 / depth_m).astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(inverse))[None]
    colors: Rgb = colorize(tensor, COLORS, torch.tensor(limits)[:, None])[0].numpy()
    return colors


def relative_picture(inverse_depth: Depth) -> Rgb:
    """Inverse depth [H,W] without metres to colours, rgb uint8 [H,W,3]."""
    tensor = torch.from_numpy(np.ascontiguousarray(inverse_depth, np.float32))[None]
    colors: Rgb = colorize(tensor, COLORS)[0].numpy()
    return colors


def truth_picture(rgb: Rgb, truth_m: Depth, limits: tuple[float, float]) -> Rgb:
    """The camera's picture with what was measured on top, in the colours of depth."""
    known = np.isfinite(truth_m)
    return _on_top(rgb, depth_picture(np.where(known, truth_m, 1.0), limits), known)


def error_picture(rgb: Rgb, depth_m: Depth, truth_m: Depth) -> Rgb:
    """Where depth is wrong: red where it is too far, blue where it is too near, white where right.

    The colour is that of ln(p / g), so that twice as far and half as far look alike; it is full at
    `ERROR_LIMIT`.
    """
    known = np.isfinite(truth_m) & (truth_m > 0.0) & np.isfinite(depth_m) & (depth_m > 0.0)
    ratio = np.ones(truth_m.shape)
    np.divide(depth_m, truth_m, out=ratio, where=known)
    share = np.clip(np.log(ratio) / np.log(1.0 + ERROR_LIMIT), -1.0, 1.0)
    return _on_top(rgb, _diverging(share), known)


def _diverging(share: NDArray[np.float64]) -> Rgb:
    """-1 blue, 0 nearly white, 1 red."""
    ends = np.array([[33.0, 102.0, 214.0], [244.0, 244.0, 240.0], [214.0, 39.0, 40.0]])
    colors = [np.interp(share, [-1.0, 0.0, 1.0], ends[:, channel]) for channel in range(3)]
    return np.stack(colors, axis=-1).astype(np.uint8)


def _on_top(rgb: Rgb, colors: Rgb, known: NDArray[np.bool_]) -> Rgb:
    """Coloured points on the dimmed, grey picture; few points are drawn as larger dots."""
    gray = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture: Rgb = (gray * _DIMMED).astype(np.uint8)
    if known.mean() > _SPARSE:
        picture[known] = colors[known]
        return picture
    rows, columns = np.nonzero(known)
    # About a third of the way to the next point.
    radius = min(4, max(1, round(0.35 * math.sqrt(known.size / max(len(rows), 1)))))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        color = [int(value) for value in colors[row, column]]
        cv2.circle(picture, (column, row), radius, color, thickness=-1)
    return picture
