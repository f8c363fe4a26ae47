"""Which calibration is meant; what it then does is tested with the pipeline and the node."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import yaml

from dpt_ros.config import ConfigError
from dpt_ros.geometry.calibration import Calibration, CalibrationError, save_calibration
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.depth import DepthLimits
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import identity, metres
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.inference.metres import Metres, find_calibration
from dpt_ros.model.cards import list_cards, load_card
from dpt_ros.model.integrity import CheckpointError


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(metres, "cards_folder", lambda: tmp_path)
    return tmp_path


def test_the_weights_file_of_another_card_is_refused(tmp_path):
    """Hybrid's public files have one structure; KITTI's scale makes no metres of MiDaS's output."""
    for name, other in (("dpt_hybrid_kitti", "dpt_hybrid"), ("dpt_hybrid", "dpt_hybrid_nyu")):
        path = tmp_path / load_card(other).file
        path.write_bytes(b"weights")
        with pytest.raises(CheckpointError, match=f"take {other} as the model"):
            ModelIdentity.of(name, path)
    path = tmp_path / load_card("dpt_hybrid").file
    assert ModelIdentity.of("dpt_hybrid", path).card == load_card("dpt_hybrid")


def test_a_published_card_s_metres_are_of_its_file_alone(tmp_path, monkeypatch):
    mine, folder = tmp_path / "mine.pt", tmp_path / "hugging_face"
    mine.write_bytes(b"weights")
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"weights")
    for path in (mine, folder):
        with pytest.raises(CheckpointError, match=r"metres hold for that file alone: .* your own"):
            ModelIdentity.of("dpt_hybrid_kitti", path)
        assert ModelIdentity.of("dpt_hybrid", path).metric_scale_shift is None
    kitti = load_card("dpt_hybrid_kitti")
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({**kitti.to_mapping(), "name": "own"}))
    assert ModelIdentity.of(str(own), mine).metric_scale_shift is not None
    renamed = dataclasses.replace(kitti, sha256=hashlib.sha256(b"weights").hexdigest()[:8])
    monkeypatch.setattr(identity, "load_card", lambda name: renamed)
    assert ModelIdentity.of("dpt_hybrid_kitti", mine).metric_scale_shift is not None


def test_bundled_means_the_calibration_beside_the_card(models):
    (models / "dpt_tiny.calibration.yaml").touch()
    assert find_calibration("bundled", "dpt_tiny") == models / "dpt_tiny.calibration.yaml"


def test_a_path_is_a_path(models):
    assert find_calibration("here/mine.yaml", "dpt_tiny") == Path("here/mine.yaml")
    assert find_calibration("~/mine.yaml", "dpt_tiny") == Path.home() / "mine.yaml"


def test_bundled_without_one_names_the_models_that_have_one(models):
    (models / "dpt_small.calibration.yaml").touch()
    with pytest.raises(CalibrationError, match=r"none comes with dpt_large, only with dpt_small"):
        find_calibration("bundled", "dpt_large")


@pytest.fixture
def calibrated(tmp_path) -> Metres:
    """With a calibration that holds for 4 to 60 m."""
    sha256, path = "0123456789abcdef" * 4, tmp_path / "calibration.yaml"
    model = ModelIdentity("dpt_tiny", tmp_path / "weights", sha256, load_card("dpt_tiny"))
    height, width = model.network_size(480, 640)
    pair = ScaleShift(0.5, 0.1)
    save_calibration(Calibration(pair, "dpt_tiny", sha256, height, width, None, 4.0, 60.0), path)
    return Metres(model, str(path))


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (DepthLimits(), "4 to 60 m (calibration)"),
        (DepthLimits(5.0, 100.0), "5 to 60 m (far: calibration)"),
        (DepthLimits(0.1, 12.5), "4 to 12.5 m (near: calibration)"),
        (DepthLimits(4.0, 60.0), "4 to 60 m"),
    ],
)
def test_the_limits_in_force_tell_what_the_calibration_narrowed(calibrated, limits, told):
    assert calibrated.limits_in_force(limits) == told


def test_without_a_calibration_the_limits_are_those_set(tmp_path):
    model = ModelIdentity("dpt_tiny", tmp_path / "weights", "", load_card("dpt_tiny"))
    assert Metres(model, "").limits_in_force(DepthLimits(0.2, 30.0)) == "0.2 to 30 m"


def test_a_calibration_of_another_lens_gives_no_metres(tmp_path):
    sha256, path = "0123456789abcdef" * 4, tmp_path / "calibration.yaml"
    model = ModelIdentity("dpt_tiny", tmp_path / "weights", sha256, load_card("dpt_tiny"))
    network_size = model.network_size(480, 640)
    raw = Camera(640, 480, 300.0, 300.0, 319.5, 239.5, "equidistant", (0.0, 0.1, 0.0, 0.0))
    pair = ScaleShift(0.5, 0.1)
    save_calibration(Calibration(pair, "dpt_tiny", sha256, *network_size, raw, 4.0, 60.0), path)
    metres = Metres(model, str(path))
    assert metres.of_image(640, 480, raw).scale_shift == pair
    rectified = Camera(640, 480, 300.0, 300.0, 319.5, 239.5)
    refused = metres.of_image(640, 480, rectified)
    assert refused.scale_shift is None
    assert "was made with another camera: its rays differ by" in refused.why_not
    assert refused.why_not.endswith("fit a calibration for this camera")


def test_limits_outside_of_the_calibration_are_refused(calibrated):
    with pytest.raises(ConfigError, match="outside of the calibration's range, 4 to 60 m"):
        calibrated.limits(DepthLimits(0.1, 3.0))


def test_a_calibration_beside_the_cards_is_no_card(tmp_path, monkeypatch):
    monkeypatch.setattr("dpt_ros.model.cards.cards_folder", lambda: tmp_path)
    (tmp_path / "dpt_tiny.calibration.yaml").write_text("format: dpt_ros/calibration/1\n")
    assert list_cards() == []
