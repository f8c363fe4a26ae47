"""Grids of rays from one point, and the window of each that a solid can fill.

A grid knows the scalar products of its rays with given vectors, which for a pinhole camera is the
sum of a row and a column, and for a spinning scanner nearly so. Rays have length 1 in the
unit in which hits are measured: Z for the camera (rays x/z, y/z, 1), range for the scanner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.primitives import Floats, Integers

_NEAR_M = 1e-3
_EDGES = np.array(
    [(0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7)]
)


class Window(NamedTuple):
    """Rows top..bottom and columns left..right (exclusive) of a grid."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, eq=False)
class Products:
    """Scalar products of a grid's rays with N x P vectors: columns + gain * rows.

    Args:
        columns: [N,P,H].
        rows: [N,P,W].
        gain: [H]; None for 1.
    """

    columns: torch.Tensor
    rows: torch.Tensor
    gain: torch.Tensor | None = None

    def over(self, solid: int, vectors: slice, window: Window) -> torch.Tensor:
        """Those of one solid over its window, [p,h,w]."""
        top, bottom, left, right = window
        columns = self.columns[solid, vectors, top:bottom, None]
        rows = self.rows[solid, vectors, None, left:right]
        if self.gain is None:
            return columns + rows
        return torch.addcmul(columns, self.gain[top:bottom, None], rows)

    def tiles(
        self, solids: torch.Tensor, vectors: slice, row: torch.Tensor, column: torch.Tensor
    ) -> torch.Tensor:
        """Those of M solids [M] over tiles with rows [M,s] and columns [M,s], [M,p,s,s]."""
        pick = solids[:, None]
        columns = self.columns[:, vectors].transpose(1, 2)[pick, row].transpose(1, 2)[..., None]
        rows = self.rows[:, vectors].transpose(1, 2)[pick, column].transpose(1, 2)[:, :, None]
        if self.gain is None:
            return columns + rows
        return torch.addcmul(columns, self.gain[row][:, None, :, None], rows)


class RayGrid(Protocol):
    """What a grid of rays offers to `casting`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def bind(self, vectors: Floats, device: torch.device) -> Products:
        """Prepare the products with vectors [N,P,3] in the grid's own frame."""

    def windows(self, corners: Floats) -> Integers:
        """Windows [N,4] that contain boxes with corners [N,8,3] in the grid's frame."""


