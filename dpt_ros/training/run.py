"""One training run from data sets to weights with a card, beside the untouched model."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import logging
import math
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dpt_ros.bags.dataset import Dataset
from dpt_ros.config import values_of
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.model.cards import ModelCard, OutputSpec
from dpt_ros.model.checkpoints import file_sha256, save_checkpoint
from dpt_ros.model.input_transform import InputTransform
from dpt_ros.training.card_text import training_data
from dpt_ros.training.compare import compare_models
from dpt_ros.training.loop import Trainer
from dpt_ros.training.monitor import ProgressMonitor
from dpt_ros.training.objective import Objective, check_terms, resolve_loss
from dpt_ros.training.processes import make_accelerator, require_agreement
from dpt_ros.training.refit import fit_again
from dpt_ros.training.report import example_pictures, make_report
from dpt_ros.training.same_recording import sources_of
from dpt_ros.training.samples import StepSampler, TrainingSamples, common_crop
from dpt_ros.training.settings import LossSettings, TrainSettings
from dpt_ros.training.split import Split, split_sources
from dpt_ros.training.start import Start, load_start, metric_card, start_metres
from dpt_ros.training.state import Progress, RunFolder, TrainingError
from dpt_ros.training.told_once import device_told_once
from dpt_ros.training.truth_density import TruthDensity, gradient_matching, measure_density
from dpt_ros.whole_file import write_json

if TYPE_CHECKING:
    from accelerate import Accelerator

    from dpt_ros.model.dpt import DPT

_log = logging.getLogger(__name__)

COMPARED_SAMPLES = 100
"""Pictures of each part on which the models are compared, at most."""

# What may differ between a run and its resumption: none of it changes the result, but for rounding
# on a GPU, where gradients of resizing are summed in any order.
_FREE = ("workers", "save_every", "device")


def train(
    datasets: Sequence[str | Path],
    init: str,
    out: str | Path,
    settings: TrainSettings,
    *,
    model_name: str = "",
    name: str = "",
    command: str = "",
) -> dict[str, Any]:
    """Train, or go on with the run that `out` holds.

    Args:
        datasets: folders of data sets.
        init: see `load_start`.
        out: the run's folder: checkpoints, TensorBoard, model.safetensors, result.json,
            report.html.
        settings: everything else.
        model_name: see `load_start`.
        name: the result's name on its card; "": that of the start's.
        command: how it was started, for the card.

    Returns:
        what result.json holds; nothing in all but the main one of several processes.

    Raises:
        DatasetError, ConfigError, CheckpointError: data sets, settings or weights that do not fit.
        TrainingError: another run or process in `out`, or a run that cannot go on.
        OSError: a file cannot be written.
    """
    _check_name(name)
    accelerator = make_accelerator(settings)
    loaded = [Dataset(folder) for folder in datasets]
    split = split_sources(loaded, settings.validation, settings.seed)
    if settings.patience and not split.validation:
        _log.warning("--patience has no effect: nothing is held out")
    start = load_start(init, model_name, settings.size, settings.seed)
    folder = RunFolder(out)
    settings = settings.with_warmup(_steps(split, settings))
    run = _prepare(accelerator, split, start, settings, init)
    with contextlib.ExitStack() as held:
        held.enter_context(device_told_once())
        if accelerator.is_main_process and not folder.is_complete:
            held.enter_context(folder.locked())
        _begin(accelerator, folder, run, start, settings)
        return _go_on(accelerator, folder, run, start, settings, name=name, command=command)


def _go_on(
    accelerator: Accelerator,
    folder: RunFolder,
    run: Run,
    start: Start,
    settings: TrainSettings,
    *,
    name: str,
    command: str,
) -> dict[str, Any]:
    """Learn what is left to learn, and finish; nothing where the run is complete."""
    is_complete = folder.is_complete
    has = "a complete run" if is_complete else "no complete run"
    require_agreement(accelerator, folder.path, has)
    result = _read_result(folder) if folder.result.exists() else {}
    name = _agreed_name(folder, result, name)
    if is_complete:
        _log.info("%s is complete; nothing to do", folder.path)
        return result if accelerator.is_main_process else {}
    if result:
        _log.warning("%s is complete, but its weights are gone: they are made again", folder.path)
    trained = _learn(accelerator, folder, run, start, settings)
    result = {}
    if accelerator.is_main_process:
        result = _finish(folder, run, start, trained, settings, name=name, command=command)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return result


def _agreed_name(folder: RunFolder, result: dict[str, Any], name: str) -> str:
    """The name for the card; a run that has a result keeps that of it."""
    there = str(result.get("name", ""))
    if name and there and name != there:
        raise TrainingError(
            f"{folder.path} is complete under the name {there!r}, not {name!r}: leave --name out, "
            "or name another folder with --out"
        )
    return name or there


def _check_name(name: str) -> None:
    """Find out before the long part whether a card can have the name."""
    if name:
        ModelCard(name=name, structure="dpt_tiny")


def _steps(split: Split, settings: TrainSettings) -> int:
    samples = sum(len(dataset) for dataset in split.training)
    return settings.steps or max(1, math.ceil(settings.epochs * samples / settings.batch_size))


@dataclasses.dataclass
class Run:
    """What a run consists of, once everything is decided."""

    split: Split
    loss: LossSettings
    samples: TrainingSamples
    validation: TrainingSamples | None
    steps: int
    density: TruthDensity
    description: dict[str, Any]
    """What decides the result, for `RunFolder.begin`."""
    scale_shift: ScaleShift | None = None
    progress: Progress = dataclasses.field(default_factory=Progress)


def _prepare(
    accelerator: Accelerator, split: Split, start: Start, settings: TrainSettings, init: str
) -> Run:
    """Decide everything, and refuse what can be refused, before anything is written."""
    transform = InputTransform(start.card.input)
    everything = [*split.training, *split.validation]
    crop = common_crop(everything, transform, (start.card.input.height, start.card.input.width))
    density = measure_density(split.training, settings.minimum_points)
    is_dense = density.is_dense  # what is held out must not change what is learned
    steps = _steps(split, settings)
    loss = resolve_loss(settings.loss, settings.mode)
    why_off = gradient_matching(density, loss.gradient, [])["why_off"]
    check_terms(loss, why_off)
    if why_off and loss.gradient > 0.0:
        _log.warning("gradient matching is off: %s", why_off)

    def make(datasets: list[Dataset], *, is_dense: bool) -> TrainingSamples:
        varied = settings.augment
        return TrainingSamples(
            datasets, transform, crop, is_dense=is_dense, augment=varied, seed=settings.seed
        )

    validation = None
    if held_out := split.validation:
        is_as_dense = is_dense and measure_density(held_out, settings.minimum_points).is_dense
        validation = make(held_out, is_dense=is_as_dense)
    samples = make(split.training, is_dense=is_dense)
    StepSampler(  # refuses a batch that these processes cannot divide
        len(samples),
        settings.batch_size,
        settings.seed,
        (0, steps),
        parts=settings.accumulate,
        processes=accelerator.num_processes,
    )
    description = _describe(split, start, settings, init, steps, crop, is_dense=is_dense)
    return Run(split, loss, samples, validation, steps, density, description)


def _begin(
    accelerator: Accelerator, folder: RunFolder, run: Run, start: Start, settings: TrainSettings
) -> None:
    """Begin the folder, or check that it holds this very run."""
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            folder.begin(run.description)
        run.scale_shift = _metres(folder, start, run.split, settings)


def _describe(
    split: Split,
    start: Start,
    settings: TrainSettings,
    init: str,
    steps: int,
    crop: tuple[int, int],
    *,
    is_dense: bool,
) -> dict[str, Any]:
    """What decides a run's result, in plain values."""
    values = {key: value for key, value in values_of(settings).items() if key not in _FREE}
    return {
        "init": init if not start.sha256 else Path(init).name,
        "init_sha256": start.sha256,
        "model": start.card.name,
        "steps": steps,
        "crop": list(crop),
        "dense": is_dense,
        "settings": values,
        "training": _describe_data(split.training),
        "validation": _describe_data(split.validation),
    }


