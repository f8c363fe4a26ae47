from __future__ import annotations

import json

import numpy as np
import pytest

from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample
from dpt_ros.evaluation.predictions import (
    CONFIGURATION,
    KeptPredictions,
    PredictionError,
    Runs,
    configuration_of,
)
from dpt_ros.geometry.camera import Camera
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.model.cards import load_card

SHAPE = (4, 6)


def array(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


def test_what_is_kept_comes_back_to_the_last_bit(tmp_path):
    kept = KeptPredictions(tmp_path, "dpt tiny", {"precision": "float32"})
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    kept.write("bag/1", noise)
    again = KeptPredictions(tmp_path, "dpt tiny", {"precision": "float32"})
    np.testing.assert_array_equal(again.read("bag/1", SHAPE), noise)
    assert again.missing(["bag/1", "bag/2"]) == ["bag/2"]
    assert kept.folder.name.startswith("dpt_tiny-")


@pytest.mark.parametrize(
    "changed",
    [
        {"precision": "float16", "network": [1, 2]},
        {"precision": "float32", "network": [2, 1]},
        {"precision": "float32"},
    ],
)
def test_another_configuration_never_finds_them(tmp_path, changed):
    KeptPredictions(tmp_path, "m", {"precision": "float32", "network": [1, 2]}).write(
        "a/1", array(1)
    )
    other = KeptPredictions(tmp_path, "m", changed)
    assert other.read("a/1", SHAPE) is None and other.missing(["a/1"]) == ["a/1"]
    other.write("a/1", array(2))
    first = KeptPredictions(tmp_path, "m", {"network": [1, 2], "precision": "float32"})
    np.testing.assert_array_equal(first.read("a/1", SHAPE), array(1))


@pytest.mark.parametrize("damage", ["truncated", "empty", "other shape", "other type", "no array"])
def test_a_damaged_file_counts_as_missing(tmp_path, damage):
    kept = KeptPredictions(tmp_path, "m", {})
    kept.write("a/1", array(1))
    path = kept.folder / "a" / "1.npy"
    whole = path.read_bytes()
    if damage == "other shape":
        np.save(path, np.ones((6, 4), np.float32))
    elif damage == "other type":
        np.save(path, np.ones(SHAPE))
    else:
        path.write_bytes({"truncated": whole[:-5], "empty": b"", "no array": b"x" * 200}[damage])
    assert kept.read("a/1", SHAPE) is None


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    kept = KeptPredictions(tmp_path, "m", {})
    kept.write("a/1", array(1))

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        kept.write("a/2", array(2))
    names = {path.name for path in kept.folder.rglob("*") if path.is_file()}
    assert names == {CONFIGURATION, "1.npy"}


def test_a_changed_configuration_file_is_told(tmp_path):
    kept = KeptPredictions(tmp_path, "m", {"precision": "float32"})
    kept.write("a/1", array(1))
    path = kept.folder / CONFIGURATION
    for text in (json.dumps({"precision": "float16"}), "{"):
        path.write_text(text)
        with pytest.raises(PredictionError, match="delete the folder"):
            KeptPredictions(tmp_path, "m", {"precision": "float32"})


def test_other_pictures_under_the_same_names_are_another_configuration(tmp_path):
    card = load_card("dpt_tiny")
    identity = ModelIdentity(card.name, tmp_path / "weights", "0" * 64, card)
    made = []
    for name, level in (("a", 0), ("b", 0), ("c", 200)):
        with DatasetWriter(tmp_path / name, dense=True, options={}) as writer:
            rgb = np.zeros((24, 32, 3), np.uint8)
            rgb[5:9, 3:7] = level
            camera = Camera(32, 24, 25.0, 25.0, 15.5, 11.5)
            writer.add(Sample("s/1", "s", 1, rgb, np.ones((24, 32), np.float32), camera))
            writer.finish_source("s", {})
        dataset = Dataset(tmp_path / name)
        made.append(configuration_of(identity, Runs("cpu", "float32", False), dataset))
    assert made[0] == made[1] != made[2]
    assert made[0]["dataset"] == made[2]["dataset"]
