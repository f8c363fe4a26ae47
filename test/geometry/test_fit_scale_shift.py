"""Scale and shift: known ones are found through noise and outliers, the unseen is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpt_ros.geometry.fit import fit_line
from dpt_ros.geometry.scale_shift import FIT_METHODS, FitError, ScaleShift, fit_scale_shift

SCALE, SHIFT = 0.37, 0.05
every_method = pytest.mark.parametrize("method", FIT_METHODS)


def scene(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """True metric inverse depth, [N]."""
    if kind == "even in inverse depth":
        return rng.uniform(0.05, 1.0, count)
    if kind == "even in depth":
        return 1.0 / rng.uniform(1.0, 50.0, count)
    return 1.0 / np.exp(rng.uniform(0.0, np.log(50.0), count))


OUTLIERS = {
    "truth seen through": lambda x, y, share: (x, y * share),
    "truth nearer": lambda x, y, share: (x, y + share * np.ptp(y)),
    "truth of a gross error": lambda x, y, share: (x, y * (2.0 + 8.0 * share)),
    "truth of one value": lambda x, y, share: (x, np.full_like(y, 3.0)),
    "truth anywhere": lambda x, y, share: (x, y.min() + share * np.ptp(y)),
    "prediction anywhere": lambda x, y, share: (x.min() + share * np.ptp(x), y),
    "prediction nearer": lambda x, y, share: (x + share * np.ptp(x), y),
    "prediction of a gross error": lambda x, y, share: (x * (2.0 + 8.0 * share), y),
}


def recorded(
    kind: str, outliers: str, noise_in: str, count: int = 20_000, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Inverse depth, metric inverse depth (2 % noise in one, 30 % outliers) and its spread."""
    rng = np.random.default_rng(seed)
    y = scene(kind, count, rng)
    x = (y - SHIFT) / SCALE
    spread = float(np.ptp(y))
    noise = 1.0 + 0.02 * rng.normal(size=count)
    noisy_x, noisy_y = (x * noise, y) if noise_in == "prediction" else (x, y * noise)
    wrong = rng.permutation(count) < 0.3 * count
    noisy_x[wrong], noisy_y[wrong] = OUTLIERS[outliers](x[wrong], y[wrong], rng.random(wrong.sum()))
    return torch.from_numpy(noisy_x), torch.from_numpy(noisy_y), spread


def all_valid(like: torch.Tensor) -> torch.Tensor:
    return torch.ones(like.shape, dtype=torch.bool)


def misses(fit: ScaleShift, spread: float) -> tuple[float, float]:
    """Error of the scale, relative, and of the shift, by the spread."""
    return abs(fit.scale / SCALE - 1.0), abs(fit.shift - SHIFT) / spread


@pytest.mark.parametrize("noise_in", ["prediction", "truth"])
@pytest.mark.parametrize("outliers", OUTLIERS)
@pytest.mark.parametrize("kind", ["even in inverse depth", "even in depth", "even in log depth"])
def test_robust_is_within_1_percent_where_least_squares_is_not(kind, outliers, noise_in):
    x, y, spread = recorded(kind, outliers, noise_in)
    robust = misses(fit_scale_shift(x, y, all_valid(x), method="robust"), spread)
    plain = fit_line(x, y, "least_squares")
    least_squares = abs(plain.slope / SCALE - 1.0), abs(plain.intercept - SHIFT) / spread

    assert max(robust) < 0.01
    assert max(least_squares) > 0.01
    assert max(least_squares) > 3 * max(robust)


@pytest.mark.parametrize("seed", range(10))
def test_robust_holds_for_other_points_of_a_small_frame(seed: int):
    x, y, spread = recorded("even in inverse depth", "truth nearer", "prediction", 3000, seed)

    assert max(misses(fit_scale_shift(x, y, all_valid(x)), spread)) < 0.01


