"""Square tiles of surface colour that repeat without a seam, made from a random generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TILE_PX = 128

Tile = NDArray[np.float32]


def noise(rng: np.random.Generator, roughness: float = 1.0) -> Tile:
    """Periodic fractal noise [T,T], mean 0, deviation 1; larger roughness is finer grained."""
    frequency = np.hypot(np.fft.fftfreq(TILE_PX)[:, None], np.fft.rfftfreq(TILE_PX)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((TILE_PX, TILE_PX)))
    field = np.fft.irfft2(spectrum * frequency ** (roughness - 2.0), (TILE_PX, TILE_PX))
    return np.asarray(field / field.std(), np.float32)


def _gray(value: NDArray[np.floating]) -> Tile:
    return np.repeat(np.clip(value, 0.02, 1.3)[..., None], 3, -1).astype(np.float32)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows (v, upwards) and columns (u) of a tile, 0 to 1."""
    axis = (np.arange(TILE_PX) + 0.5) / TILE_PX
    return axis[:, None] * np.ones(TILE_PX), np.ones(TILE_PX)[:, None] * axis


def plaster(rng: np.random.Generator) -> Tile:
    """Painted wall: nearly even, with faint stains and grain."""
    return _gray(0.92 + 0.03 * noise(rng, 0.3) + 0.02 * noise(rng, 1.6))


def concrete(rng: np.random.Generator) -> Tile:
    """Concrete: cloudy, with grain."""
    return _gray(0.8 + 0.09 * noise(rng, 0.4) + 0.05 * noise(rng, 1.6))


def asphalt(rng: np.random.Generator) -> Tile:
    """Asphalt: fine, strong grain with patches."""
    return _gray(0.75 + 0.05 * noise(rng, 0.3) + 0.13 * noise(rng, 1.7))


def gravel(rng: np.random.Generator) -> Tile:
    """Gravel: pebbles a few pixels wide."""
    return _gray(0.7 + 0.2 * noise(rng, 1.1) + 0.08 * noise(rng, 1.9))


def grass(rng: np.random.Generator) -> Tile:
    """Grass: patches of green and yellow with dark blades."""
    shade = 0.65 + 0.1 * noise(rng, 0.4) + 0.18 * noise(rng, 1.4)
    yellow = np.clip(0.5 + 0.25 * noise(rng, 0.5), 0, 1)
    colour = np.stack([0.75 + 0.4 * yellow, np.ones_like(yellow), 0.6 - 0.1 * yellow], -1)
    return np.asarray(np.clip(shade, 0.12, 1.3)[..., None] * colour, np.float32)


def leaves(rng: np.random.Generator) -> Tile:
    """Foliage: clumps of light and dark."""
    return _gray(0.62 + 0.12 * noise(rng, 0.7) + 0.22 * noise(rng, 1.3))


def carpet(rng: np.random.Generator) -> Tile:
    """Carpet or cloth: even, fine grain."""
    return _gray(0.8 + 0.04 * noise(rng, 0.4) + 0.08 * noise(rng, 1.9))


def _blocks(rng: np.random.Generator, rows: int, columns: int, gap: float, shift: float) -> Tile:
    """Laid blocks with joints: bricks, paving, tiles, boards."""
    v, u = _grid()
    row = np.floor(v * rows).astype(int)
    along = u * columns + row * shift
    column = np.floor(along).astype(int) % columns
    shade = 1.0 + 0.1 * rng.standard_normal((rows, columns))[row, column]
    joint = np.minimum(
        np.minimum(along % 1.0, 1.0 - along % 1.0) / columns,
        np.minimum(v * rows % 1.0, 1.0 - v * rows % 1.0) / rows,
    )
    value = np.where(joint < gap / 2, rng.uniform(0.4, 0.7), 0.85 * shade)
    return _gray(value + 0.04 * noise(rng, 1.5))


def bricks(rng: np.random.Generator) -> Tile:
    """Brick wall: 4 x 12 stretchers a tile, so that 1 m shows courses of about 8 cm."""
    return _blocks(rng, 12, 4, 0.016, 0.5)


