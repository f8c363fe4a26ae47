"""State dicts and files that are refused, and what is said of them; the model stays unchanged."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_checkpoints import (
    HF_CONFIG,
    SMALL,
    hugging_face_state,
    isl_org_state,
    make,
    refused,
    write_folder,
)
from torch import Tensor

from dpt_ros.model.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from dpt_ros.model.dpt import create_model


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
    "without values": (
        lambda s: {key: value.to("meta") for key, value in s.items()},
        r"has a shape and no values \(torch's device 'meta'\); expected weights: save them",
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


def test_the_state_of_a_run_names_the_runs_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From inside the run's folder too; elsewhere, what is not there is not named."""
    state = dict.fromkeys(("progress", "model", "average", "best", "optimizer"), 0)
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "step_2.pt")
    torch.save(state, tmp_path / "run" / "copy.pt")
    monkeypatch.chdir(folder)
    result = re.escape(str(tmp_path.resolve() / "run" / "model.safetensors"))
    refused(make(), Path("step_2.pt"), f"expected {result}: a run without one is finished by")
    monkeypatch.chdir(tmp_path / "run")
    refused(make(), Path("copy.pt"), r"expected the model\.safetensors of that run: a run without")
