"""Checkpoints of a small network: our own, and those of the authors' and transformers' code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dpt_ros.model.cards import ModelCard, card_from_mapping
from dpt_ros.model.checkpoints import CheckpointError, load_checkpoint
from dpt_ros.model.dpt import DPT, create_model

SMALL: dict[str, Any] = {
    "embed_dim": 8,
    "depth": 4,
    "num_heads": 2,
    "taps": (0, 1, 2, 3),
    "channels": (4, 4, 8, 8),
    "features": 4,
    "head_features": 2,
    "image_size": (64, 64),
}
D, F, HEAD, CHANNELS = 8, 4, 2, (4, 4, 8, 8)
RESAMPLE = {0: (4, 4, 4, 4), 1: (4, 4, 2, 2), 3: (8, 8, 3, 3)}


def make(**overrides: Any) -> DPT:
    return create_model("dpt_base", **{**SMALL, **overrides})


def snapshot(model: DPT) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


def _random(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def isl_org_state() -> dict[str, Tensor]:
    """A state dict with the names of isl-org/DPT's dpt/models.py and dpt/vit.py."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    vit = "pretrained.model"
    shapes[f"{vit}.cls_token"], shapes[f"{vit}.pos_embed"] = (1, 1, D), (1, 17, D)
    layer(f"{vit}.patch_embed.proj", D, 3, 16, 16)
    for i in range(4):
        block = f"{vit}.blocks.{i}"
        layer(f"{block}.norm1", D)
        layer(f"{block}.attn.qkv", 3 * D, D)
        layer(f"{block}.attn.proj", D, D)
        layer(f"{block}.norm2", D)
        layer(f"{block}.mlp.fc1", 4 * D, D)
        layer(f"{block}.mlp.fc2", D, 4 * D)
    layer(f"{vit}.norm", D)
    layer(f"{vit}.head", 1000, D)
    for i, channels in enumerate(CHANNELS):
        post = f"pretrained.act_postprocess{i + 1}"
        layer(f"{post}.0.project.0", D, 2 * D)
        layer(f"{post}.3", channels, D, 1, 1)
        if i in RESAMPLE:
            layer(f"{post}.4", *RESAMPLE[i])
        shapes[f"scratch.layer{i + 1}_rn.weight"] = (F, channels, 3, 3)
        fusion = f"scratch.refinenet{i + 1}"
        layer(f"{fusion}.out_conv", F, F, 1, 1)
        for unit in (1, 2):
            for conv in (1, 2):
                layer(f"{fusion}.resConfUnit{unit}.conv{conv}", F, F, 3, 3)
    layer("scratch.output_conv.0", F // 2, F, 3, 3)
    layer("scratch.output_conv.2", HEAD, F // 2, 3, 3)
    layer("scratch.output_conv.4", 1, HEAD, 1, 1)
    return _random(shapes)


def hugging_face_state() -> dict[str, Tensor]:
    """A state dict with the names of transformers' models/dpt/modeling_dpt.py."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    shapes["dpt.embeddings.cls_token"] = (1, 1, D)
    shapes["dpt.embeddings.position_embeddings"] = (1, 17, D)
    layer("dpt.embeddings.patch_embeddings.projection", D, 3, 16, 16)
    for i in range(4):
        block = f"dpt.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            layer(f"{block}.attention.attention.{part}", D, D)
        layer(f"{block}.attention.output.dense", D, D)
        layer(f"{block}.intermediate.dense", 4 * D, D)
        layer(f"{block}.output.dense", D, 4 * D)
        layer(f"{block}.layernorm_before", D)
        layer(f"{block}.layernorm_after", D)
    layer("dpt.layernorm", D)
    for i, channels in enumerate(CHANNELS):
        layer(f"neck.reassemble_stage.readout_projects.{i}.0", D, 2 * D)
        layer(f"neck.reassemble_stage.layers.{i}.projection", channels, D, 1, 1)
        if i in RESAMPLE:
            layer(f"neck.reassemble_stage.layers.{i}.resize", *RESAMPLE[i])
        shapes[f"neck.convs.{i}.weight"] = (F, channels, 3, 3)
        fusion = f"neck.fusion_stage.layers.{i}"
        layer(f"{fusion}.projection", F, F, 1, 1)
        for unit in (1, 2):
            for conv in (1, 2):
                layer(f"{fusion}.residual_layer{unit}.convolution{conv}", F, F, 3, 3)
    layer("head.head.0", F // 2, F, 3, 3)
    layer("head.head.2", HEAD, F // 2, 3, 3)
    layer("head.head.4", 1, HEAD, 1, 1)
    return _random(shapes)


HF_CONFIG = {"model_type": "dpt", "readout_type": "project", "is_hybrid": False}


def write_folder(
    folder: Path, state: dict[str, Tensor], kind: str, config: Mapping[str, Any] = HF_CONFIG
) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    if kind == "safetensors":
        save_file(state, folder / "model.safetensors", {"format": "pt"})
    elif kind == "bin":
        torch.save(state, folder / "pytorch_model.bin")
    else:
        keys = sorted(state)
        suffix = "safetensors" if kind == "divided safetensors" else "bin"
        stem = "model" if suffix == "safetensors" else "pytorch_model"
        weight_map = {}
        for number, part in enumerate((keys[::2], keys[1::2]), start=1):
            name = f"{stem}-{number:05}-of-00002.{suffix}"
            tensors = {key: state[key] for key in part}
            if suffix == "safetensors":
                save_file(tensors, folder / name)
            else:
                torch.save(tensors, folder / name)
            weight_map.update(dict.fromkeys(part, name))
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    return folder


def small_as_yaml() -> dict[str, Any]:
    """SMALL with lists, as a card's file has it."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in SMALL.items()}


def card_of_small(**values: Any) -> ModelCard:
    overrides = small_as_yaml()
    card = {"name": "small", "structure": "dpt_base", "structure_overrides": overrides}
    return card_from_mapping({**card, **values}, "test")


def refused(model: DPT, path: Path, message: str) -> str:
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(model, path)
    assert_same(model.state_dict(), before)
    assert str(path) in str(caught.value)
    return str(caught.value)
