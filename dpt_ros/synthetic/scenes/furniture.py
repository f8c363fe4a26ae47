"""Things that stand about indoors, in their true sizes; each faces +x, with its back at x = 0."""

from __future__ import annotations

import numpy as np

from dpt_ros.synthetic.scene import Colour, SceneBuilder


def pick_colour(
    rng: np.random.Generator, low: float = 0.15, high: float = 0.8, strength: float = 0.35
) -> Colour:
    """A colour of brightness `low` to `high`, more or less colourful."""
    bright = rng.uniform(low, high)
    tone = 1.0 + strength * rng.uniform(-1, 1, 3)
    colour = np.clip(bright * tone, 0.03, 0.95)
    return float(colour[0]), float(colour[1]), float(colour[2])


def wood(rng: np.random.Generator) -> Colour:
    """A colour of wood."""
    bright = rng.uniform(0.25, 0.8)
    return bright, bright * rng.uniform(0.68, 0.85), bright * rng.uniform(0.4, 0.65)


def table(b: SceneBuilder) -> None:
    """A table 0.72 to 0.76 m high."""
    width, length = b.rng.uniform(0.6, 0.95), b.rng.uniform(0.9, 1.8)
    height, colour = b.rng.uniform(0.72, 0.76), wood(b.rng)
    material = b.material("planks", 1.0)
    b.box(0, 0, height - 0.04, (width, length, 0.04), material, colour)
    for x in (-1, 1):
        for y in (-1, 1):
            place = (x * (width / 2 - 0.05), y * (length / 2 - 0.05))
            b.box(*place, 0, (0.06, 0.06, height - 0.04), material, colour)
    if b.rng.random() < 0.6:
        crate(b, height)


def crate(b: SceneBuilder, z: float = 0.0) -> None:
    """A small carton on something."""
    side = b.rng.uniform(0.2, 0.35)
    size = (side, side * b.rng.uniform(0.8, 1.2), side * b.rng.uniform(0.6, 1.0))
    turn = (float(b.rng.uniform(0, 6.28)), 0.0, 0.0)
    b.box(0, 0, z, size, b.material("metal", 1.0), (0.55, 0.4, 0.25), turn=turn)


def chair(b: SceneBuilder) -> None:
    """A chair with its seat at 0.45 m and its back up to 0.88 m."""
    colour, material = pick_colour(b.rng), b.material("carpet", 0.5)
    b.box(0, 0, 0.41, (0.44, 0.44, 0.05), material, colour)
    b.box(-0.2, 0, 0.46, (0.04, 0.42, 0.42), material, colour)
    for x in (-0.19, 0.19):
        for y in (-0.19, 0.19):
            b.box(x, y, 0, (0.035, 0.035, 0.41), b.material("metal", 1.0), (0.2, 0.2, 0.2))


def shelf(b: SceneBuilder) -> None:
    """A bookshelf 0.8 to 1.2 m wide, 1.8 to 2.1 m high, 0.3 m deep, its back at x = 0."""
    width, height, colour = b.rng.uniform(0.8, 1.2), b.rng.uniform(1.8, 2.1), wood(b.rng)
    material = b.material("planks", 1.0)
    b.box(0.01, 0, 0, (0.02, width, height), material, colour)
    for y in (-width / 2, width / 2):
        b.box(0.15, y, 0, (0.3, 0.03, height), material, colour)
    levels = int(b.rng.integers(4, 7))
    for level in range(levels + 1):
        z = level * (height - 0.03) / levels
        b.box(0.15, 0, z, (0.3, width, 0.03), material, colour)
        if level < levels and b.rng.random() < 0.75:
            part = width * b.rng.uniform(0.5, 0.95)
            books = b.material("books", 0.9)
            b.box(0.13, (part - width) / 2, z + 0.03, (0.2, part, 0.26), books, aligned=True)


def cabinet(b: SceneBuilder) -> None:
    """A cabinet or sideboard, its back at x = 0."""
    tall = b.rng.random() < 0.4
    height = b.rng.uniform(1.7, 2.1) if tall else b.rng.uniform(0.75, 1.1)
    width, depth = b.rng.uniform(0.8, 1.6), b.rng.uniform(0.4, 0.6)
    colour = wood(b.rng) if b.rng.random() < 0.6 else pick_colour(b.rng, 0.4, 0.9, 0.1)
    b.box(depth / 2, 0, 0, (depth, width, height), b.material("planks", 1.3), colour)
    dark = (colour[0] * 0.4, colour[1] * 0.4, colour[2] * 0.4)
    b.box(depth, 0, 0.08, (0.012, 0.012, height - 0.12), b.material("metal", 1.0), dark)
    for side in (-0.06, 0.06):
        b.box(depth + 0.015, side, height * 0.5, (0.03, 0.02, 0.14), b.material("metal", 1.0), dark)


def sofa(b: SceneBuilder) -> None:
    """A sofa 1.5 to 2.1 m wide with its seat at 0.43 m, its back at x = 0."""
    width, colour, cloth = b.rng.uniform(1.5, 2.1), pick_colour(b.rng), b.material("carpet", 0.6)
    b.box(0.45, 0, 0.08, (0.85, width, 0.35), cloth, colour)
    b.box(0.12, 0, 0.08, (0.24, width, 0.75), cloth, colour)
    for y in (-width / 2, width / 2):
        b.box(0.45, y, 0.0, (0.9, 0.2, 0.6), cloth, colour)


