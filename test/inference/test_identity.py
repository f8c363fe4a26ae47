"""Which model it is, told from card and files: hashes, and files that are not what a card means."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from dpt_ros.geometry.calibration import Calibration, CalibrationError, save_calibration
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.identity import ModelIdentity, refuse_wrong_card, weights_sha256
from dpt_ros.inference.metres import Metres
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.cards import InputSpec, ModelCard, OutputSpec, load_card
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


# ---- a file with a card inside ----


def save(path: Path, seed: int, card: ModelCard | None) -> Path:
    torch.manual_seed(seed)
    save_checkpoint(create_model("dpt_tiny"), path, card)
    return path


def yard(**output: object) -> ModelCard:
    return ModelCard(
        name="yard",
        structure="dpt_tiny",
        input=InputSpec(width=64, height=32),
        output=OutputSpec(**output),  # type: ignore[arg-type]
    )


METRIC = {"kind": "metric_inverse_depth", "scale": 0.5, "shift": 0.25}


def test_a_weights_file_with_a_card_is_a_model(tmp_path: Path) -> None:
    path = save(tmp_path / "model.safetensors", 0, yard(**METRIC))
    identity = ModelIdentity.of(str(path))
    assert (identity.model_name, identity.checkpoint_path) == ("yard", path)
    assert identity.checkpoint_sha256 == file_sha256(path)
    assert identity.metric_scale_shift == ScaleShift(0.5, 0.25)
    assert identity.network_size(32, 64) == (32, 64)
    predictor = DepthPredictor.from_model(str(path), device="cpu", precision="float32")
    assert (predictor.model_name, predictor.checkpoint_path) == ("yard", path)
    assert predictor.checkpoint_sha256 == identity.checkpoint_sha256
    assert predictor.metric_scale_shift == ScaleShift(0.5, 0.25)


def test_a_named_result_keeps_its_name_whichever_model_is_given_with_it(tmp_path: Path) -> None:
    """So that what was fitted one way is accepted the other."""
    path = save(tmp_path / "model.safetensors", 0, yard())
    assert ModelIdentity.of("dpt_tiny", path) == ModelIdentity.of(str(path))
    assert DepthPredictor.from_model("dpt_tiny", path, device="cpu").model_name == "yard"


def calibration_of(identity: ModelIdentity, path: Path) -> str:
    height, width = identity.network_size(32, 64)
    made = Calibration(
        scale_shift=ScaleShift(2.0, 0.5),
        model=identity.model_name,
        checkpoint_sha256=identity.checkpoint_sha256,
        network_height=height,
        network_width=width,
        camera=None,
        near_m=0.1,
        far_m=10.0,
    )
    save_calibration(made, path)
    return str(path)


def test_a_calibration_fits_its_file_however_that_is_named_and_no_other(tmp_path: Path) -> None:
    path = save(tmp_path / "model.safetensors", 0, yard())
    identity = ModelIdentity.of(str(path))
    calibration = calibration_of(identity, tmp_path / "calibration.yaml")
    for same in (identity, ModelIdentity.of("dpt_tiny", path)):
        assert Metres(same, calibration).of_image(64, 32, None).scale_shift == ScaleShift(2.0, 0.5)
        assert Metres(same, calibration).of_image(32, 32, None).scale_shift is None
    retrained = save(tmp_path / "again.safetensors", 1, yard())
    renamed = save(tmp_path / "named.safetensors", 0, dataclasses.replace(yard(), name="other"))
    bare = save(tmp_path / "bare.safetensors", 0, None)
    for other in (
        ModelIdentity.of(str(retrained)),
        ModelIdentity.of("dpt_tiny", retrained),
        ModelIdentity.of(str(renamed)),
        ModelIdentity.of(str(path), bare),
        ModelIdentity.of("dpt_tiny"),
    ):
        with pytest.raises(CalibrationError, match="the calibration does not fit"):
            Metres(other, calibration)


def test_metres_of_a_card_in_a_file_are_for_no_other_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "model.safetensors", 0, yard(**METRIC))
    bare = save(tmp_path / "bare.safetensors", 1, None)
    message = r"bare\.safetensors: has no card inside and is not .*model\.safetensors, whose metres"
    with pytest.raises(CheckpointError, match=message):
        ModelIdentity.of(str(path), bare)
    with pytest.raises(CheckpointError, match=message):
        DepthPredictor.from_model(str(path), bare, device="cpu")
    with pytest.raises(CheckpointError, match=message):
        refuse_wrong_card(load_card(path), bare)
    # The same file, and one with a card of its own, which counts.
    assert ModelIdentity.of(str(path), path).metric_scale_shift == ScaleShift(0.5, 0.25)
    own = save(tmp_path / "own.safetensors", 1, yard())
    assert ModelIdentity.of(str(path), own).metric_scale_shift is None


def test_a_card_in_a_file_that_calls_itself_published_lends_its_metres_to_no_other(
    tmp_path: Path,
) -> None:
    published = dataclasses.replace(yard(**METRIC), name="dpt_hybrid_nyu")
    path = save(tmp_path / "nyu.safetensors", 0, published)
    bare = save(tmp_path / "bare.safetensors", 1, None)
    with pytest.raises(CheckpointError, match="whose metres hold for that file alone"):
        ModelIdentity.of(str(path), bare)


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
