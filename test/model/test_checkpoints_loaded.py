"""Whose checkpoints are taken: the authors', those of Hugging Face, and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_checkpoints import (
    HF_CONFIG,
    assert_same,
    card_of_small,
    hugging_face_state,
    isl_org_state,
    make,
    write_folder,
)
from torch import Tensor

from dpt_ros.model.checkpoints import (
    find_configuration,
    load_checkpoint,
    read_card,
    save_checkpoint,
)

WRAPPERS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": lambda state: state,
    "training": lambda state: {"model": state, "optimizer": {"step": 7}, "epoch": 3},
    "lightning": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}},
    "distributed": lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
    "compiled": lambda state: {f"module._orig_mod.{k}": v for k, v in state.items()},
}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before-torch-1.6"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_isl_org(tmp_path: Path, wrapper: str, is_zip: bool) -> None:
    theirs = isl_org_state()
    path = tmp_path / "net.pt"
    torch.save(WRAPPERS[wrapper](theirs), path, _use_new_zipfile_serialization=is_zip)
    model = make()
    load_checkpoint(model, path)
    ours = model.state_dict()
    for our_name, their_name in (
        ("encoder.vit.blocks.3.attn.qkv.weight", "pretrained.model.blocks.3.attn.qkv.weight"),
        (
            "reassemble.1.readout.project.weight",
            "pretrained.act_postprocess2.0.project.0.weight",
        ),
        ("decoder.lateral.2.weight", "scratch.layer3_rn.weight"),
        ("decoder.fusion.3.output_conv.bias", "scratch.refinenet4.out_conv.bias"),
        ("head.conv3.bias", "scratch.output_conv.4.bias"),
    ):
        assert torch.equal(ours[our_name], theirs[their_name]), our_name
    assert torch.isfinite(model(torch.zeros(1, 3, 64, 64))).all()


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("safetensors", ""),
        ("safetensors", "model.safetensors"),
        ("bin", ""),
        ("bin", "pytorch_model.bin"),
        ("divided safetensors", ""),
        ("divided bin", ""),
    ],
)
def test_hugging_face(tmp_path: Path, kind: str, file: str) -> None:
    theirs = hugging_face_state()
    folder = write_folder(tmp_path / "dpt", theirs, kind)
    model = make()
    load_checkpoint(model, folder / file)
    ours = model.state_dict()
    attention = "dpt.encoder.layer.2.attention.attention"
    qkv = [theirs[f"{attention}.{part}.weight"] for part in ("query", "key", "value")]
    assert torch.equal(ours["encoder.vit.blocks.2.attn.qkv.weight"], torch.cat(qkv))
    assert torch.equal(
        ours["decoder.fusion.3.output_conv.weight"],
        theirs["neck.fusion_stage.layers.0.projection.weight"],
    )


@pytest.mark.parametrize("kind", ["safetensors", "bin", "divided safetensors", "divided bin"])
def test_hugging_face_folder_of_a_wrapped_network(tmp_path: Path, kind: str) -> None:
    theirs = hugging_face_state()
    wrapped = {f"module.{key}": value for key, value in theirs.items()}
    folder = write_folder(tmp_path / "dpt", wrapped, kind)
    model = make()
    load_checkpoint(model, folder)
    assert torch.equal(model.state_dict()["head.conv3.bias"], theirs["head.head.4.bias"])


@pytest.mark.parametrize("changes", [{"head_in_index": 3}, {"layer_norm_eps": 1e-12}])
def test_hugging_face_config_that_means_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = {**HF_CONFIG, **changes}
    load_checkpoint(make(), write_folder(tmp_path / "dpt", hugging_face_state(), "bin", config))


def test_our_own_file_with_its_card(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    source, target = make(), make()
    output = {"kind": "metric_inverse_depth", "scale": 0.5, "shift": 0.25}
    published = {"file": "net.pt", "url": "https://example.org/net.pt", "sha256": "0123abcd"}
    save_checkpoint(source, path, card_of_small(output=output, license="MIT", **published))
    load_checkpoint(target, path)
    assert_same(target.state_dict(), source.state_dict())
    card = read_card(path)
    assert card == card_of_small(output=output, license="MIT")  # it is not the published file
    assert find_configuration(path) == source.configuration
    assert [item.name for item in tmp_path.iterdir()] == ["net.safetensors"]


def test_our_own_file_without_a_card(tmp_path: Path) -> None:
    source, target = make(readout="add"), make(readout="add")
    save_checkpoint(source, tmp_path / "net.safetensors")
    load_checkpoint(target, str(tmp_path / "net.safetensors"))
    assert_same(target.state_dict(), source.state_dict())
    assert read_card(tmp_path / "net.safetensors") is None


def test_our_own_state_dict_in_a_pt_file(tmp_path: Path) -> None:
    source, target = make(), make()
    torch.save({"model": source.state_dict(), "optimizer": {}}, tmp_path / "last.pt")
    load_checkpoint(target, tmp_path / "last.pt")
    assert_same(target.state_dict(), source.state_dict())


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
def test_values_take_the_dtype_of_the_model(tmp_path: Path, stored: torch.dtype) -> None:
    source, target = make().to(stored), make()
    save_checkpoint(source, tmp_path / "net.safetensors")
    load_checkpoint(target, tmp_path / "net.safetensors")
    assert {value.dtype for value in target.state_dict().values()} == {torch.float32}
    assert_same(target.state_dict(), {k: v.float() for k, v in source.state_dict().items()})


def test_model_on_the_meta_device(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    source = make().half()
    save_checkpoint(source, path)
    with torch.device("meta"):
        target = make()
    load_checkpoint(target, path)
    assert_same(target.state_dict(), {k: v.float() for k, v in source.state_dict().items()})
    assert all(parameter.requires_grad for parameter in target.parameters())
    assert torch.isfinite(target(torch.zeros(1, 3, 32, 48))).all()


def test_weights_are_no_view_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    source = make()
    save_checkpoint(source, path)
    with torch.device("meta"):
        target = make()
    load_checkpoint(target, path)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert_same(target.state_dict(), source.state_dict())