@pytest.mark.parametrize("outliers", ["prediction anywhere", "prediction nearer"])
@pytest.mark.parametrize("kind", ["even in depth", "far wall"])
def test_robust_takes_no_flat_line_where_most_is_far(kind: str, outliers: str):
    # More than half of the truth lies within a hundredth of its spread, the noise in the
    # prediction is wider than that, and a flat line is nearer to the median point than the true.
    rng = np.random.default_rng(1)
    y = scene("even in depth", 1500, rng)
    if kind == "far wall":
        y[:900] = 1.0 / rng.normal(30.0, 2.0, 900)
    x = (y - SHIFT) / SCALE
    x += 0.05 * (np.quantile(x, 0.95) - np.quantile(x, 0.05)) * rng.normal(size=x.size)
    wrong = rng.random(x.size) < 0.35
    x[wrong], y[wrong] = OUTLIERS[outliers](x[wrong], y[wrong], rng.random(wrong.sum()))
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    assert fit_scale_shift(x, y, all_valid(x)).scale == pytest.approx(SCALE, rel=0.15)


def test_robust_does_not_care_how_neighbours_are_alike():
    # Rows of an image: the truth changes slowly, and chance must not be taken from a neighbour.
    y = torch.linspace(0.1, 1.0, 600, dtype=torch.float64).repeat_interleave(2)
    x = (y - SHIFT) / SCALE
    x[::4] = 3.0

    fit = fit_scale_shift(x, y, all_valid(x))
    assert (fit.scale, fit.shift) == pytest.approx((SCALE, SHIFT), abs=1e-6)


@pytest.mark.parametrize("method", ["ransac", "tukey", "robust"])
def test_methods_made_for_gross_errors_stand_them(method: str):
    x, y, spread = recorded("even in inverse depth", "truth of a gross error", "truth")

    assert max(misses(fit_scale_shift(x, y, all_valid(x), method=method), spread)) < 0.01


