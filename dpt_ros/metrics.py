"""Errors of depth in metres against truth. Clamps, crops and aligns nothing: protocols do that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

METRICS = (
    "abs_rel",
    "sq_rel",
    "rmse",
    "rmse_log",
    "si_log",
    "log10",
    "delta1",
    "delta2",
    "delta3",
)
"""The names that `depth_metrics` gives, in the order in which tables show them."""

DELTA_THRESHOLD = 1.25
"""Ratio of prediction and truth up to which a pixel counts for delta1 (Eigen et al., 2014)."""

_DELTA_LIMITS = tuple(DELTA_THRESHOLD**i for i in (1, 2, 3))

_BLOCK = 8192
"""Pixels that stay in the cache: a fifth of the time of whole images. And too few for OpenBLAS to
start threads for a dot product, which would get in the way of the frames scored beside."""


def depth_metrics(
    depth_m: NDArray[np.generic] | torch.Tensor,
    truth_m: NDArray[np.generic] | torch.Tensor,
    valid: NDArray[np.bool_] | torch.Tensor,
) -> dict[str, float]:
    """The usual metrics (Eigen et al., 2014; KITTI), in float64.

    With prediction p, truth g, e = p - g in metres and eps = ln p - ln g over the valid pixels:
    abs_rel = mean |e| / g; sq_rel = mean e^2 / g (m); rmse = sqrt(mean e^2) (m);
    rmse_log = sqrt(mean eps^2); si_log = 100 sqrt(mean eps^2 - (mean eps)^2);
    log10 = mean |log10 p - log10 g|; delta_i = share of pixels with max(g / p, p / g) < 1.25^i.

    Args:
        depth_m: predicted depth in metres: one image [H,W] (or any list of pixels), or a batch
            [B,H,W], whose images are measured one by one and then averaged.
        truth_m: true depth in metres, the same shape.
        valid: bool, the same shape: which pixels count. Images of a batch without any are left out.

    Returns:
        A float for every name in `METRICS`.

    Raises:
        ValueError: shapes that differ, `valid` that is not bool or holds no pixel at all, or a
            valid pixel whose depth is not finite and positive.
    """
    prediction, truth, mask = _array(depth_m), _array(truth_m), _array(valid)
    if not prediction.shape == truth.shape == mask.shape or mask.dtype != np.bool_:
        raise ValueError(
            f"got depth_m {prediction.shape}, truth_m {truth.shape} and valid {mask.shape} "
            f"({mask.dtype}), expected one shape, and bool for valid"
        )
    images = range(len(mask)) if mask.ndim == 3 else [...]
    pixels = [(prediction[i][mask[i]], truth[i][mask[i]]) for i in images if mask[i].any()]
    per_image = [metrics_of_groups(p, g, [p.size])[0] for p, g in pixels]
    if not per_image:
        raise ValueError("valid: holds no pixel; leave out images without truth")
    averages = np.mean(per_image, axis=0).tolist()
    return dict(zip(METRICS, averages, strict=True))


def metrics_of_groups(
    depth_m: NDArray[np.generic], truth_m: NDArray[np.generic], sizes: Sequence[int]
) -> NDArray[np.float64]:
    """The metrics of an image's pixels, and of each group of them, in one pass.

    Args:
        depth_m: predicted depth in metres of the pixels that count, [N], group after group.
        truth_m: true depth in metres, [N].
        sizes: how many pixels each group has, K of them, N together.

    Returns:
        [1 + K, len(METRICS)]: of all pixels, then of each group; NaN for a group without any.

    Raises:
        ValueError: a depth that is not finite and positive, or sizes that do not add up to N.
    """
    counts = np.asarray(sizes, np.int64)
    if depth_m.shape != truth_m.shape or depth_m.ndim != 1 or counts.sum() != depth_m.size:
        raise ValueError(
            f"got depths {depth_m.shape}, {truth_m.shape} and groups of {counts.tolist()} pixels"
        )
    ends = np.cumsum(counts)
    groups = [
        _together(
            [
                _means_of(depth_m[at : min(at + _BLOCK, end)], truth_m[at : min(at + _BLOCK, end)])
                for at in range(end - count, end, _BLOCK)
            ]
        )
        for count, end in zip(counts.tolist(), ends.tolist(), strict=True)
    ]
    return np.stack([_metrics_of_means(means) for means in (_together(groups), *groups)])


def _means_of(depth_m: NDArray[np.generic], truth_m: NDArray[np.generic]) -> NDArray[np.float64]:
    """Of some pixels: count, variance of eps, means of eps, |eps|, |e|/g, e^2/g, e^2, deltas."""
    p, g = depth_m.astype(np.float64, copy=False), truth_m.astype(np.float64, copy=False)
    for name, depth in (("depth_m", p), ("truth_m", g)):
        if not (depth.min() > 0.0 and depth.max() < np.inf):
            wrong = int(np.count_nonzero(~(np.isfinite(depth) & (depth > 0.0))))
            raise ValueError(
                f"{name}: {wrong} of {depth.size} valid pixels are not finite and positive; clamp "
                "the prediction as the protocol says, or take them out of valid"
            )
    count = p.size
    ratio, e = p / g, np.abs(p - g)
    eps, shares = np.log(ratio), e / g
    ratio = np.maximum(ratio, g / p, out=ratio)
    deltas = [np.count_nonzero(ratio < limit) / count for limit in _DELTA_LIMITS]
    mean_eps = eps.sum() / count
    sums = [np.abs(eps).sum(), shares.sum(), shares @ e, e @ e]
    # The variance is taken about the mean: a difference of squares would lose digits.
    eps -= mean_eps
    return np.array([count, eps @ eps / count, mean_eps, *(x / count for x in sums), *deltas])


def _together(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """What `_means_of` would say of several sets of pixels at once; NaN with 0 for none."""
    filled = [part for part in parts if part[0] > 0.0]
    if not filled:
        return np.array([0.0, *[np.nan] * 9])
    rows = np.stack(filled)
    count = rows[:, 0].sum()
    shares = rows[:, 0] / count
    together: NDArray[np.float64] = shares @ rows
    together[0] = count
    together[1] += shares @ (rows[:, 2] - together[2]) ** 2
    return together


def _metrics_of_means(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """What `_means_of` says, as METRICS."""
    _, variance, eps, abs_eps, abs_rel, sq_rel, e2, *deltas = means.tolist()
    rmse_log = np.sqrt(variance + eps**2)
    si_log = 100.0 * np.sqrt(variance)
    return np.array(
        [abs_rel, sq_rel, np.sqrt(e2), rmse_log, si_log, abs_eps / np.log(10.0), *deltas]
    )


def _array(values: NDArray[np.generic] | torch.Tensor) -> NDArray[np.generic]:
    """An array, or a tensor of any device and type, as an array."""
    if isinstance(values, np.ndarray):
        return values
    values = values.detach().cpu()
    return (values.double() if values.is_floating_point() else values).numpy()
