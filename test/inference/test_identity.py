"""Which model it is, told from card and files: hashes, and files that are not what a card means."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.identity import ModelIdentity, weights_sha256
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.integrity import CheckpointError, file_sha256

PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the user's own, in the weights folder."""
    monkeypatch.setenv("DPT_ROS_WEIGHTS", str(tmp_path / "weights"))
    path = tmp_path / "weights" / "mine.safetensors"
    path.parent.mkdir()
    torch.manual_seed(0)
    save_checkpoint(create_model("dpt_tiny"), path)
    return path


def write_card(folder: Path, sha256: str, url: str = "") -> Path:
    path = folder / "mine.yaml"
    text = f"name: mine\nstructure: dpt_tiny\nfile: mine.safetensors\nsha256: '{sha256}'\n"
    path.write_text(text + (f"url: {url}\n" if url else ""))
    return path


# ---- a card's own file ----


def test_own_file_of_the_right_hash(tmp_path: Path, weights: Path) -> None:
    identity = ModelIdentity.of(str(write_card(tmp_path, file_sha256(weights)[:8])))
    assert (identity.model_name, identity.checkpoint_path) == ("mine", weights)
    assert identity.checkpoint_sha256 == file_sha256(weights)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("", "put the file there that the card means, or correct the card's sha256"),
        ("https://example.org/mine.safetensors", r"`dpt-ros models pull mine\.yaml` gets the"),
    ],
)
def test_own_file_of_another_hash_is_refused(
    tmp_path: Path, weights: Path, url: str, remedy: str
) -> None:
    card = str(write_card(tmp_path, "0123abcd", url))
    expected = rf"mine\.safetensors: wrong SHA-256: got .*expected 0123abcd; .*{remedy}"
    with pytest.raises(CheckpointError, match=expected):
        ModelIdentity.of(card)
    with pytest.raises(CheckpointError, match=expected):
        DepthPredictor.from_model(card, device="cpu")


def test_checkpoint_from_elsewhere_needs_not_be_the_cards(tmp_path: Path, weights: Path) -> None:
    card = write_card(tmp_path, "0123abcd")
    elsewhere = weights.rename(tmp_path / weights.name)
    assert ModelIdentity.of(str(card), elsewhere).checkpoint_path == elsewhere


# ---- folders ----


def test_hash_of_a_folder_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    assert weights_sha256(tmp_path) == hashlib.sha256(b"abc").hexdigest()


def test_hash_of_several_files_is_that_of_their_hashes(tmp_path: Path) -> None:
    write_index(tmp_path, json.dumps({"weight_map": {"b": PARTS[1], "a": PARTS[0], "c": PARTS[1]}}))
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in PARTS]
    expected = hashlib.sha256(f"{digests[0]}\n{digests[1]}".encode()).hexdigest()
    assert weights_sha256(tmp_path) == expected


def write_index(folder: Path, text: str) -> None:
    for name in PARTS:
        (folder / name).write_bytes(name.encode())
    (folder / "model.safetensors.index.json").write_text(text)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no weights; expected a Hugging Face folder"):
        ModelIdentity.of("dpt_tiny", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", r"index\.json: is not valid JSON"),
        ("{}", r"index\.json: has no weight_map"),
        ('{"weight_map": {"a": "other.safetensors"}}', r"other\.safetensors: is missing"),
        ('{"weight_map": {"a": "../x.safetensors"}}', r"names '\.\./x\.safetensors', expected a"),
    ],
)
def test_faulty_index(tmp_path: Path, text: str, message: str) -> None:
    write_index(tmp_path, text)
    with pytest.raises(CheckpointError, match=message):
        ModelIdentity.of("dpt_tiny", tmp_path)