@pytest.mark.parametrize("method", ["huber", "trimmed", "median"])
def test_methods_for_fewer_errors_beat_least_squares(method: str):
    rng = np.random.default_rng(0)
    y = rng.uniform(0.05, 1.0, 5000)
    x = (y - SHIFT) / SCALE
    y = y * (1 + 0.02 * rng.normal(size=y.size))
    y[: y.size // 10] *= 5.0
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    error, plain = (
        max(misses(fit_scale_shift(x, y, all_valid(x), method=name), 0.95))
        for name in (method, "least_squares")
    )

    assert error < 0.5 * plain


@every_method
@pytest.mark.parametrize("count", [3, 4, 7, 100])
def test_points_on_a_line_give_the_line(method: str, count: int):
    x = torch.linspace(1.0, 4.0, count, dtype=torch.float64)
    fit = fit_scale_shift(x, 0.25 * x - 0.1, all_valid(x), method=method)

    assert (fit.scale, fit.shift) == pytest.approx((0.25, -0.1), abs=1e-6)


@pytest.mark.parametrize("method", ["ransac", "trimmed", "robust"])
def test_one_gross_error_among_few_points(method: str):
    x = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    y = 0.5 * x + 1.0
    y[1] = 40.0

    fit = fit_scale_shift(x, y, all_valid(x), method=method)
    assert (fit.scale, fit.shift) == pytest.approx((0.5, 1.0), abs=1e-5)


def test_least_squares_by_hand():
    # Means 2 and 4; sum of products (-1)(-3) + 0 (-1) + 1 * 4 = 7, of squares 2: slope 3.5.
    x = torch.tensor([1.0, 2.0, 3.0])
    y = torch.tensor([1.0, 3.0, 8.0])

    fit = fit_scale_shift(x, y, all_valid(x), method="least_squares")
    assert (fit.scale, fit.shift) == pytest.approx((3.5, -3.0))


def test_median_by_hand():
    # Medians 3 and 30, median absolute deviations 1 and 10; the last point is far out.
    x = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    y = torch.tensor([10.0, 20.0, 30.0, 40.0, 900.0])

    fit = fit_scale_shift(x, y, all_valid(x), method="median")
    assert (fit.scale, fit.shift) == pytest.approx((10.0, 0.0))


def test_weighted_medians_by_hand():
    # Half of the weight, 4.5, is reached at x = 4 (1 + 1 + 1 + 3) and y = 40 (1 + 1 + 3). Distances
    # from there, in ascending order with their weights: of x 0 (3), 1 (1 + 3); of y 0 (3), 10 (1),
    # 12 (3). The slope is 12 / 1, the intercept 40 - 12 * 4.
    x = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    y = torch.tensor([100.0, 20.0, 30.0, 40.0, 52.0])
    line = fit_line(x, y, "median", torch.tensor([1.0, 1.0, 1.0, 3.0, 3.0]))

    assert (line.slope, line.intercept) == pytest.approx((12.0, -8.0))


def test_weights_are_those_of_the_residuals():
    rng = np.random.default_rng(0)
    x, y, w = (rng.uniform(1.0, 3.0, 50) for _ in range(3))
    expected = np.polyfit(x, y, 1, w=w)
    line = fit_line(*(torch.from_numpy(v) for v in (x, y)), "least_squares", torch.from_numpy(w))

    assert (line.slope, line.intercept) == pytest.approx(tuple(expected), rel=1e-9)


def test_weights_by_depth_count_relative_errors():
    # Errors of 5 % of the truth: weighting with 1 / truth makes them alike, and is more exact.
    slopes = {True: [], False: []}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = 1.0 / np.exp(rng.uniform(0.0, np.log(50.0), 400))
        x = torch.from_numpy((y - SHIFT) / SCALE)
        noisy = torch.from_numpy(y * (1 + 0.05 * rng.normal(size=y.size)))
        for is_weighted, weights in ((False, None), (True, torch.from_numpy(1.0 / y))):
            slopes[is_weighted].append(fit_line(x, noisy, "robust", weights).slope / SCALE)

    assert np.std(slopes[True]) < 0.5 * np.std(slopes[False])
    assert np.mean(slopes[True]) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("outlier_share", [0.0, 0.3])
def test_sigma_is_that_of_the_inliers(outlier_share: float):
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 2.0, 20_000)
    y = 3.0 * x + 1.0 + 0.05 * rng.normal(size=x.size)
    y[rng.random(x.size) < outlier_share] = 50.0
    line = fit_line(torch.from_numpy(x), torch.from_numpy(y))

    assert line.sigma == pytest.approx(0.05, rel=0.05)


@every_method
def test_units_do_not_matter(method: str):
    x, y, _ = recorded("even in inverse depth", "truth nearer", "truth", 2000)
    fit = fit_scale_shift(x, y, all_valid(x), method=method)
    moved = fit_scale_shift(1e4 * x + 3e4, 0.01 * y + 0.2, all_valid(x), method=method)

    assert moved.scale == pytest.approx(fit.scale * 1e-6, rel=1e-5)
    assert moved.shift == pytest.approx(0.01 * fit.shift + 0.2 - moved.scale * 3e4, rel=1e-4)


def test_only_valid_pixels_count_and_images_are_taken_as_they_come():
    x, y, _ = recorded("even in depth", "truth anywhere", "truth", 4800)
    valid = torch.rand(60, 80, generator=torch.Generator().manual_seed(0)) < 0.5
    x, y = x.view(60, 80), y.view(60, 80)
    expected = fit_line(x[valid], y[valid])
    x[~valid], y[~valid] = torch.nan, torch.inf

    fit = fit_scale_shift(x, y, valid)
    assert (fit.scale, fit.shift) == (expected.slope, expected.intercept)
    of_arrays = fit_scale_shift(x.numpy(), y.numpy(), valid.numpy())
    assert of_arrays == fit


