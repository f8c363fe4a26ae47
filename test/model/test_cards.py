"""Model cards: what ships, and what a faulty card says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dpt_ros.config import ConfigError
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.cards import CardInFile, ModelCard, card_from_mapping, list_cards, load_card
from dpt_ros.model.weights import find_weights, pull

PUBLISHED = ("dpt_hybrid", "dpt_hybrid_kitti", "dpt_hybrid_nyu", "dpt_large")


def test_every_model_has_a_card() -> None:
    names = {card.name for card in list_cards()}
    assert names >= {*PUBLISHED, "dpt_base", "dpt_tiny"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_file_carries_the_digits_of_its_hash(name: str) -> None:
    card = load_card(name)
    assert Path(card.file).stem.split("-")[-1] == card.sha256[:8]
    assert card.url == f"https://github.com/isl-org/DPT/releases/download/1_0/{card.file}"
    assert card.license.startswith("MIT")
    assert "2103.13413" in card.citation
    assert card.training_data
    assert card.size_mb > 400


@pytest.mark.parametrize(
    ("name", "width", "height", "scale", "shift", "network_output", "depth_m"),
    [
        # depth = 1 / (scale * x + shift): 1 / (6.016e-5 * 1000 + 0.00579) = 1 / 0.06595
        ("dpt_hybrid_kitti", 1216, 352, 0.00006016, 0.00579, 1000.0, 15.163002),
        # 1 / (3.05e-4 * 1000 + 0.1378) = 1 / 0.4428
        ("dpt_hybrid_nyu", 640, 480, 0.000305, 0.1378, 1000.0, 2.2583559),
    ],
)
def test_metric_cards(
    name: str,
    width: int,
    height: int,
    scale: float,
    shift: float,
    network_output: float,
    depth_m: float,
) -> None:
    card = load_card(name)
    assert card.is_metric
    assert (card.input.width, card.input.height) == (width, height)
    assert (card.output.scale, card.output.shift) == (scale, shift)
    assert 1.0 / (card.output.scale * network_output + card.output.shift) == pytest.approx(depth_m)


@pytest.mark.parametrize("name", ["dpt_large", "dpt_hybrid", "dpt_base", "dpt_tiny"])
def test_relative_cards(name: str) -> None:
    card = load_card(name)
    assert not card.is_metric
    assert (card.output.scale, card.output.shift) == (None, None)
    size = (256, 192) if name == "dpt_tiny" else (384, 384)
    assert (card.input.width, card.input.height, card.input.multiple_of) == (*size, 32)
    assert card.input.mean == card.input.std == (0.5, 0.5, 0.5)


def test_hybrid_weights_say_how_they_were_standardised() -> None:
    for name in ("dpt_hybrid", "dpt_hybrid_kitti", "dpt_hybrid_nyu"):
        assert load_card(name).structure_overrides == {"weight_standardization": "sigma"}


def test_reading_cards_loads_no_torch() -> None:
    code = "import sys, dpt_ros.model.cards as c; c.list_cards(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr


@pytest.mark.parametrize("card", list_cards(), ids=lambda card: card.name)
def test_card_survives_json(card: ModelCard) -> None:
    assert card_from_mapping(json.loads(json.dumps(card.to_mapping())), "json") == card


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"no model 'dpt_huge'.*dpt_hybrid, .*dpt_large"):
        load_card("dpt_huge")
    with pytest.raises(ConfigError, match="no model 'dpt_tiny.calibration'"):
        load_card("dpt_tiny.calibration")


def test_name_is_no_way_out_of_the_folder() -> None:
    with pytest.raises(ConfigError, match="there is no model"):
        load_card("../models/dpt_large")


def test_card_from_a_file_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nstructure: dpt_tiny\nstructure_overrides: {readout: ignore}\n"
        "input: {width: 256, height: 192, mean: [0.485, 0.456, 0.406]}\n"
    )
    card = load_card(path)
    assert card.structure_overrides == {"readout": "ignore"}
    assert (card.input.width, card.input.height) == (256, 192)
    assert card.input.mean == (0.485, 0.456, 0.406)
    assert card.input.std == (0.5, 0.5, 0.5)
    assert card.file == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("licence: MIT", r"unknown key 'licence' \(did you mean 'license'\?\); valid keys: .*url"),
        ("input: {widht: 384}", r"unknown key 'input.widht'.*'input.width'.*input.multiple_of"),
        ("input: {width: 100}", r"input.width: got 100, expected a multiple of .* 32"),
        (
            "input: {width: 200, height: 200, multiple_of: 8}",
            r"input.multiple_of: got 8, expected a multiple of 16: dpt_tiny cuts its input into",
        ),
        ("input: {mean: [0.5, 0.5]}", r"input.mean: got \[0.5, 0.5\], expected three numbers"),
        ("input: {std: [0, 1, 1]}", r"input.std: got .* expected values above 0"),
        ("input: {mean: [124, 116, 104]}", r"input.mean: got \[124.*from 0 to 1: of rgb / 255"),
        ("input: {std: [58.4, 57.1, 57.4]}", r"input.std: got \[58.4.*Divide by 255"),
        ("input: {resize: stretch}", r"input.resize: got 'stretch', expected one of 'minimal'"),
        ("input: 384", r"input: got 384, expected a mapping"),
        ("output: {kind: metres}", r"output.kind: got 'metres', expected one of"),
        ("output: {kind: metric_inverse_depth, scale: 1.0}", r"expected both scale and shift"),
        (
            "output: {kind: metric_inverse_depth, scale: 0, shift: 0.1}",
            r"output.scale: got 0.0, expected more than 0: a larger output is nearer",
        ),
        (
            "output: {kind: metric_inverse_depth, scale: -0.5, shift: 0.1}",
            r"output.scale: got -0.5, expected more than 0",
        ),
        (
            "output: {kind: metric_inverse_depth, scale: 6e-5, shift: 0.1}",
            r"output.scale: got '6e-5' .*YAML takes it for text: write it as 1.0e-3",
        ),
        ("output: {scale: 1.0, shift: 0.0}", r"expected neither scale nor shift"),
        ("sha256: 53898607", r"sha256: got 53898607 \(int\), expected type str; put it in quotes"),
        ("sha256: '2f21'", r"sha256: got '2f21', expected 8 to 64"),
        ("file: ../../etc/passwd", r"file: got '../../etc/passwd', expected a file name without"),
        ("file: .bashrc", r"file: got '.bashrc'"),
        ("url: https://example.org/x.pt", r"file: is missing"),
        ("{file: x.pt, url: 'file:///etc/passwd'}", r"url: got 'file:///etc/passwd', expected an"),
        ("structure: dpt_huge", r"structure: unknown model 'dpt_huge': expected one of dpt_base"),
        ("structure_overrides: {readot: add}", r"structure: .*unknown setting 'readot'"),
        ("structure_overrides: {readout: mean}", r"structure: .*readout='mean'.*ignore, add"),
        ("structure_overrides: [1]", r"structure_overrides: got \[1\], expected a mapping"),
        ("license: !!python/object/apply:os.getcwd []", r"is not valid YAML"),
    ],
)
def test_faulty_card_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    body = text.strip("{}") if text.startswith("{") else text
    lines = body.split(", ") if text.startswith("{") else [body]
    given = {line.split(":")[0] for line in lines}
    defaults = [f"{k}: {v}" for k, v in (("name", "mine"), ("structure", "dpt_tiny"))]
    path.write_text("\n".join([d for d in defaults if d.split(":")[0] not in given] + lines) + "\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_card(path)
    assert str(path) in str(caught.value)


def test_card_out_of_a_weights_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard(name="yard", structure="dpt_tiny", license="MIT")
    save_checkpoint(create_model("dpt_tiny"), tmp_path / "model.safetensors", card)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "model.safetensors", "~/model.safetensors"):
        found = load_card(path)
        assert isinstance(found, CardInFile)
        assert found.to_mapping() == card.to_mapping()
        assert find_weights(found) == pull(found) == tmp_path / "model.safetensors"


def test_weights_without_a_card_are_told_where_they_go(tmp_path: Path) -> None:
    told = r"weights without a card go to --checkpoint \(checkpoint:=\), with the model"
    save_checkpoint(create_model("dpt_tiny"), tmp_path / "bare.safetensors")
    with pytest.raises(ConfigError, match=f"bare.safetensors: has no card inside, .*; {told}"):
        load_card(tmp_path / "bare.safetensors")
    for name in ("dpt_hybrid.pt", "run/gone.safetensors", str(tmp_path)):
        with pytest.raises(ConfigError, match=f"there is no model '{name}'; .*; {told}"):
            load_card(name)
    with pytest.raises(ConfigError) as caught:
        load_card("dpt_huge")
    assert "--checkpoint" not in str(caught.value)


def test_card_named_unlike_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: other\nstructure: dpt_tiny\n")
    with pytest.raises(ConfigError, match="got 'other', expected the file's, 'mine'"):
        load_card(path)
