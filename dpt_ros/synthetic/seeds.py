"""One integer seed decides everything; train, validation and test are streams of their own."""

from __future__ import annotations

import numpy as np

from dpt_ros.synthetic.settings import SPLITS

_STREAM = {"train": 11, "validation": 23, "test": 37}


def split_seed(seed: int, split: str, index: int) -> np.random.SeedSequence:
    """The seed of scene `index` of a split: no two (seed, split, index) share a stream.

    Args:
        seed: the user's seed, 0 to 2**32 - 1: NumPy would read a larger one as two numbers.
        split: one of SPLITS.
        index: number of the scene within the split, 0 or more.

    Raises:
        ValueError: an unknown split, or a number out of range.
    """
    if split not in _STREAM:
        raise ValueError(f"got split {split!r}, expected one of {', '.join(SPLITS)}")
    if not (0 <= seed < 2**32 and 0 <= index < 2**32):
        raise ValueError(f"got seed {seed} and scene {index}, expected 0 to {2**32 - 1}")
    return np.random.SeedSequence((_STREAM[split], seed, index))


def as_generator(seed: int | np.random.SeedSequence) -> np.random.Generator:
    """A generator from a plain seed or a stream of `split_seed`.

    Raises:
        ValueError: a negative seed.
    """
    if isinstance(seed, int) and seed < 0:
        raise ValueError(f"got seed {seed}, expected 0 or more")
    return np.random.default_rng(seed)