def paving(rng: np.random.Generator) -> Tile:
    """Square slabs, 4 x 4 a tile."""
    return _blocks(rng, 4, 4, 0.02, rng.choice([0.0, 0.5]))


def planks(rng: np.random.Generator) -> Tile:
    """Boards along u with grain: 8 a tile."""
    grain = noise(rng, 0.8)
    return np.asarray(
        np.clip(_blocks(rng, 8, 1, 0.01, 0.37) + 0.06 * grain[:, :1, None], 0.1, 1.2), np.float32
    )


def fence_boards(rng: np.random.Generator) -> Tile:
    """Upright boards: 8 a tile."""
    return np.ascontiguousarray(planks(rng).transpose(1, 0, 2))


def checks(rng: np.random.Generator) -> Tile:
    """Two-coloured squares, 4 x 4 a tile."""
    v, u = _grid()
    is_dark = (np.floor(v * 4) + np.floor(u * 4)) % 2 == 0
    return _gray(np.where(is_dark, rng.uniform(0.35, 0.65), 0.95) + 0.03 * noise(rng, 1.2))


def stripes(rng: np.random.Generator) -> Tile:
    """Upright stripes, as on wallpaper or a curtain."""
    _, u = _grid()
    period = int(rng.integers(4, 10))
    return _gray(0.85 + rng.uniform(0.08, 0.2) * np.sin(2 * np.pi * u * period) + 0.02 * noise(rng))


def facade(rng: np.random.Generator) -> Tile:
    """One storey and one bay of a house: a window with its frame in a wall."""
    v, u = _grid()
    half_width, half_height = rng.uniform(0.17, 0.26), rng.uniform(0.2, 0.27)
    across, up = np.abs(u - 0.5), np.abs(v - 0.55)
    value = 0.9 + 0.03 * noise(rng, 0.4) + 0.04 * noise(rng, 1.6)
    value = np.where((across < half_width + 0.03) & (up < half_height + 0.03), 1.15, value)
    glass = (across < half_width) & (up < half_height)
    glass &= (across > 0.012) | (rng.random() < 0.4)
    return _gray(np.where(glass, 0.16 + 0.12 * v + 0.03 * noise(rng, 0.3), value))


def metal(rng: np.random.Generator) -> Tile:
    """Painted sheet: even, faint."""
    return _gray(0.9 + 0.02 * noise(rng, 0.2) + 0.01 * noise(rng, 1.6))


def corrugated(rng: np.random.Generator) -> Tile:
    """Corrugated sheet: upright ribs, 5 a tile."""
    _, u = _grid()
    return _gray(0.75 + 0.2 * np.sin(2 * np.pi * u * 5) + 0.03 * noise(rng, 0.6))


def books(rng: np.random.Generator) -> Tile:
    """A row of books' backs in many colours, 20 a tile."""
    v, u = _grid()
    column = np.floor(u * 20).astype(int)
    colours = rng.uniform(0.1, 1.0, (20, 3))
    tops = rng.uniform(0.7, 0.98, 20)
    value = colours[column] * (0.9 + 0.1 * np.sin(np.pi * (u * 20 % 1)))[..., None]
    return np.asarray(np.where((v < tops[column])[..., None], value, 0.06), np.float32)


TILES: dict[str, Callable[[np.random.Generator], Tile]] = {
    "plaster": plaster,
    "concrete": concrete,
    "asphalt": asphalt,
    "gravel": gravel,
    "grass": grass,
    "leaves": leaves,
    "carpet": carpet,
    "bricks": bricks,
    "paving": paving,
    "planks": planks,
    "fence_boards": fence_boards,
    "checks": checks,
    "stripes": stripes,
    "facade": facade,
    "metal": metal,
    "corrugated": corrugated,
    "books": books,
}


def pyramid(tile: Tile) -> list[Tile]:
    """The tile and its halvings down to one pixel."""
    levels = [tile]
    while len(levels[-1]) > 1:
        last = levels[-1]
        half = len(last) // 2
        levels.append(last.reshape(half, 2, half, 2, 3).mean((1, 3), dtype=np.float32))
    return levels
