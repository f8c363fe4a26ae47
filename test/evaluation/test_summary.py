from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dpt_ros.evaluation.intervals import mean_intervals
from dpt_ros.evaluation.protocols import PROTOCOLS
from dpt_ros.evaluation.scoring import FrameScore, score_frame
from dpt_ros.evaluation.summary import summarise
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference.metres import MetresOfImage
from dpt_ros.metrics import METRICS

FULL = PROTOCOLS["full"]
METRIC = {"none": MetresOfImage(ScaleShift(1.0, 0.0))}


def scores(*factors: float, truth: float = 4.0) -> list[FrameScore]:
    """Frames of 2x2 pixels at one depth, each wrong by its factor."""
    image = np.full((2, 2), truth)
    return [
        score_frame(f"bag/{index}", 1.0 / (factor * image), image, FULL, METRIC, ["none"])[0]
        for index, factor in enumerate(factors)
    ]


def test_means_are_over_frames():
    [summary] = summarise(scores(1.1, 1.3, 1.2), [FULL])
    assert summary.metrics["abs_rel"] == pytest.approx(0.2)
    assert summary.metrics["delta1"] == pytest.approx(2 / 3)
    assert (summary.frames, summary.unscored, summary.pixels) == (3, 0, 12)
    nearest, *farther = summary.ranges
    assert (nearest.name, nearest.frames, nearest.pixels) == ("0-5 m", 3, 12)
    assert nearest.metrics["abs_rel"] == pytest.approx(0.2)
    assert all(item.frames == 0 and math.isnan(item.metrics["rmse"]) for item in farther)


def test_a_range_averages_over_the_frames_that_reach_it():
    mixed = [*scores(1.1, truth=4.0), *scores(1.3, truth=30.0)]
    [summary] = summarise(mixed, [FULL])
    by_name = {item.name: item for item in summary.ranges}
    assert by_name["0-5 m"].metrics["abs_rel"] == pytest.approx(0.1)
    assert by_name["20-40 m"].metrics["abs_rel"] == pytest.approx(0.3)
    assert summary.metrics["abs_rel"] == pytest.approx(0.2)


def test_the_order_of_frames_does_not_matter():
    forwards = scores(*np.random.default_rng(0).uniform(0.8, 1.3, 20))
    [a], [b] = summarise(forwards, [FULL]), summarise(forwards[::-1], [FULL])
    assert json.dumps(a.to_json()) == json.dumps(b.to_json())


def test_what_was_not_scored_is_counted_and_explained():
    missing = FrameScore("bag/9", "full", "none", None, np.zeros(6, np.int64), remark="why: not")
    [summary] = summarise([*scores(1.1), missing, missing], [FULL])
    assert (summary.frames, summary.unscored) == (1, 2)
    assert summary.remarks == {"why": (2, "why: not")} and summary.why_not == ""

    [nothing] = summarise([missing], [FULL])
    assert nothing.why_not == "why: not"
    told = json.loads(json.dumps(nothing.to_json(), allow_nan=False))
    assert told["metrics"] == dict.fromkeys(METRICS) and told["frames"] == 0
    assert told["intervals_95"]["rmse"] == [None, None]


def test_remarks_do_not_grow_with_the_frames():
    none = np.zeros(6, np.int64)
    many = [FrameScore(f"b/{i}", "full", "none", None, none, remark=f"{i}: x") for i in range(50)]
    [summary] = summarise(many, [FULL])
    assert len(summary.remarks) < 12 and sum(n for n, _ in summary.remarks.values()) == 50


def test_intervals_hold_the_mean_and_shrink_with_frames():
    rng = np.random.default_rng(1)
    few, many = rng.normal(5.0, 1.0, (40, 2)), rng.normal(5.0, 1.0, (4000, 2))
    for values, width in ((few, 2 * 1.96 / 40**0.5), (many, 2 * 1.96 / 4000**0.5)):
        ends = mean_intervals(values)
        means = values.mean(axis=0)
        assert ((ends[:, 0] < means) & (means < ends[:, 1])).all()
        # The normal approximation of the mean's interval, by the sample's own deviation.
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], width * values.std(axis=0), rtol=0.15)
    np.testing.assert_array_equal(mean_intervals(few), mean_intervals(few))


def test_one_frame_has_no_interval():
    assert np.isnan(mean_intervals(np.ones((1, 9)))).all()
    assert mean_intervals(np.full((3, 1), 2.0)).tolist() == [[2.0, 2.0]]


def test_intervals_of_frames_like_their_neighbours_are_as_wide_as_such_means_differ():
    """Frame by frame they would hold the true mean, 0, in 45 of 100 recordings."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        values = np.zeros(300)
        for index in range(1, 300):
            values[index] = 0.8 * values[index - 1] + rng.normal()
        low, high = mean_intervals(np.stack([values, np.ones(300)], axis=1))[0]
        held += low < 0.0 < high
    assert 80 <= held <= 98


def test_intervals_of_scenes_of_like_frames_are_those_of_scenes():
    scenes = np.random.default_rng(5).normal(5.0, 1.0, 60)
    (low, high), (low_of_scenes, high_of_scenes) = (
        mean_intervals(values[:, None])[0] for values in (np.repeat(scenes, 8), scenes)
    )
    # Each frame by itself, they would be a third as wide.
    assert high - low == pytest.approx(high_of_scenes - low_of_scenes, rel=0.3)
