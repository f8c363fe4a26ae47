"""The losses of MiDaS and DPT for inverse depth. Knows no network and no data set.

Everything is computed image by image and then averaged over the images of the batch; an image that
says nothing counts as 0 and stays attached to the graph. Predictions in half precision are
computed in float32. Sources: Ranftl et al., "Towards Robust Monocular Depth Estimation" (MiDaS,
arXiv 1907.01341, section 5); Li and Snavely, "MegaDepth" (arXiv 1804.00607); Eigen et al., "Depth
Map Prediction from a Single Image" (arXiv 1406.2283).
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from dpt_ros.training.settings import ALIGNMENTS

MIN_PAIR_DENSITY = 1.0
"""Pairs of valid neighbours per valid pixel below which gradients of the truth are not compared.

A dense image has nearly 2; lines that are complete but apart have nearly 1 and no vertical pair.
"""

LOG_FLOOR = 0.002
"""Metric inverse depth (1/m) below which the logarithm goes on as its tangent: 500 m and beyond."""

_NO_SPREAD = 1e-6  # relative to the largest value: below it, float32 holds nothing but rounding


class SparseTruthWarning(UserWarning):
    """The truth is too sparse for gradient matching, which was left out."""


class SsiLoss(NamedTuple):
    """The scale- and shift-invariant loss, and what it is made of.

    `total`, `trimmed` and `gradient` are scalars with their graph, `gradient` unweighted.
    `pair_density` [B] is what `pair_density()` says of the truth.
    """

    total: Tensor
    trimmed: Tensor
    gradient: Tensor
    pair_density: Tensor


def ssi_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    trim: float = 0.2,
    gradient_weight: float = 0.5,
    scales: int = 4,
    alignment: str = "robust",
    min_pair_density: float = MIN_PAIR_DENSITY,
) -> SsiLoss:
    """The total loss of MiDaS: `ssi_trimmed_loss + 0.5 * gradient_matching_loss`.

    Args:
        prediction: relative inverse depth [B,H,W].
        target: true inverse depth [B,H,W], any unit; what is not finite is not valid.
        valid: bool [B,H,W].
        trim: share of the largest residuals left out.
        gradient_weight: weight of gradient matching; 0 leaves it out.
        scales: number of scales of gradient matching.
        alignment: "robust" or "least_squares".
        min_pair_density: see `gradient_matching_loss`.

    Raises:
        ValueError: shapes that differ, are not [B,H,W] or empty, or an option out of range.
    """
    residual, usable = _aligned_residual(prediction, target, valid, alignment)
    density = pair_density(usable)
    trimmed = _trimmed(residual, usable, trim)
    gradient = torch.zeros_like(trimmed)
    if gradient_weight > 0.0:
        gradient = _gradient(residual, usable, scales, density, min_pair_density)
    return SsiLoss(trimmed + gradient_weight * gradient, trimmed, gradient, density)


def ssi_trimmed_loss(
    prediction: Tensor, target: Tensor, valid: Tensor, trim: float = 0.2, alignment: str = "robust"
) -> Tensor:
    """Scale- and shift-invariant trimmed loss (MiDaS, equations 5 to 9).

    Per image `1 / (2 M) * sum of the floor((1 - trim) M) smallest |d^ - d^*|`, with M valid pixels.
    Robust alignment brings prediction and truth each to median 0 and mean absolute deviation 1;
    least squares brings the prediction to the truth, which is first scaled to [0, 1].

    Args:
        prediction: relative inverse depth [B,H,W].
        target: true inverse depth [B,H,W], any unit; what is not finite is not valid.
        valid: bool [B,H,W]. A valid pixel whose prediction is not finite makes the loss NaN.
        trim: share of the largest residuals left out, 0 <= trim < 1.
        alignment: "robust" or "least_squares".

    Returns:
        Scalar, the mean over the batch. An image without two valid pixels of different truth has
        no shape to compare and counts as 0.

    Raises:
        ValueError: shapes that differ, are not [B,H,W] or empty, or an option out of range.
    """
    residual, usable = _aligned_residual(prediction, target, valid, alignment)
    return _trimmed(residual, usable, trim)


def gradient_matching_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    scales: int = 4,
    alignment: str = "robust",
    min_pair_density: float = MIN_PAIR_DENSITY,
) -> Tensor:
    """Multi-scale gradient matching on the aligned residual (MegaDepth; MiDaS, equation 11).

    Per image, with R = d^ - d^* aligned as in `ssi_trimmed_loss` and M valid pixels:
    `1 / M * sum over the scales of sum |dx R_k| + |dy R_k|`, where R_k is R at every 2^k-th pixel
    and a difference counts only where both its pixels are valid.

    Sparse truth has hardly a pair of neighbours: an image with fewer than `min_pair_density` pairs
    per valid pixel counts as 0, and a `SparseTruthWarning` says so.

    Args:
        prediction: relative inverse depth [B,H,W].
        target: true inverse depth [B,H,W], any unit; what is not finite is not valid.
        valid: bool [B,H,W].
        scales: number of scales: strides 1, 2, 4, 8 for 4.
        alignment: "robust" or "least_squares".
        min_pair_density: pairs per valid pixel that an image must have; 0 never switches off.

    Returns:
        Scalar, the mean over the batch.

    Raises:
        ValueError: shapes that differ, are not [B,H,W] or empty, or an option out of range.
    """
    residual, usable = _aligned_residual(prediction, target, valid, alignment)
    return _gradient(residual, usable, scales, pair_density(usable), min_pair_density)


def pair_density(valid: Tensor) -> Tensor:
    """Pairs of valid neighbours, side by side or one above the other, per valid pixel.

    Args:
        valid: bool [B,H,W].

    Returns:
        float32 [B]: nearly 2 for a dense image, twice the coverage for randomly scattered pixels,
        0 for an image without valid pixels.
    """
    pairs = _pairs(valid, 1).sum((1, 2)) + _pairs(valid, 2).sum((1, 2))
    return pairs.float() / valid.sum((1, 2)).clamp(min=1)


def scale_invariant_log_loss(
    prediction: Tensor, target: Tensor, valid: Tensor, lam: float = 0.5
) -> Tensor:
    """Scale-invariant log loss (Eigen et al., equation 4).

    Per image `mean(e^2) - lam * mean(e)^2` with e = ln prediction - ln target. The same for inverse
    depth and depth, whose logarithms differ by the sign. Below `LOG_FLOOR` the prediction's
    logarithm goes on as its tangent, so that what is not positive is still driven back.

    Args:
        prediction: metric inverse depth in 1/m, [B,H,W].
        target: true metric inverse depth in 1/m, [B,H,W]; counts where finite and positive.
        valid: bool [B,H,W].
        lam: 0 is the plain squared log error, 1 ignores the scale altogether.

    Returns:
        Scalar, the mean over the batch; an image without valid pixels counts as 0.

    Raises:
        ValueError: shapes that differ, are not [B,H,W] or empty, or `lam` out of 0 .. 1.
    """
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f"lam: got {lam}, expected 0 to 1")
    prediction, target, usable = _usable(prediction, target, valid)
    usable = usable & (target > 0.0)
    error = _log(torch.where(usable, prediction, 1.0)) - torch.where(usable, target, 1.0).log()
    squares, mean = _mean(error.square(), usable), _mean(error, usable)
    return (squares - lam * mean.square()).mean()


def metric_inverse_depth_l1(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute error in metric inverse depth (1/m), per image, averaged over the batch.

    Args:
        prediction: metric inverse depth in 1/m, [B,H,W].
        target: true metric inverse depth in 1/m, [B,H,W]; what is not finite is not valid.
        valid: bool [B,H,W].

    Raises:
        ValueError: shapes that differ, are not [B,H,W] or empty.
    """
    prediction, target, usable = _usable(prediction, target, valid)
    return _mean((prediction - target).abs(), usable).mean()