@dataclass(frozen=True)
class PinholeGrid:
    """The rays through a camera's pixels; frame: the camera's optical frame.

    Raises:
        ValueError: the camera has a lens distortion.
    """

    camera: Camera

    def __post_init__(self) -> None:
        if any(self.camera.distortion):
            raise ValueError(
                f"got a camera with {self.camera.distortion_model} distortion, expected one "
                "without: the synthetic camera gives rectified pictures"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.camera.height, self.camera.width

    def axes(self) -> tuple[Floats, Floats]:
        """x/z of every column and y/z of every row."""
        camera = self.camera
        x = (np.arange(camera.width) - camera.cx_px) / camera.fx_px
        y = (np.arange(camera.height) - camera.cy_px) / camera.fy_px
        return np.asarray(x, np.float64), np.asarray(y, np.float64)

    def bind(self, vectors: Floats, device: torch.device) -> Products:
        """Prepare the products with vectors [N,P,3] in the camera's frame."""
        x, y = self.axes()
        parts = torch.as_tensor(vectors.astype(np.float32), device=device)
        rows = parts[..., :1] * torch.as_tensor(x.astype(np.float32), device=device)
        columns = torch.addcmul(
            parts[..., 2:], parts[..., 1:2], torch.as_tensor(y.astype(np.float32), device=device)
        )
        return Products(columns, rows)

    def windows(self, corners: Floats) -> Integers:
        """Windows [N,4] (top, bottom, left, right) around boxes; empty where unseen."""
        points = corners.reshape(len(corners), 8, 3)
        ends = points[:, _EDGES]  # [N,12,2,3]
        z = ends[..., 2]
        ahead = z >= _NEAR_M
        with np.errstate(divide="ignore", invalid="ignore"):
            part = (_NEAR_M - z[..., :1]) / (z[..., 1:] - z[..., :1])
            cut = ends[..., 0, :] + part * (ends[..., 1, :] - ends[..., 0, :])
        crosses = ahead.any(-1) & ~ahead.all(-1)
        seen = np.concatenate([ahead.reshape(len(points), -1), crosses], 1)
        where = np.concatenate([ends.reshape(len(points), -1, 3), cut], 1)
        depth = np.where(seen, np.maximum(where[..., 2], _NEAR_M), 1.0)
        camera = self.camera
        u = where[..., 0] / depth * camera.fx_px + camera.cx_px
        v = where[..., 1] / depth * camera.fy_px + camera.cy_px
        left = np.where(seen, u, np.inf).min(1)
        right = np.where(seen, u, -np.inf).max(1)
        top = np.where(seen, v, np.inf).min(1)
        bottom = np.where(seen, v, -np.inf).max(1)
        return np.stack(
            [
                np.clip(np.floor(top) - 1, 0, camera.height),
                np.clip(np.ceil(bottom) + 2, 0, camera.height),
                np.clip(np.floor(left) - 1, 0, camera.width),
                np.clip(np.ceil(right) + 2, 0, camera.width),
            ],
            1,
        ).astype(np.int64)


@dataclass(frozen=True, eq=False)
class SpinGrid:
    """The rays of a spinning scanner; frame: x forward, y left, z up, hits measured as range.

    Args:
        elevation_rad: [H] of the rings, upwards.
        azimuth_rad: [W] of the steps, to the left, increasing over less than 180 degrees.
    """

    elevation_rad: Floats
    azimuth_rad: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Rings and steps."""
        return len(self.elevation_rad), len(self.azimuth_rad)

    def directions(self) -> Floats:
        """The rays, [H,W,3], of length 1."""
        flat, up = np.cos(self.elevation_rad)[:, None], np.sin(self.elevation_rad)[:, None]
        around = self.azimuth_rad[None]
        return np.stack(
            [flat * np.cos(around), flat * np.sin(around), up + np.zeros_like(around)], -1
        )

    def bind(self, vectors: Floats, device: torch.device) -> Products:
        """Prepare the products with vectors [N,P,3] in the scanner's frame."""
        x, y = np.cos(self.azimuth_rad), np.sin(self.azimuth_rad)
        rows = vectors[..., :1] * x + vectors[..., 1:2] * y
        columns = vectors[..., 2:] * np.sin(self.elevation_rad)
        return Products(
            torch.as_tensor(columns.astype(np.float32), device=device),
            torch.as_tensor(rows.astype(np.float32), device=device),
            torch.as_tensor(np.cos(self.elevation_rad).astype(np.float32), device=device),
        )

    def windows(self, corners: Floats) -> Integers:
        """Windows [N,4] around boxes: all rings, and the steps in which the box can lie."""
        middle = corners.mean(1)
        towards = np.arctan2(middle[:, 1], middle[:, 0])
        off = np.arctan2(corners[..., 1], corners[..., 0]) - towards[:, None]
        off = (off + np.pi) % (2 * np.pi) - np.pi
        right, left = towards + off.min(1), towards + off.max(1)
        around = left - right >= np.pi - 1e-6  # the scanner's axis goes through the box
        first, last = np.full(len(corners), self.shape[1]), np.zeros(len(corners), np.int64)
        for turn in (-2 * np.pi, 0.0, 2 * np.pi):
            begin = np.searchsorted(self.azimuth_rad, right + turn) - 1
            end = np.searchsorted(self.azimuth_rad, left + turn, "right") + 1
            meets = (right + turn <= self.azimuth_rad[-1]) & (left + turn >= self.azimuth_rad[0])
            first = np.where(meets, np.minimum(first, np.maximum(begin, 0)), first)
            last = np.where(meets, np.maximum(last, np.minimum(end, self.shape[1])), last)
        first, last = np.where(around, 0, first), np.where(around, self.shape[1], last)
        rings = np.full(len(corners), self.shape[0])
        return np.stack([np.zeros_like(rings), rings, first, last], 1)
