"""Hugging Face folders that are refused: without weights or config, or with faulty parts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from small_checkpoints import HF_CONFIG, hugging_face_state, make, refused, write_folder


def test_folder_without_weights(tmp_path: Path) -> None:
    refused(make(), tmp_path, r"holds no weights; expected .*config\.json.*model\.safetensors")


def test_folder_without_config(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "safetensors")
    (folder / "config.json").unlink()
    refused(make(), folder, r"config\.json: is missing")


def test_folder_of_another_model(tmp_path: Path) -> None:
    config = {"model_type": "depth_anything"}
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "safetensors", config)
    refused(make(), folder, r"model_type 'depth_anything', expected 'dpt'")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_attention_heads", 8),
        ("backbone_out_indices", [0, 1, 1, 3]),
        ("hidden_act", "relu"),
        ("head_in_index", 0),
        ("layer_norm_eps", 0.5),
    ],
)
def test_folder_whose_numbers_no_shape_tells_apart(tmp_path: Path, key: str, value: Any) -> None:
    config = {**HF_CONFIG, key: value}
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "safetensors", config)
    refused(make(), folder, rf"config\.json says {key} {re.escape(repr(value))}; the network")


@pytest.mark.parametrize("value", [None, "mean"])
def test_folder_with_a_readout_that_there_is_not(tmp_path: Path, value: str | None) -> None:
    config = {**HF_CONFIG, "readout_type": value}
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "safetensors", config)
    message = rf"readout_type {value!r}, expected one of ignore, add, project: correct it"
    refused(make(), folder, message)


def test_folder_with_an_epsilon_that_is_no_number(tmp_path: Path) -> None:
    config = {**HF_CONFIG, "layer_norm_eps": "1e-12"}
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "safetensors", config)
    refused(make(), folder, r"layer_norm_eps '1e-12', expected a number such as 1e-06")


def test_folder_with_a_part_missing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "divided safetensors")
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(make(), folder, r"model-00002-of-00002\.safetensors: is missing")


def test_index_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "divided safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    refused(make(), folder, r"names '\.\./secret\.safetensors', expected a file of the same")


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {}}'])
def test_faulty_index(tmp_path: Path, text: str) -> None:
    folder = write_folder(tmp_path / "dpt", hugging_face_state(), "divided safetensors")
    (folder / "model.safetensors.index.json").write_text(text)
    refused(make(), folder, r"index\.json: .*download it again")
