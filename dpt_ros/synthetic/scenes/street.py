"""A street along x: road, kerbs, pavements, houses, parked cars, trees, people."""

from __future__ import annotations

import numpy as np

from dpt_ros.synthetic.scene import Air, Scene, SceneBuilder, Sun
from dpt_ros.synthetic.scenes import furniture as indoor
from dpt_ros.synthetic.scenes import outdoor_things as things
from dpt_ros.synthetic.scenes.placing import Placer

_LENGTH_M = 90.0
_STOREY_M = 3.0
_BAY_M = 3.0


def make_street(rng: np.random.Generator) -> Scene:
    """A street with a road 5.5 to 8 m wide and pavements of 1.8 to 3.5 m, closed at both ends."""
    b = SceneBuilder(rng)
    road, pavement = rng.uniform(5.5, 8.0), rng.uniform(1.8, 3.5)
    front = road / 2 + pavement
    b.box(
        0,
        0,
        -0.1,
        (300, 300, 0.1),
        b.material("asphalt", 1.2),
        indoor.pick_colour(rng, 0.22, 0.4, 0.08),
    )
    slabs = b.material("paving", rng.uniform(1.4, 2.4))
    shade = indoor.pick_colour(rng, 0.35, 0.65, 0.12)
    for side in (-1.0, 1.0):
        y = side * (road / 2 + pavement / 2)
        b.box(0, y, 0, (_LENGTH_M * 1.3, pavement, 0.05), slabs, shade)
        b.box(
            0,
            side * (road / 2 + 0.07),
            0,
            (_LENGTH_M * 1.3, 0.14, 0.058),
            b.material("concrete", 1.0),
            (0.6, 0.6, 0.58),
        )
    _markings(b, road)
    for side in (-1.0, 1.0):
        _houses(b, side, front)
    for end in (-1.0, 1.0):
        _closing_house(b, end * (_LENGTH_M / 2 + rng.uniform(2, 14)), front)
    placer = Placer(rng, (-_LENGTH_M / 2, -front + 0.3, _LENGTH_M / 2, front - 0.3), 0.3)
    _park(b, placer, road)
    _line(b, placer, road, pavement)
    _scatter(b, placer, front)
    sun, air = daylight(rng)
    region = (-_LENGTH_M * 0.42, -front, _LENGTH_M * 0.42, front)
    return Scene(
        "street", b.primitives(), tuple(b.materials), (), sun, air, region, int(rng.integers(2**31))
    )


def daylight(rng: np.random.Generator) -> tuple[Sun, Air]:
    """Sun or clouds, sky and haze."""
    height, around = rng.uniform(0.35, 1.25), rng.uniform(0, 2 * np.pi)
    clouds = float(rng.uniform(0, 1))
    strength = rng.uniform(1.2, 2.6) * (1.0 - 0.85 * max(0.0, clouds - 0.4))
    warm = float(np.clip(1.2 - height, 0, 0.5))
    direction = (
        float(np.cos(height) * np.cos(around)),
        float(np.cos(height) * np.sin(around)),
        float(np.sin(height)),
    )
    colour = (
        float(strength),
        float(strength * (0.97 - 0.2 * warm)),
        float(strength * (0.9 - 0.45 * warm)),
    )
    sun = Sun(direction, colour, (0.0, 0.0, 0.0), 52.0)
    level = rng.uniform(0.45, 0.75)
    bright = rng.uniform(1.1, 1.7)
    gray = clouds * 0.8
    zenith = tuple(float(bright * (gray * 0.8 + (1 - gray) * value)) for value in (0.25, 0.45, 0.9))
    horizon = tuple(float(bright * (gray * 0.9 + (1 - gray) * v)) for v in (0.75, 0.85, 1.0))
    haze = float(rng.uniform(0.001, 0.006) if rng.random() < 0.75 else rng.uniform(0.006, 0.025))
    air = Air(
        (level * 0.9, level * 0.97, level * 1.08),
        (horizon[0], horizon[1], horizon[2]),
        (zenith[0], zenith[1], zenith[2]),
        clouds,
        haze,
    )
    return sun, air


def _markings(b: SceneBuilder, road: float) -> None:
    paint = b.material("concrete", 2.0)
    if b.rng.random() < 0.75:
        for x in np.arange(-_LENGTH_M / 2, _LENGTH_M / 2, 6.0):
            b.box(float(x), 0, 0, (3.0, 0.12, 0.004), paint, (0.9, 0.9, 0.88))
    if b.rng.random() < 0.6:
        x = float(b.rng.uniform(-25, 25))
        for y in np.arange(-road / 2 + 0.5, road / 2 - 0.3, 1.0):
            b.box(x, float(y), 0, (3.0, 0.5, 0.004), paint, (0.92, 0.92, 0.9))


