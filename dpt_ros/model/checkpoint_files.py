"""Reads the tensors out of a checkpoint file or folder, whoever wrote it, and runs no code in it.

Knows no network: which tensors belong where is decided in checkpoints.py.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dpt_ros.model.integrity import KIND_NAMES, CheckpointError, file_kind

# In the order in which they are looked for; an index lists the files of a divided checkpoint.
HUGGING_FACE_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

_LISTED = 3
"""Of many names, so many are told."""

# Where training scripts put the state dict, and what wrappers of the network put before its keys.
_WRAPPER_KEYS = ("model", "state_dict", "model_state_dict")
_TRAINING_STATE = {"progress", "model", "average", "best", "optimizer"}
"""Keys of what `dpt-ros train` goes on from."""
_WRAPPER_PREFIXES = ("module.", "_orig_mod.", "model.")

_HOW_TO_SAVE = (
    "If you trust the file, save its tensors alone where it was made: "
    "torch.save(model.state_dict(), path)"
)


@dataclasses.dataclass(frozen=True)
class StoredCheckpoint:
    """What a checkpoint holds. The tensors may be views of the file: do not write to them."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What a .safetensors file says about itself."""
    hugging_face_config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The folder's config.json."""


def read_checkpoint(path: Path) -> StoredCheckpoint:
    """Read a .pt, .safetensors or .bin file, or a Hugging Face folder.

    Wrappers of training scripts and of DistributedDataParallel are taken off.

    Raises:
        CheckpointError: there is no such file, it is not a checkpoint, truncated, or holds code.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no such file; `dpt-ros models list` shows what can be pulled"
        )
    tensors, metadata = _read_file(path)
    config = path.with_name("config.json")
    is_hugging_face = path.name in HUGGING_FACE_FILES and config.is_file()
    return StoredCheckpoint(
        path, _strip_prefixes(tensors), metadata, _read_json(config) if is_hugging_face else {}
    )


def read_metadata(path: Path) -> dict[str, str]:
    """What a .safetensors file says about itself; empty for other files.

    Raises:
        CheckpointError: the file can't be read, or is truncated.
    """
    try:
        if not path.is_file() or file_kind(path) != "safetensors":
            return {}
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def weight_files(folder: Path) -> list[Path]:
    """The files that the weights of a Hugging Face folder are in, by name.

    Raises:
        CheckpointError: it holds none, its index is faulty, or a file that the index lists is
            missing.
    """
    file = _weights_or_index(folder)
    if not file.name.endswith(".index.json"):
        return [file]
    return _parts(file, _weight_map(file))


def list_some(names: list[str]) -> str:
    """The first few of many names, for a message."""
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _weights_or_index(folder: Path) -> Path:
    name = next((name for name in HUGGING_FACE_FILES if (folder / name).is_file()), None)
    if name is None:
        raise CheckpointError(
            f"{folder}: holds no weights; expected a Hugging Face folder with config.json and one "
            f"of {', '.join(HUGGING_FACE_FILES)}, or the path of a file"
        )
    return folder / name


def _read_folder(folder: Path) -> StoredCheckpoint:
    file = _weights_or_index(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(
            f"{config}: is missing; download it too, from where {file.name} is from"
        )
    metadata: dict[str, str] = {}
    if file.name.endswith(".index.json"):
        tensors = _read_parts(file)
    else:
        tensors, metadata = _read_file(file)
    return StoredCheckpoint(folder, _strip_prefixes(tensors), metadata, _read_json(config))


def _weight_map(index: Path) -> dict[str, Any]:
    """Which file each tensor is in, as an index says."""
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map; download it again")
    return weight_map


def _parts(index: Path, weight_map: Mapping[str, Any]) -> list[Path]:
    """The files that an index lists, by name; all of them are there."""
    parts = []
    for name in sorted({str(name) for name in weight_map.values()}):
        part = index.parent / name
        if Path(name).name != name:
            raise CheckpointError(f"{index}: names {name!r}, expected a file of the same folder")
        if not part.is_file():
            raise CheckpointError(f"{part}: is missing; {index.name} lists it: download it too")
        parts.append(part)
    return parts


def _read_parts(index: Path) -> dict[str, Tensor]:
    """Read the files that an index lists."""
    weight_map = _weight_map(index)
    tensors: dict[str, Tensor] = {}
    for part in _parts(index, weight_map):
        tensors.update(_read_file(part)[0])
    lost = sorted(set(weight_map) - set(tensors))
    if lost:
        raise CheckpointError(
            f"{index}: lists {len(lost)} tensors that no file holds, such as {lost[0]}; download "
            "the folder again"
        )
    return tensors


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        kind = file_kind(path)
        if kind == "safetensors":
            return _read_safetensors(path)
        if kind in ("torch_zip", "torch_pickle"):
            return _unwrap(path, _read_torch(path, is_zip=kind == "torch_zip")), {}
    except OSError as error:
        raise _unreadable(path, error) from error
    raise CheckpointError(
        f"{path}: is {KIND_NAMES[kind]}; expected a PyTorch (.pt, .bin) or .safetensors checkpoint"
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path, *, is_zip: bool) -> Any:
    if is_zip and not zipfile.is_zipfile(path):
        raise _damaged(path, "its end is missing")
    try:
        # Mapped, the file takes no memory of its own; the format before torch 1.6 can't be.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        message = str(error)
        if "TorchScript" in message:
            raise _holds_code(path, "TorchScript") from error
        if found := re.search(r"GLOBAL ([\w.]+)", message):
            raise _holds_code(path, found[1]) from error
        if isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(
                f"{path}: cannot be read without running pickled code, which is never done, or is "
                f"damaged; {_HOW_TO_SAVE}"
            ) from error
        raise _damaged(path, error) from error


def _unwrap(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict in what a PyTorch file holds."""
    if isinstance(content, Mapping) and content.keys() >= _TRAINING_STATE:
        raise CheckpointError(
            f"{path}: is the state that a training run goes on from, whose last weights are not "
            f"its result; expected {_result_of_run(path)}: a run without one is finished by its "
            "own `dpt-ros train` command"
        )
    while isinstance(content, Mapping):
        inner = [content[key] for key in _WRAPPER_KEYS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path}: holds {_describe(content)}; expected a state dict, or one under "
            f"{', '.join(map(repr, _WRAPPER_KEYS))}"
        )
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"{path}: {list_some(others)}: no tensors; expected a state dict, or one under "
            f"{', '.join(map(repr, _WRAPPER_KEYS))}"
        )
    return {str(key): value for key, value in content.items()}


