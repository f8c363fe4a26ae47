"""The trained model beside the untouched one: the same pictures, alignments and metrics."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Dataset, DatasetError
from dpt_ros.geometry.fit import FitError
from dpt_ros.geometry.scale_shift import (
    ScaleShift,
    average_scale_shift,
    depth_within,
    fit_scale_shift,
)
from dpt_ros.inference import DepthPredictor, InferenceError
from dpt_ros.metrics import METRICS, depth_metrics
from dpt_ros.model.cards import ModelCard
from dpt_ros.model.dpt import DPT
from dpt_ros.training.fit_quality import best_depth_m
from dpt_ros.training.monitor import shown
from dpt_ros.training.split import evenly_chosen

_log = logging.getLogger(__name__)

NEAR_M, CAP_M = 1e-3, 80.0
"""Truth counts strictly between; predictions are clamped to these. KITTI's usual cap."""

POINTS = 20_000
"""Pixels of a picture that are compared at most, evenly chosen."""

OUTLYING_SIGMAS = 3.0
"""A picture's scale is an outlier this many standard deviations of ln(scale) off the median."""

LIKELY_FACTOR = 2.0
"""Up to this factor off the median it is none, however alike the others are."""

_MAD_TO_SIGMA = 1.4826  # of a normal distribution

PER_FRAME = "per frame (least squares)"
DATA_SET = "data set (robust fits, averaged)"
CARD = "the card's scale and shift"


@dataclasses.dataclass(frozen=True)
class Row:
    """The metrics of one model on one part of the data under one alignment."""

    model: str
    data: str
    alignment: str
    samples: int
    left_out: int
    """Samples without truth, that cannot be read or predicted, or that cannot be aligned."""
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Prediction and truth at a sample's pixels, [N] each."""

    inverse_depth: NDArray[np.float64]
    truth_m: NDArray[np.float64]


def compare_models(
    models: Mapping[str, tuple[DPT, ModelCard]],
    parts: Mapping[str, Sequence[Dataset]],
    *,
    samples: int,
    device: str = "auto",
) -> list[Row]:
    """Measure models on parts of the data.

    Alignments: per frame; one scale and shift for all, averaged over robust fits to the pictures
    of the first part; and where the card has a scale and shift, those.

    Args:
        models: network and card by name; the networks are left as they are.
        parts: data sets by name; the first is the one that was learned from.
        samples: of a part at most, evenly chosen.
        device: where the networks run.
    """
    rows: list[Row] = []
    for name, (model, card) in models.items():
        predictor = DepthPredictor(copy.deepcopy(model), card, device=device, precision="float32")
        aligned: dict[str, ScaleShift | None] = {PER_FRAME: None}
        for number, (part, datasets) in enumerate(parts.items()):
            chosen = evenly_chosen(datasets, samples)
            pairs = [
                _pairs(predictor, datasets[which], index)
                for which, index in shown(chosen, f"measure {name}, {part}")
            ]
            if number == 0:
                aligned |= _fixed_alignments(pairs, predictor.metric_scale_shift)
            rows += [_row(name, part, alignment, pairs, fit) for alignment, fit in aligned.items()]
    return rows


