"""Depth metrics against numbers worked out by hand and an oracle that knows no array."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dpt_ros.metrics import METRICS, depth_metrics, metrics_of_groups


def oracle(prediction: list[float], truth: list[float]) -> dict[str, float]:
    """The formulas pixel by pixel, with Python's own numbers."""
    n = len(truth)
    pairs = list(zip(prediction, truth, strict=True))
    logs = [math.log(p) - math.log(g) for p, g in pairs]
    shares = {
        f"delta{i}": sum(max(g / p, p / g) < 1.25**i for p, g in pairs) / n for i in (1, 2, 3)
    }
    return {
        "abs_rel": math.fsum(abs(p - g) / g for p, g in pairs) / n,
        "sq_rel": math.fsum((p - g) ** 2 / g for p, g in pairs) / n,
        "rmse": math.sqrt(math.fsum((p - g) ** 2 for p, g in pairs) / n),
        "rmse_log": math.sqrt(math.fsum(e * e for e in logs) / n),
        "si_log": 100 * math.sqrt(math.fsum(e * e for e in logs) / n - (math.fsum(logs) / n) ** 2),
        "log10": math.fsum(abs(math.log10(p) - math.log10(g)) for p, g in pairs) / n,
        **shares,
    }


def random_case(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.5, 60.0, shape)
    return truth * np.exp(rng.normal(0.0, 0.3, shape)), truth, rng.random(shape) < 0.6


def test_a_tenth_too_far():
    truth = np.array([[1.0, 2.0], [4.0, 8.0]])
    metrics = depth_metrics(truth * 1.1, truth, np.ones((2, 2), bool))

    assert list(metrics) == list(METRICS)
    assert metrics["abs_rel"] == pytest.approx(0.1, abs=1e-9)
    assert metrics["sq_rel"] == pytest.approx(0.01 * 15 / 4, abs=1e-9)
    assert metrics["rmse"] == pytest.approx(math.sqrt(0.01 * 85 / 4), abs=1e-9)
    assert metrics["rmse_log"] == pytest.approx(math.log(1.1), abs=1e-9)
    assert metrics["log10"] == pytest.approx(math.log10(1.1), abs=1e-9)
    assert metrics["si_log"] == pytest.approx(0.0, abs=1e-9)
    assert (metrics["delta1"], metrics["delta2"], metrics["delta3"]) == (1.0, 1.0, 1.0)


def test_ratios_count_in_both_directions_and_their_limit_does_not():
    truth = np.full(6, 2.0)
    prediction = 2.0 * np.array([1.25, 0.79, 0.81, 1.5, 1 / 1.9, 2.5])
    metrics = depth_metrics(prediction, truth, np.ones(6, bool))

    assert metrics["delta1"] == pytest.approx(1 / 6)  # 0.81 alone: 1 / 0.79 is 1.27
    assert metrics["delta2"] == pytest.approx(4 / 6)
    assert metrics["delta3"] == pytest.approx(5 / 6)


@pytest.mark.parametrize("seed", range(5))
def test_against_the_oracle(seed: int):
    prediction, truth, valid = random_case((31, 17), seed)
    expected = oracle(prediction[valid].tolist(), truth[valid].tolist())

    assert depth_metrics(prediction, truth, valid) == pytest.approx(expected, abs=1e-9, rel=1e-9)


def test_what_is_not_valid_does_not_count_whatever_it_holds():
    prediction, truth, valid = random_case((8, 9))
    expected = depth_metrics(prediction, truth, valid)
    prediction[~valid], truth[~valid] = np.nan, -np.inf

    assert depth_metrics(prediction, truth, valid) == expected


def test_a_batch_is_measured_image_by_image():
    prediction, truth, valid = random_case((3, 8, 9))
    valid[0], valid[1, 2:] = False, False
    each = [oracle(prediction[i][valid[i]], truth[i][valid[i]]) for i in (1, 2)]
    expected = {name: (each[0][name] + each[1][name]) / 2 for name in METRICS}

    assert depth_metrics(prediction, truth, valid) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_any_type_are_measured_in_float64(dtype: torch.dtype):
    prediction, truth, valid = (torch.from_numpy(array) for array in random_case((5, 6)))
    prediction, truth = prediction.to(dtype).requires_grad_(), truth.to(dtype)
    expected = oracle(prediction[valid].tolist(), truth[valid].tolist())

    assert depth_metrics(prediction, truth, valid) == pytest.approx(expected, rel=1e-9)


def test_a_small_spread_of_logarithms_keeps_its_digits():
    truth = np.full(1000, 3.0)
    eps = np.linspace(-1e-7, 1e-7, 1000)
    metrics = depth_metrics(truth * np.exp(0.5 + eps), truth, np.ones(1000, bool))

    assert metrics["si_log"] == pytest.approx(100 * np.std(eps), rel=1e-6)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("which", ["depth_m", "truth_m"])
def test_a_valid_pixel_without_a_depth_is_refused(bad: float, which: str):
    depths = {"depth_m": np.ones((2, 3)), "truth_m": np.ones((2, 3))}
    depths[which][1, 1] = bad

    with pytest.raises(ValueError, match=f"{which}: 1 of 6 valid pixels are not finite and pos"):
        depth_metrics(**depths, valid=np.ones((2, 3), bool))


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="holds no pixel"):
        depth_metrics(np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match=r"expected one shape, and bool"):
        depth_metrics(np.ones((2, 3)), np.ones((3, 2)), np.ones((2, 3), bool))
    with pytest.raises(ValueError, match=r"valid \(2, 3\) \(float64\)"):
        depth_metrics(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)))


def test_groups_are_measured_like_images_of_their_own():
    prediction, truth, _ = random_case((60,))
    sizes = [25, 0, 35]
    rows = metrics_of_groups(prediction, truth, sizes)

    for row, part in ((0, slice(0, 60)), (1, slice(0, 25)), (3, slice(25, 60))):
        expected = oracle(prediction[part].tolist(), truth[part].tolist())
        got = dict(zip(METRICS, rows[row].tolist(), strict=True))
        assert got == pytest.approx(expected, abs=1e-9, rel=1e-9)
    assert np.isnan(rows[2]).all()


def test_groups_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"groups of \[2\]"):
        metrics_of_groups(np.ones(3), np.ones(3), [2])
