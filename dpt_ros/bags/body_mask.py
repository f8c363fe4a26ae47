"""The robot's own body: points in a box and pixels in a polygon that are left out."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.scan_placement import Scan
from dpt_ros.bags.transforms import TransformGraph
from dpt_ros.config import ConfigError


@dataclass(frozen=True)
class BodyBox:
    """A box along the axes of a frame, metres."""

    frame: str
    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]

    def contains(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which points [N, 3], in the box's frame, lie within or on it: [N]."""
        within = (points >= self.low_m) & (points <= self.high_m)
        inside: NDArray[np.bool_] = np.logical_and.reduce(within, axis=1)
        return inside


def parse_boxes(text: str) -> list[BodyBox]:
    """Boxes from "FRAME X0 X1 Y0 Y1 Z0 Z1", several separated by ";".

    Raises:
        ConfigError: something else, or a box without volume.
    """
    boxes = []
    for part in filter(None, map(str.strip, text.split(";"))):
        frame, *rest = part.split()
        numbers = _numbers(rest)
        if numbers is None or len(numbers) != 6:
            raise ConfigError(
                f"body_box: got {part!r}, expected FRAME X0 X1 Y0 Y1 Z0 Z1 in metres, such as "
                "'base_link -0.4 0.4 -0.3 0.3 0 1'"
            )
        low, high = tuple(numbers[::2]), tuple(numbers[1::2])
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ConfigError(f"body_box: got {part!r}, expected X0 < X1, Y0 < Y1, Z0 < Z1")
        boxes.append(BodyBox(frame, (low[0], low[1], low[2]), (high[0], high[1], high[2])))
    return boxes


def find_body(scan: Scan, boxes: list[BodyBox], graph: TransformGraph) -> NDArray[np.bool_]:
    """Which points of a scan lie in one of the boxes, [N].

    Raises:
        TransformError: a box's frame that is not connected, or not known at the scan's time.
    """
    is_body = np.zeros(len(scan.points), np.bool_)
    at_scan = np.array([scan.stamp_ns], np.int64)
    for box in boxes:
        to_box = graph.lookup(box.frame, scan.frame, at_scan)[0]
        is_body |= box.contains(scan.points @ to_box[:3, :3].T + to_box[:3, 3])
    return is_body


def without_polygons(depth_m: NDArray[np.float32], text: str) -> NDArray[np.float32]:
    """Depth [H, W] with NaN in the polygons of `_polygon_mask`.

    Raises:
        ConfigError: something else than three corners or more.
    """
    height, width = depth_m.shape
    mask = _polygon_mask(text, width, height)
    return depth_m if mask is None else np.where(mask, np.float32(np.nan), depth_m)


@functools.lru_cache(maxsize=4)
def _polygon_mask(text: str, width: int, height: int) -> NDArray[np.bool_] | None:
    """Pixels of polygons "U0 V0 U1 V1 U2 V2 ...", several separated by ";": bool [H, W].

    Returns:
        None where there is no polygon. A pixel on the border counts as in it.

    Raises:
        ConfigError: something else than three corners or more.
    """
    import cv2

    parts = list(filter(None, map(str.strip, text.split(";"))))
    if not parts:
        return None
    mask = np.zeros((height, width), np.uint8)
    for part in parts:
        numbers = _numbers(re.split(r"[\s,]+", part))
        if numbers is None or len(numbers) < 6 or len(numbers) % 2:
            raise ConfigError(
                f"body_polygon: got {part!r}, expected three corners or more in pixels, such as "
                "'0 479, 200 400, 440 400, 639 479'"
            )
        corners = np.rint(np.array(numbers).reshape(-1, 2)).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1)
    return mask.astype(np.bool_)


def _numbers(words: list[str]) -> list[float] | None:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None
