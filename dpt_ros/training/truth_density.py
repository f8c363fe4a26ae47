"""Whether truth has neighbours enough for gradient matching: measured, whatever a manifest says."""

from __future__ import annotations

import dataclasses
import logging
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dpt_ros.bags.dataset import Dataset, DatasetError
from dpt_ros.training.losses import MIN_PAIR_DENSITY, pair_density
from dpt_ros.training.split import evenly_chosen

_log = logging.getLogger(__name__)

_PICTURES = 8
"""Of each data set, evenly chosen."""


@dataclasses.dataclass(frozen=True)
class TruthDensity:
    """Pairs of neighbours per pixel with truth, in a few pictures of each data set.

    Attributes:
        is_dense: whether truth can be compared on the network's grid, gradients included; else it
            is compared point by point.
        pictures: how many were measured.
        least: the smallest density of them; NaN where none could be measured.
        median: of them.
        wrongly_dense: data sets whose manifests say dense, and which are not.
    """

    is_dense: bool
    pictures: int
    least: float
    median: float
    wrongly_dense: tuple[str, ...] = ()


def measure_density(datasets: Sequence[Dataset], minimum_points: int) -> TruthDensity:
    """Measure a few pictures of each data set; one sparse picture makes all sparse.

    Where no picture has `minimum_points` pixels with truth, the manifests are believed.
    """
    found: list[float] = []
    wrongly: list[str] = []
    for dataset in datasets:
        measured = _densities(dataset, minimum_points)
        least = min(measured, default=MIN_PAIR_DENSITY)
        # What is held out of a data set is a part of its own here.
        if dataset.dense and least < MIN_PAIR_DENSITY and dataset.name not in wrongly:
            wrongly.append(dataset.name)
            _log.warning(
                "the manifest of %s says that truth is dense, but a picture has %.2f pairs of "
                "neighbours per pixel with truth: it is taken as sparse",
                *(dataset.folder, least),
            )
        found += measured
    is_dense = all(dataset.dense for dataset in datasets) or bool(found)
    return TruthDensity(
        is_dense=is_dense and min(found, default=MIN_PAIR_DENSITY) >= MIN_PAIR_DENSITY,
        pictures=len(found),
        least=min(found, default=float("nan")),
        median=statistics.median(found) if found else float("nan"),
        wrongly_dense=tuple(wrongly),
    )


def gradient_matching(
    density: TruthDensity, weight: float, history: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """What a run's result says of gradient matching.

    Args:
        density: from `measure_density`.
        weight: of the term.
        history: the run's, of `Progress`.

    Returns:
        weight; `share_of_pictures`, how many of those learned from had it on, None where the run
        does not have the term; `why_off`, "" where it is on; the measured pair densities.
    """
    shares = [entry["gradient_share"] for entry in history if "gradient_share" in entry]
    why_off = ""
    if weight == 0.0:
        why_off = "its weight is 0"
    elif not density.pictures and not density.is_dense:
        why_off = "no picture that was looked at has truth enough to measure its density"
    elif not density.is_dense:
        why_off = (
            f"truth has {density.least:.2f} pairs of neighbours per pixel with truth in the "
            f"sparsest of {density.pictures} pictures, and it takes {MIN_PAIR_DENSITY:g}"
        )
    return {
        "weight": weight,
        "share_of_pictures": statistics.fmean(shares) if weight and shares else None,
        "why_off": why_off,
        "pair_density": {
            "least": density.least,
            "median": density.median,
            "needed": MIN_PAIR_DENSITY,
            "pictures": density.pictures,
        },
        "wrongly_dense": list(density.wrongly_dense),
    }


def _densities(dataset: Dataset, minimum_points: int) -> list[float]:
    found: list[float] = []
    for _, number in evenly_chosen([dataset], _PICTURES):
        try:
            depth_m = torch.from_numpy(dataset[number].depth_m)
        except DatasetError:
            continue  # told and counted when its turn comes
        valid = (torch.isfinite(depth_m) & (depth_m > 0.0))[None]
        if int(valid.sum()) >= minimum_points:
            found.append(float(pair_density(valid)))
    return found
