"""Puts a checkpoint into a network and a network into a checkpoint: strictly, or not at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from dpt_ros.config import ConfigError
from dpt_ros.model.cards import ModelCard, card_from_mapping, list_cards
from dpt_ros.model.checkpoint_files import (
    StoredCheckpoint,
    list_some,
    read_checkpoint,
    read_metadata,
)
from dpt_ros.model.configurations import MODELS, DPTConfiguration, get_configuration
from dpt_ros.model.dpt import DPT, create_model
from dpt_ros.model.foreign_keys import (
    check_hugging_face_config,
    detect_layout,
    guess_structure,
    hugging_face_readout,
    rename_hugging_face,
    rename_isl_org,
)
from dpt_ros.model.integrity import (
    CheckpointError,
    Progress,
    check_sha256,
    file_sha256,
)
from dpt_ros.whole_file import install, part_beside

__all__ = [
    "CheckpointError",
    "check_checkpoint",
    "file_sha256",
    "find_configuration",
    "load_checkpoint",
    "read_card",
    "save_checkpoint",
]

FORMAT = "dpt_ros/checkpoint/1"

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_checkpoint(model: DPT, path: str | Path, *, progress: Progress | None = None) -> None:
    """Give a network the weights of a checkpoint.

    Takes the authors' .pt files (also as training scripts wrap them), Hugging Face folders and
    files, and our own .safetensors. Everything is checked before the first weight is written.
    Values take the dtype and device of the model's; a model on the meta device gets its memory
    here, on the CPU.

    Args:
        model: a network of the checkpoint's structure.
        path: a file or a Hugging Face folder.
        progress: called while the hash of a published file is computed.

    Raises:
        CheckpointError: the file is missing, damaged, holds code, is not the published file whose
            name it has, or does not fit the network. The model is unchanged.
    """
    state = check_checkpoint(model, path, progress=progress)
    is_meta = any(value.is_meta for value in model.state_dict().values())
    if is_meta:
        targets = model.state_dict()
        state = {key: value.to(dtype=targets[key].dtype, copy=True) for key, value in state.items()}
    model.load_state_dict(state, strict=True, assign=is_meta)


def check_checkpoint(
    model: DPT, path: str | Path, *, progress: Progress | None = None
) -> dict[str, Tensor]:
    """Do all of `load_checkpoint` but the loading; the model may be on the meta device.

    Returns:
        the checkpoint's tensors under the model's names; they may be views of the file.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    path = Path(path)
    _refuse_prepared(model)
    _check_published_hash(path, progress)
    stored = read_checkpoint(path)
    state = _rename(stored, model.configuration)
    _check_statements(stored, model.configuration)
    targets = model.state_dict()
    _check_names_and_shapes(path, state, targets, model.configuration)
    _check_values(path, state, targets)
    return state