def bed(b: SceneBuilder) -> None:
    """A bed 2 m long with its mattress's top at 0.5 m, its head at x = 0."""
    width, frame = b.rng.uniform(0.9, 1.6), wood(b.rng)
    b.box(1.02, 0, 0.05, (2.04, width + 0.08, 0.28), b.material("planks", 1.0), frame)
    b.box(1.02, 0, 0.33, (1.96, width, 0.17), b.material("carpet", 0.8), pick_colour(b.rng, 0.5))
    b.box(0.02, 0, 0.0, (0.05, width + 0.1, 0.95), b.material("planks", 1.0), frame)
    b.ellipsoid(0.3, 0, 0.54, (0.2, 0.33, 0.08), b.material("carpet", 0.5), (0.85, 0.85, 0.82))


def plant(b: SceneBuilder) -> None:
    """A potted plant up to 1.5 m high."""
    height = b.rng.uniform(0.8, 1.5)
    b.cylinder(0, 0, 0, 0.16, 0.32, b.material("concrete", 0.5), pick_colour(b.rng))
    b.cylinder(0, 0, 0.3, 0.02, height - 0.5, b.material("planks", 1.0), (0.3, 0.2, 0.1))
    for _ in range(3):
        x, y, z = b.rng.uniform(-0.12, 0.12), b.rng.uniform(-0.12, 0.12), b.rng.uniform(0.55, 0.9)
        size = b.rng.uniform(0.14, 0.26)
        green = (0.12, float(b.rng.uniform(0.25, 0.45)), 0.1)
        b.ellipsoid(x, y, z * height, (size, size, size * 0.8), b.material("leaves", 0.5), green)


def bin_(b: SceneBuilder) -> None:
    """A waste bin."""
    height = b.rng.uniform(0.35, 0.7)
    colour = pick_colour(b.rng, 0.1, 0.6)
    b.cylinder(0, 0, 0, height * 0.32, height, b.material("metal", 1.0), colour)


def cartons(b: SceneBuilder) -> None:
    """A stack of cartons, 0.3 to 0.6 m each."""
    z = 0.0
    for _ in range(int(b.rng.integers(1, 4))):
        side = b.rng.uniform(0.3, 0.6)
        size = (side, side * b.rng.uniform(0.7, 1.0), side * b.rng.uniform(0.6, 0.9))
        bright = b.rng.uniform(0.8, 1.2)
        turn = (float(b.rng.uniform(-0.3, 0.3)), 0.0, 0.0)
        colour = (0.5 * bright, 0.37 * bright, 0.22 * bright)
        b.box(0, 0, z, size, b.material("metal", 1.0), colour, turn=turn)
        b.box(0, 0, z + size[2], (0.06, size[1], 0.003), b.material("metal", 1.0), turn=turn)
        z += size[2]


def person(b: SceneBuilder) -> None:
    """A standing or walking person, 1.55 to 1.9 m tall."""
    height = b.rng.uniform(1.55, 1.9)
    trousers, shirt = pick_colour(b.rng, 0.08, 0.5), pick_colour(b.rng, 0.1, 0.8, 0.5)
    cloth = b.material("carpet", 0.6)
    tone = b.rng.uniform(0.35, 0.85)
    skin: Colour = (tone, tone * 0.75, tone * 0.6)
    step = b.rng.uniform(-0.35, 0.35)
    leg = 0.47 * height
    for side, swing in ((-0.09, step), (0.09, -step)):
        place = (-leg / 2 * np.sin(swing), side, 0.02)
        b.cylinder(*place, 0.075, leg, cloth, trousers, turn=(0.0, swing, 0.0))
        b.box(-leg * np.sin(swing) + 0.05, side, 0, (0.26, 0.1, 0.08), cloth, (0.08, 0.07, 0.06))
        arm = (leg * 0.3 * np.sin(swing), side * 2.6, 0.46 * height)
        b.cylinder(*arm, 0.05, 0.36 * height, cloth, shirt, turn=(0.0, -swing, 0.0))
    b.ellipsoid(0, 0, 0.66 * height, (0.13, 0.2, 0.2 * height), cloth, shirt)
    b.ellipsoid(0, 0, 0.93 * height, (0.1, 0.08, 0.07 * height), b.material("metal", 1.0), skin)
    hair = pick_colour(b.rng, 0.04, 0.3, 0.3)
    b.ellipsoid(-0.02, 0, 0.955 * height, (0.1, 0.085, 0.052 * height), cloth, hair)


def door(b: SceneBuilder, colour: Colour) -> None:
    """A door leaf 0.9 x 2.03 m with its frame and handle, in a wall whose face is at x = 0."""
    metal = b.material("metal", 1.0)
    frame = pick_colour(b.rng, 0.3, 0.95, 0.1)
    b.box(0, 0, 0, (0.03, 0.9, 2.03), b.material("planks", 3.0), colour)
    for y in (-0.5, 0.5):
        b.box(0, y, 0, (0.07, 0.1, 2.08), metal, frame)
    b.box(0, 0, 2.03, (0.07, 1.1, 0.1), metal, frame)
    b.box(0.05, 0.37, 1.03, (0.04, 0.14, 0.025), metal, (0.35, 0.35, 0.35))


def window(b: SceneBuilder, width: float, brightness: float) -> None:
    """A bright window from 0.9 to 2.1 m in a wall whose face is at x = 0."""
    metal = b.material("metal", 1.0)
    b.box(0, 0, 0.9, (0.02, width, 1.2), b.material("metal", 1.0, brightness), (0.75, 0.85, 1.0))
    for y in (-width / 2, 0, width / 2):
        b.box(0, y, 0.88, (0.06, 0.06, 1.24), metal, (0.9, 0.9, 0.9))
    for z in (0.86, 2.08):
        b.box(0, 0, z, (0.1, width + 0.1, 0.05), metal, (0.9, 0.9, 0.9))
    b.box(0.06, 0, 0.25, (0.1, width * 0.8, 0.5), metal, (0.85, 0.85, 0.83))