def _trimmed(residual: Tensor, usable: Tensor, trim: float) -> Tensor:
    if not 0.0 <= trim < 1.0:
        raise ValueError(f"trim: got {trim}, expected 0 <= trim < 1")
    count = usable.flatten(1).sum(1)
    kept = torch.floor(count * (1.0 - trim) + 1e-9)
    ascending = _sorted_valid(residual.abs(), usable)
    is_kept = torch.arange(ascending.shape[1], device=ascending.device) < kept[:, None]
    total = torch.where(is_kept, ascending, 0.0).sum(1)
    return (total / (2 * count.clamp(min=1))).mean()


def _gradient(
    residual: Tensor, usable: Tensor, scales: int, density: Tensor, min_pair_density: float
) -> Tensor:
    if scales < 1:
        raise ValueError(f"scales: got {scales}, expected at least 1")
    count = usable.sum((1, 2))
    is_dense = density >= min_pair_density
    if not bool((is_dense | (count == 0)).all()):
        _tell_sparse(float(density[count > 0].min()), min_pair_density)
    total = residual.new_zeros(residual.shape[0])
    for stride in (2**k for k in range(scales)):
        coarse, known = residual[:, ::stride, ::stride], usable[:, ::stride, ::stride]
        for dimension in (1, 2):
            difference = coarse.diff(dim=dimension).abs()
            total = total + torch.where(_pairs(known, dimension), difference, 0.0).sum((1, 2))
    return torch.where(is_dense, total / count.clamp(min=1), 0.0).mean()


