"""A scene: solids, their materials, lights, sky and air; and the builder that makes one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from dpt_ros.synthetic.primitives import BOX, CYLINDER, ELLIPSOID, Floats, Primitives, turned
from dpt_ros.synthetic.textures import TILES, Tile

Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Material:
    """What a surface looks like: a tile that repeats every `size_m`, and light of its own."""

    tile: Tile
    size_m: float
    emission: float = 0.0


@dataclass(frozen=True)
class Lamp:
    """A point of light. It casts shadows on what its downward view covers.

    Args:
        position: metres in the world.
        colour: light on a surface 1 m away that faces it.
    """

    position: tuple[float, float, float]
    colour: Colour


@dataclass(frozen=True)
class Sun:
    """Parallel light.

    Args:
        direction: unit vector towards the sun.
        colour: light on a surface that faces it.
        centre, radius_m: the part of the world in which it casts shadows.
    """

    direction: tuple[float, float, float]
    colour: Colour
    centre: tuple[float, float, float]
    radius_m: float


@dataclass(frozen=True)
class Air:
    """Ambient light, sky and haze.

    Args:
        ambient: light from everywhere.
        horizon, zenith: colours of the sky (and of a window's view).
        clouds: 0 none to 1 covered.
        haze_per_m: share of light lost a metre.
    """

    ambient: Colour
    horizon: Colour
    zenith: Colour
    clouds: float = 0.0
    haze_per_m: float = 0.0


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything there is to see.

    Args:
        kind: which builder made it.
        primitives: the solids; those below `GROUND_HEIGHT_M` can be driven over.
        materials: what the solids' indices refer to.
        lamps, sun, air: light.
        region: (x_min, y_min, x_max, y_max) where the robot may drive, metres.
        look: seed of the sensor's appearance in this scene.
    """

    kind: str
    primitives: Primitives
    materials: tuple[Material, ...]
    lamps: tuple[Lamp, ...]
    sun: Sun | None
    air: Air
    region: tuple[float, float, float, float]
    look: int


@dataclass
class SceneBuilder:
    """Collects solids. Positions are relative to the frame of the innermost `at`."""

    rng: np.random.Generator
    materials: list[Material] = field(default_factory=list)
    lamps: list[Lamp] = field(default_factory=list)
    _shape: list[int] = field(default_factory=list)
    _centre: list[Floats] = field(default_factory=list)
    _rotation: list[Floats] = field(default_factory=list)
    _half: list[tuple[float, float, float]] = field(default_factory=list)
    _material: list[tuple[int, int]] = field(default_factory=list)
    _tint: list[Colour] = field(default_factory=list)
    _offset: list[Floats] = field(default_factory=list)
    _frame: tuple[Floats, Floats] = field(default_factory=lambda: (np.eye(3), np.zeros(3)))
    _known: dict[tuple[str, float, float], int] = field(default_factory=dict)

    def material(self, tile: str, size_m: float, emission: float = 0.0, fresh: bool = False) -> int:
        """The index of a material; the same one for the same words, unless `fresh`."""
        key = (tile, size_m, emission)
        if fresh or key not in self._known:
            self.materials.append(Material(TILES[tile](self.rng), size_m, emission))
            self._known[key] = len(self.materials) - 1
        return self._known[key]

    @contextlib.contextmanager
    def at(self, x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> Iterator[None]:
        """Within the block, positions are relative to (x, y, z), turned by yaw."""
        before = self._frame
        rotation, origin = before
        place = origin + rotation @ np.array([x, y, z])
        self._frame = (rotation @ turned(yaw), np.asarray(place))
        try:
            yield
        finally:
            self._frame = before

    def box(
        self,
        x: float,
        y: float,
        z: float,
        size: tuple[float, float, float],
        material: int,
        tint: Colour = (1.0, 1.0, 1.0),
        *,
        top: int | None = None,
        turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
        aligned: bool = False,
    ) -> None:
        """A box of `size` whose bottom's middle is at (x, y, z), turned by (yaw, pitch, roll)."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self._add(BOX, (x, y, z + half[2]), turned(*turn), half, material, top, tint, aligned)

    def cylinder(
        self,
        x: float,
        y: float,
        z: float,
        radius: float,
        height: float,
        material: int,
        tint: Colour = (1.0, 1.0, 1.0),
        *,
        turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """A cylinder whose bottom's middle is at (x, y, z) before it turns about its middle."""
        half = (radius, radius, height / 2)
        self._add(CYLINDER, (x, y, z + half[2]), turned(*turn), half, material, None, tint)

    def ellipsoid(
        self,
        x: float,
        y: float,
        z: float,
        radii: tuple[float, float, float],
        material: int,
        tint: Colour = (1.0, 1.0, 1.0),
    ) -> None:
        """An ellipsoid with its centre at (x, y, z)."""
        self._add(ELLIPSOID, (x, y, z), np.eye(3), radii, material, None, tint)

    def lamp(self, x: float, y: float, z: float, colour: Colour) -> None:
        """A point of light."""
        place = self._frame[1] + self._frame[0] @ np.array([x, y, z])
        self.lamps.append(Lamp((float(place[0]), float(place[1]), float(place[2])), colour))

    def primitives(self) -> Primitives:
        """All solids so far."""
        return Primitives(
            np.array(self._shape, np.int64),
            np.array(self._centre, float).reshape(-1, 3),
            np.array(self._rotation, float).reshape(-1, 3, 3),
            np.array(self._half, float).reshape(-1, 3),
            np.array(self._material, np.int64).reshape(-1, 2),
            np.array(self._tint, float).reshape(-1, 3),
            np.array(self._offset, float).reshape(-1, 2),
        )

    def _add(
        self,
        shape: int,
        centre: tuple[float, float, float],
        rotation: Floats,
        half: tuple[float, float, float],
        material: int,
        top: int | None,
        tint: Colour,
        aligned: bool = False,
    ) -> None:
        frame, origin = self._frame
        self._shape.append(shape)
        self._centre.append(np.asarray(origin + frame @ np.array(centre)))
        self._rotation.append(np.asarray(frame @ rotation))
        self._half.append((max(half[0], 1e-3), max(half[1], 1e-3), max(half[2], 1e-3)))
        self._material.append((material, material if top is None else top))
        self._tint.append(tint)
        offset = self.rng.uniform(0.0, 10.0, 2)
        # Aligned: whole tiles from the bottom upwards, as storeys are.
        self._offset.append(np.array([half[0], half[2]]) if aligned else offset)
