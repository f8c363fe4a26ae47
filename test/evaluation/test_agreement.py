from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.evaluation.agreement import CELLS, Agreement, PixelSample
from dpt_ros.evaluation.protocols import PROTOCOLS

FULL = PROTOCOLS["full"]


def agreement_of(truth_m: np.ndarray, ratio: np.ndarray | float) -> Agreement:
    sample = PixelSample.of_frame(1.0 / (truth_m * ratio), truth_m, FULL)
    agreement = Agreement.empty(FULL.cap_m)
    agreement.add(sample.cells(1.0, 0.0))
    return agreement


@pytest.mark.parametrize("bias", [-0.2, -0.03, 0.0, 0.02, 0.04])
@pytest.mark.parametrize("truth_m", [1.98, 2.05, 11.3])
def test_a_wall_s_error_is_told_to_within_a_percent(bias, truth_m):
    agreement = agreement_of(np.full((40, 50), truth_m), 1.0 + bias)
    found = agreement.error_percentiles((25.0, 50.0, 75.0))
    (column,) = np.flatnonzero(np.isfinite(found[:, 0]))
    assert agreement.edges_m[column] <= truth_m <= agreement.edges_m[column + 1]
    assert found[column] == pytest.approx([bias] * 3, abs=0.01)


def test_percentiles_are_those_of_the_pixels():
    random = np.random.default_rng(0)
    truth_m = random.uniform(1.0, 60.0, (50, 60))
    ratio = np.exp(random.normal(0.01, 0.1, truth_m.shape))
    agreement = agreement_of(truth_m, ratio)
    found = agreement.error_percentiles((25.0, 50.0, 75.0))
    place = np.searchsorted(agreement.edges_m, truth_m) - 1
    for column in np.flatnonzero(np.isfinite(found[:, 0])):
        expected = np.percentile(ratio[place == column] - 1.0, (25.0, 50.0, 75.0))
        assert found[column] == pytest.approx(expected, abs=0.02)


def test_every_pixel_is_counted_in_its_cell():
    truth_m = np.array([[0.1, 2.0, 2.0, 79.9]])
    agreement = agreement_of(truth_m, np.array([[1.0, 1.0, 4.0, 9.0]]))
    places = np.searchsorted(agreement.edges_m, (2.0, 8.0)) - 1
    expected = np.zeros((CELLS, CELLS), np.int64)
    for row, column in ((0, 0), (places[0], places[0]), (places[1], places[0]), (-1, -1)):
        expected[row, column] += 1
    np.testing.assert_array_equal(agreement.counts, expected)
