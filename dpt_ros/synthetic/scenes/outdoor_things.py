"""Things that stand about outdoors, with the sizes they have in life."""

from __future__ import annotations

import numpy as np

from dpt_ros.synthetic.scene import Colour, SceneBuilder
from dpt_ros.synthetic.scenes.furniture import pick_colour, wood

_RUBBER: Colour = (0.05, 0.05, 0.05)
_GLASS: Colour = (0.09, 0.11, 0.13)


def car(b: SceneBuilder) -> None:
    """A car along x, about 4.3 x 1.8 x 1.45 m."""
    length, width = b.rng.uniform(3.9, 4.7), b.rng.uniform(1.7, 1.85)
    height, metal = b.rng.uniform(1.4, 1.55), b.material("metal", 3.0)
    paint = pick_colour(b.rng, 0.08, 0.85, 0.6)
    b.box(0, 0, 0.25, (length, width, 0.5), metal, paint)
    b.box(0, 0, 0.4, (length * 0.93, width * 0.96, 0.5), metal, paint)
    cabin, back = length * 0.5, -length * 0.06
    b.box(back, 0, 0.88, (cabin, width * 0.88, height - 0.93), metal, _GLASS)
    b.box(back, 0, height - 0.09, (cabin * 0.94, width * 0.86, 0.09), metal, paint)
    for x in (-0.5, -0.02, 0.5):
        b.box(back + x * cabin, 0, 0.85, (0.09, width * 0.89, height - 0.9), metal, paint)
    for x in (-0.31, 0.31):
        for y in (-0.5, 0.5):
            turn = (0.0, 0.0, np.pi / 2)
            place = (x * length, y * (width - 0.18), 0.32 - 0.1)
            b.cylinder(*place, 0.32, 0.2, metal, _RUBBER, turn=turn)
    for end, colour in ((0.5, (0.9, 0.9, 0.85)), (-0.5, (0.5, 0.05, 0.05))):
        for y in (-0.38, 0.38):
            b.box(end * length, y * width, 0.58, (0.03, 0.3, 0.13), metal, colour)
        b.box(end * length, 0, 0.4, (0.03, 0.52, 0.11), metal, (0.8, 0.8, 0.8))


def tree(b: SceneBuilder) -> None:
    """A tree 4 to 9 m high."""
    height, radius = b.rng.uniform(4.0, 9.0), b.rng.uniform(0.1, 0.24)
    bark: Colour = (0.22, 0.17, 0.12)
    b.cylinder(0, 0, 0, radius, height * 0.6, b.material("concrete", 0.7), bark)
    bright = b.rng.uniform(0.2, 0.42)
    green: Colour = (bright * b.rng.uniform(0.4, 1.1), bright, bright * 0.3)
    for _ in range(int(b.rng.integers(3, 6))):
        x, y = b.rng.normal(0, height * 0.09, 2)
        size = height * b.rng.uniform(0.15, 0.24)
        z = height * b.rng.uniform(0.55, 0.85)
        b.ellipsoid(x, y, z, (size, size, size * 0.8), b.material("leaves", 2.0), green)


def bush(b: SceneBuilder) -> None:
    """A bush 0.5 to 1.3 m high."""
    height = b.rng.uniform(0.5, 1.3)
    bright = b.rng.uniform(0.2, 0.4)
    green: Colour = (bright * b.rng.uniform(0.4, 0.9), bright, bright * 0.3)
    for _ in range(3):
        x, y = b.rng.uniform(-0.25, 0.25, 2)
        size = height * b.rng.uniform(0.4, 0.55)
        b.ellipsoid(x, y, height * 0.45, (size, size, size), b.material("leaves", 1.2), green)


def lamp_post(b: SceneBuilder) -> None:
    """A street lamp 5 to 7 m high."""
    height = b.rng.uniform(5.0, 7.0)
    gray = (0.3, 0.32, 0.33)
    b.cylinder(0, 0, 0, 0.07, height, b.material("metal", 1.0), gray)
    b.cylinder(0, 0, 0, 0.1, 1.0, b.material("metal", 1.0), gray)
    b.box(0.4, 0, height, (1.0, 0.16, 0.1), b.material("metal", 1.0), gray)


