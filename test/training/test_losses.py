"""The losses against oracles that follow the papers pixel by pixel, and against known traps."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from dpt_ros.training.losses import (
    LOG_FLOOR,
    SparseTruthWarning,
    gradient_matching_loss,
    metric_inverse_depth_l1,
    pair_density,
    scale_invariant_log_loss,
    ssi_loss,
    ssi_trimmed_loss,
)
from dpt_ros.training.settings import ALIGNMENTS

LOSSES = {
    "trimmed": ssi_trimmed_loss,
    "trimmed, least squares": lambda p, t, v: ssi_trimmed_loss(p, t, v, alignment="least_squares"),
    "gradient": lambda p, t, v: gradient_matching_loss(p, t, v, min_pair_density=0.0),
    "total": lambda p, t, v: ssi_loss(p, t, v, min_pair_density=0.0).total,
    "log": scale_invariant_log_loss,
    "l1": metric_inverse_depth_l1,
}
all_losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def normalised(values: list[float]) -> list[float]:
    """MiDaS, equations 7 and 8: minus the median, by the mean absolute deviation."""
    t = float(np.median(values))
    s = math.fsum(abs(v - t) for v in values) / len(values)
    return [(v - t) / s for v in values]


def fitted(values: list[float], truth: list[float]) -> tuple[list[float], list[float]]:
    """MiDaS, equations 4 and 5, with the truth in [0, 1]; the solution is LAPACK's."""
    low, high = min(truth), max(truth)
    truth = [(t - low) / (high - low) for t in truth]
    matrix = np.stack([values, np.ones(len(values))], 1)
    scale, shift = np.linalg.lstsq(matrix, np.array(truth), rcond=None)[0]
    return [scale * v + shift for v in values], truth


def oracle_residual(image, truth, valid, alignment: str) -> dict[tuple[int, int], float]:
    """d^ - d^* of every valid pixel (row, column)."""
    places = [tuple(place) for place in np.argwhere(valid)]
    d, t = [float(image[p]) for p in places], [float(truth[p]) for p in places]
    if alignment == "robust":
        d, t = normalised(d), normalised(t)
    else:
        d, t = fitted(d, t)
    return {place: a - b for place, a, b in zip(places, d, t, strict=True)}


def oracle_trimmed(prediction, target, valid, trim: float, alignment: str) -> float:
    total = 0.0
    for image, truth, mask in zip(prediction, target, valid, strict=True):
        residual = oracle_residual(image, truth, mask, alignment)
        ascending = sorted(abs(r) for r in residual.values())
        kept = math.floor(round((1 - trim) * len(ascending), 6))
        total += math.fsum(ascending[:kept]) / (2 * len(ascending))
    return total / len(prediction)


def oracle_gradient(prediction, target, valid, scales: int, alignment: str) -> float:
    total = 0.0
    for image, truth, mask in zip(prediction, target, valid, strict=True):
        residual = oracle_residual(image, truth, mask, alignment)
        for stride in [1, 2, 4, 8, 16][:scales]:
            for (row, column), value in residual.items():
                if row % stride or column % stride:
                    continue
                for neighbour in ((row, column + stride), (row + stride, column)):
                    if neighbour in residual:
                        total += abs(residual[neighbour] - value) / len(residual)
    return total / len(prediction)


