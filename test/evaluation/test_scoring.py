"""Scores of frames against an oracle that goes pixel by pixel and shares no code with them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dpt_ros.evaluation.alignment import ALIGNMENTS, PREFERRED
from dpt_ros.evaluation.protocols import PROTOCOLS, Protocol, ProtocolError, choose_protocols
from dpt_ros.evaluation.scoring import score_frame
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference.metres import MetresOfImage
from dpt_ros.metrics import METRICS

METRIC = {"none": MetresOfImage(ScaleShift(1.0, 0.0))}


def oracle(pairs: list[tuple[float, float]]) -> dict[str, float]:
    n = len(pairs)
    logs = [math.log(p / g) for p, g in pairs]
    mean = math.fsum(logs) / n
    return {
        "abs_rel": math.fsum(abs(p - g) / g for p, g in pairs) / n,
        "sq_rel": math.fsum((p - g) ** 2 / g for p, g in pairs) / n,
        "rmse": math.sqrt(math.fsum((p - g) ** 2 for p, g in pairs) / n),
        "rmse_log": math.sqrt(math.fsum(x * x for x in logs) / n),
        "si_log": 100.0 * math.sqrt(math.fsum((x - mean) ** 2 for x in logs) / n),
        "log10": math.fsum(abs(x) for x in logs) / n / math.log(10.0),
        **{f"delta{i}": sum(max(p / g, g / p) < 1.25**i for p, g in pairs) / n for i in (1, 2, 3)},
    }


def frame(height: int = 60, width: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Relative inverse depth and sparse truth that has to do with it."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 100.0, (height, width))
    inverse_depth = 30.0 / depth + 2.0 + rng.normal(0.0, 0.3, depth.shape)
    truth = np.where(rng.random(depth.shape) < 0.3, depth, np.nan)
    return inverse_depth.astype(np.float32), truth.astype(np.float32)


def pixels(truth: np.ndarray, protocol: str) -> list[tuple[int, int]]:
    """The pixels that count, by the protocols' texts."""
    height, width = truth.shape
    top, bottom, left, right, cap = 0, height, 0, width, 80.0
    if protocol == "kitti":
        top, bottom = int(0.40810811 * height), int(0.99189189 * height)
        left, right = int(0.03594771 * width), int(0.96405229 * width)
    if protocol == "nyu":
        top, bottom, left, right, cap = 45, 471, 41, 601, 10.0
    return [
        (row, column)
        for row in range(top, bottom)
        for column in range(left, right)
        if 1e-3 < truth[row, column] < cap
    ]


def fitted(xs: list[float], ys: list[float]) -> tuple[float, float]:
    (scale, shift), *_ = np.linalg.lstsq(np.stack([xs, np.ones(len(xs))], 1), ys, rcond=None)
    return float(scale), float(shift)