def save_checkpoint(model: DPT, path: str | Path, card: ModelCard | None = None) -> None:
    """Write a network's weights, its configuration and its card to a .safetensors file.

    A file of that name is replaced, once the new one is whole.

    Raises:
        CheckpointError: the card describes another network, a weight is not finite, or the file
            could not be written.
    """
    path = Path(path)
    _refuse_prepared(model)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: expected a name that ends in .safetensors")
    state = {
        key: value.detach().to("cpu").contiguous() for key, value in model.state_dict().items()
    }
    _check_values(path, state, state)
    metadata = {
        "format": FORMAT,
        "structure": model.configuration.name,
        "configuration": json.dumps(dataclasses.asdict(model.configuration)),
    }
    if card is not None:
        metadata["card"] = json.dumps(_card_inside(card, model.configuration).to_mapping())
    part = part_beside(path)
    try:
        part.touch()
        mode = part.stat().st_mode
        save_file(state, part, metadata)
        part.chmod(mode)  # safetensors leaves it readable by this user alone
        install(part, path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def read_card(path: str | Path) -> ModelCard | None:
    """The card inside one of our .safetensors files; None if there is none.

    Raises:
        CheckpointError: the file is damaged, or its card is faulty.
    """
    metadata = read_metadata(Path(path))
    if not metadata.get("format", "").startswith("dpt_ros/") or "card" not in metadata:
        return None
    try:
        content = json.loads(metadata["card"])
        if not isinstance(content, dict):
            raise ValueError(f"got {content!r}, expected a mapping")
    except ValueError as error:
        raise CheckpointError(
            f"{path}: the card inside is damaged ({error}): copy the file again, or convert the "
            "one that it was made from again"
        ) from error
    try:
        return card_from_mapping(content, "its card")
    except (ConfigError, ValueError) as error:
        raise CheckpointError(
            f"{path}: {error}; was it made by a newer version of dpt_ros? Convert it again"
        ) from error


def find_configuration(path: str | Path) -> DPTConfiguration:
    """The configuration of the network that a checkpoint is for.

    Files of others do not tell the readouts "ignore" and "add" apart; then it is "ignore".

    Raises:
        CheckpointError: the file is missing or damaged, or it is for no structure known here.
    """
    path = Path(path)
    stored = read_checkpoint(path)
    if stored.metadata.get("format", "").startswith("dpt_ros/"):
        return _configuration_in(path, stored.metadata)
    state = _rename(stored, MODELS["dpt_base"])
    structure = guess_structure(state)
    if structure is None:
        raise CheckpointError(
            f"{path}: is for none of {', '.join(MODELS)}, or is not complete: use another "
            "checkpoint, or copy it again"
        )
    readout = hugging_face_readout(path, stored.hugging_face_config, _readout_in(state))
    return get_configuration(structure, readout=readout)


def _check_published_hash(path: Path, progress: Progress | None) -> None:
    """A file with the name of a published one has to be that one."""
    if not path.is_file():
        return
    for card in list_cards():
        if card.sha256 and path.name == card.file:
            try:
                check_sha256(path, card.sha256, progress)
            except CheckpointError as error:
                raise CheckpointError(
                    f"{error}; `dpt-ros models pull {card.name}` gets the published file. If it is "
                    "your own, give it another name"
                ) from error


def _rename(stored: StoredCheckpoint, configuration: DPTConfiguration) -> dict[str, Tensor]:
    """The tensors under our names."""
    layout = detect_layout(stored.tensors)
    if layout == "isl_org":
        return rename_isl_org(stored.tensors, configuration)
    if layout == "hugging_face":
        return rename_hugging_face(stored.tensors, configuration)
    if layout == "dpt_ros":
        return stored.tensors
    raise CheckpointError(
        f"{stored.path}: is no DPT checkpoint; its tensors are named "
        f"{list_some(list(stored.tensors))}"
    )


def _check_statements(stored: StoredCheckpoint, configuration: DPTConfiguration) -> None:
    """Compare what a checkpoint says about its network, which the shapes do not show."""
    if stored.hugging_face_config:
        check_hugging_face_config(stored.path, stored.hugging_face_config, configuration)
    if not stored.metadata.get("format", "").startswith("dpt_ros/"):
        return
    made_for = _configuration_in(stored.path, stored.metadata)
    if differing := _differing(made_for, configuration):
        raise CheckpointError(
            f"{stored.path}: is for {made_for.name} with {_values(made_for, differing)}; the "
            f"network is {configuration.name} with {_values(configuration, differing)}: create the "
            "network that the file is for"
        )


def _check_names_and_shapes(
    path: Path,
    state: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    configuration: DPTConfiguration,
) -> None:
    missing = [key for key in targets if key not in state]
    unknown = [key for key in state if key not in targets]
    misshapen = [
        f"{key} {list(state[key].shape)} instead of {list(targets[key].shape)}"
        for key in targets
        if key in state and state[key].shape != targets[key].shape
    ]
    faults = [
        f"{len(names)} of {total} tensors {what} ({list_some(names)})"
        for names, total, what in (
            (missing, len(targets), "are missing"),
            (unknown, len(state), "are not the network's"),
            (misshapen, len(targets), "have another shape"),
        )
        if names
    ]
    if not faults:
        return
    network = f"{configuration.name} with readout {configuration.readout}"
    if other := _looks_like(state):
        raise CheckpointError(
            f"{path}: is for {other}, the network is {network}: choose that model, or another "
            "checkpoint"
        )
    if missing and not unknown and not misshapen:
        remedy = "It is not complete: copy or download it again"
    else:
        remedy = "It is for another network: choose the model it was made for"
    raise CheckpointError(f"{path}: does not fit {network}: {'; '.join(faults)}. {remedy}")


def _looks_like(state: Mapping[str, Tensor]) -> str | None:
    """The structure that a state dict in our layout fits exactly."""
    structure = guess_structure(state)
    if structure is None:
        return None
    readout = _readout_in(state)
    with torch.device("meta"):
        other = create_model(structure, readout=readout)
    shapes = {key: value.shape for key, value in other.state_dict().items()}
    if shapes != {key: value.shape for key, value in state.items()}:
        return None
    return f"{structure} with readout {readout if readout == 'project' else 'ignore or add'}"


def _readout_in(state: Mapping[str, Tensor]) -> str:
    """The readout a state dict in our layout has weights for; "ignore" and "add" have none."""
    return "project" if any(".readout.project." in key for key in state) else "ignore"


def _check_values(path: Path, state: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
    """Refuse values that are no numbers, or that are none in the model's dtype."""
    for key, value in state.items():
        if value.is_meta:
            raise CheckpointError(
                f"{path}: {key} has a shape and no values (torch's device 'meta'); expected "
                "weights: save them from a network that has its own"
            )
        if value.layout != torch.strided or value.dtype not in _DTYPES:
            raise CheckpointError(
                f"{path}: {key} has dtype {value.dtype}, layout {value.layout}; expected floating "
                "point numbers; quantised checkpoints are not supported"
            )
        low, high = (float(limit) for limit in torch.aminmax(value.detach()))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise CheckpointError(
                f"{path}: {key} holds NaN or infinite values; the training that made it diverged, "
                "or the file is damaged: use another checkpoint"
            )
        dtype = targets[key].dtype
        if max(-low, high) > torch.finfo(dtype).max:
            raise CheckpointError(
                f"{path}: {key} holds values up to {max(-low, high):g}, more than {dtype} can; use "
                "the network in float32"
            )


def _refuse_prepared(model: DPT) -> None:
    if any(name.endswith("folded_weight") for name, _ in model.named_buffers()):
        raise CheckpointError(
            f"{model.configuration.name}: was prepared for inference, after which it takes and "
            "gives no checkpoint; do so before prepare_for_inference()"
        )


def _configuration_in(path: Path, metadata: Mapping[str, str]) -> DPTConfiguration:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: has the format {metadata.get('format')!r}, expected {FORMAT!r}; update "
            "dpt_ros, or convert the checkpoint again"
        )
    try:
        values = json.loads(metadata["configuration"])
        as_tuples: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return DPTConfiguration(**as_tuples)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: its configuration cannot be used: {error}; convert the checkpoint again"
        ) from error


def _card_inside(card: ModelCard, configuration: DPTConfiguration) -> ModelCard:
    """The card without the published file, which the new file is not."""
    described = get_configuration(card.structure, **card.structure_overrides)
    if differing := _differing(described, configuration):
        raise CheckpointError(
            f"card {card.name}: describes a network with {_values(described, differing)}; this one "
            f"has {_values(configuration, differing)}: use its own card"
        )
    return dataclasses.replace(card, file="", url="", sha256="", size_mb=0)


def _differing(one: DPTConfiguration, other: DPTConfiguration) -> list[str]:
    """The fields that differ, apart from where a training starts from."""
    names = [field.name for field in dataclasses.fields(one) if field.name != "timm_backbone"]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _values(configuration: DPTConfiguration, names: list[str]) -> str:
    return list_some([f"{name}={getattr(configuration, name)!r}" for name in names])
