"""Where a run starts from: network, card, and for metres the scale and shift."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Dataset, DatasetError, Sample
from dpt_ros.config import ConfigError
from dpt_ros.geometry.fit import FitError
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor, InferenceError
from dpt_ros.inference.identity import weights_sha256
from dpt_ros.model.cards import InputSpec, ModelCard, OutputSpec, list_cards, load_card
from dpt_ros.model.checkpoints import find_configuration, load_checkpoint, read_card
from dpt_ros.model.configurations import DPTConfiguration, get_configuration
from dpt_ros.model.dpt import DPT, create_model
from dpt_ros.model.picture_size import check_multiple, parse_size
from dpt_ros.model.weights import check_weights, find_weights
from dpt_ros.training.compare import average_fit, truth_pixels
from dpt_ros.training.monitor import shown
from dpt_ros.training.split import evenly_chosen

_log = logging.getLogger(__name__)

SCRATCH = "scratch"
BACKBONE = "backbone"
_METRES_SAMPLES = 200
"""So many, evenly chosen, are enough for the scale and shift that training starts with."""


@dataclasses.dataclass(frozen=True)
class Start:
    """An untouched network and what it is."""

    model: DPT
    card: ModelCard
    sha256: str
    """Of its weights, as `weights_sha256` says; "" for random weights."""


def load_start(init: str, model_name: str, size: str, seed: int) -> Start:
    """Make the network that a run starts from.

    Args:
        init: a model's name, a weights file, "scratch" for random weights, or "backbone" for
            timm's image-classification encoder with a random decoder.
        model_name: the card for "scratch", "backbone", and for files without one; "" otherwise.
        size: the network's input, WIDTHxHEIGHT; "": the card's.
        seed: of random weights.

    Raises:
        ConfigError: an unknown model, or a size that the network cannot take.
        CheckpointError: weights that are missing, damaged, or of another structure.
    """
    if init in (SCRATCH, BACKBONE):
        card = load_card(model_name or "dpt_tiny")
        model = _random_model(card, seed, pretrained_backbone=init == BACKBONE)
        return Start(model, _with_size(card, size), "")
    path = Path(init).expanduser()
    if path.exists():
        card = _card_of_file(path, model_name)
        with torch.device("meta"):
            model = create_model(card.structure, **card.structure_overrides)
    else:
        card = load_card(init)
        if model_name and load_card(model_name).name != card.name:
            raise ConfigError(
                f"--init {init} names the model {card.name}, --model another: {model_name}; leave "
                "--model out, or give --init the weights file to load into it"
            )
        path = find_weights(card)
        check_weights(card, path)
        with torch.device("meta"):
            model = create_model(card.structure, **card.structure_overrides)
    load_checkpoint(model, path)
    return Start(model, _with_size(card, size), weights_sha256(path))


def start_metres(start: Start, datasets: Sequence[Dataset], device: str) -> ScaleShift:
    """Scale and shift that metric training starts with and keeps.

    A trained network's are fitted robustly for each sample and averaged (DPT, section 4.1). Random
    weights say nothing: for them an output of 0 is twice as far as all but the farthest
    hundredth of the truth, and 1, where an untrained head begins, is the middle depth.

    Args:
        start: the network.
        datasets: the samples learned from.
        device: where the network runs.

    Raises:
        FitError: not one sample can be fitted, or the network answers less where it is nearer.
    """
    if start.card.output.scale is not None and start.card.output.shift is not None:
        return ScaleShift(start.card.output.scale, start.card.output.shift)
    chosen = evenly_chosen(datasets, _METRES_SAMPLES)
    if not start.sha256:
        return _metres_of_random_weights(datasets, chosen)
    return _average_fit(start, datasets, chosen, device)


def _metres_of_random_weights(
    datasets: Sequence[Dataset], chosen: Sequence[tuple[int, int]]
) -> ScaleShift:
    inverse: list[float] = []
    for sample in _readable(datasets, chosen):
        depth_m = sample.depth_m
        known = depth_m[np.isfinite(depth_m) & (depth_m > 0.0)]
        inverse += (1.0 / known[:: max(1, known.size // 1000)]).tolist()
    if not inverse:
        raise ConfigError("the data sets hold no depth at all; build them again")
    low, middle = np.percentile(inverse, (1, 50))
    shift = 0.5 * float(low)
    return ScaleShift(float(middle) - shift, shift)


def _average_fit(
    start: Start, datasets: Sequence[Dataset], chosen: Sequence[tuple[int, int]], device: str
) -> ScaleShift:
    model = copy.deepcopy(start.model)
    predictor = DepthPredictor(model, start.card, device=device, precision="float32")
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for sample in shown(_readable(datasets, chosen), "first scale and shift", len(chosen)):
        places = truth_pixels(sample.depth_m)
        try:
            inverse_depth: NDArray[Any] = predictor.predict(sample.rgb)
        except InferenceError as error:
            _log.warning("a sample is left out: %s", error)
            continue
        pairs.append((inverse_depth.reshape(-1)[places], sample.depth_m.reshape(-1)[places]))
    scale_shift, left_out, reason = average_fit(pairs)
    if left_out:
        _log.warning(
            "%d of %d pictures do not count in the starting scale and shift; the last: %s",
            *(left_out, len(pairs), reason),
        )
    if not scale_shift.scale > 0.0:
        raise FitError(
            f"the network answers less where it is nearer (scale {scale_shift.scale:.3g} on "
            "average), and metric training keeps that sign: it is not trained on inverse depth, or "
            "not at all. Train it with --mode ssi first, or begin with --init scratch"
        )
    return scale_shift


def _readable(datasets: Sequence[Dataset], chosen: Sequence[tuple[int, int]]) -> Iterator[Sample]:
    for which, number in chosen:
        try:
            yield datasets[which][number]
        except DatasetError as error:
            _log.warning("a sample is left out: %s", error)


def metric_card(card: ModelCard, scale_shift: ScaleShift) -> ModelCard:
    """The card of a network whose output these two make metric."""
    output = OutputSpec("metric_inverse_depth", scale_shift.scale, scale_shift.shift)
    return dataclasses.replace(card, output=output)


def _random_model(card: ModelCard, seed: int, *, pretrained_backbone: bool) -> DPT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(
            card.structure, pretrained_backbone=pretrained_backbone, **card.structure_overrides
        )


def _card_of_file(path: Path, model_name: str) -> ModelCard:
    """The file's own card; else the named one, or the one of its structure.

    A card that is named beside the file's own must be of the same network, and says no more.
    """
    embedded = read_card(path) if path.suffix == ".safetensors" else None
    if embedded is not None:
        named = load_card(model_name) if model_name else embedded
        if _network(named) != _network(embedded):
            raise ConfigError(
                f"--init {path} has the card of {embedded.name} ({embedded.structure}) inside, "
                f"--model names another network: {model_name} ({named.structure}); leave --model "
                "out, or give --init weights of that model"
            )
        return embedded
    if model_name:
        return load_card(model_name)
    configuration = find_configuration(path)
    for card in list_cards():
        if card.structure == configuration.name and not card.is_metric:
            return dataclasses.replace(
                card,
                structure_overrides=_overrides(configuration, card),
                file="",
                url="",
                sha256="",
            )
    raise ConfigError(f"{path}: has no card; name its model with --model")


def _network(card: ModelCard) -> DPTConfiguration:
    """What a card is of, apart from where a training starts from."""
    configuration = get_configuration(card.structure, **card.structure_overrides)
    return dataclasses.replace(configuration, timm_backbone="")


def _overrides(configuration: object, card: ModelCard) -> dict[str, object]:
    """What the file's configuration has otherwise than its structure."""
    usual = get_configuration(card.structure)
    return {
        field.name: getattr(configuration, field.name)
        for field in dataclasses.fields(usual)
        if getattr(configuration, field.name) != getattr(usual, field.name)
    }


def _with_size(card: ModelCard, size: str) -> ModelCard:
    if not size:
        return card
    width, height = parse_size(size, "size")
    multiple = card.input.multiple_of
    if width % multiple or height % multiple:
        # Enough for the network, and the resize follows the card.
        multiple = _network(card).patch_size
    check_multiple("size", (width, height), multiple, card.name)
    spec: InputSpec = dataclasses.replace(
        card.input, width=width, height=height, multiple_of=multiple
    )
    return dataclasses.replace(card, input=spec)
