"""The kinds of scene, each built from a random generator: room, corridor, street, yard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dpt_ros.synthetic.scene import Scene
from dpt_ros.synthetic.scenes.corridor import make_corridor
from dpt_ros.synthetic.scenes.room import make_room
from dpt_ros.synthetic.scenes.street import make_street
from dpt_ros.synthetic.scenes.yard import make_yard
from dpt_ros.synthetic.seeds import as_generator
from dpt_ros.synthetic.settings import KINDS

__all__ = ["KINDS", "make_scene"]

_MAKERS: dict[str, Callable[[np.random.Generator], Scene]] = {
    "room": make_room,
    "corridor": make_corridor,
    "street": make_street,
    "yard": make_yard,
}


def make_scene(kind: str, seed: int | np.random.SeedSequence) -> Scene:
    """The scene of a kind that a seed stands for; the same one every time.

    Args:
        kind: one of KINDS.
        seed: a number of 0 or more, or a stream of `seeds.split_seed`.

    Raises:
        ValueError: an unknown kind, or a negative seed.
    """
    if kind not in _MAKERS:
        raise ValueError(f"got scene kind {kind!r}, expected one of {', '.join(KINDS)}")
    return _MAKERS[kind](as_generator(seed))
