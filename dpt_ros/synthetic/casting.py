"""Nearest solid along every ray of a grid, exact, with each solid cast in its own window only.

All solids are convex. With w = 1/distance along a ray, a half-space n.p <= d bounds w by n.r / d:
from above when the eye is outside it, from below when inside. A ray meets a solid where its lowest
upper bound exceeds its highest lower bound, and meets it first at that upper bound. For a camera
n.r / d is linear in the pixel, so that a box costs six sums and a few comparisons a pixel. The
curved solids bound w by the roots of their quadratic; its discriminant is computed as the distance
of the ray from the axis, which loses no digits to cancellation for an eye far away (the sun's).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dpt_ros.synthetic.primitives import BOX, CYLINDER, ELLIPSOID, Floats, Integers, Primitives
from dpt_ros.synthetic.ray_grids import RayGrid, Window

_TINY = 1e-12
_TILE_SIZES = (8, 16, 32)


@dataclass(frozen=True, eq=False)
class Hits:
    """What every ray meets first.

    Args:
        inverse: [H,W] float32, 1 / distance in the grid's unit; 0 where a ray meets nothing.
        solid: [H,W] int64, the solid's index; -1 where a ray meets nothing.
    """

    inverse: torch.Tensor
    solid: torch.Tensor


def cast(
    primitives: Primitives,
    grid: RayGrid,
    transform_world_grid: Floats,
    device: torch.device | str = "cpu",
    *,
    culled: bool = True,
) -> Hits:
    """Cast a grid of rays into the solids.

    Args:
        primitives: the N solids.
        grid: the rays, in their own frame.
        transform_world_grid: [4,4], takes a point of the grid's frame to the world.
        device: where to compute.
        culled: restrict each solid to its window; without, the same result, slowly.
    """
    device = torch.device(device)
    rotation, eye = transform_world_grid[:3, :3], transform_world_grid[:3, 3]
    height, width = grid.shape
    if culled:
        windows = grid.windows((primitives.corners() - eye) @ rotation)
    else:
        windows = np.tile([0, height, 0, width], (len(primitives), 1))
    extent = np.stack([windows[:, 1] - windows[:, 0], windows[:, 3] - windows[:, 2]], 1)
    (chosen,) = np.nonzero((extent > 0).all(1))
    # The solids' axes and centres in the grid's frame.
    axes = np.einsum("ji,njk->nik", rotation, primitives.rotation[chosen])
    centre = (primitives.centre[chosen] - eye) @ rotation
    shape = primitives.shape[chosen]
    bounds = _Bounds(shape, axes, centre, primitives.half[chosen], grid, device)
    hits = Hits(
        torch.zeros((height, width), device=device),
        torch.full((height, width), -1, dtype=torch.int64, device=device),
    )
    largest = extent[chosen].max(1, initial=0)
    smaller = 0
    for size in _TILE_SIZES if culled else ():
        fits = (largest > smaller) & (largest <= size) & bounds.outside
        for kind in (BOX, ELLIPSOID, CYLINDER):
            (numbers,) = np.nonzero(fits & (shape == kind))
            if len(numbers):
                _cast_tiles(bounds, kind, numbers, chosen, windows, size, hits)
        smaller = size
    for number in np.nonzero((largest > smaller) & bounds.outside)[0]:
        _cast_window(bounds, int(number), int(chosen[number]), windows, hits)
    return hits


def _cast_window(bounds: _Bounds, number: int, index: int, windows: Integers, hits: Hits) -> None:
    """Cast one solid in its window."""
    window = Window(*windows[index].tolist())
    view = (slice(window.top, window.bottom), slice(window.left, window.right))
    nearest = hits.inverse[view]
    upper, lower = bounds.over(number, window)
    mask = upper > torch.maximum(lower, nearest)
    torch.where(mask, upper, nearest, out=nearest)
    hits.solid[view].masked_fill_(mask, index)


def _cast_tiles(
    bounds: _Bounds,
    kind: int,
    numbers: Integers,
    chosen: Integers,
    windows: Integers,
    size: int,
    hits: Hits,
) -> None:
    """Cast solids of one kind whose windows fit into tiles of `size`, all at once."""
    height, width = hits.inverse.shape
    device = hits.inverse.device
    window = torch.as_tensor(windows[chosen[numbers]], device=device)
    step = torch.arange(size, device=device)
    row, column = window[:, :1] + step, window[:, 2:3] + step
    inside = (row < window[:, 1:2])[:, :, None] & (column < window[:, 3:])[:, None]
    row, column = row.clamp(max=height - 1), column.clamp(max=width - 1)
    upper, lower = bounds.tiles(kind, torch.as_tensor(numbers, device=device), row, column)
    found = torch.where(inside & (upper > lower.clamp_min(0.0)), upper, 0.0).reshape(-1)
    pixel = (row[:, :, None] * width + column[:, None]).reshape(-1)
    flat = hits.inverse.view(-1)
    flat.scatter_reduce_(0, pixel, found, "amax")
    won = ((found == flat[pixel]) & (found > 0)).nonzero()[:, 0]
    solids = torch.as_tensor(chosen[numbers], device=device)
    hits.solid.view(-1)[pixel[won]] = solids[won // (size * size)]


class _Bounds:
    """Upper and lower bounds of w for each solid, as products of its rays with prepared vectors.

    A solid has six faces, those first that the eye is outside of; a cylinder's are its two ends,
    repeated. Vectors of a round one: 0-2 the ray in the solid's unit space; 3-5 the ray's moment
    about the centre there; 6 its approach to the centre, 7 to the axis.
    """

    def __init__(
        self,
        shape: Integers,
        axes: Floats,
        centre: Floats,
        half: Floats,
        grid: RayGrid,
        device: torch.device,
    ) -> None:
        along = np.einsum("nij,ni->nj", axes, centre)  # centre along each own axis
        sign = np.tile([1.0, -1.0], 3)
        distance = sign * np.repeat(along, 2, 1) + np.repeat(half, 2, 1)
        distance = np.where(np.abs(distance) < _TINY, _TINY, distance)
        planes = np.repeat(np.transpose(axes, (0, 2, 1)), 2, 1) * (sign / distance)[..., None]
        is_cylinder = shape == CYLINDER
        for face in range(4):
            planes[is_cylinder, face] = planes[is_cylinder, 4 + face % 2]
            distance[is_cylinder, face] = distance[is_cylinder, 4 + face % 2]
        order = np.argsort(distance >= 0, axis=1, kind="stable")
        planes = np.take_along_axis(planes, order[..., None], 1)
        unit = np.transpose(axes, (0, 2, 1)) / half[:, :, None]  # rows: ray -> unit space
        eye = -along / half
        moment = np.cross(eye[:, :, None], unit, axis=1)
        approach = np.einsum("ni,nij->nj", eye, unit)
        approach_axis = np.einsum("ni,nij->nj", eye[:, :2], unit[:, :2])
        extra = np.stack([approach, approach_axis], 1)
        self._faces = grid.bind(planes, device)
        is_round = shape != BOX
        round_vectors = np.concatenate([unit, moment, extra], 1)[is_round]
        self._rounds = grid.bind(round_vectors, device) if is_round.any() else self._faces
        self._round_number = np.cumsum(is_round) - 1
        self._shape = shape
        self._faces_outside = (distance < 0).sum(1)
        square = np.where(is_cylinder, (eye[:, :2] ** 2).sum(1), (eye**2).sum(1)) - 1.0
        self._beyond = np.where(np.abs(square) < _TINY, _TINY, square)
        self.outside = np.where(shape == ELLIPSOID, False, self._faces_outside > 0)
        self.outside |= (shape != BOX) & (self._beyond > 0)
        """[N] whether the eye is outside the solid; from inside, nothing of it is seen."""

    def over(self, number: int, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
        """The lowest upper bound and the highest lower bound over a window, [h,w]."""
        kind = int(self._shape[number])
        beyond = float(self._beyond[number])
        rounds, round_number = self._rounds, int(self._round_number[number])
        if kind == ELLIPSOID:
            return _ball(rounds.over(round_number, slice(0, 7), window), beyond)
        outside = int(self._faces_outside[number])
        faces = self._faces.over(number, slice(0, 6), window)
        lower = faces[outside:].amax(0)
        upper = faces[:outside].amin(0) if outside else torch.full_like(lower, torch.inf)
        if kind == BOX:
            return upper, lower
        side_upper, side_lower = _side(rounds.over(round_number, slice(0, 8), window), beyond)
        return torch.minimum(upper, side_upper), torch.maximum(lower, side_lower)

    def tiles(
        self, kind: int, numbers: torch.Tensor, row: torch.Tensor, column: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same for M solids of one kind over their tiles, [M,s,s]."""
        index = numbers.cpu().numpy()
        beyond = torch.as_tensor(self._beyond[index], dtype=torch.float32, device=row.device)
        beyond = beyond[:, None, None]
        round_numbers = torch.as_tensor(self._round_number[index], device=row.device)
        if kind == ELLIPSOID:
            products = self._rounds.tiles(round_numbers, slice(0, 7), row, column)
            return _ball(products.transpose(0, 1), beyond)
        outside = torch.as_tensor(self._faces_outside[index], device=row.device)
        is_upper = torch.arange(6, device=row.device) < outside[:, None]
        is_upper = is_upper[..., None, None]
        faces = self._faces.tiles(numbers, slice(0, 6), row, column)
        upper = torch.where(is_upper, faces, torch.inf).amin(1)
        lower = torch.where(is_upper, -torch.inf, faces).amax(1)
        if kind == BOX:
            return upper, lower
        products = self._rounds.tiles(round_numbers, slice(0, 8), row, column)
        side_upper, side_lower = _side(products.transpose(0, 1), beyond)
        return torch.minimum(upper, side_upper), torch.maximum(lower, side_lower)


def _ball(
    products: torch.Tensor, beyond: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    x, y, z, moment_x, moment_y, moment_z, towards = products
    moment = moment_x.square().addcmul_(moment_y, moment_y).addcmul_(moment_z, moment_z)
    square = x.square().addcmul_(y, y).addcmul_(z, z)
    return _roots(towards, square.sub_(moment), beyond)


def _side(
    products: torch.Tensor, beyond: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    x, y, moment, towards = products[0], products[1], products[5], products[7]
    square = x.square().addcmul_(y, y).addcmul_(moment, moment, value=-1.0)
    return _roots(towards, square, beyond)


def _roots(
    towards: torch.Tensor, discriminant: torch.Tensor, beyond: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Roots w of beyond w^2 + 2 towards w + square = 0; NaN where the ray passes by."""
    root = discriminant.sqrt_()
    lower = (towards + root) / -beyond
    upper = (root - towards) / beyond
    if isinstance(beyond, torch.Tensor):
        return torch.where(beyond > 0, upper, torch.where(upper.isnan(), upper, torch.inf)), lower
    return (upper if beyond > 0 else torch.where(upper.isnan(), upper, torch.inf)), lower