def sign(b: SceneBuilder) -> None:
    """A traffic sign 0.6 m wide on a post, facing -x."""
    metal = b.material("metal", 1.0)
    b.cylinder(0, 0, 0, 0.03, 2.7, metal, (0.5, 0.5, 0.5))
    colour: Colour = ((0.7, 0.06, 0.05), (0.05, 0.15, 0.6), (0.9, 0.75, 0.1))[b.rng.integers(3)]
    turn = (0.0, np.pi / 2, 0.0)
    b.cylinder(-0.04, 0, 2.38, 0.3, 0.02, metal, colour, turn=turn)
    b.cylinder(-0.055, 0, 2.38, 0.22, 0.02, metal, (0.9, 0.9, 0.9), turn=turn)


def bollard(b: SceneBuilder) -> None:
    """A bollard 0.9 m high."""
    metal = b.material("metal", 1.0)
    b.cylinder(0, 0, 0, 0.06, 0.9, metal, (0.25, 0.25, 0.27))
    b.cylinder(0, 0, 0.72, 0.064, 0.1, metal, (0.85, 0.85, 0.85))


def wheelie_bin(b: SceneBuilder) -> None:
    """A wheeled bin 1.07 m high."""
    colour = pick_colour(b.rng, 0.08, 0.35, 0.6)
    b.box(0, 0, 0.06, (0.5, 0.48, 0.94), b.material("metal", 1.0), colour)
    b.box(0.02, 0, 1.0, (0.58, 0.52, 0.07), b.material("metal", 1.0), colour)


def bench(b: SceneBuilder) -> None:
    """A bench 1.6 m long with its seat at 0.45 m."""
    colour, planks = wood(b.rng), b.material("planks", 1.0)
    for x in (-0.15, 0.0, 0.15):
        b.box(x, 0, 0.42, (0.12, 1.6, 0.04), planks, colour)
    for z in (0.55, 0.72):
        b.box(-0.22, 0, z, (0.04, 1.6, 0.12), planks, colour)
    for y in (-0.6, 0.6):
        b.box(-0.05, y, 0, (0.4, 0.07, 0.42), b.material("metal", 1.0), (0.15, 0.15, 0.15))
        b.box(-0.22, y, 0, (0.05, 0.07, 0.84), b.material("metal", 1.0), (0.15, 0.15, 0.15))


def barrel(b: SceneBuilder) -> None:
    """An oil barrel, 0.88 x 0.58 m."""
    metal, colour = b.material("metal", 1.0), pick_colour(b.rng, 0.1, 0.6, 0.7)
    b.cylinder(0, 0, 0, 0.29, 0.88, metal, colour)
    dark = (colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6)
    for z in (0.28, 0.57):
        b.cylinder(0, 0, z, 0.3, 0.03, metal, dark)


def pallet(b: SceneBuilder) -> None:
    """Europallets, 1.2 x 0.8 x 0.144 m each, some with goods up to 1 m on top."""
    planks, colour = b.material("planks", 0.8), wood(b.rng)
    layers = int(b.rng.integers(1, 6))
    for layer in range(layers):
        z = layer * 0.144
        for y in (-0.35, 0.0, 0.35):
            b.box(0, y, z, (1.2, 0.1, 0.1), planks, colour)
        b.box(0, 0, z + 0.1, (1.2, 0.8, 0.04), planks, colour)
    if b.rng.random() < 0.5:
        size = (1.1, 0.75, b.rng.uniform(0.4, 1.0))
        b.box(0, 0, layers * 0.144, size, b.material("metal", 1.0), pick_colour(b.rng, 0.3))


def container(b: SceneBuilder) -> None:
    """A 20 foot container, 6.06 x 2.44 x 2.59 m, along x."""
    colour = pick_colour(b.rng, 0.12, 0.5, 0.7)
    b.box(0, 0, 0, (6.06, 2.44, 2.59), b.material("corrugated", 1.4), colour)


def shed(b: SceneBuilder) -> None:
    """A wooden shed with a flat roof and a door, along x."""
    length, width, height = b.rng.uniform(2.5, 4.5), b.rng.uniform(2.0, 3.0), 2.3
    boards, colour = b.material("fence_boards", 1.0), wood(b.rng)
    b.box(0, 0, 0, (length, width, height), boards, colour)
    dark = (0.2, 0.18, 0.17)
    b.box(0, 0, height, (length + 0.4, width + 0.4, 0.12), b.material("planks", 1.0), dark)
    for side in (-1, 1):
        b.box(0.4, side * width / 2, 0, (0.9, 0.05, 1.95), boards, pick_colour(b.rng, 0.2, 0.8))
