"""The fit of scale and shift that follows an `ssi` run, whose output has a scale of its own."""

from __future__ import annotations

import copy
import dataclasses
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dpt_ros.bags.dataset import Dataset, DatasetError
from dpt_ros.geometry.calibration import CalibrationError, save_calibration
from dpt_ros.geometry.fit import FitError
from dpt_ros.inference import DepthPredictor
from dpt_ros.model.cards import ModelCard
from dpt_ros.model.dpt import DPT
from dpt_ros.training.fit import fit_dataset
from dpt_ros.training.fit_settings import FitSettings
from dpt_ros.training.split import Split, sources_of

_log = logging.getLogger(__name__)


def fit_again(
    model: DPT, card: ModelCard, weights: Path, sha256: str, split: Split, device: str
) -> dict[str, dict[str, Any]]:
    """Fit the trained network to each data set it learned from; write calibrations beside it.

    Args:
        model: the trained network; left as it is.
        card: its card, under the name that the node will be given.
        weights: its file, beside which `calibration.yaml` is written; with several data sets
            `calibration_NAME.yaml` each, since each may have another camera.
        sha256: of that file.
        split: what was learned from, which is fitted to, and held out, which judges the fit.
        device: where the network runs.

    Returns:
        for every data set: file, scale, shift and AbsRel, or `why_not`.
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
    names = [dataset.folder.name for dataset in split.training]
    for index, dataset in enumerate(split.training):
        name = names[index] if names.count(names[index]) == 1 else f"{names[index]}_{index}"
        suffix = f"_{name}" if len(split.training) > 1 else ""
        file = weights.with_name(f"calibration{suffix}.yaml")
        whole, hold_out = _with_held_out(dataset, split)
        try:
            result = fit_dataset(predictor, whole, FitSettings(hold_out=hold_out), _shown)
            save_calibration(result.calibration, file)
        except (FitError, CalibrationError, DatasetError) as error:
            _log.warning("no calibration from %s: %s", name, error)
            made[name] = {"why_not": str(error)}
            continue
        held_out = result.held_out.metrics["abs_rel"] if result.held_out else None
        made[name] = {
            "file": file.name,
            **dataclasses.asdict(result.written),
            "abs_rel": result.training.metrics["abs_rel"],
            "held_out_abs_rel": held_out,
        }
    return made


def _with_held_out(dataset: Dataset, split: Split) -> tuple[Dataset, str]:
    """A data set with its sources that were held out, and what tells the fit which they are."""
    for other in split.validation:
        if other.folder != dataset.folder:
            continue
        held_out = [name for name in sources_of(other) if name not in sources_of(dataset)]
        if held_out:
            whole = Dataset(dataset.folder).select([*sources_of(dataset), *held_out])
            return whole, ",".join(held_out)
    return dataset, "0"


def _shown(frames: Iterable[Any]) -> Iterable[Any]:
    from tqdm import tqdm

    shown: Iterable[Any] = tqdm(frames, unit="frame", desc="fit", file=sys.stderr)
    return shown
