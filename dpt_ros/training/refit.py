"""The fit of scale and shift that follows an `ssi` run, whose output has a scale of its own."""

from __future__ import annotations

import copy
import dataclasses
import logging
import shlex
from pathlib import Path
from typing import Any

from dpt_ros.bags.dataset import Dataset, DatasetError
from dpt_ros.config import ConfigError
from dpt_ros.geometry.calibration import CalibrationError, save_calibration
from dpt_ros.geometry.fit import FitError
from dpt_ros.inference import DepthPredictor
from dpt_ros.model.cards import ModelCard
from dpt_ros.model.dpt import DPT
from dpt_ros.training.fit import FitResult, fit_dataset
from dpt_ros.training.fit_pairs import SeveralViewsError, find_view
from dpt_ros.training.fit_settings import FitSettings
from dpt_ros.training.monitor import shown
from dpt_ros.training.same_recording import sources_of
from dpt_ros.training.split import Split

_log = logging.getLogger(__name__)


def fit_again(
    model: DPT, card: ModelCard, weights: Path, sha256: str, split: Split, device: str
) -> dict[str, dict[str, Any]]:
    """Fit the trained network to each data set it learned from; write calibrations beside it.

    Args:
        model: the trained network; left as it is.
        card: its card.
        weights: its file, beside which `calibration.yaml` is written; with several data sets
            `calibration_NAME.yaml` each, since each may have another camera.
        sha256: of that file.
        split: what was learned from, which is fitted to, and held out, which judges the fit. What
            is held out and cannot judge it, being of another camera, is left out and told.
        device: where the network runs.

    Returns:
        for every data set: file, scale, shift, AbsRel, and `why_not_held_out` ("" where something
        judged it); or `why_not`.
    """
    predictor = DepthPredictor(
        copy.deepcopy(model),
        card,
        device=device,
        precision="float32",
        checkpoint_path=weights,
        checkpoint_sha256=sha256,
    )
    made: dict[str, dict[str, Any]] = {}
    names = [dataset.name for dataset in split.training]
    for index, dataset in enumerate(split.training):
        name = names[index] if names.count(names[index]) == 1 else f"{names[index]}_{index}"
        suffix = f"_{name}" if len(split.training) > 1 else ""
        file = weights.with_name(f"calibration{suffix}.yaml")
        try:
            result = _fit_judged(predictor, dataset, split)
            save_calibration(result.calibration, file)
        except (FitError, CalibrationError, ConfigError, DatasetError) as error:
            why_not = str(error)
            if isinstance(error, SeveralViewsError):
                command = _fit_command(dataset, weights, error)
                why_not = f"{error.found}: fit sources that go together with `{command}`"
            _log.warning("no calibration from %s: %s", name, why_not)
            made[name] = {"why_not": why_not}
            continue
        held_out = result.held_out.metrics["abs_rel"] if result.held_out else None
        made[name] = {
            "file": file.name,
            **dataclasses.asdict(result.written),
            "abs_rel": result.training.metrics["abs_rel"],
            "held_out_abs_rel": held_out,
            "why_not_held_out": result.why_not_held_out,
        }
    return made


def _fit_command(dataset: Dataset, weights: Path, error: SeveralViewsError) -> str:
    words = ["dpt-ros", "fit", str(dataset.folder), "--model", str(weights)]
    return f"{shlex.join(words)} {error.choice or '--sources ...'}"


def _fit_judged(predictor: DepthPredictor, dataset: Dataset, split: Split) -> FitResult:
    """Fit to a data set, judged by what the run held out; where nothing can, it says why."""
    whole, hold_out, own_split = _with_held_out(predictor, dataset, split)
    return fit_dataset(
        predictor,
        whole,
        FitSettings(hold_out=hold_out),
        lambda frames: shown(frames, "fit"),
        split=own_split,
    )


def _with_held_out(
    predictor: DepthPredictor, dataset: Dataset, split: Split
) -> tuple[Dataset, str, Split]:
    """A data set with what was held out of it, `FitSettings.hold_out` in words, and the split.

    Its own sources that were held out judge it, or else a data set of which nothing was learned;
    neither can where another camera took its pictures.
    """
    learned_from = [part.folder for part in split.training]
    others = sorted(split.validation, key=lambda other: other.folder != dataset.folder)
    why_not = split.why_no_validation or "no source of this data set was held out"
    for other in others:
        is_own = other.folder == dataset.folder
        if not len(other) or (not is_own and other.folder in learned_from):
            continue
        try:
            find_view(predictor, dataset.records, other.records)
        except SeveralViewsError as error:
            why_not = f"what was held out cannot judge it: {error.found}"
            _log.warning("%s: %s", dataset.name, why_not)
            continue
        own_split = Split([dataset], [other])
        if not is_own:
            return dataset, str(other.folder), own_split
        held_out = sources_of(other)
        whole = Dataset(dataset.folder).select([*sources_of(dataset), *held_out])
        return whole, ",".join(held_out), own_split
    return dataset, "0", Split([dataset], why_no_validation=why_not)
