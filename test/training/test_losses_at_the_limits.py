"""The losses where there is nothing to compare, or numbers are very small or very large."""

from __future__ import annotations

import pytest
import torch

from dpt_ros.training.losses import (
    gradient_matching_loss,
    metric_inverse_depth_l1,
    scale_invariant_log_loss,
    ssi_loss,
    ssi_trimmed_loss,
)
from dpt_ros.training.settings import ALIGNMENTS

every_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS)


def image(values: list[float]) -> torch.Tensor:
    return torch.tensor([[values]])


def all_valid(like: torch.Tensor) -> torch.Tensor:
    return torch.ones(like.shape, dtype=torch.bool)


@every_alignment
@pytest.mark.parametrize("magnitude", [1e-30, 1e-20, 1e-15, 1e-10, 1e10, 1e19, 1e30])
def test_the_unit_of_the_prediction_does_not_matter(magnitude: float, alignment: str):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 8, 8, generator=generator) + 0.1
    prediction = target + 0.1 * torch.rand(1, 8, 8, generator=generator)
    valid = all_valid(target)
    expected = ssi_trimmed_loss(prediction, target, valid, alignment=alignment)

    scaled = (prediction * magnitude).requires_grad_()
    loss = ssi_trimmed_loss(scaled, target, valid, alignment=alignment)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-4)
    assert scaled.grad is not None and bool(scaled.grad.isfinite().all())
    assert bool((scaled.grad != 0).any())


@every_alignment
@pytest.mark.parametrize("value", [0.3, 1000.0])
def test_constant_truth_costs_nothing(value: float, alignment: str):
    target = torch.cat((image([value] * 4), image([1.0, 2.0, 3.0, 4.0])))
    prediction = image([5.0, 1.0, 4.0, 2.0]).repeat(2, 1, 1)
    of_flat = ssi_trimmed_loss(prediction[:1], target[:1], all_valid(target[:1]), 0.0, alignment)
    of_other = ssi_trimmed_loss(prediction[1:], target[1:], all_valid(target[1:]), 0.0, alignment)
    of_both = ssi_trimmed_loss(prediction, target, all_valid(target), 0.0, alignment)

    assert float(of_flat) == 0.0
    assert float(of_both) == pytest.approx(float(of_other) / 2) and float(of_other) > 0.1


def test_the_rounding_of_a_constant_prediction_is_no_shape():
    # 1e6 + 1/16 is the next float32. Only centred it is 0, 0, 1/16; the truth is -3/2, 0, 3/2.
    prediction = image([1e6, 1e6, 1e6 + 0.0625]).requires_grad_()
    target = image([0.0, 1.0, 2.0])
    loss = ssi_trimmed_loss(prediction, target, all_valid(target), trim=0.0)
    loss.backward()

    assert float(loss.detach()) == pytest.approx((1.5 + 0.0 + 1.4375) / 6, rel=1e-6)
    assert prediction.grad is not None and float(prediction.grad.abs().max()) < 1.0


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0)])
@pytest.mark.parametrize(
    "loss",
    [
        ssi_loss,
        ssi_trimmed_loss,
        gradient_matching_loss,
        scale_invariant_log_loss,
        metric_inverse_depth_l1,
    ],
)
def test_an_empty_batch_is_refused(loss, shape: tuple[int, int, int]):
    values = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"empty batch \(.*\), expected .* at least one image"):
        loss(values, values, all_valid(values))
