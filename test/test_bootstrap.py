from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.bootstrap import block_length, draw_blocks


def wandering(frames: int, kept: float, seed: int) -> np.ndarray:
    """[frames, 1]: each as the one before by the share `kept`, of variance 1."""
    random = np.random.default_rng(seed)
    values = random.normal(size=frames)
    for place in range(1, frames):
        values[place] = kept * values[place - 1] + np.sqrt(1 - kept**2) * values[place]
    return values[:, None]


def test_frames_unlike_their_neighbours_are_drawn_one_by_one():
    lengths = [block_length(wandering(300, 0.0, seed)) for seed in range(20)]
    assert np.median(lengths) == 1


def test_the_more_alike_neighbours_are_the_longer_are_the_blocks():
    a_little, much = (
        np.median([block_length(wandering(300, kept, seed)) for seed in range(20)])
        for kept in (0.5, 0.9)
    )
    # Politis and White's best one for a mean, (1.5 n (2 kept / (1 - kept^2))^2)^(1/3) = 9 and 34.
    assert 4 <= a_little <= 15 and 20 <= much <= 52


def test_the_column_that_wanders_most_decides():
    both = np.concatenate([wandering(300, 0.0, 0), wandering(300, 0.9, 1)], axis=1)
    assert block_length(both) == block_length(both[:, 1:])


@pytest.mark.parametrize("values", [np.ones((50, 2)), np.zeros((5, 1)), np.arange(3.0)[:, None]])
def test_equal_values_and_few_frames_are_drawn_one_by_one(values):
    assert block_length(values) == 1


def test_blocks_are_neighbours_and_the_first_frame_follows_the_last():
    places = draw_blocks(np.random.default_rng(0), 10, 4).reshape(-1, 4)
    assert len(places) == 2
    assert ((places[:, 1:] - places[:, :-1]) % 10 == 1).all()
    many = np.concatenate([draw_blocks(np.random.default_rng(n), 10, 4) for n in range(500)])
    assert np.bincount(many, minlength=10).min() > 300  # of 400 on average


def test_single_frames_are_drawn_as_often_as_there_are_frames():
    assert draw_blocks(np.random.default_rng(0), 7, 1).shape == (7,)
