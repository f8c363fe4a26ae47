"""Our own checkpoint files: their version and card are checked, and saving does no harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_checkpoints import card_of_small, make, refused

from dpt_ros.model.checkpoints import (
    CheckpointError,
    load_checkpoint,
    read_card,
    save_checkpoint,
)


def edit_metadata(path: Path, **changes: str) -> None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(size))["__metadata__"]
    save_file(load_file(path), path, {**metadata, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dpt_ros/checkpoint/2"}, r"'dpt_ros/checkpoint/2', expected 'dpt_ros/.*/1'"),
        ({"configuration": '{"name": "x"}'}, r"its configuration cannot be used"),
        ({"configuration": "nonsense"}, r"its configuration cannot be used"),
        ({"configuration": "[1]"}, r"its configuration cannot be used"),
    ],
)
def test_file_of_another_version(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(), path)
    edit_metadata(path, **changes)
    refused(make(), path, message)


def test_faulty_card_inside(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(), path, card_of_small())
    edit_metadata(path, card='{"name": "small", "structure": "dpt_tiny", "colour": "red"}')
    with pytest.raises(CheckpointError, match=r"net\.safetensors: its card: unknown key 'colour'"):
        read_card(path)


@pytest.mark.parametrize("card", ['{"name": "small', "[1, 2]", "\x00"])
def test_damaged_card_inside(tmp_path: Path, card: str) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(), path, card_of_small())
    edit_metadata(path, card=card)
    with pytest.raises(
        CheckpointError, match=r"the card inside is damaged \(.*copy the file again"
    ):
        read_card(path)


@pytest.mark.parametrize("first", [0x80, ord("P"), ord("<"), 0])
def test_a_header_of_any_length_is_read(tmp_path: Path, first: int) -> None:
    """A file begins with that length, whose first byte is also that of other formats."""
    path = tmp_path / "net.safetensors"
    saved = make()
    save_checkpoint(saved, path, card_of_small())
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    padded = size + (first - size) % 256
    header = content[8 : 8 + size].ljust(padded)
    path.write_bytes(padded.to_bytes(8, "little") + header + content[8 + size :])
    assert path.read_bytes()[0] == first
    loaded = make()
    load_checkpoint(loaded, path)
    assert torch.equal(loaded.head.conv3.bias, saved.head.conv3.bias)
    assert read_card(path) == card_of_small()


def test_card_of_another_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"card small: .*readout='project'.*readout='add'"):
        save_checkpoint(make(readout="add"), tmp_path / "net.safetensors", card_of_small())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(), path)
    before = path.read_bytes()
    model = make()
    with torch.no_grad():
        model.head.conv3.bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="holds NaN"):
        save_checkpoint(model, path)
    assert path.read_bytes() == before


def test_saved_file_has_the_usual_permissions(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "net.safetensors")
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_save_needs_a_folder_and_a_suffix(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a name that ends in \.safetensors"):
        save_checkpoint(make(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"cannot be written"):
        save_checkpoint(make(), tmp_path / "nowhere" / "net.safetensors")
