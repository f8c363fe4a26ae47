from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.bags.dataset import sample_id
from dpt_ros.evaluation.error_points import error_points
from dpt_ros.evaluation.live import SPREAD_FRAMES, WORST_FRAMES, LiveEvaluation, LiveFrame
from dpt_ros.evaluation.protocols import choose_protocols
from dpt_ros.evaluation.replay_report import (
    ReplayFacts,
    build_replay_report,
    metrics_json,
    summary_lines,
)
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference.metres import MetresOfImage

CAMERA = Camera(16, 12, 20.0, 20.0, 7.5, 5.5)
STEP = 100_000_000


def known(camera):
    return {"calibration": MetresOfImage(ScaleShift(0.5, 0.0))}


def frame(index, factor=1.0, with_truth=True):
    """Truth between 2 and 4 m; depth is truth times `factor` under a scale of 0.5."""
    generator = np.random.default_rng(index)
    truth = generator.uniform(2.0, 4.0, (12, 16)).astype(np.float32)
    depth = truth * np.float32(factor)
    return LiveFrame(
        name=sample_id("drive", index),
        stamp_ns=index * STEP,
        rgb=generator.integers(0, 255, (12, 16, 3), np.uint8),
        inverse_depth=2.0 / depth,
        depth_m=depth,
        truth_m=truth if with_truth else None,
        camera=CAMERA if with_truth else None,
    )


def evaluation_of(*frames):
    evaluation = LiveEvaluation(known, choose_protocols(["full"]))
    for item in frames:
        evaluation.add(item)
    return evaluation


def test_depth_that_is_truth_times_one_point_one():
    evaluation = evaluation_of(*(frame(index, 1.1) for index in range(3)))
    (summary,) = [s for s in evaluation.summaries() if s.alignment == "calibration"]
    assert summary.metrics["abs_rel"] == pytest.approx(0.1, abs=1e-6)
    assert summary.metrics["delta1"] == 1.0
    assert evaluation.running.metrics["abs_rel"] == pytest.approx(0.1, abs=1e-6)
    assert evaluation.running.frames == evaluation.scored == 3
    found = evaluation.to_json()
    assert found["published_depth"]["max_relative_difference"] < 1e-6
    assert found["published_depth"]["valid_share"] == 1.0


def test_published_depth_that_is_not_what_the_calibration_says_shows():
    item = frame(0)
    item.depth_m[3, 4] *= 1.5
    found = evaluation_of(item).to_json()["published_depth"]
    assert found["max_relative_difference"] == pytest.approx(0.5, rel=1e-5)
    facts = ReplayFacts("a title", "live", {}, {})
    doubt = "differs from what is scored by up to 50.0%"
    assert sum(doubt in line for line in summary_lines(evaluation_of(item), facts)) == 1
    assert doubt in build_replay_report(evaluation_of(item), facts).html()
    assert not any("differs" in line for line in summary_lines(evaluation_of(frame(0)), facts))


@pytest.mark.parametrize("count", [5, 12, 13, 24, 96, 190])
def test_chosen_frames_reach_from_the_first_to_the_last(count):
    chosen = evaluation_of(*(frame(index, 1.01) for index in range(count))).chosen()
    spread = [item.frame.stamp_ns // STEP for item in chosen if not item.is_worst]
    assert len(spread) == min(count, SPREAD_FRAMES)
    assert spread[0] == 0 and spread[-1] >= 0.85 * (count - 1)
    assert max(np.diff(spread)) <= 2 * min(np.diff(spread))


def test_a_few_frames_are_chosen_however_many_there_are():
    factors = {17: 1.5, 41: 1.9, 63: 1.7, 80: 1.4}
    frames = (frame(index, factors.get(index, 1.01)) for index in range(100))
    chosen = evaluation_of(*frames).chosen()
    worst = [item.frame.stamp_ns // STEP for item in chosen if item.is_worst]
    assert worst == [41, 63, 17]
    assert len(chosen) <= SPREAD_FRAMES + WORST_FRAMES
    spread = [item.frame.stamp_ns // STEP for item in chosen if not item.is_worst]
    assert len(spread) == SPREAD_FRAMES


def test_without_truth_there_are_pictures_and_what_is_missing_is_told(tmp_path):
    evaluation = evaluation_of(frame(0, with_truth=False), frame(1, with_truth=False))
    facts = ReplayFacts("a title", "lock-step", {}, {}, missing=["truth: no LiDAR"])
    assert evaluation.summaries() == [] and len(evaluation.chosen()) == 2
    page = build_replay_report(evaluation, facts).html()
    assert "Missing: truth: no LiDAR" in page and page.count("<img") >= 4
    assert metrics_json(evaluation, facts)["missing"] == ["truth: no LiDAR"]


def test_error_points_lie_where_they_were_measured_in_the_colours_of_the_error():
    truth = np.full((12, 16), np.nan, np.float32)
    truth[2, 3], truth[5, 5], truth[7, 9] = 4.0, 4.0, 4.0
    depth = np.where(np.isfinite(truth), truth, 1.0)
    depth[5, 5], depth[7, 9] = 6.0, 8.0 / 3.0  # half as far again, and as near again
    points = error_points(depth, truth, CAMERA)
    assert points.shape == (1, 3, 4)
    np.testing.assert_allclose(points[0, 0, :3], [(3 - 7.5) / 5, (2 - 5.5) / 5, 4.0], rtol=1e-6)
    bits = points[0, :, 3].copy().view(np.uint32)
    red, blue = (bits >> 16) & 255, bits & 255
    assert red[1] > 200 > blue[1] and blue[2] > 200 > red[2]
    assert abs(int(red[0]) - int(blue[0])) < 10  # right: nearly white


@pytest.mark.parametrize("depth_m", [np.nan, np.inf, -np.inf])
def test_depth_that_is_known_nowhere_has_no_error_points(depth_m):
    truth = np.full((12, 16), 4.0, np.float32)
    assert error_points(np.full_like(truth, depth_m), truth, CAMERA).shape == (1, 0, 4)


def test_a_worst_frame_among_the_chosen_is_shown_among_the_worst_too():
    frames = (frame(index, 1.9 if index == 0 else 1.01) for index in range(SPREAD_FRAMES + 1))
    chosen = evaluation_of(*frames).chosen()
    worst = [item.frame.stamp_ns // STEP for item in chosen if item.is_worst]
    assert worst[0] == 0 and len(worst) == WORST_FRAMES
    few = evaluation_of(*(frame(index, 1.01) for index in range(SPREAD_FRAMES))).chosen()
    assert not any(item.is_worst for item in few)


def test_a_reason_for_a_partial_replay_ends_its_sentence():
    for reason in ("interrupted", "the disk is nearly full."):
        facts = ReplayFacts("replay", "lock-step", {}, {}, partial=reason)
        page = build_replay_report(evaluation_of(frame(0)), facts).html()
        assert f"Partial: {reason.rstrip('.')}. What came before" in page
