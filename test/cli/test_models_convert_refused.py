"""`dpt-ros models convert` writes a published card's metres into its own file's weights alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dpt_ros.cli.main import main
from dpt_ros.model import create_model
from dpt_ros.model.checkpoints import read_card
from dpt_ros.model.integrity import file_sha256

METRIC = "output: {kind: metric_inverse_depth, scale: 0.5, shift: 0.1}"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the card `road`, which comes with the package, as does the card `any`."""
    path = write_weights(tmp_path / "road.pt", seed=0)
    cards = tmp_path / "cards"
    cards.mkdir()
    write_card(cards, "road", f"file: road.pt\nsha256: '{file_sha256(path)[:8]}'\n{METRIC}")
    write_card(cards, "any")
    monkeypatch.setattr("dpt_ros.model.cards.cards_folder", lambda: cards)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "my_weights.pt", seed=1)


def write_weights(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    torch.save(create_model("dpt_tiny").state_dict(), path)
    return path


def write_card(folder: Path, name: str, more: str = "") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\nstructure: dpt_tiny\n{more}\n")
    return path


def convert(*words: object) -> int:
    return main(["models", "convert", *map(str, words)])


def test_published_metres_are_not_given_to_other_weights(
    tmp_path: Path, published: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.safetensors"
    assert convert(own, output, "--card", "road") == 1
    error = capsys.readouterr().err
    assert "my_weights.pt: is not the published file of road" in error
    assert "give a card of your own" in error
    assert not output.exists()


def test_other_metres_inside_are_not_changed_for_published_ones(
    tmp_path: Path, published: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = write_card(tmp_path, "mine", METRIC.replace("0.5", "0.7"))
    full, output = tmp_path / "full.safetensors", tmp_path / "out.safetensors"
    assert convert(own, full, "--card", mine) == 0  # a user's own card is taken at its word
    assert convert(full, output, "--card", "road") == 1
    assert "is not the published file of road" in capsys.readouterr().err


def test_the_published_file_and_what_is_made_of_it_keep_their_metres(
    tmp_path: Path, published: Path
) -> None:
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    assert convert(published, full, "--card", "road") == 0
    assert convert(full, half, "--card", "road", "--half") == 0
    card = read_card(half)
    assert card is not None
    assert (card.name, card.output.scale, card.output.shift) == ("road", 0.5, 0.1)


def test_relative_card_for_any_weights_but_a_metric_cards(
    tmp_path: Path, published: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(own, tmp_path / "own.safetensors", "--card", "any") == 0
    assert convert(published, tmp_path / "out.safetensors", "--card", "any") == 1
    assert "road.pt: is the weights file of road" in capsys.readouterr().err
