from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.evaluation.flicker import Flicker

SECOND = 1_000_000_000
SHAPE = (40, 50)


def grey(value: int) -> np.ndarray:
    return np.full((*SHAPE, 3), value, np.uint8)


def metres(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


def test_depth_that_changes_by_two_percent_flickers_by_two_percent():
    flicker = Flicker()
    for index, depth in enumerate((2.0, 2.04, 2.0)):
        flicker.add(index * SECOND // 10, grey(100), metres(depth), None, True)
    found = flicker.summary()
    assert found["pairs"] == 2 and found["static_share"] == 1.0
    assert found["median"] == pytest.approx(np.log(1.02), rel=1e-5)


def test_a_frame_without_metres_in_between_loses_nothing():
    flicker = Flicker()
    values = ((2.0, True), (2.04, True), (0.5, False), (0.55, False), (2.0, True))
    for index, (depth, is_metric) in enumerate(values):
        flicker.add(index * SECOND // 10, grey(100), metres(depth), None, is_metric)
    found = flicker.summary()
    assert (found["pairs"], found["of"][:5]) == (1, "depth")
    assert found["median"] == pytest.approx(np.log(1.02), rel=1e-5)


def test_what_moves_in_the_picture_or_in_truth_is_left_out():
    """Left half: brightness jumps. Right half: its lower part's truth moves away."""
    first, second = grey(100), grey(100)
    second[:, :25] = 160
    truth_before, truth_after = metres(3.0), metres(3.0)
    truth_after[20:, :] = 4.0
    depth_before, depth_after = metres(3.0), metres(9.0)
    depth_after[:20, 30:] = 3.3  # the part that stands still
    flicker = Flicker()
    flicker.add(0, first, depth_before, truth_before, True)
    flicker.add(SECOND // 10, second, depth_after, truth_after, True)
    found = flicker.summary()
    assert found["median"] == pytest.approx(np.log(1.1), rel=1e-5)
    assert 0.15 < found["static_share"] < 0.25


def test_unknown_truth_and_depth_that_is_not_finite_do_not_count():
    unknown = np.full(SHAPE, np.nan, np.float32)
    after = metres(5.0)
    after[:10] = np.inf
    after[10:20] = np.nan
    flicker = Flicker()
    flicker.add(0, grey(9), metres(5.0), unknown, True)
    flicker.add(SECOND // 10, grey(9), after, unknown, True)
    assert flicker.summary()["median"] == 0.0
    assert flicker.summary()["static_share"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("stamp_ns", "value"), [(3 * SECOND, 9), (-SECOND, 9), (SECOND // 10, 200)]
)
def test_pairs_that_are_too_far_apart_or_all_in_motion_do_not_count(stamp_ns, value):
    flicker = Flicker()
    flicker.add(0, grey(9), metres(5.0), None, True)
    flicker.add(stamp_ns, grey(value), metres(6.0), None, True)
    found = flicker.summary()
    assert found["pairs"] == 0 and found["pairs_not_counted"] == 1 and found["median"] is None


def test_without_metres_inverse_depth_is_compared_with_its_median():
    flicker = Flicker()
    flicker.add(0, grey(9), metres(4.0), None, False)
    flicker.add(SECOND // 10, grey(9), metres(4.2), None, False)
    found = flicker.summary()
    assert found["median"] == pytest.approx(0.05, rel=1e-5) and "inverse" in found["of"]
