"""One training run from data sets to weights with a card, beside the untouched model."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import platform
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
from dpt_ros.training.compare import compare_models
from dpt_ros.training.loop import Trainer
from dpt_ros.training.monitor import ProgressMonitor
from dpt_ros.training.objective import Objective, resolve_loss
from dpt_ros.training.processes import make_accelerator, require_agreement
from dpt_ros.training.refit import fit_again
from dpt_ros.training.report import example_pictures, make_report
from dpt_ros.training.samples import TrainingSamples, common_crop
from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.split import Split, sources_of, split_sources
from dpt_ros.training.start import Start, load_start, metric_card, start_metres
from dpt_ros.training.state import Progress, RunFolder, write_json
from dpt_ros.training.truth_density import TruthDensity, gradient_matching, measure_density

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
        TrainingError: another run in `out`, or a run that cannot go on.
        OSError: a file cannot be written.
    """
    _check_name(name)
    accelerator = make_accelerator(settings)
    loaded = [Dataset(folder) for folder in datasets]
    split = split_sources(loaded, settings.validation, settings.seed)
    start = load_start(init, model_name, settings.size, settings.seed)
    folder = RunFolder(out)
    settings = settings.with_warmup(_steps(split, settings))
    run = _prepare(accelerator, folder, split, start, settings, init)
    is_complete = folder.result.exists()
    has = "a complete run" if is_complete else "no complete run"
    require_agreement(accelerator, folder.path, has)
    if is_complete:
        _log.info("%s is complete; nothing to do", folder.path)
        return _read_result(folder) if accelerator.is_main_process else {}
    trained = _learn(accelerator, folder, run, start, settings)
    result: dict[str, Any] = {}
    if accelerator.is_main_process:
        result = _finish(folder, run, start, trained, settings, name=name, command=command)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return result


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
    objective: Objective
    samples: TrainingSamples
    validation: TrainingSamples | None
    steps: int
    scale_shift: ScaleShift | None
    density: TruthDensity
    progress: Progress = dataclasses.field(default_factory=Progress)


def _prepare(
    accelerator: Accelerator,
    folder: RunFolder,
    split: Split,
    start: Start,
    settings: TrainSettings,
    init: str,
) -> Run:
    """Decide everything, and begin the folder or check that it holds this very run."""
    transform = InputTransform(start.card.input)
    everything = [*split.training, *split.validation]
    crop = common_crop(everything, transform, (start.card.input.height, start.card.input.width))
    density = measure_density(split.training, settings.minimum_points)
    is_dense = density.is_dense  # what is held out must not change what is learned
    steps = _steps(split, settings)
    description = _describe(split, start, settings, init, steps, crop, is_dense=is_dense)
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            folder.begin(description)
        scale_shift = _metres(folder, start, split, settings)
    loss = resolve_loss(settings.loss, settings.mode)
    why_off = gradient_matching(density, loss.gradient, [])["why_off"]
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

    return Run(
        split,
        Objective(loss, scale_shift),
        make(split.training, is_dense=is_dense),
        validation,
        steps,
        scale_shift,
        density,
    )


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
            "name": dataset.folder.name,
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
    file = folder.path / "metres.json"
    if file.exists():
        values = json.loads(file.read_text(encoding="utf-8"))
        return ScaleShift(values["scale"], values["shift"])
    scale_shift = start_metres(start, split.training, device=settings.device)
    write_json(file, dataclasses.asdict(scale_shift))
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
        run.objective,
        run.samples,
        run.validation,
        run.steps,
        settings,
        folder,
    )
    is_shown = accelerator.is_main_process
    with ProgressMonitor(run.steps, folder.path / "tensorboard", is_shown=is_shown) as monitor:
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
    loss = resolve_loss(settings.loss, settings.mode)
    result: dict[str, Any] = {
        **folder.description(),
        "name": card.name,
        "command": command,
        "hardware": _hardware(settings.device),
        "loss": dataclasses.asdict(loss),
        "gradient_matching": gradient_matching(run.density, loss.gradient, run.progress.history),
        "metres": dataclasses.asdict(run.scale_shift) if run.scale_shift else None,
        "why_no_validation": run.split.why_no_validation,
        "rows": [dataclasses.asdict(row) for row in rows],
        "progress": dataclasses.asdict(run.progress),
    }
    card = dataclasses.replace(card, training_data=_training_data(result))
    save_checkpoint(trained, folder.weights, card)
    result["sha256"] = file_sha256(folder.weights)
    if run.scale_shift is None:
        named = dataclasses.replace(card, name=start.node_name)
        result["calibrations"] = fit_again(
            trained, named, folder.weights, result["sha256"], run.split, settings.device
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


def _training_data(result: dict[str, Any]) -> str:
    """What the card says of the training: data, command, seed, hardware, time, figures."""
    data = ", ".join(
        f"{part['name']} ({part['samples']} samples of {len(part['sources'])} sources)"
        for part in result["training"]
    )
    figures = "; ".join(
        f"{row['data']}, {row['alignment']}: abs_rel {row['metrics']['abs_rel']:.3f}, "
        f"delta1 {row['metrics']['delta1']:.3f}"
        for row in result["rows"]
        if row["model"] == "trained"
    )
    return (
        f"{data}. Started from {result['init']}, {result['steps']} steps, seed "
        f"{result['settings']['seed']}, {result['progress']['seconds'] / 60.0:.0f} minutes on "
        f"{result['hardware']}. {figures}. Command: {_without_folders(result['command'])}"
    )


def _without_folders(command: str) -> str:
    """A command without the folders of the machine it ran on."""
    return " ".join(word.rstrip("/").rpartition("/")[2] or word for word in command.split())


def _hardware(device: str) -> str:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _read_result(folder: RunFolder) -> dict[str, Any]:
    return dict(json.loads(folder.result.read_text(encoding="utf-8")))


def command_line() -> str:
    """The words this process was started with."""
    return " ".join(["dpt-ros", *sys.argv[1:]])