def _describe_data(datasets: Sequence[Dataset]) -> list[dict[str, Any]]:
    return [
        {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "files": dataset.files_sha256,
            "samples": len(dataset),
            "sources": sources_of(dataset),
        }
        for dataset in datasets
    ]


def _metres(
    folder: RunFolder, start: Start, split: Split, settings: TrainSettings
) -> ScaleShift | None:
    """The run's scale and shift, fitted when it begins and then kept in its folder."""
    if settings.mode == "ssi":
        return None
    if folder.metres.exists():
        values = json.loads(folder.metres.read_text(encoding="utf-8"))
        return ScaleShift(values["scale"], values["shift"])
    scale_shift = start_metres(start, split.training, device=settings.device)
    write_json(folder.metres, dataclasses.asdict(scale_shift))
    _log.info("metres: scale %.6g, shift %.6g", scale_shift.scale, scale_shift.shift)
    return scale_shift


def _learn(
    accelerator: Accelerator,
    folder: RunFolder,
    run: Run,
    start: Start,
    settings: TrainSettings,
) -> DPT:
    model = copy.deepcopy(start.model)
    trainer = Trainer(
        accelerator,
        model,
        Objective(run.loss, run.scale_shift),
        run.samples,
        run.validation,
        run.steps,
        settings,
        folder,
    )
    is_shown = accelerator.is_main_process
    with ProgressMonitor(run.steps, folder.tensorboard, is_shown=is_shown) as monitor:
        trained = trainer.run(monitor)
    run.progress = trainer.progress
    return trained


