"""The solids a scene is made of: oriented boxes, ellipsoids and cylinders, as arrays.

A solid is a unit shape (the cube, ball or cylinder of half-size 1) scaled by `half`, turned by
`rotation` and moved to `centre`. The world's frame is REP 103's: z up, the ground at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOX, ELLIPSOID, CYLINDER = 0, 1, 2

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Primitives:
    """N solids.

    Args:
        shape: [N] BOX, ELLIPSOID or CYLINDER (whose axis is its own z).
        centre: [N,3] metres in the world.
        rotation: [N,3,3] from the solid's axes to the world's.
        half: [N,3] half sizes (radii) in metres along the solid's axes.
        material: [N,2] indices: of the sides, and of the faces across the solid's z.
        tint: [N,3] linear colour by which the material is multiplied.
        offset_m: [N,2] where on its material a solid begins.
    """

    shape: Integers
    centre: Floats
    rotation: Floats
    half: Floats
    material: Integers
    tint: Floats
    offset_m: Floats

    def __len__(self) -> int:
        return len(self.shape)

    def corners(self) -> Floats:
        """Corners of the oriented bounding boxes, [N,8,3] metres in the world."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        offsets = np.einsum("nij,nkj->nki", self.rotation, signs[None] * self.half[:, None])
        return np.asarray(self.centre[:, None] + offsets)


def turned(yaw_rad: float, pitch_rad: float = 0.0, roll_rad: float = 0.0) -> Floats:
    """Rotation [3,3] by roll about x, then pitch about y, then yaw about z (REP 103)."""
    cy, sy = np.cos(yaw_rad), np.sin(yaw_rad)
    cp, sp = np.cos(pitch_rad), np.sin(pitch_rad)
    cr, sr = np.cos(roll_rad), np.sin(roll_rad)
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return np.asarray(yaw @ pitch @ roll)