def expected(inverse_depth, truth, protocol: str, alignment: str, pair=(0.04, 0.01)):
    """Pairs of clamped prediction and truth."""
    cap = 10.0 if protocol == "nyu" else 80.0
    chosen = pixels(truth, protocol)
    d = [float(inverse_depth[at]) for at in chosen]
    g = [float(truth[at]) for at in chosen]
    scale, shift = pair
    if alignment in ("least_squares", "zero-shot"):
        scale, shift = fitted(d, [1.0 / x for x in g])
    metric = [scale * x + shift for x in d]
    depth = [1.0 / x if x > 0.0 else math.inf for x in metric]
    if alignment == "median":
        factor = sorted(g)[len(g) // 2] / sorted(depth)[len(g) // 2]
        if len(g) % 2 == 0:
            middle = [sorted(v)[len(g) // 2 - 1] + sorted(v)[len(g) // 2] for v in (g, depth)]
            factor = middle[0] / middle[1]
        depth = [factor * x for x in depth]
    return [(min(max(p, 1e-3), cap), t) for p, t in zip(depth, g, strict=True)]


@pytest.mark.parametrize("alignment", list(ALIGNMENTS))
@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_protocol_and_alignment_agrees_with_the_oracle(name: str, alignment: str):
    inverse_depth, truth = frame(480, 640) if name == "nyu" else frame()
    pair = MetresOfImage(ScaleShift(0.04, 0.01))
    known = {"none": pair, "calibration": pair}
    scores = score_frame("a/1", inverse_depth, truth, PROTOCOLS[name], known, [alignment])

    if name == "zero-shot" and alignment != "least_squares":
        assert scores == []
        return
    pairs = expected(inverse_depth, truth, name, alignment)
    assert scores[0].metrics == pytest.approx(oracle(pairs), rel=1e-9, abs=1e-9)
    assert scores[0].pixels[0] == len(pairs) and scores[0].remark == ""


def test_ranges_hold_the_pixels_whose_truth_lies_in_them():
    inverse_depth, truth = frame(seed=3)
    [score] = score_frame("a", inverse_depth, truth, PROTOCOLS["full"], METRIC, ["least_squares"])
    pairs = expected(inverse_depth, truth, "full", "least_squares")
    edges = [0.0, 5.0, 10.0, 20.0, 40.0, 80.0]
    assert PROTOCOLS["full"].ranges == ["0-5 m", "5-10 m", "10-20 m", "20-40 m", "40-80 m"]

    for index, (low, high) in enumerate(itertools.pairwise(edges), start=1):
        inside = [(p, g) for p, g in pairs if low <= g < high]
        got = dict(zip(METRICS, score.values[index].tolist(), strict=True))
        assert score.pixels[index] == len(inside) > 0
        assert got == pytest.approx(oracle(inside), rel=1e-9, abs=1e-9)


def test_a_tenth_too_far_everywhere():
    truth = np.linspace(1.0, 70.0, 600).reshape(20, 30)
    [score] = score_frame("a", 1.0 / (1.1 * truth), truth, PROTOCOLS["full"], METRIC, ["none"])

    assert score.metrics["abs_rel"] == pytest.approx(0.1, abs=1e-12)
    assert score.metrics["delta1"] == 1.0
    np.testing.assert_allclose(score.values[:, 0], 0.1, rtol=1e-12)


def test_truth_on_a_limit_does_not_count():
    truth = np.array([[1e-3, 80.0, 79.9, np.inf, -1.0, 0.0]])
    [score] = score_frame("a", 1 / np.full((1, 6), 5.0), truth, PROTOCOLS["full"], METRIC, ["none"])
    assert score.pixels.tolist() == [1, 0, 0, 0, 0, 1]
    assert np.isnan(score.values[1:5]).all()


def test_without_metres_there_is_no_score_and_the_reason():
    inverse_depth, truth = frame()
    known = {"none": MetresOfImage(why_not="relative: take a calibration")}
    scores = score_frame("a", inverse_depth, truth, PROTOCOLS["full"], known)

    assert [score.alignment for score in scores] == list(ALIGNMENTS)
    assert scores[0].values is None and scores[0].remark == "relative: take a calibration"
    assert scores[1].values is None and "calibration" in scores[1].remark
    assert scores[2].values is not None and scores[3].values is not None
    assert math.isnan(scores[0].metrics["abs_rel"])


def test_a_frame_that_cannot_be_fitted_counts_as_flat():
    """Otherwise a model would gain from frames in which near and far are swapped."""
    truth = np.linspace(1.0, 20.0, 100).reshape(10, 10)
    [score] = score_frame("a", truth, truth, PROTOCOLS["full"], METRIC, ["least_squares"])
    flat = 1.0 / np.mean(1.0 / truth)

    assert score.scale == 0.0 and score.remark.startswith("taken as flat: ")
    assert score.metrics == pytest.approx(oracle([(flat, g) for g in truth.ravel().tolist()]))


@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("share", [0.0002, 0.04, 1.0])
def test_least_squares_is_exact_where_the_truth_has_little_spread(share, size):
    """A wall, and before it a box that few pixels see."""
    truth = np.full((100, 100), 8.0)
    truth.reshape(-1)[: round(share * truth.size)] = np.linspace(2.0, 3.0, round(share * 10_000))
    inverse = size * (30.0 / truth + 5.0)
    [score] = score_frame("a", inverse, truth, PROTOCOLS["zero-shot"], METRIC, ["least_squares"])
    assert (score.scale, score.shift) == pytest.approx((1 / 30 / size, -1 / 6), rel=1e-6)
    assert score.remark == "" and score.metrics["abs_rel"] < 1e-7


def test_one_answer_for_all_pixels_is_flat():
    truth = np.linspace(1.0, 20.0, 100).reshape(10, 10)
    answer = np.full((10, 10), 0.1, np.float32)
    [score] = score_frame("a", answer, truth, PROTOCOLS["full"], METRIC, ["least_squares"])
    assert (score.scale, score.shift) == (0.0, pytest.approx(np.mean(1.0 / truth)))
    assert score.remark == "taken as flat: the prediction is the same at all pixels"


def test_median_scaling_of_nothing_but_infinity_says_so():
    truth = np.full((4, 4), 3.0)
    [score] = score_frame("a", -np.ones((4, 4)), truth, PROTOCOLS["full"], METRIC, ["median"])
    assert score.values is None and "least_squares" in score.remark


def test_median_scaling_scales_the_depth_of_the_calibration_where_there_is_one():
    """Not the model's own metres, 1 / (0.5 x + 1)."""
    inverse = np.linspace(0.1, 1.0, 101).reshape(1, -1)
    truth = 7.0 / (2.0 * inverse + 0.3)
    known = {
        "none": MetresOfImage(ScaleShift(0.5, 1.0)),
        "calibration": MetresOfImage(ScaleShift(2.0, 0.3)),
    }
    [score] = score_frame("a", inverse, truth, PROTOCOLS["full"], known, ["median"])
    assert (score.scale, score.shift) == pytest.approx((2.0 / 7.0, 0.3 / 7.0))


def test_truth_at_an_edge_belongs_to_the_farther_range():
    truth = np.array([[10.0, 9.999, 10.001, 29.0]])
    [protocol] = choose_protocols(["full"], [10.0, 30.0])
    [score] = score_frame("a", 1.0 / truth, truth, protocol, METRIC, ["none"])
    assert score.pixels.tolist() == [4, 1, 3, 0]


def test_no_truth_no_score():
    nothing = np.full((4, 5), np.nan, np.float32)
    [score] = score_frame("a", np.ones((4, 5)), nothing, PROTOCOLS["full"], METRIC, ["none"])
    assert score.values is None and "no truth" in score.remark and score.pixels.sum() == 0


def test_the_nyu_protocol_is_for_its_own_size():
    _, truth = frame()
    [score] = score_frame("a", np.ones_like(truth), truth, PROTOCOLS["nyu"], METRIC, ["none"])
    assert score.values is None and "640x480, got 80x60" in score.remark
    assert score.remark.endswith("use another protocol (full, kitti, zero-shot)")


def test_shapes_and_names_are_checked():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        score_frame("a", np.ones((2, 3)), np.ones((3, 2)), PROTOCOLS["full"], METRIC)
    with pytest.raises(ValueError, match="'best'.*'least_squares'"):
        score_frame("a", np.ones((2, 2)), np.ones((2, 2)), PROTOCOLS["full"], METRIC, ["best"])


def test_protocols_are_chosen_by_name():
    assert [p.name for p in choose_protocols(["kitti", "full", "kitti"])] == ["kitti", "full"]
    assert [p.name for p in choose_protocols(["all"])] == list(PROTOCOLS)
    [nyu] = choose_protocols(["nyu"], [1, 3, 20])
    assert nyu.ranges == ["0-1 m", "1-3 m", "3-10 m"]
    with pytest.raises(ProtocolError, match="'eth'.*kitti"):
        choose_protocols(["eth"])
    with pytest.raises(ProtocolError, match="ascending"):
        choose_protocols(["full"], [5, 5])
    for edges in ([5, math.nan, 20], [math.nan], [math.inf, math.inf]):
        with pytest.raises(ProtocolError, match="ascending numbers"):
            choose_protocols(["full"], edges)
    with pytest.raises(ProtocolError, match="cap"):
        Protocol("bad", "", 0.0)


def test_every_alignment_has_its_place_among_those_that_stand_for_a_result():
    assert PREFERRED == ("calibration", "none", "least_squares", "median")
    assert set(PREFERRED) == set(ALIGNMENTS)
