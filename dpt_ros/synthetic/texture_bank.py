"""All materials' tiles with their halvings in one bank, looked up bilinearly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from dpt_ros.synthetic.scene import Material
from dpt_ros.synthetic.textures import TILE_PX, pyramid

_LEVELS = int(math.log2(TILE_PX)) + 1


class TextureBank:
    """Looks up the colours of materials.

    Args:
        materials: M materials.
        device: where to compute.
    """

    def __init__(self, materials: Sequence[Material], device: torch.device) -> None:
        levels = [level for material in materials for level in pyramid(material.tile)]
        flat = np.concatenate([level.reshape(-1, 3) for level in levels])
        self._bank = torch.as_tensor(np.ascontiguousarray(flat.T), device=device)
        sizes = torch.tensor([TILE_PX >> level for level in range(_LEVELS)], device=device)
        stride = int((sizes**2).sum())
        starts = torch.cumsum(sizes**2, 0) - sizes**2
        first = torch.arange(len(materials), device=device)[:, None] * stride + starts
        # By material and level: tile's side, where it begins, pixels a metre.
        self._size = sizes.repeat(len(materials)).to(torch.int32)
        self._start = first.reshape(-1).to(torch.int32)
        per_m = torch.tensor([1 / m.size_m for m in materials], device=device)
        self._per_m = per_m
        self._px_per_m = (per_m[:, None] * sizes).reshape(-1)
        self._emission = torch.tensor([m.emission for m in materials], device=device)

    def emission(self, material: torch.Tensor) -> torch.Tensor:
        """Light that materials [K] give of themselves, [K]."""
        return self._emission.index_select(0, material)

    def colour(
        self, material: torch.Tensor, place: torch.Tensor, footprint_m: torch.Tensor
    ) -> torch.Tensor:
        """Colours [3,K] of materials [K] at places [2,K] seen at `footprint_m` [K] a pixel."""
        level = (self._per_m.index_select(0, material) * footprint_m).mul_(TILE_PX).log2_()
        entry = level.round_().clamp_(0, _LEVELS - 1).to(torch.int32).add_(material, alpha=_LEVELS)
        size, start = self._size.index_select(0, entry), self._start.index_select(0, entry)
        scale = self._px_per_m.index_select(0, entry)
        mask = size - 1
        u, du, next_u = _between(place[0] * scale, mask)
        v, dv, next_v = _between(place[1] * scale, mask)
        row, next_row = v.mul_(size).add_(start), next_v.mul_(size).add_(start)
        corners = [row + u, row + next_u, next_row + u, next_row + next_u]
        a, b, c, d = (self._bank.index_select(1, corner) for corner in corners)
        return a.lerp_(b, du).lerp_(c.lerp_(d, du), dv)


def _between(
    spot: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The pixels on both sides of a spot, wrapped round, and how far it is between them."""
    low = spot.sub_(0.5).floor()
    part = spot.sub_(low)
    pixel = low.to(torch.int32)
    return pixel & mask, part, (pixel + 1) & mask
