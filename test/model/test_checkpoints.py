"""Loading and saving checkpoints: whose files are taken, and what a faulty one says.

Foreign files are written here under the names that the authors' and transformers' code give.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpt_ros.model.cards import ModelCard, card_from_mapping
from dpt_ros.model.checkpoints import (
    CheckpointError,
    find_configuration,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
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


def card_of_small(**values: Any) -> ModelCard:
    overrides = {k: list(v) if isinstance(v, tuple) else v for k, v in SMALL.items()}
    card = {"name": "small", "structure": "dpt_base", "structure_overrides": overrides}
    return card_from_mapping({**card, **values}, "test")


# ---- whose files are taken ----

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


# ---- what is refused, with the model unchanged ----


def refused(model: DPT, path: Path, message: str) -> str:
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(model, path)
    assert_same(model.state_dict(), before)
    assert str(path) in str(caught.value)
    return str(caught.value)


def without(state: dict[str, Tensor], keys: list[str]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in keys}


SIZES = "scratch.layer1_rn.weight"
FAULTS: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Any]], str]] = {
    "first half missing": (
        lambda s: without(s, sorted(s)[: len(s) // 2]),
        r"\d+ of \d+ tensors are missing .* and \d+ more\)\. It is not complete: copy or download",
    ),
    "last half missing": (
        lambda s: without(s, sorted(s)[len(s) // 2 :]),
        r"\d+ of \d+ tensors are missing",
    ),
    "one missing": (
        lambda s: without(s, ["scratch.output_conv.4.bias"]),
        r"1 of \d+ tensors are missing \(head\.conv3\.bias\)",
    ),
    "unknown tensor": (
        lambda s: {**s, "scratch.extra.weight": torch.zeros(1)},
        r"1 of \d+ tensors are not the network's \(scratch\.extra\.weight\).*another network",
    ),
    "wrong shape": (
        lambda s: {**s, SIZES: torch.zeros(5, 4, 3, 3)},
        r"decoder\.lateral\.0\.weight \[5, 4, 3, 3\] instead of \[4, 4, 3, 3\]",
    ),
    "transposed": (
        lambda s: {**s, "pretrained.act_postprocess3.3.weight": torch.zeros(1, 1, 8, 8)},
        r"1 of \d+ tensors have another shape",
    ),
    "NaN": (
        lambda s: {**s, SIZES: torch.full((4, 4, 3, 3), float("nan"))},
        r"decoder\.lateral\.0\.weight holds NaN or infinite values",
    ),
    "one Inf": (
        lambda s: {**s, SIZES: torch.zeros(4, 4, 3, 3).index_fill(0, torch.tensor(2), -torch.inf)},
        r"decoder\.lateral\.0\.weight holds NaN or infinite values",
    ),
    "quantised": (
        lambda s: {**s, SIZES: torch.zeros(4, 4, 3, 3, dtype=torch.int8)},
        r"torch\.int8.*quantised checkpoints are not supported",
    ),
    "sparse": (
        lambda s: {**s, SIZES: torch.zeros(4, 4, 3, 3).to_sparse()},
        r"sparse",
    ),
    "no tensors": (lambda s: {"epoch": 3}, r"epoch: no tensors; expected a state dict"),
    "only an optimizer": (lambda s: {"optimizer": {}}, r"expected a state dict, or one under"),
    "empty": (lambda s: {"model": {}}, r"holds nothing"),
    "other network": (
        lambda s: {"features.0.weight": torch.zeros(1)},
        r"is no DPT checkpoint; its tensors are named features\.0\.weight",
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_state_dict(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "net.pt"
    change, message = FAULTS[fault]
    torch.save(change(isl_org_state()), path)
    refused(make(), path, message)


def test_other_structure_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pt"
    torch.save(create_model("dpt_tiny", readout="add").state_dict(), path)
    refused(
        make(), path, r"is for dpt_tiny with readout ignore or add, the network .* project: choose"
    )


def test_other_readout_of_the_same_shapes(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(readout="add"), path)
    refused(make(readout="ignore"), path, r"readout='add'.*readout='ignore'")


def test_other_readout_of_hugging_face(tmp_path: Path) -> None:
    state = {k: v for k, v in hugging_face_state().items() if "readout_projects" not in k}
    config = {**HF_CONFIG, "readout_type": "add"}
    folder = write_folder(tmp_path / "dpt", state, "safetensors", config)
    refused(make(readout="ignore"), folder, r"'add'.*create it with readout='add'")
    load_checkpoint(make(readout="add"), folder)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "before torch 1.6"])
def test_truncated_file(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / ("net.safetensors" if kind == "safetensors" else "net.pt")
    if kind == "safetensors":
        save_checkpoint(make(), path)
    else:
        torch.save(isl_org_state(), path, _use_new_zipfile_serialization=kind == "zip")
    os.truncate(path, int(path.stat().st_size * share))
    refused(make(), path, r"truncated or damaged \(0\.\d MB; .*copy or download it again")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>\n<html>Not found</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no weights file"),
        (b"\x80", "truncated or damaged"),
        (b"PK\x03\x04" + bytes(100), "truncated or damaged"),
        ((40).to_bytes(8, "little") + b"{" + bytes(60), "truncated or damaged"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(content)
    refused(make(), path, message)


def test_missing_file(tmp_path: Path) -> None:
    refused(make(), tmp_path / "net.pt", "there is no such file; `dpt-ros models list`")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["zip", "before torch 1.6", "pickle", "beside weights"])
def test_pickled_code_is_never_run(tmp_path: Path, how: str) -> None:
    path, trace = tmp_path / "net.pt", tmp_path / "it_ran"
    content = {"model": Payload(trace)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    elif how == "beside weights":
        torch.save({"model": isl_org_state(), "extra": Payload(trace)}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    refused(make(), path, r"pickled code.*torch\.save\(model\.state_dict\(\), path\)")
    assert not trace.exists()


def test_pickled_network(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(make(), path)
    refused(make(), path, r"holds pickled code or objects \(dpt_ros\.model\.dpt\.DPT\)")


def test_published_name_with_another_hash(tmp_path: Path) -> None:
    path = tmp_path / "dpt_large-midas-2f21e586.pt"
    torch.save(isl_org_state(), path)
    message = refused(make(), path, r"wrong SHA-256: got [0-9a-f]{8}, expected 2f21e586")
    assert "`dpt-ros models pull dpt_large`" in message


def test_network_prepared_for_inference(tmp_path: Path) -> None:
    stem = {"resnet_layers": (1, 1, 1), "resnet_channels": (128,) * 3, "resnet_stem_channels": 32}
    hybrid = {**SMALL, **stem, "taps": (2, 3), "channels": (128, 128, 8, 8)}
    model = create_model("dpt_hybrid", **hybrid)
    path = tmp_path / "net.safetensors"
    save_checkpoint(model, path)
    load_checkpoint(model, path)
    model.prepare_for_inference()
    with pytest.raises(CheckpointError, match="before prepare_for_inference"):
        load_checkpoint(model, path)
    with pytest.raises(CheckpointError, match="before prepare_for_inference"):
        save_checkpoint(model, path)


def test_values_beyond_half_precision(tmp_path: Path) -> None:
    source = make()
    with torch.no_grad():
        source.head.conv3.bias.fill_(1e5)
    save_checkpoint(source, tmp_path / "net.safetensors")
    refused(make().half(), tmp_path / "net.safetensors", r"up to 100000, more than torch.float16")


# ---- Hugging Face folders ----


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


# ---- our own files ----


def edit_metadata(path: Path, **changes: str) -> None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(size))["__metadata__"]
    save_file(load_file(path), path, {**metadata, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dpt_ros/checkpoint/2"}, r"'dpt_ros/checkpoint/2', expected 'dpt_ros/.*/1'"),
        ({"configuration": '{"name": "x"}'}, r"its configuration cannot be used"),
        ({"configuration": "nonsense"}, r"its configuration cannot be used"),
        ({"configuration": "[1]"}, r"its configuration cannot be used"),
    ],
)
def test_file_of_another_version(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(), path)
    edit_metadata(path, **changes)
    refused(make(), path, message)


def test_faulty_card_inside(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(), path, card_of_small())
    edit_metadata(path, card='{"name": "small", "structure": "dpt_tiny", "colour": "red"}')
    with pytest.raises(CheckpointError, match=r"net\.safetensors: its card: unknown key 'colour'"):
        read_card(path)


def test_card_of_another_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"card small: .*readout='project'.*readout='add'"):
        save_checkpoint(make(readout="add"), tmp_path / "net.safetensors", card_of_small())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(make(), path)
    before = path.read_bytes()
    model = make()
    with torch.no_grad():
        model.head.conv3.bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="holds NaN"):
        save_checkpoint(model, path)
    assert path.read_bytes() == before


def test_saved_file_has_the_usual_permissions(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "net.safetensors")
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_save_needs_a_folder_and_a_suffix(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a name that ends in \.safetensors"):
        save_checkpoint(make(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"cannot be written"):
        save_checkpoint(make(), tmp_path / "nowhere" / "net.safetensors")


# ---- which network a file is for ----


@pytest.mark.parametrize("readout", ["ignore", "project"])
def test_find_configuration_of_a_bare_state_dict(tmp_path: Path, readout: str) -> None:
    path = tmp_path / "tiny.pt"
    with torch.device("meta"):
        shapes = create_model("dpt_tiny", readout=readout).state_dict()
    torch.save({key: torch.zeros(value.shape).half() for key, value in shapes.items()}, path)
    found = find_configuration(path)
    assert (found.name, found.readout) == ("dpt_tiny", readout)


def test_find_configuration_of_an_unknown_structure(tmp_path: Path) -> None:
    torch.save(isl_org_state(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"is for none of dpt_base, dpt_large"):
        find_configuration(tmp_path / "net.pt")
