"""A short animation of a drive: camera, depth, truth and cloud side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dpt_ros.evaluation.pictures import depth_picture, truth_picture

Rgb = NDArray[np.uint8]

PANEL = (320, 240)
MOST_FRAMES = 150
_QUALITY = 72
_LIMITS = (1 / 12.0, 1 / 0.8)
"""Inverse depths, 1/m, of the first and last colour: the same in all frames."""
_NIGHT = (15, 20, 28)
_BACK_M, _UP_M, _DOWN_RAD = 1.6, 1.3, 0.30


class Animation:
    """Collects small pictures and writes them as an animated WebP."""

    def __init__(self) -> None:
        self._frames: list[Image.Image] = []

    def __len__(self) -> int:
        return len(self._frames)

    def add(
        self,
        rgb: Rgb,
        depth_m: NDArray[np.floating],
        truth_m: NDArray[np.floating],
        points: NDArray[np.float32],
    ) -> None:
        """Add a frame.

        Args:
            rgb: [H,W,3].
            depth_m: [H,W] metres.
            truth_m: [H,W] metres, NaN where unknown.
            points: [h,w,4]: x, y, z and packed rgb, optical frame.
        """
        if len(self) >= MOST_FRAMES:
            return
        panels = [
            (rgb, "camera"),
            (depth_picture(depth_m, _LIMITS), "depth"),
            (truth_picture(rgb, truth_m, _LIMITS), "LiDAR"),
            (cloud_picture(points, PANEL), "cloud"),
        ]
        small = [_labelled(picture, text) for picture, text in panels]
        rows = [np.concatenate(small[:2], axis=1), np.concatenate(small[2:], axis=1)]
        self._frames.append(Image.fromarray(np.concatenate(rows, axis=0)))

    def save(self, path: Path, rate_hz: float) -> None:
        """Write the animation, which loops.

        Raises:
            ValueError: there are no frames.
            OSError: it can't be written.
        """
        if not self._frames:
            raise ValueError("the animation has no frames")
        self._frames[0].save(
            path,
            save_all=True,
            append_images=self._frames[1:],
            duration=max(round(1000.0 / rate_hz), 20),
            loop=0,
            quality=_QUALITY,
            method=2,
        )


def cloud_picture(points: NDArray[np.float32], size: tuple[int, int]) -> Rgb:
    """A cloud seen from behind and above the camera, rgb [height, width, 3].

    Args:
        points: [h,w,4]: x, y, z (optical frame, metres) and packed rgb.
        size: (width, height) of the picture.
    """
    width, height = size
    flat = points.reshape(-1, 4)
    flat = flat[np.isfinite(flat[:, :3]).all(axis=1)]
    cosine, sine = np.cos(_DOWN_RAD), np.sin(_DOWN_RAD)
    x, y, z = flat[:, 0], flat[:, 1] + _UP_M, flat[:, 2] + _BACK_M
    forward, down = cosine * z + sine * y, cosine * y - sine * z
    focal = 0.75 * width
    in_front = forward > 0.2
    columns = np.full(len(flat), -1, np.int64)
    rows = np.full(len(flat), -1, np.int64)
    columns[in_front] = width / 2 + focal * x[in_front] / forward[in_front]
    rows[in_front] = height / 2 + focal * down[in_front] / forward[in_front]
    inside = (columns >= 0) & (columns < width - 1) & (rows >= 0) & (rows < height - 1)
    order = np.flatnonzero(inside)[np.argsort(-forward[inside])]  # the nearest is drawn last
    bits = np.ascontiguousarray(flat[:, 3]).view(np.uint32)[order]
    colors = np.stack([(bits >> shift) & 0xFF for shift in (16, 8, 0)], axis=-1).astype(np.uint8)
    picture = np.full((height, width, 3), _NIGHT, np.uint8)
    for down_px, right_px in ((0, 0), (0, 1), (1, 0), (1, 1)):
        picture[rows[order] + down_px, columns[order] + right_px] = colors
    return picture


def _labelled(picture: Rgb, text: str) -> Rgb:
    small = cv2.resize(picture, PANEL, interpolation=cv2.INTER_AREA)
    image = Image.fromarray(np.ascontiguousarray(small))
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, 12 + 7 * len(text), 20), fill=(0, 0, 0))
    draw.text((8, 6), text, fill=(255, 255, 255))
    return np.asarray(image, np.uint8)
