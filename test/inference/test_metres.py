"""Which calibration is meant; what it then does is tested with the pipeline and the node."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpt_ros.geometry.calibration import CalibrationError
from dpt_ros.inference import metres
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.inference.metres import find_calibration
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
        assert ModelIdentity.of(other, path).card == load_card(other)
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"weights")
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


def test_a_calibration_beside_the_cards_is_no_card(tmp_path, monkeypatch):
    monkeypatch.setattr("dpt_ros.model.cards.cards_folder", lambda: tmp_path)
    (tmp_path / "dpt_tiny.calibration.yaml").write_text("format: dpt_ros/calibration/1\n")
    assert list_cards() == []