ARRAYS = {
    "turned round": lambda values: values[::-1].copy()[::-1],
    "every other": lambda values: np.repeat(values, 2)[::2],
    "not to be written to": lambda values: np.frombuffer(values.tobytes(), values.dtype),
    "of the other byte order": lambda values: values.astype(values.dtype.newbyteorder("S")),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_are_taken_as_numpy_has_them(kind: str):
    x = np.arange(1.0, 50.0)
    given = [ARRAYS[kind](values) for values in (x, 0.5 * x + 0.1, x > 3)]

    fit = fit_scale_shift(*given)
    assert (fit.scale, fit.shift) == pytest.approx((0.5, 0.1))


def test_of_a_million_points_a_part_is_enough():
    x, y, spread = recorded("even in depth", "truth nearer", "prediction", 1_000_000)
    assert max(misses(fit_scale_shift(x.float(), y.float(), all_valid(x)), spread)) < 0.01


def test_least_squares_of_a_whole_image_is_the_same_with_and_without_sigma():
    x, y, _ = recorded("even in depth", "truth nearer", "prediction")
    plain = fit_line(x, y, "least_squares", with_sigma=False)
    slope, intercept = np.polyfit(x.numpy(), y.numpy(), 1)
    for line in (plain, fit_line(x, y, "least_squares")):
        assert line.slope == pytest.approx(slope, rel=1e-9)
        assert line.intercept == pytest.approx(intercept, rel=1e-9)
    with pytest.raises(FitError, match="all have x = 2"):
        fit_line(torch.full((9,), 2.0), torch.arange(9.0), "least_squares", with_sigma=False)


@every_method
def test_swapped_near_and_far_is_refused(method: str):
    x, y, _ = recorded("even in inverse depth", "truth nearer", "truth", 2000)

    with pytest.raises(FitError, match=r"got scale -.*expected above 0.*record near and far"):
        fit_scale_shift(-x, y, all_valid(x), method=method)


@every_method
@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_points_are_refused(method: str, count: int):
    x = torch.arange(5.0)
    valid = torch.arange(5) < count

    with pytest.raises(FitError, match=f"got {count} valid points, expected at least 3: record"):
        fit_scale_shift(x, x, valid, method=method)


@every_method
def test_no_spread_is_refused(method: str):
    generator = torch.Generator().manual_seed(0)
    varied = torch.rand(500, generator=generator)
    flat = torch.full((500,), 0.25)

    with pytest.raises(FitError, match=r"the truth lies between 0.25 and 0.25.*near and far"):
        fit_scale_shift(varied, flat, all_valid(flat), method=method)
    with pytest.raises(FitError, match="everything at one distance"):
        fit_scale_shift(varied, flat + 1e-4 * varied, all_valid(flat), method=method)
    with pytest.raises(FitError, match=r"prediction lies between 0.25 and 0.25.*trained model"):
        fit_scale_shift(flat, varied, all_valid(flat), method=method)


def test_more_than_half_at_one_place_has_no_median_deviation():
    x = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0])

    with pytest.raises(FitError, match="more than half of the points have the same x"):
        fit_scale_shift(x, x, all_valid(x), method="median")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["inverse_depth", "metric_inverse_depth"])
def test_values_that_are_not_finite_are_refused(bad: float, which: str):
    values = {name: torch.arange(1.0, 11.0) for name in ("inverse_depth", "metric_inverse_depth")}
    values[which][3] = bad

    with pytest.raises(FitError, match=f"{which}: 1 of 10 valid points are not finite"):
        fit_scale_shift(**values, valid=torch.ones(10, dtype=torch.bool))


def test_wrong_arguments_say_what_was_expected():
    x = torch.arange(10.0)
    with pytest.raises(ValueError, match="got 'best', expected one of least_squares, median"):
        fit_scale_shift(x, x, all_valid(x), method="best")
    with pytest.raises(ValueError, match=r"metric_inverse_depth \(9,\)"):
        fit_scale_shift(x, x[1:], all_valid(x))
    with pytest.raises(ValueError, match="bool for valid"):
        fit_scale_shift(x, x, x)