def _finish(
    folder: RunFolder,
    run: Run,
    start: Start,
    trained: DPT,
    settings: TrainSettings,
    *,
    name: str,
    command: str,
) -> dict[str, Any]:
    """Measure, then write the weights with their card, result.json and report.html."""
    card = _card(run, start, settings, name=name)
    parts: dict[str, Sequence[Dataset]] = {"learned from": run.split.training}
    if run.split.validation:
        parts["held out"] = run.split.validation
    rows = compare_models(
        {"untouched": (start.model, start.card), "trained": (trained, card)},
        parts,
        samples=min(settings.validation_samples or COMPARED_SAMPLES, COMPARED_SAMPLES),
        device=settings.device,
    )
    description = folder.description()
    loss = dataclasses.asdict(run.loss)
    used = {f"loss.{name}": weight for name, weight in loss.items()}
    result: dict[str, Any] = {
        **description,
        "settings": {**description["settings"], **used},  # run.json keeps what was given
        "name": card.name,
        "command": command,
        "hardware": _hardware(settings.device),
        "loss": loss,
        "gradient_matching": gradient_matching(
            run.density, run.loss.gradient, run.progress.history
        ),
        "metres": dataclasses.asdict(run.scale_shift) if run.scale_shift else None,
        "why_no_validation": run.split.why_no_validation,
        "rows": [dataclasses.asdict(row) for row in rows],
        "progress": dataclasses.asdict(run.progress),
    }
    card = dataclasses.replace(card, training_data=training_data(result))
    save_checkpoint(trained, folder.weights, card)
    result["sha256"] = file_sha256(folder.weights)
    if run.scale_shift is None:
        result["calibrations"] = fit_again(
            trained, card, folder.weights, result["sha256"], run.split, settings.device
        )
    pictures = example_pictures(start, (trained, card), run.split, settings.device)
    make_report(result, pictures).save(folder.report)
    write_json(folder.result, result)
    return result


def _card(run: Run, start: Start, settings: TrainSettings, *, name: str) -> ModelCard:
    card = start.card
    if run.scale_shift is not None:
        card = metric_card(card, run.scale_shift)
    elif card.is_metric:
        # Trained for any scale and shift, it no longer has those of before.
        card = dataclasses.replace(card, output=OutputSpec())
    return dataclasses.replace(card, name=name or card.name, file="", url="", sha256="", size_mb=0)


def _hardware(device: str) -> str:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _read_result(folder: RunFolder) -> dict[str, Any]:
    return dict(json.loads(folder.result.read_text(encoding="utf-8")))


def command_line() -> str:
    """The command this process was started with, as a shell takes it."""
    return shlex.join(["dpt-ros", *sys.argv[1:]])
