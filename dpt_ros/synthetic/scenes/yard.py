"""A yard or garden: open ground within a fence, wall or hedge, with what is stored and grows."""

from __future__ import annotations

import numpy as np

from dpt_ros.synthetic.scene import Scene, SceneBuilder
from dpt_ros.synthetic.scenes import furniture as indoor
from dpt_ros.synthetic.scenes import outdoor_things as things
from dpt_ros.synthetic.scenes.placing import Placer
from dpt_ros.synthetic.scenes.street import daylight

_THINGS = (
    things.tree,
    things.bush,
    things.barrel,
    things.pallet,
    things.bench,
    things.wheelie_bin,
    indoor.cartons,
    indoor.person,
    things.car,
    things.container,
    things.shed,
    things.bollard,
)
_RADIUS = (0.5, 0.7, 0.4, 0.75, 0.9, 0.4, 0.45, 0.4, 2.3, 3.3, 2.6, 0.2)
_GARDEN = np.array([4, 3, 0.5, 0.5, 1.2, 0.7, 0.5, 1.5, 0.3, 0, 0.6, 0.3])
_WORKS = np.array([0.5, 0.3, 2.2, 2.5, 0.2, 0.8, 2, 1.5, 1.2, 1.2, 0.4, 1])


def make_yard(rng: np.random.Generator) -> Scene:
    """A yard of 14 x 12 m to 45 x 36 m."""
    b = SceneBuilder(rng)
    length, width = rng.uniform(14, 45), rng.uniform(12, 36)
    is_garden = rng.random() < 0.5
    grounds = (
        (("grass", 2.0), ("gravel", 1.0))
        if is_garden
        else (("concrete", 3.0), ("asphalt", 1.2), ("gravel", 1.0), ("paving", 2.0))
    )
    tile, size = grounds[int(rng.integers(len(grounds)))]
    green = (0.3, 0.42, 0.17)
    colour = green if tile == "grass" else indoor.pick_colour(rng, 0.25, 0.6, 0.15)
    b.box(0, 0, -0.1, (300, 300, 0.1), b.material(tile, size, fresh=True), colour)
    if is_garden:
        path = b.material("paving", 2.0)
        y = rng.uniform(-0.3, 0.3) * width
        b.box(0, y, 0, (length, rng.uniform(1.0, 1.8), 0.02), path, (0.55, 0.53, 0.5))
    for side in range(4):
        away, span = (length / 2, width) if side % 2 == 0 else (width / 2, length)
        with b.at(0, 0, side * np.pi / 2), b.at(away, 0):
            _border(b, span, is_garden)
    placer = Placer(
        rng, (-length / 2 + 0.8, -width / 2 + 0.8, length / 2 - 0.8, width / 2 - 0.8), 0.7
    )
    weights = _GARDEN if is_garden else _WORKS
    for _ in range(int(length * width * rng.uniform(0.02, 0.06)) + 5):
        choice = int(rng.choice(len(_THINGS), p=weights / weights.sum()))
        place = placer.find(_RADIUS[choice], 4)
        if place is not None:
            with b.at(*place, rng.uniform(0, 2 * np.pi)):
                _THINGS[choice](b)
    sun, air = daylight(rng)
    region = (-length / 2, -width / 2, length / 2, width / 2)
    return Scene(
        "yard", b.primitives(), tuple(b.materials), (), sun, air, region, int(rng.integers(2**31))
    )


def _border(b: SceneBuilder, span: float, is_garden: bool) -> None:
    """A fence, wall, hedge or house along x = 0; behind it trees and houses."""
    rng = b.rng
    choice = int(rng.choice(4, p=(0.35, 0.2, 0.3, 0.15) if is_garden else (0.25, 0.4, 0.1, 0.25)))
    if choice == 0:
        high, colour = rng.uniform(1.2, 1.9), indoor.wood(rng)
        boards = b.material("fence_boards", 1.0)
        b.box(0, 0, 0.06, (0.03, span, high - 0.06), boards, colour)
        for y in np.arange(-span / 2, span / 2, 2.0):
            b.box(-0.05, float(y), 0, (0.09, 0.09, high + 0.08), b.material("planks", 1.0), colour)
    elif choice == 1:
        tile = ("bricks", "concrete")[int(rng.integers(2))]
        colour = indoor.pick_colour(rng, 0.3, 0.7, 0.25)
        b.box(0.1, 0, 0, (0.24, span + 0.4, rng.uniform(1.6, 2.6)), b.material(tile, 1.0), colour)
    elif choice == 2:
        b.box(
            0.3,
            0,
            0,
            (0.7, span, rng.uniform(1.3, 2.2)),
            b.material("leaves", 1.5),
            (0.15, 0.3, 0.1),
        )
    else:
        walls = b.material("facade", 3.0, fresh=True)
        size = (8.0, span, 3.0 * int(rng.integers(1, 4)))
        b.box(4, 0, 0, size, walls, indoor.pick_colour(rng, 0.4, 0.85, 0.25), aligned=True)
        with b.at(-0.02, rng.uniform(-0.3, 0.3) * span, np.pi):
            indoor.door(b, indoor.wood(rng))
        return
    for _ in range(int(span / 8)):
        with b.at(rng.uniform(2, 14), rng.uniform(-0.5, 0.5) * span):
            things.tree(b)
    if rng.random() < 0.6:
        size = (9.0, rng.uniform(9, 18), rng.uniform(6, 12))
        colour = indoor.pick_colour(rng, 0.4, 0.8, 0.25)
        walls = b.material("facade", 3.0)
        place = (rng.uniform(12, 22), rng.uniform(-0.3, 0.3) * span)
        b.box(*place, 0, size, walls, colour, aligned=True)
