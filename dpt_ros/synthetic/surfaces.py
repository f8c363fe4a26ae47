"""Normals and texture places of hit points, looked up by the solid that was hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dpt_ros.synthetic.primitives import BOX, CYLINDER, ELLIPSOID, Floats, Primitives


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What is at K hit points.

    Args:
        points: [3,K] metres in the world.
        normals: [3,K] unit vectors.
        place: [2,K] metres on the material.
        material: [K] int32.
        tint: [3,K].
    """

    points: torch.Tensor
    normals: torch.Tensor
    place: torch.Tensor
    material: torch.Tensor
    tint: torch.Tensor


class SurfaceTable:
    """The solids as tensors, to look hits up in."""

    def __init__(self, primitives: Primitives, device: torch.device) -> None:
        def tensor(values: Floats) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(values, np.float32), device=device)

        count = len(primitives)
        own = np.transpose(primitives.rotation, (0, 2, 1))  # world -> the solid's axes
        own_centre = np.einsum("nij,nj->ni", own, primitives.centre)
        rows = [own.reshape(count, 9), own_centre, 1.0 / primitives.half]
        rows += [primitives.offset_m, primitives.tint]
        self._rows = tensor(np.concatenate(rows, 1).T)
        # Normals of the six faces of every solid: +x, -x, +y, ...
        faces = np.repeat(own, 2, 1) * np.tile([1.0, -1.0], 3)[:, None]
        self._normals = tensor(faces.reshape(-1, 3).T)
        self._rotation, self._half = tensor(primitives.rotation), tensor(primitives.half)
        self._shape = torch.as_tensor(primitives.shape, device=device)
        self._material = torch.as_tensor(
            primitives.material.reshape(-1).astype(np.int32), device=device
        )
        self._has_round = bool((primitives.shape != BOX).any())

    def look_up(self, points: torch.Tensor, solid: torch.Tensor) -> Surfaces:
        """Surfaces at points [3,K] on solids [K], int32."""
        row = self._rows.index_select(1, solid)
        x, y, z = points
        local = [
            (row[3 * i] * x)
            .addcmul_(row[3 * i + 1], y)
            .addcmul_(row[3 * i + 2], z)
            .sub_(row[9 + i])
            for i in range(3)
        ]
        reach = [(local[i] * row[12 + i]).abs_() for i in range(3)]
        is_x = (reach[0] >= reach[1]) & (reach[0] >= reach[2])
        is_z = (reach[2] > reach[1]) & ~is_x
        place = torch.stack(
            [torch.where(is_x, local[1], local[0]), torch.where(is_z, local[1], local[2])]
        )
        along = torch.where(is_x, local[0], torch.where(is_z, local[2], local[1]))
        axis = is_x.to(torch.int32).mul_(-2).add_(is_z, alpha=2).add_(2)
        normals = self._normals.index_select(1, axis.add_(solid, alpha=6).add_(along < 0))
        if self._has_round:
            which = (self._shape.index_select(0, solid) != BOX).nonzero()[:, 0]
            if len(which):
                self._bend(which, solid, torch.stack(local), normals, place, is_z)
        material = self._material.index_select(0, solid * 2 + is_z)
        return Surfaces(points, normals, place.add_(row[15:17]), material, row[17:20])

    def _bend(
        self,
        which: torch.Tensor,
        solid: torch.Tensor,
        local: torch.Tensor,
        normals: torch.Tensor,
        place: torch.Tensor,
        is_top: torch.Tensor,
    ) -> None:
        """Replace normals and places on ellipsoids and cylinders."""
        solid, local = solid[which].to(torch.int64), local[:, which]
        half, kind = self._half[solid].T, self._shape[solid]
        unit = local / half
        is_ball = kind == ELLIPSOID
        is_side = (kind == CYLINDER) & (unit[:2].norm(dim=0) >= unit[2].abs())
        bent = unit / half
        bent[2] = torch.where(is_side, 0.0, bent[2])
        is_cap = ~(is_side | is_ball)
        bent[:2] = torch.where(is_cap, 0.0, bent[:2])
        bent = bent / bent.norm(dim=0).clamp_min(1e-9)
        normals[:, which] = torch.einsum("kij,jk->ik", self._rotation[solid], bent)
        around = torch.stack([torch.atan2(unit[1], unit[0]) * half[0], local[2]])
        place[:, which] = torch.where(is_cap, local[:2], around)
        is_top[which] = is_cap