def _houses(b: SceneBuilder, side: float, front: float) -> None:
    """A row of houses with doors, some with gaps closed by a wall or a hedge."""
    rng, x = b.rng, -_LENGTH_M / 2 - 8
    while x < _LENGTH_M / 2 + 8:
        width = _BAY_M * int(rng.integers(2, 6))
        middle = x + width / 2
        if rng.random() < 0.82:
            back, storeys = rng.uniform(0, 0.5), int(rng.integers(2, 6))
            walls = b.material("facade", _BAY_M, fresh=True)
            colour = indoor.pick_colour(rng, 0.35, 0.85, 0.3)
            size = (width, 8.0, _STOREY_M * storeys)
            y = side * (front + back + 4)
            b.box(middle, y, 0, size, walls, colour, aligned=True)
            plinth = (colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6)
            face = side * (front + back - 0.02)
            b.box(middle, face, 0, (width, 0.08, 0.6), b.material("concrete", 1.5), plinth)
            with b.at(middle + rng.uniform(-0.3, 0.3) * width, face, -side * np.pi / 2):
                indoor.door(b, indoor.pick_colour(rng, 0.1, 0.6, 0.5))
        else:
            hedge = rng.random() < 0.5
            material = b.material("leaves", 1.5) if hedge else b.material("bricks", 1.0)
            colour = (0.16, 0.3, 0.1) if hedge else (0.55, 0.32, 0.25)
            high = rng.uniform(1.4, 2.2)
            b.box(middle, side * (front + 0.2), 0, (width, 0.4, high), material, colour)
            for _ in range(2):
                place = (
                    middle + rng.uniform(-0.3, 0.3) * width,
                    side * (front + rng.uniform(3, 9)),
                )
                with b.at(*place):
                    things.tree(b)
        x += width


def _closing_house(b: SceneBuilder, x: float, front: float) -> None:
    rng = b.rng
    high = _STOREY_M * int(rng.integers(3, 6))
    colour = indoor.pick_colour(rng, 0.35, 0.8, 0.3)
    walls = b.material("facade", _BAY_M, fresh=True)
    far = x + np.sign(x) * 4
    b.box(float(far), 0, 0, (8.0, 2 * front + 24, high), walls, colour, aligned=True)


def _park(b: SceneBuilder, placer: Placer, road: float) -> None:
    """Cars parked along the kerbs, and perhaps one on the road."""
    rng = b.rng
    for side in (-1.0, 1.0):
        share, x = rng.uniform(0.1, 0.7), -_LENGTH_M / 2 + rng.uniform(0, 5)
        while x < _LENGTH_M / 2:
            y = side * (road / 2 - 1.1)
            if rng.random() < share and placer.take(x, y, 1.9):
                with b.at(x, y, rng.normal(0, 0.02) + (np.pi if rng.random() < 0.3 else 0)):
                    things.car(b)
            x += rng.uniform(5.3, 7.0)


def _line(b: SceneBuilder, placer: Placer, road: float, pavement: float) -> None:
    """Trees, lamps, signs and bollards in a line on each pavement."""
    rng = b.rng
    for side in (-1.0, 1.0):
        y, spacing = side * (road / 2 + 0.45), rng.uniform(5, 12)
        kinds = (things.tree, things.lamp_post, things.sign, things.bollard)
        weights = rng.dirichlet((1.5, 1.0, 0.7, 1.0))
        x = -_LENGTH_M / 2 + rng.uniform(0, spacing)
        while x < _LENGTH_M / 2:
            if placer.take(x, y, 0.25):
                with b.at(x, y, 0.0 if side < 0 else np.pi, 0.05):
                    kinds[int(rng.choice(4, p=weights))](b)
            x += spacing * rng.uniform(0.7, 1.3)
        for _ in range(int(rng.integers(1, 6))):
            x, y = rng.uniform(-40, 40), side * (road / 2 + pavement - 0.45)
            if placer.take(x, y, 0.4):
                with b.at(x, y, -side * np.pi / 2, 0.05):
                    (things.wheelie_bin if rng.random() < 0.7 else things.bush)(b)


def _scatter(b: SceneBuilder, placer: Placer, front: float) -> None:
    """People anywhere, and now and then cartons."""
    rng = b.rng
    for _ in range(int(rng.integers(3, 12))):
        place = placer.find(0.4)
        if place is not None and abs(place[1]) > 0.8:
            z = 0.05 if abs(place[1]) > front - 2 else 0.0
            with b.at(*place, rng.uniform(0, 2 * np.pi), z):
                indoor.person(b) if rng.random() < 0.85 else indoor.cartons(b)