def _result_of_run(state: Path) -> str:
    """The weights that the run of a training state ends with, as a message names them."""
    folder = state.resolve().parent
    result = folder.parent / "model.safetensors"
    is_in_run = folder.name == "checkpoints" or result.is_file()
    return str(result) if is_in_run else "the model.safetensors of that run"


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in range(4):
        for prefix in _WRAPPER_PREFIXES:
            if tensors and all(key.startswith(prefix) for key in tensors):
                tensors = {key[len(prefix) :]: value for key, value in tensors.items()}
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise CheckpointError(f"{path}: is not valid JSON: {error}; download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object; download it again")
    return content


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return (
            f"a dictionary of {list_some([str(key) for key in content])}" if content else "nothing"
        )
    return f"an object of type {type(content).__name__}"


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read: {error.strerror or error}")


def _damaged(path: Path, reason: object) -> CheckpointError:
    size_mb = path.stat().st_size / 1e6
    short = str(reason).splitlines()[0][:200] if str(reason) else type(reason).__name__
    return CheckpointError(
        f"{path}: is truncated or damaged ({size_mb:.1f} MB; {short}); copy or download it again"
    )


def _holds_code(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: holds pickled code or objects ({name}), which are never run or built; expected "
        f"tensors alone. {_HOW_TO_SAVE}"
    )
