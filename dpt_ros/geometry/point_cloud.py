"""Depth image, rays and colours to an organised point cloud, without its flying pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from dpt_ros.config import setting

_PIXELS_PER_BLOCK = 240
_PLANE_BLOCKS = 8
_PLANE_TOLERANCE = 0.4


@dataclass(frozen=True)
class PointCloudSettings:
    """How the cloud is made from the depth image.

    Raises:
        ValueError: a stride below 1 or a negative edge removal.
    """

    stride: int = setting(
        1, "Keep every n-th pixel of each row and column.", unit="px", minimum=1, maximum=64
    )
    edge_removal: float = setting(
        0.1,
        "Remove flying pixels: those between foreground and background whose depth differs from "
        "both sides by more than this fraction, and that lie on no plane; 0 keeps all.",
        minimum=0.0,
        maximum=10.0,
    )

    def __post_init__(self) -> None:
        if self.stride < 1 or not self.edge_removal >= 0.0:
            raise ValueError(
                f"point cloud: got stride {self.stride} and edge_removal {self.edge_removal}, "
                "expected at least 1 and at least 0"
            )


class Points(NamedTuple):
    """An organised cloud, and whether it has a point for every pixel."""

    values: torch.Tensor
    """[B, H', W', 4] float32: x, y, z in metres and the bits 0x00RRGGBB, which are no number but
    what PCL and RViz read from a field `rgb`."""
    is_dense: torch.Tensor
    """[B] bool: no x, y or z is NaN."""


def depth_to_points(
    depth_m: torch.Tensor,
    rays: tuple[torch.Tensor, torch.Tensor],
    rgb: torch.Tensor,
    settings: PointCloudSettings | None = None,
    out: torch.Tensor | None = None,
) -> Points:
    """Unproject depth to points in the camera's optical frame.

    Args:
        depth_m: [B, H, W] float32, metres along the optical axis.
        rays: x/z and y/z of each pixel, `Camera.ray_planes`: float32, each [H, W], [1, W] or
            [H, 1]; NaN in both where a pixel has no ray.
        rgb: [B, H, W, 3] uint8, the colour of each pixel.
        settings: stride and edge removal; None is the defaults.
        out: where the values go, of their shape and type; None makes a tensor for them.

    Returns:
        the points on the device of `depth_m`; H' = ceil(H / stride). x, y, z are NaN where depth is
        not finite, the pixel has no ray, or is a flying pixel.

    Raises:
        ValueError: shapes or types that do not belong together.
    """
    settings = settings or PointCloudSettings()
    _check(depth_m, rays, rgb)
    # Adds 0 where depth is finite and the pixel has a ray, else NaN: 0 times either is NaN.
    z = torch.addcmul(depth_m, depth_m, rays[0], value=0.0)
    if settings.edge_removal > 0.0:
        flying = flying_pixels(depth_m, settings.edge_removal)
        # All bits set is a NaN; on a CPU this takes a quarter of the time of masked_fill_.
        z.view(torch.int32).bitwise_or_(flying.view(torch.int8).neg())
    step = settings.stride
    z, rgb = z[:, ::step, ::step], rgb[:, ::step, ::step]
    x, y = (plane[::step, ::step] * z for plane in rays)
    # A sum has a NaN where one of its terms is one: a tenth of the time of isnan().any().
    is_dense = z.sum(dim=(1, 2)).isfinite()
    return Points(_interleave((x, y, z, _color_bits(rgb).view(torch.float32)), out), is_dense)


def flying_pixels(depth_m: torch.Tensor, threshold: float) -> torch.Tensor:
    """Pixels that hang in the air between a foreground and the background behind it.

    A network's depth passes smoothly over the edge of an object, through depths at which nothing
    is, over a width that grows with the image. So the image is looked at in square blocks of
    `max(1, round(min(H, W) / 240))` pixels, each stood for by its first pixel. A block flies if it
    lies between its neighbours, along its row or its column: depth rises (or falls) by more than
    the fraction `threshold` up to it and again after it. A beyond-far (+Inf) or too-near (-Inf)
    neighbour is background or foreground like any other; a NaN is neither.

    So does a floor seen at a grazing angle, from where it is farther than about
    `threshold * f * h / block` for the height h and the focal length f. But the inverse depth of a
    plane is linear in the picture, and over a longer way than that of an edge: a block stays where
    it is linear from the eighth block on its nearer side to the next one on its farther side, each
    of the nine steps being within 40 % of their mean.

    Args:
        depth_m: [B, H, W].
        threshold: relative depth step, above 0.

    Returns:
        [B, H, W] bool.
    """
    height, width = depth_m.shape[1:]
    block = max(1, round(min(height, width) / _PIXELS_PER_BLOCK))
    # On a CPU numpy compares four times as fast as torch does, with the same operators.
    pixels: Any = depth_m.numpy() if depth_m.device.type == "cpu" else depth_m
    blocks = pixels[:, ::block, ::block]
    rows, columns = blocks.shape[1:]
    # Rows end to end: the neighbour in the row is 1 away, the one in the column `columns`.
    depth = blocks.reshape(len(blocks), -1)
    raised = depth * (1.0 + threshold)
    flying = depth > torch.inf  # none yet
    for is_row, step in ((True, 1), (False, columns)):
        between = depth > torch.inf
        rises = depth[:, step:] > raised[:, :-step]
        falls = depth[:, :-step] > raised[:, step:]
        inner = between[:, step:-step]
        inner |= rises[:, :-step] & rises[:, step:]
        inner |= falls[:, :-step] & falls[:, step:]
        if is_row:  # what was compared across the end of a row
            between[:, ::columns] = False
            between[:, columns - 1 :: columns] = False
        length = columns if is_row else depth.shape[1]
        _leave_planes(between.reshape(-1), depth.reshape(-1), step, length)
        flying |= between
    of_blocks = flying.reshape(-1, rows, columns)
    if isinstance(of_blocks, torch.Tensor):
        of_pixels = of_blocks.repeat_interleave(block, 1).repeat_interleave(block, 2)
    else:
        wide = np.empty((*of_blocks.shape, block), np.bool_)
        for column in range(block):  # np.repeat takes six times as long
            wide[..., column] = of_blocks
        of_pixels = torch.from_numpy(wide.reshape(*of_blocks.shape[:2], -1).repeat(block, 1))
    return of_pixels[:, :height, :width]


def _leave_planes(between: Any, depth: Any, step: int, length: int) -> None:
    """Clear what lies on a plane along its row or column.

    Args:
        between: [N] bool, an array or a tensor; is written to.
        depth: [N], likewise; rises or falls on both sides of what is between.
        step: from a block to the next one along the row or column.
        length: lines of so many blocks, end to end; those looked at lie in one of them.
    """
    if isinstance(between, np.ndarray):
        place: Any = between.nonzero()[0]
        run: Any = np.arange(-_PLANE_BLOCKS, 2)
    else:  # all of them: to know which ones, the host would wait for the device
        place = torch.arange(len(between), device=between.device)
        run = torch.arange(-_PLANE_BLOCKS, 2, device=between.device)
    last = len(between) - 1
    farther = step * (2 * (depth[(place + step).clip(0, last)] > depth[place]) - 1)
    nearest = place % length - _PLANE_BLOCKS * farther
    has_room = (nearest >= 0) & (nearest < length)
    blocks = depth[(place[:, None] + run * farther[:, None]).clip(0, last)]
    with np.errstate(divide="ignore", invalid="ignore"):  # of arrays: what is 0 is on no plane
        inverse = 1.0 / blocks
        steps = inverse[:, 1:] - inverse[:, :-1]
        mean = (inverse[:, -1:] - inverse[:, :1]) / (_PLANE_BLOCKS + 1)
        is_linear = (abs(steps - mean) <= _PLANE_TOLERANCE * abs(mean)).all(-1)
    between[place] &= ~(has_room & is_linear)


def _color_bits(rgb: torch.Tensor) -> torch.Tensor:
    """Colours [B, H, W, 3] uint8 -> 0x00RRGGBB [B, H, W] int32.

    They are only ever copied as floats: some of the patterns are subnormal numbers, which
    arithmetic may flush to zero.
    """
    if rgb.device.type != "cpu":
        red, green, blue = rgb.to(torch.int32).unbind(-1)
        return (red << 16) | (green << 8) | blue
    import cv2  # a fifth of the time of the line above on a CPU

    height, width = rgb.shape[1:3]
    bits = torch.empty(rgb.shape[:3], dtype=torch.int32, device="cpu")
    for image, packed in zip(rgb.numpy(), bits.view(torch.uint8).numpy(), strict=True):
        cv2.cvtColor(image, cv2.COLOR_RGB2BGRA, dst=packed.reshape(height, width, 4))
    return bits.bitwise_and_(0x00FFFFFF)


def _interleave(planes: tuple[torch.Tensor, ...], out: torch.Tensor | None) -> torch.Tensor:
    """Four float32 planes [B, H, W] -> [B, H, W, 4], bit by bit."""
    if planes[0].device.type != "cpu":
        return torch.stack(planes, -1, out=out)
    import cv2  # a fifth of the time of torch.stack on a CPU

    points = planes[0].new_empty((*planes[0].shape, 4)) if out is None else out
    images = zip(*(plane.numpy() for plane in planes), strict=True)
    for channels, target in zip(images, points.numpy(), strict=True):
        cv2.merge(channels, dst=target)
    return points


def _check(
    depth_m: torch.Tensor, rays: tuple[torch.Tensor, torch.Tensor], rgb: torch.Tensor
) -> None:
    shape = tuple(depth_m.shape)
    if depth_m.ndim != 3 or depth_m.dtype != torch.float32:
        raise ValueError(f"depth_m: got {depth_m.dtype} {shape}, expected torch.float32 (B, H, W)")
    height, width = shape[1:]
    possible = ((height, width), (1, width), (height, 1))
    if len(rays) != 2 or any(tuple(plane.shape) not in possible for plane in rays):
        raise ValueError(
            f"rays: got {[tuple(plane.shape) for plane in rays]}, expected two of {possible}"
        )
    if rgb.dtype != torch.uint8 or tuple(rgb.shape) != (*shape, 3):
        raise ValueError(
            f"rgb: got {rgb.dtype} {tuple(rgb.shape)}, expected torch.uint8 {(*shape, 3)}"
        )
