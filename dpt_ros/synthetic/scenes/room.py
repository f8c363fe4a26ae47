"""A furnished room with a door, windows and ceiling lamps."""

from __future__ import annotations

import numpy as np

from dpt_ros.synthetic.scene import Air, Scene, SceneBuilder
from dpt_ros.synthetic.scenes import furniture as things
from dpt_ros.synthetic.scenes.placing import Placer

_ALONG_WALLS = (things.shelf, things.cabinet, things.sofa, things.bed)
_ALONG_WEIGHTS = (0.3, 0.35, 0.2, 0.15)
_FREE = (things.table, things.chair, things.plant, things.bin_, things.cartons, things.person)
_FREE_RADIUS = (0.95, 0.35, 0.35, 0.3, 0.45, 0.4)
_FREE_WEIGHTS = (0.2, 0.26, 0.1, 0.1, 0.2, 0.14)


def make_room(rng: np.random.Generator) -> Scene:
    """A room of 4.5 x 4 m to 12 x 9 m, 2.4 to 3.2 m high."""
    b = SceneBuilder(rng)
    length, width = rng.uniform(4.5, 12.0), rng.uniform(4.0, 9.0)
    height = rng.uniform(2.4, 3.2)
    shell(b, length, width, height)
    placer = Placer(
        rng, (-length / 2 + 0.3, -width / 2 + 0.3, length / 2 - 0.3, width / 2 - 0.3), 0.35
    )
    sides = [
        (length / 2, width, np.pi),
        (length / 2, width, 0.0),
        (width / 2, length, np.pi / 2),
        (width / 2, length, -np.pi / 2),
    ]
    is_day = rng.random() < 0.7
    for number, (away, span, yaw) in enumerate(sides):
        with b.at(0, 0, yaw), b.at(-away, 0):
            _furnish_wall(b, placer, span, number, is_day, (away, yaw))
    for _ in range(int(rng.integers(2, 4 + int(length * width / 9)))):
        choice = int(rng.choice(len(_FREE), p=_FREE_WEIGHTS))
        place = placer.find(_FREE_RADIUS[choice])
        if place is not None:
            with b.at(*place, float(rng.uniform(0, 2 * np.pi))):
                _FREE[choice](b)
    if length > 8 and rng.random() < 0.6:
        place = placer.find(0.3)
        if place is not None:
            b.box(*place, 0, (0.4, 0.4, height), b.material("plaster", 2.0), (0.8, 0.8, 0.8))
    tone = rng.uniform(0.85, 1.0)
    ceiling_lamps(b, length, width, height, (1.0, 0.5 + tone / 2, tone))
    level = rng.uniform(0.25, 0.5) + 0.15 * is_day
    air = Air((level, level * 0.98, level * 0.95), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    region = (-length / 2, -width / 2, length / 2, width / 2)
    return Scene(
        "room",
        b.primitives(),
        tuple(b.materials),
        tuple(b.lamps),
        None,
        air,
        region,
        int(rng.integers(2**31)),
    )


def shell(b: SceneBuilder, length: float, width: float, height: float) -> None:
    """Floor, ceiling, four walls and their skirting."""
    rng = b.rng
    floors = (("planks", 1.1), ("carpet", 1.0), ("checks", 1.2), ("paving", 1.6), ("concrete", 2.0))
    tile, size = floors[int(rng.integers(len(floors)))]
    colour = things.wood(rng) if tile == "planks" else things.pick_colour(rng, 0.25, 0.75, 0.2)
    b.box(0, 0, -0.1, (length + 1, width + 1, 0.1), b.material(tile, size, fresh=True), colour)
    ceiling = rng.uniform(0.75, 0.95)
    b.box(0, 0, height, (length + 1, width + 1, 0.1), b.material("plaster", 2.0), (ceiling,) * 3)
    walls = (("plaster", 2.0), ("stripes", 1.2), ("bricks", 1.0), ("concrete", 2.0))
    base = things.pick_colour(rng, 0.45, 0.92, 0.15)
    tile, size = walls[int(rng.choice(4, p=(0.6, 0.15, 0.12, 0.13)))]
    skirting, metal = things.pick_colour(rng, 0.15, 0.95, 0.1), b.material("metal", 1.0)
    for number in range(4):
        accent = things.pick_colour(rng, 0.35, 0.9, 0.3) if rng.random() < 0.25 else base
        material = b.material(tile, size)
        along = number % 2 == 0
        away, span = (length / 2, width) if along else (width / 2, length)
        with b.at(0, 0, number * np.pi / 2):
            b.box(away + 0.1, 0, 0, (0.2, span + 0.4, height), material, accent)
            b.box(away - 0.005, 0, 0, (0.02, span, 0.08), metal, skirting)


def ceiling_lamps(
    b: SceneBuilder, length: float, width: float, height: float, tone: tuple[float, float, float]
) -> None:
    """One to three lamps along the longer side, hung just below the ceiling."""
    rng = b.rng
    count = 1 if max(length, width) < 6 else 2 if max(length, width) < 10 else 3
    strength = rng.uniform(1.6, 3.2) * (height / 2.6) ** 2
    glow = b.material("metal", 1.0, 2.5)
    for number in range(count):
        part = (number + 0.5) / count - 0.5
        x, y = (part * length, 0.0) if length >= width else (0.0, part * width)
        x, y = x + rng.uniform(-0.3, 0.3), y + rng.uniform(-0.3, 0.3)
        if rng.random() < 0.5:
            b.cylinder(x, y, height - 0.07, 0.22, 0.07, glow)
        else:
            b.box(x, y, height - 0.05, (0.3, 1.2, 0.05), glow)
        colour = tuple(float(strength * value) for value in tone)
        b.lamp(x, y, height - 0.12, (colour[0], colour[1], colour[2]))


def _furnish_wall(
    b: SceneBuilder,
    placer: Placer,
    span: float,
    number: int,
    is_day: bool,
    frame: tuple[float, float],
) -> None:
    """Doors, windows and furniture along one wall, whose face is at x = 0 here."""
    rng, (away, yaw) = b.rng, frame

    def is_free(y: float, x: float, radius: float) -> bool:
        dx, dy = x - away, y
        return placer.take(
            dx * np.cos(yaw) - dy * np.sin(yaw), dx * np.sin(yaw) + dy * np.cos(yaw), radius
        )

    y = -span / 2 + 0.7
    while y < span / 2 - 0.7:
        choice = rng.random()
        reach = rng.uniform(0.5, 0.95)
        y += reach
        if y > span / 2 - 0.9:
            return
        if choice < 0.18 or (number == 0 and choice < 0.3):
            if is_free(y, 0.0, 0.7):
                with b.at(0.0, y):
                    things.door(b, things.wood(rng))
        elif choice < 0.4 and number > 1:
            with b.at(0.0, y):
                wide = min(rng.uniform(1.0, 2.0), 2 * (span / 2 - y))
                if is_free(y, 0.0, wide / 2):
                    things.window(b, wide, 1.6 if is_day else 0.08)
        elif choice < 0.8:
            thing = int(rng.choice(4, p=_ALONG_WEIGHTS))
            radius = (0.6, 0.75, 1.05, 1.1)[thing]
            if is_free(y, 0.1 if thing < 2 else radius * 0.7, radius):
                with b.at(0.02, y):
                    _ALONG_WALLS[thing](b)
        else:
            size = (0.03, rng.uniform(0.4, 1.2), rng.uniform(0.3, 0.8))
            picture = ("stripes", "leaves", "checks")[int(rng.integers(3))]
            colour = things.pick_colour(rng, 0.2, 0.9, 0.6)
            b.box(0.0, y, rng.uniform(1.2, 1.5), size, b.material(picture, 1.0), colour)
        y += reach