def _usable(prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both in float32 or better, 0 where not valid so that nothing there reaches a gradient."""
    if prediction.ndim != 3 or not prediction.shape == target.shape == valid.shape:
        raise ValueError(
            f"got prediction {tuple(prediction.shape)}, target {tuple(target.shape)} and valid "
            f"{tuple(valid.shape)}, expected one shape (B, H, W)"
        )
    if prediction.numel() == 0:
        raise ValueError(
            f"got an empty batch {tuple(prediction.shape)}, expected (B, H, W) of at least one "
            "image of one pixel: leave out batches without images"
        )
    if valid.dtype != torch.bool:
        raise ValueError(f"valid: got {valid.dtype}, expected torch.bool")
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    usable = valid & torch.isfinite(target)
    prediction = torch.where(usable, prediction.to(dtype), 0.0)
    # An infinity would be trimmed away unseen; NaN reaches every sum.
    prediction = torch.where(prediction.isinf(), torch.nan, prediction)
    return prediction, torch.where(usable, target.to(dtype), 0.0), usable


def _aligned_residual(
    prediction: Tensor, target: Tensor, valid: Tensor, alignment: str
) -> tuple[Tensor, Tensor]:
    """d^ - d^* [B,H,W], 0 where not valid, and what is valid in images whose truth has a shape."""
    if alignment not in ALIGNMENTS:
        raise ValueError(f"alignment: got {alignment!r}, expected one of {', '.join(ALIGNMENTS)}")
    prediction, target, usable = _usable(prediction, target, valid)
    target, has_shape = _to_unit_range(target, usable)
    usable = usable & has_shape[:, None, None]
    if alignment == "robust":
        residual = _centred_and_scaled(prediction, usable) - _centred_and_scaled(target, usable)
    else:
        residual = _fitted(prediction, target, usable) - target
    return torch.where(usable, residual, 0.0), usable


def _to_unit_range(target: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """The truth scaled to [0, 1] per image, and which images have a truth that varies, [B]."""
    low = torch.where(usable, target, torch.inf).amin((1, 2), keepdim=True)
    high = torch.where(usable, target, -torch.inf).amax((1, 2), keepdim=True)
    largest = target.abs().amax((1, 2), keepdim=True)
    has_shape = high - low > _NO_SPREAD * largest
    low, spread = torch.where(has_shape, low, 0.0), torch.where(has_shape, high - low, 1.0)
    return (target - low) / spread, has_shape[:, 0, 0]


def _centred_and_scaled(values: Tensor, usable: Tensor) -> Tensor:
    """Robust alignment: median 0 and mean absolute deviation 1 over the valid pixels.

    Values without a spread are only centred.
    """
    centred = values - _median(values, usable)[:, None, None]
    deviation = _mean(centred.abs(), usable)
    is_flat = deviation <= _NO_SPREAD * _largest(values, usable)
    return centred / torch.where(is_flat, 1.0, deviation)[:, None, None]


def _fitted(prediction: Tensor, target: Tensor, usable: Tensor) -> Tensor:
    """The prediction brought to the truth by least squares, with a scale above 0.

    Where the fitted scale is not positive (near and far are swapped), the scale that gives both
    the same spread takes its place, so that the loss is large and its gradient points back.
    """
    # The fit is the same in any unit: in this one no square of a number is too small or too large.
    largest = _largest(prediction, usable)
    prediction = prediction / torch.where(largest > 0.0, largest, 1.0)[:, None, None]
    mean_prediction, mean_target = _mean(prediction, usable), _mean(target, usable)
    x = torch.where(usable, prediction - mean_prediction[:, None, None], 0.0)
    y = torch.where(usable, target - mean_target[:, None, None], 0.0)
    variance, covariance = _mean(x.square(), usable), _mean(x * y, usable)
    is_flat = variance <= _NO_SPREAD**2
    variance = torch.where(is_flat, 1.0, variance)
    same_spread = (_mean(y.square(), usable).clamp(min=1e-12) / variance).sqrt()
    scale = torch.where(covariance > 0.0, covariance / variance, same_spread)
    return scale[:, None, None] * x + mean_target[:, None, None]


def _median(values: Tensor, usable: Tensor) -> Tensor:
    """Median of the valid pixels, the mean of the middle two where their number is even; [B]."""
    count = usable.flatten(1).sum(1)
    ascending = _sorted_valid(values, usable)
    middle = torch.stack(((count - 1).clamp(min=0) // 2, count // 2), 1)
    middle = middle.clamp(max=ascending.shape[1] - 1)
    return torch.where(count > 0, ascending.gather(1, middle).mean(1), 0.0)


def _sorted_valid(values: Tensor, usable: Tensor) -> Tensor:
    """[B, H * W] ascending, what is not valid at the end as +Inf."""
    return torch.where(usable, values, torch.inf).flatten(1).sort(1).values


def _mean(values: Tensor, usable: Tensor) -> Tensor:
    """Mean over the valid pixels, 0 where there are none; [B]."""
    count = usable.sum((1, 2)).clamp(min=1)
    return torch.where(usable, values, 0.0).sum((1, 2)) / count


def _largest(values: Tensor, usable: Tensor) -> Tensor:
    return torch.where(usable, values, 0.0).detach().abs().amax((1, 2))


def _log(values: Tensor) -> Tensor:
    """Natural logarithm, below `LOG_FLOOR` its tangent there."""
    tangent = math.log(LOG_FLOOR) + (values - LOG_FLOOR) / LOG_FLOOR
    return torch.where(values >= LOG_FLOOR, values.clamp(min=LOG_FLOOR).log(), tangent)


def _pairs(valid: Tensor, dimension: int) -> Tensor:
    """Where two neighbours along a dimension are both valid."""
    length = valid.shape[dimension] - 1
    return valid.narrow(dimension, 0, length) & valid.narrow(dimension, 1, length)


def _tell_sparse(sparsest: float, min_pair_density: float) -> None:
    # One digit, so that the default filter of `warnings` tells a whole training run a few times.
    warnings.warn(
        f"gradient matching is off where truth has fewer than {min_pair_density:g} pairs of valid "
        f"neighbours per valid pixel (got {sparsest:.1f}): it is too sparse to have gradients",
        SparseTruthWarning,
        stacklevel=4,
    )
