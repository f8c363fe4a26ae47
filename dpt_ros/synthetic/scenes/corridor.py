"""A corridor with doors, niches, lamps, and what stands along its walls."""

from __future__ import annotations

import numpy as np

from dpt_ros.synthetic.scene import Air, Scene, SceneBuilder
from dpt_ros.synthetic.scenes import furniture as things
from dpt_ros.synthetic.scenes.placing import Placer

_THINGS = (
    things.cartons,
    things.bin_,
    things.chair,
    things.plant,
    things.person,
    things.cabinet,
)
_RADIUS = (0.4, 0.28, 0.32, 0.3, 0.35, 0.55)
_WEIGHTS = (0.22, 0.16, 0.14, 0.12, 0.22, 0.14)


def make_corridor(rng: np.random.Generator) -> Scene:
    """A corridor 1.7 to 3.2 m wide and 12 to 40 m long, along x, with niches on both sides."""
    b = SceneBuilder(rng)
    length, width = rng.uniform(12.0, 40.0), rng.uniform(1.7, 3.2)
    height = rng.uniform(2.4, 3.0)
    _floor_and_ceiling(b, length, width, height)
    tile, size = (("plaster", 2.0), ("concrete", 2.0), ("bricks", 1.0))[
        int(rng.choice(3, p=(0.65, 0.2, 0.15)))
    ]
    wall = b.material(tile, size)
    paint = things.pick_colour(rng, 0.5, 0.92, 0.15)
    lower = things.pick_colour(rng, 0.2, 0.7, 0.3) if rng.random() < 0.35 else None
    doors = things.wood(rng) if rng.random() < 0.6 else things.pick_colour(rng, 0.2, 0.8, 0.4)
    placer = Placer(rng, (-length / 2 + 1, -width / 2, length / 2 - 1, width / 2), 0.25)
    for side in (-1.0, 1.0):
        _side(b, placer, side, (length, width, height), (wall, paint, lower), doors)
    for end in (0.0, np.pi):
        with b.at(0, 0, end):
            b.box(length / 2 + 0.1, 0, 0, (0.2, width + 6, height), wall, paint)
            with b.at(length / 2, 0, np.pi):
                if rng.random() < 0.5:
                    things.window(b, min(1.4, width - 0.4), 1.6)
                else:
                    things.door(b, doors)
    _stand_along(b, placer, length, width)
    _lamps(b, length, height)
    level = rng.uniform(0.3, 0.6)
    air = Air((level, level, level * 0.97), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    region = (-length / 2, -width / 2, length / 2, width / 2)
    return Scene(
        "corridor",
        b.primitives(),
        tuple(b.materials),
        tuple(b.lamps),
        None,
        air,
        region,
        int(rng.integers(2**31)),
    )


def _floor_and_ceiling(b: SceneBuilder, length: float, width: float, height: float) -> None:
    rng = b.rng
    floors = (("checks", 1.2), ("concrete", 2.0), ("paving", 1.6), ("planks", 1.1), ("carpet", 1.0))
    tile, size = floors[int(rng.integers(len(floors)))]
    colour = things.wood(rng) if tile == "planks" else things.pick_colour(rng, 0.25, 0.75, 0.2)
    b.box(0, 0, -0.1, (length + 2, width + 6, 0.1), b.material(tile, size, fresh=True), colour)
    bright = rng.uniform(0.7, 0.95)
    kind = ("plaster", 2.0) if rng.random() < 0.5 else ("paving", 2.4)
    b.box(0, 0, height, (length + 2, width + 6, 0.1), b.material(*kind, fresh=True), (bright,) * 3)
    if rng.random() < 0.4:
        metal, y = b.material("metal", 1.0), rng.uniform(-0.4, 0.4) * width
        turn = (0.0, np.pi / 2, 0.0)
        radius = rng.uniform(0.05, 0.12)
        place = (0.0, y, height - radius - 0.05 - length / 2)
        b.cylinder(*place, radius, length, metal, things.pick_colour(rng, 0.3, 0.8), turn=turn)


def _side(
    b: SceneBuilder,
    placer: Placer,
    side: float,
    size: tuple[float, float, float],
    look: tuple[int, tuple[float, float, float], tuple[float, float, float] | None],
    door_colour: tuple[float, float, float],
) -> None:
    """One long wall: pieces with doors, pictures and radiators, and niches between them."""
    (length, width, height), (wall, paint, lower) = size, look
    rng, metal = b.rng, b.material("metal", 1.0)

    def piece(start: float, end: float, y: float) -> None:
        middle, span = (start + end) / 2, end - start
        b.box(middle, side * (y + 0.1), 0, (span, 0.2, height), wall, paint)
        b.box(middle, side * (y - 0.004), 0, (span, 0.02, 0.08), metal, (0.2, 0.2, 0.2))
        if lower is not None:
            b.box(middle, side * (y - 0.002), 0, (span, 0.012, 1.1), wall, lower)

    x, begun = -length / 2, -length / 2
    while x < length / 2 - 2.5:
        step = rng.uniform(1.6, 3.6)
        x += step
        if x > length / 2 - 1.8:
            break
        choice = rng.random()
        yaw = -side * np.pi / 2
        if choice < 0.12:
            opening, deep = rng.uniform(1.2, 2.4), rng.uniform(0.8, 2.5)
            piece(begun, x, width / 2)
            for edge in (x - 0.1, x + opening + 0.1):
                place = (edge, side * (width / 2 + 0.2 + deep / 2))
                b.box(*place, 0, (0.2, deep, height), wall, paint)
            piece(x - 0.2, x + opening + 0.2, width / 2 + 0.2 + deep)
            begun = x = x + opening
        elif choice < 0.7:
            placer.take(x, side * width / 2, 0.5)
            with b.at(x, side * width / 2, yaw):
                things.door(b, door_colour)
        elif choice < 0.82:
            with b.at(x, side * width / 2, yaw):
                high = (0.03, rng.uniform(0.5, 1.3), rng.uniform(0.4, 0.9))
                colour = things.pick_colour(rng, 0.2, 0.9, 0.6)
                b.box(0, 0, 1.25, high, b.material("stripes", 1.0), colour)
        else:
            placer.take(x, side * width / 2, 0.5)
            with b.at(x, side * width / 2, yaw):
                b.box(0.06, 0, 0.15, (0.1, 1.0, 0.6), b.material("corrugated", 0.4), (0.85,) * 3)
    piece(begun, length / 2, width / 2)


def _stand_along(b: SceneBuilder, placer: Placer, length: float, width: float) -> None:
    """Things beside the walls, so that there is always a way through."""
    rng = b.rng
    for _ in range(int(length / rng.uniform(2.5, 7.0))):
        choice = int(rng.choice(len(_THINGS), p=_WEIGHTS))
        radius = _RADIUS[choice]
        if width < 2 * radius + 0.9:
            continue
        x, side = rng.uniform(-length / 2 + 1, length / 2 - 1), rng.choice([-1.0, 1.0])
        is_cabinet = _THINGS[choice] is things.cabinet
        y = side * (width / 2 - (0.0 if is_cabinet else radius + 0.02))
        if placer.take(x, y, radius):
            yaw = -side * np.pi / 2 if is_cabinet else rng.uniform(0, 2 * np.pi)
            with b.at(x, y, yaw):
                _THINGS[choice](b)


def _lamps(b: SceneBuilder, length: float, height: float) -> None:
    """Glowing panels along the ceiling; a few of them really give light."""
    rng = b.rng
    spacing = rng.uniform(2.4, 4.5)
    count = max(2, int(length / spacing))
    glow = b.material("metal", 1.0, 2.5)
    long_ways = rng.random() < 0.5
    size = (1.2, 0.3, 0.04) if long_ways else (0.6, 0.6, 0.03)
    for number in range(count):
        b.box(((number + 0.5) / count - 0.5) * length, 0, height - size[2], size, glow)
    lights = int(min(4, max(2, length / 8)))
    strength = rng.uniform(1.5, 3.0) * (height / 2.6) ** 2
    for number in range(lights):
        x = ((number + 0.5) / lights - 0.5) * length
        b.lamp(x, 0.0, height - 0.12, (strength, strength * 0.97, strength * 0.92))