def average_fit(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[ScaleShift, int, str]:
    """The mean scale and shift of robust fits, one a picture (DPT, section 4.1).

    A picture of which the network says nearly one depth (a dark or blank one) is fitted with any
    scale, which a mean does not survive. So a fit does not count that is no better than one depth
    for the whole picture, unless none is, nor one whose scale is far from the others'.

    Args:
        pairs: inverse depth and truth in metres, [N] each.

    Returns:
        the mean, how many pictures do not count, and why the last of them does not.

    Raises:
        FitError: none of them can be fitted.
    """
    fits: list[ScaleShift] = []
    telling: list[ScaleShift] = []
    reason = "there are no samples"
    for inverse_depth, truth_m in pairs:
        try:
            valid = np.ones(truth_m.shape, dtype=bool)
            fit = fit_scale_shift(inverse_depth, 1.0 / truth_m, valid, method="robust")
        except FitError as error:
            reason = str(error)
            continue
        fits.append(fit)
        why_not = _no_better_than_constant(inverse_depth, truth_m, fit)
        reason = why_not or reason
        telling += [] if why_not else [fit]
    if not fits:
        raise FitError(f"not one picture can be fitted; the last: {reason}")
    if not telling:
        _log.warning("all pictures count, as the fit to none is better than one depth: %s", reason)
    kept, why_outlying = _without_outliers(telling or fits)
    return average_scale_shift(kept), len(pairs) - len(kept), why_outlying or reason


def _no_better_than_constant(
    inverse_depth: NDArray[Any], truth_m: NDArray[Any], fit: ScaleShift
) -> str:
    """What speaks against a picture's fit; "" where the picture gains by it."""
    said = fit.scale * inverse_depth.astype(np.float64) + fit.shift
    depth_m = depth_within(said, NEAR_M, CAP_M)
    constant_m = best_depth_m(truth_m)
    errors = [float(np.mean(np.abs(each / truth_m - 1.0))) for each in (depth_m, constant_m)]
    if errors[0] < errors[1]:
        return ""
    return (
        f"AbsRel is {errors[0]:.3f} fitted, and {errors[1]:.3f} if every pixel is said to be "
        f"{constant_m:.2f} m away"
    )


def _without_outliers(fits: Sequence[ScaleShift]) -> tuple[list[ScaleShift], str]:
    """The fits whose scales are alike, at least half of them, and why the last other is none."""
    logarithms = np.log([fit.scale for fit in fits])
    middle = float(np.median(logarithms))
    distances = np.abs(logarithms - middle)
    sigma = _MAD_TO_SIGMA * float(np.median(distances))
    limit = max(OUTLYING_SIGMAS * sigma, math.log(LIKELY_FACTOR))
    kept = [fit for fit, distance in zip(fits, distances, strict=True) if distance <= limit]
    others = [fit for fit, distance in zip(fits, distances, strict=True) if distance > limit]
    if not others:
        return kept, ""
    return kept, (
        f"its scale is {others[-1].scale:.4g}, and {math.exp(middle):.4g} in the middle of all: "
        "the network says nearly one depth, or another unit, there"
    )


def truth_pixels(depth_m: NDArray[np.float32]) -> NDArray[np.int64]:
    """Places in the flattened picture of at most `POINTS` pixels with truth, evenly chosen."""
    places = np.flatnonzero((depth_m > NEAR_M) & (depth_m < CAP_M))
    if places.size > POINTS:
        places = places[np.linspace(0, places.size - 1, POINTS).astype(np.int64)]
    return places


def _fixed_alignments(
    pairs: Sequence[_Pairs | None], card_scale_shift: ScaleShift | None
) -> dict[str, ScaleShift | None]:
    aligned: dict[str, ScaleShift | None] = {}
    try:
        fitted = [(pair.inverse_depth, pair.truth_m) for pair in pairs if pair is not None]
        aligned[DATA_SET] = average_fit(fitted)[0]
    except FitError as error:
        _log.warning("no scale and shift for the whole data set: %s", error)
    if card_scale_shift is not None:
        aligned[CARD] = card_scale_shift
    return aligned


def _pairs(predictor: DepthPredictor, dataset: Dataset, index: int) -> _Pairs | None:
    try:
        sample = dataset[index]
        places = truth_pixels(sample.depth_m)
        if not places.size:
            return None
        said: NDArray[Any] = predictor.predict(sample.rgb).reshape(-1)[places]
    except (DatasetError, InferenceError) as error:
        _log.warning("a sample is left out: %s", error)
        return None
    if not np.isfinite(said).all():
        _log.warning("a sample is left out: the output for %s is not finite", sample.id)
        return None
    return _Pairs(said.astype(np.float64), sample.depth_m.reshape(-1)[places].astype(np.float64))


def _row(
    model: str,
    part: str,
    alignment: str,
    pairs: Sequence[_Pairs | None],
    scale_shift: ScaleShift | None,
) -> Row:
    sums = dict.fromkeys(METRICS, 0.0)
    count = 0
    for pair in pairs:
        if pair is None:
            continue
        fit = scale_shift or _least_squares(pair)
        if fit is None:
            continue
        for name, value in depth_metrics(*_clamped(pair, fit)).items():
            sums[name] += value
        count += 1
    metrics = {name: total / count if count else math.nan for name, total in sums.items()}
    return Row(model, part, alignment, count, len(pairs) - count, metrics)


def _clamped(
    pair: _Pairs, fit: ScaleShift
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Prediction and truth in metres, and that every pixel counts."""
    depth_m = depth_within(fit.scale * pair.inverse_depth + fit.shift, NEAR_M, CAP_M)
    return depth_m, pair.truth_m, np.ones(depth_m.shape, dtype=bool)


def _least_squares(pair: _Pairs) -> ScaleShift | None:
    valid = torch.ones(pair.truth_m.shape, dtype=torch.bool)
    try:
        return fit_scale_shift(
            torch.from_numpy(pair.inverse_depth),
            torch.from_numpy(1.0 / pair.truth_m),
            valid,
            method="least_squares",
        )
    except FitError:
        return None