def random_batch(
    seed: int = 0, shape: tuple[int, ...] = (3, 13, 18), coverage: float = 0.8
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prediction, target and valid; NaN where the target is not valid, float64."""
    rng = np.random.default_rng(seed)
    target = rng.gamma(2.0, 0.1, shape)
    prediction = 700.0 * target + rng.normal(200.0, 40.0, shape)
    valid = rng.random(shape) < coverage
    target[~valid] = np.nan
    return torch.from_numpy(prediction), torch.from_numpy(target), torch.from_numpy(valid)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("trim", [0.0, 0.2, 0.5])
def test_trimmed_loss_against_the_paper(alignment: str, seed: int, trim: float):
    batch = random_batch(seed)
    expected = oracle_trimmed(*(v.numpy() for v in batch), trim, alignment)

    assert float(ssi_trimmed_loss(*batch, trim, alignment)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("scales", [1, 4])
def test_gradient_matching_against_the_paper(alignment: str, scales: int):
    batch = random_batch()
    expected = oracle_gradient(*(v.numpy() for v in batch), scales, alignment)

    got = gradient_matching_loss(*batch, scales, alignment)
    assert float(got) == pytest.approx(expected, rel=1e-9)


def test_total_is_trimmed_plus_half_of_gradient():
    batch = random_batch()
    loss = ssi_loss(*batch)
    trimmed, gradient = ssi_trimmed_loss(*batch), gradient_matching_loss(*batch)

    assert float(loss.total) == pytest.approx(float(trimmed + 0.5 * gradient), rel=1e-12)
    assert float(gradient) > 0.0
    assert float(ssi_loss(*batch, gradient_weight=0.0).total) == float(trimmed)


def test_a_trimmed_loss_worked_out_by_hand():
    # Truth -2 -1 0 1 2 and prediction -2 -1 0 1 7, both of median 0: mean absolute deviations
    # 6/5 and 11/5. Residuals: 50/66, 25/66, 0, 25/66 and 100/66; the last one is trimmed.
    target = torch.tensor([[[-2.0, -1.0, 0.0, 1.0, 2.0]]], dtype=torch.float64)
    prediction = torch.tensor([[[-2.0, -1.0, 0.0, 1.0, 7.0]]], dtype=torch.float64)
    valid = torch.ones(1, 1, 5, dtype=torch.bool)

    expected = (50 / 66 + 25 / 66 + 0 + 25 / 66) / (2 * 5)
    assert float(ssi_trimmed_loss(prediction, target, valid)) == pytest.approx(expected)
    untrimmed = expected + 100 / 66 / (2 * 5)
    assert float(ssi_trimmed_loss(prediction, target, valid, trim=0.0)) == pytest.approx(untrimmed)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_log_loss_against_eigen(lam: float):
    prediction, target, valid = random_batch()
    per_image = []
    for image, truth, mask in zip(prediction, target, valid, strict=True):
        errors = [math.log(a) - math.log(b) for a, b in zip(image[mask], truth[mask], strict=True)]
        n = len(errors)
        per_image.append(math.fsum(e * e for e in errors) / n - lam * (math.fsum(errors) / n) ** 2)

    got = scale_invariant_log_loss(prediction, target, valid, lam)
    assert float(got) == pytest.approx(sum(per_image) / 3, rel=1e-9)


def test_log_loss_by_hand_is_the_same_for_depth_and_ignores_scale_at_lambda_1():
    target = torch.tensor([[[0.1, 0.2, 0.4]]], dtype=torch.float64)
    prediction = target * torch.tensor([math.e, 1.0, 1.0])
    valid = torch.ones(1, 1, 3, dtype=torch.bool)

    expected = 1 / 3 - 0.5 / 9
    assert float(scale_invariant_log_loss(prediction, target, valid)) == pytest.approx(expected)
    of_depth = scale_invariant_log_loss(1 / prediction, 1 / target, valid)
    assert float(of_depth) == pytest.approx(expected)
    scaled = scale_invariant_log_loss(7 * target, target, valid, lam=1.0)
    assert float(scaled) == pytest.approx(0.0, abs=1e-12)


def test_log_loss_drives_back_what_has_no_logarithm():
    target = torch.full((1, 1, 2), 0.1)
    prediction = torch.tensor([[[-0.01, LOG_FLOOR]]], requires_grad=True)
    loss = scale_invariant_log_loss(prediction, target, torch.ones(1, 1, 2, dtype=torch.bool))
    loss.backward()

    assert prediction.grad is not None and bool((prediction.grad < 0).all())  # upwards
    assert math.isfinite(float(loss.detach()))


def test_l1_by_hand_is_per_image():
    prediction = torch.tensor([[[0.5, 0.2]], [[0.1, 9.0]]])
    target = torch.tensor([[[0.1, 0.0]], [[0.3, 1.0]]])
    valid = torch.tensor([[[True, True]], [[True, False]]])

    got = float(metric_inverse_depth_l1(prediction, target, valid))
    assert got == pytest.approx(((0.4 + 0.2) / 2 + 0.2) / 2)


@all_losses
def test_gradients_are_those_of_the_values(loss):
    prediction, target, valid = random_batch(3, (2, 5, 6))
    prediction = (prediction / 700.0).requires_grad_()

    assert torch.autograd.gradcheck(lambda p: loss(p, target, valid), (prediction,))


@all_losses
def test_each_image_counts_by_itself(loss):
    prediction, target, valid = random_batch()
    valid[0, :10] = False  # fewer pixels must not mean less weight
    batch = [(p[None], t[None], v[None]) for p, t, v in zip(prediction, target, valid, strict=True)]
    expected = sum(float(loss(*image)) for image in batch) / 3

    assert float(loss(prediction, target, valid)) == pytest.approx(expected, rel=1e-9)


@all_losses
def test_what_is_not_valid_reaches_neither_value_nor_gradient(loss):
    prediction, target, valid = random_batch()
    expected = loss(prediction, target, valid)
    spoilt = prediction.clone()
    spoilt[~valid] = torch.nan
    spoilt.requires_grad_()
    got = loss(spoilt, target, valid)
    got.backward()

    assert float(got.detach()) == float(expected)
    assert spoilt.grad is not None and bool(spoilt.grad.isfinite().all())
    assert bool((spoilt.grad[~valid] == 0).all()) and bool((spoilt.grad[valid] != 0).any())


def test_the_median_is_that_of_the_valid_pixels_alone():
    # With the two invalid zeros among them the medians would be 1 and 2 instead of 3 and 4.
    target = torch.tensor([[[0.0, 0.0, 1.0, 3.0, 5.0]]])
    prediction = torch.tensor([[[0.0, 0.0, 2.0, 4.0, 6.0]]])
    valid = torch.tensor([[[False, False, True, True, True]]])

    assert float(ssi_trimmed_loss(prediction, target, valid, trim=0.0)) == pytest.approx(0.0)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_scale_and_shift_do_not_matter_but_the_sign_of_scale_does(alignment: str):
    prediction, target, valid = random_batch()
    expected = float(ssi_trimmed_loss(prediction, target, valid, alignment=alignment))
    moved = float(ssi_trimmed_loss(3e4 * prediction - 7e3, target, valid, alignment=alignment))
    perfect = float(ssi_trimmed_loss(5 * target + 2, target, valid, alignment=alignment))
    upside_down = float(ssi_trimmed_loss(2 - 5 * target, target, valid, alignment=alignment))

    assert moved == pytest.approx(expected, rel=1e-9)
    assert perfect == pytest.approx(0.0, abs=1e-12)
    assert upside_down > expected > 0.0


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_an_inverted_prediction_is_pushed_back(alignment: str):
    _, target, valid = random_batch(1)
    target = torch.where(valid, target, 0.0)
    prediction = (-target).requires_grad_()
    before = ssi_trimmed_loss(prediction, target, valid, alignment=alignment)
    (gradient,) = torch.autograd.grad(before, prediction)
    after = ssi_trimmed_loss(prediction - 1e-2 * gradient, target, valid, alignment=alignment)

    assert float(after.detach()) < float(before.detach())


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_large_offset_costs_few_digits_in_float32(alignment: str):
    prediction, target, valid = random_batch()
    far = prediction.round() + 2.0**16  # whole numbers: exact in float32, far from 0
    expected = oracle_trimmed(far.numpy(), target.numpy(), valid.numpy(), 0.2, alignment)
    got = ssi_trimmed_loss(far.float(), target.float(), valid, alignment=alignment)

    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@all_losses
def test_half_precision_is_computed_in_float32(loss, dtype: torch.dtype):
    prediction, target, valid = random_batch()
    prediction = prediction.to(dtype).requires_grad_()
    expected = loss(prediction.detach().double(), target, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(prediction, target.float(), valid)
    got.backward()

    assert got.dtype == torch.float32
    assert float(got.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert prediction.grad is not None and bool(prediction.grad.isfinite().all())


def _pixels(*places: tuple[int, int]) -> torch.Tensor:
    valid = torch.zeros(1, 8, 8, dtype=torch.bool)
    for row, column in places:
        valid[0, row, column] = True
    return valid


@pytest.mark.parametrize("value", [None, 0.0, 3.7], ids=["varied", "zeros", "constant"])
@pytest.mark.parametrize("flat_truth", [False, True], ids=["truth", "flat truth"])
@pytest.mark.parametrize(
    "valid",
    [_pixels(), _pixels((2, 3)), _pixels((2, 3), (2, 4)), torch.ones(1, 8, 8, dtype=torch.bool)],
    ids=["none valid", "one valid", "two valid", "all valid"],
)
@all_losses
def test_degenerate_images_keep_everything_finite(loss, valid, flat_truth: bool, value):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 8, 8, generator=generator)
    target = torch.full_like(target, 0.5) if flat_truth else target
    prediction = torch.rand(1, 8, 8, generator=generator)
    prediction = prediction if value is None else torch.full_like(prediction, value)
    prediction.requires_grad_()
    got = loss(prediction, target, valid)
    got.backward()

    assert math.isfinite(float(got.detach()))
    assert prediction.grad is not None and bool(prediction.grad.isfinite().all())
    if not valid.any():
        assert float(got.detach()) == 0.0 and bool((prediction.grad == 0).all())


def test_an_image_that_says_nothing_counts_as_0():
    prediction, target, valid = random_batch()
    expected = float(ssi_trimmed_loss(prediction[1:], target[1:], valid[1:])) * 2 / 3
    valid[0] = False

    got = float(ssi_trimmed_loss(prediction, target, valid))
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@all_losses
def test_a_prediction_that_is_not_finite_shows(loss, bad: float):
    prediction, target, valid = random_batch()
    prediction[valid.nonzero(as_tuple=True)] = torch.where(
        torch.arange(int(valid.sum())) == 7, bad, prediction[valid]
    )

    assert not math.isfinite(float(loss(prediction, target, valid)))


def test_pair_density_of_dense_scattered_and_lined_truth():
    generator = torch.Generator().manual_seed(0)
    dense = torch.ones(200, 300, dtype=torch.bool)
    scattered = [torch.rand(200, 300, generator=generator) < share for share in (0.05, 0.01)]
    lines = torch.zeros_like(dense)
    lines[::5] = True
    density = pair_density(torch.stack((dense, *scattered, lines, torch.zeros_like(dense))))

    assert density.tolist() == pytest.approx([2 - 1 / 200 - 1 / 300, 0.1, 0.02, 0.997, 0], rel=0.1)


@pytest.mark.parametrize("kind", ["scattered", "lines"])
def test_gradient_matching_switches_itself_off_and_says_so(kind: str):
    prediction, target, valid = random_batch(shape=(1, 40, 50), coverage=1.0)
    if kind == "lines":
        valid[:, torch.arange(40) % 5 != 0] = False
    else:
        valid &= torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(0)) < 0.05
    prediction.requires_grad_()

    with pytest.warns(SparseTruthWarning, match=r"fewer than 1 pairs .* \(got [01]\.\d\)"):
        loss = gradient_matching_loss(prediction, target, valid)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert prediction.grad is not None and bool((prediction.grad == 0).all())


def test_sparse_images_are_left_out_of_a_batch_one_by_one():
    prediction, target, valid = random_batch(coverage=0.9)
    dense = gradient_matching_loss(prediction[1:], target[1:], valid[1:])
    valid[0, :, ::2] = False

    with pytest.warns(SparseTruthWarning):
        loss = ssi_loss(prediction, target, valid)
    assert float(loss.gradient) == pytest.approx(float(dense) * 2 / 3, rel=1e-12)
    assert loss.pair_density.tolist() == pytest.approx(pair_density(valid).tolist())


def test_nothing_is_said_of_dense_truth_and_of_images_without_any():
    prediction, target, valid = random_batch(coverage=0.95)
    valid[0] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient_matching_loss(prediction, target, valid)


def test_what_does_not_fit_together_is_refused():
    prediction, target, valid = random_batch()
    with pytest.raises(ValueError, match=r"expected one shape \(B, H, W\)"):
        ssi_trimmed_loss(prediction[0], target[0], valid[0])
    with pytest.raises(ValueError, match=r"target \(2, 13, 18\)"):
        metric_inverse_depth_l1(prediction, target[1:], valid)
    with pytest.raises(ValueError, match=r"valid: got torch.float64, expected torch.bool"):
        ssi_trimmed_loss(prediction, target, valid.double())
    with pytest.raises(ValueError, match="trim: got 1"):
        ssi_trimmed_loss(prediction, target, valid, trim=1.0)
    with pytest.raises(ValueError, match="expected one of robust, least_squares"):
        ssi_trimmed_loss(prediction, target, valid, alignment="median")
    with pytest.raises(ValueError, match="scales: got 0"):
        gradient_matching_loss(prediction, target, valid, scales=0)
    with pytest.raises(ValueError, match="lam: got 2"):
        scale_invariant_log_loss(prediction, target, valid, lam=2.0)
