"""`dpt-ros models export`: what the file says and computes, and what it may replace."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from small_checkpoints import SMALL

from dpt_ros.cli import models_export
from dpt_ros.cli.main import main
from dpt_ros.inference import DepthPredictor
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.cards import InputSpec, ModelCard, OutputSpec

CARD = ModelCard(
    name="small",
    structure="dpt_base",
    structure_overrides=SMALL,
    input=InputSpec(64, 64, 32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)),
    output=OutputSpec("metric_inverse_depth", 0.5, 0.125),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small network with random weights, and a card inside."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_checkpoint(create_model(CARD.structure, **SMALL), path, CARD)
    return path


def export(model: object, out: Path, *words: str) -> int:
    return main(["models", "export", str(model), "--out", str(out), *words])


def test_the_file_computes_what_the_predictor_does_with_the_input_that_is_told(
    model, tmp_path, capsys, caplog
):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "small.onnx"
    caplog.set_level(logging.INFO)
    assert export(model, out, "--size", "96x64") == 0
    assert {record.name for record in caplog.records if "onnx" in record.name} == set()
    said = capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    lines = said.out.splitlines()
    assert lines[0].startswith(f"{out}: small, ")
    assert lines[1:5] == [
        "input image: float32 [1, 3, 64, 96]",
        "  (rgb / 255 - mean) / std, with mean 0.4, 0.5, 0.6 and std 0.2, 0.25, 0.3 of red, green "
        "and blue",
        "  a picture is to be resized to 96x64 (cubic)",
        "output inverse_depth: float32 [1, 64, 96], depth is 1 / (0.5 * inverse_depth + 0.125) "
        "metres",
    ]
    assert lines[5].startswith("checked: differs from the network by ")
    assert said.err == "exporting small: half a minute or more\n"

    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 64, 96]
    assert session.get_modelmeta().description.splitlines()[2:] == lines[1:5]
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    normalised = (rgb / 255.0 - [0.4, 0.5, 0.6]) / [0.2, 0.25, 0.3]
    (output,) = session.run(None, {"image": normalised.transpose(2, 0, 1)[None].astype("f4")})
    expected = DepthPredictor.from_model(str(model), device="cpu", precision="float32").predict(rgb)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(output[0], expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def no_export(monkeypatch) -> None:
    """Fail where something is exported that ought to be refused."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("exported")

    monkeypatch.setattr("dpt_ros.model.export.export_onnx", fail)


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("small.pb", [], "small.pb: expected a name that ends in .onnx"),
        (
            "small.onnx",
            ["--size", "100x64"],
            "--size: got 100x64, expected multiples of 16, which small takes; such as 96x64",
        ),
        ("small.onnx", ["--checkpoint", "none.pt"], "none.pt: cannot be read: No such file"),
        ("none/small.onnx", [], "its folder does not exist; make it first"),
    ],
)
def test_what_cannot_be_exported_is_refused_first(model, tmp_path, capsys, name, words, told):
    pytest.importorskip("onnxscript")
    assert export(model, tmp_path / name, *words) == 1
    assert told in capsys.readouterr().err


def written(text: str):
    """In place of an export: a file with a description."""

    def export_onnx(_: object, path: Path, *__: object, description: str) -> None:
        path.write_text(f"{text}{description}")

    return export_onnx


def test_without_a_size_any_fits_and_the_cards_is_checked(model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript")
    sizes = []

    def export_onnx(_: object, path: Path, size: object, *, description: str) -> None:
        sizes.append(size)
        path.write_text(description)

    def onnx_difference(_: object, __: Path, size: object) -> tuple[float, float]:
        sizes.append(size)
        return 0.0, 1.0

    monkeypatch.setattr("dpt_ros.model.export.export_onnx", export_onnx)
    monkeypatch.setattr("dpt_ros.model.export.onnx_difference", onnx_difference)
    assert export(model, tmp_path / "small.onnx") == 0
    assert sizes == [None, (64, 96)]
    text = capsys.readouterr().out
    assert "[batch, 3, height, width], height and width multiples of 16, from 48\n" in text
    assert "output inverse_depth: float32 [batch, height, width], " in text


def test_the_size_of_a_picture_is_told_as_the_file_takes_it(model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("dpt_ros.model.export.export_onnx", written(""))
    monkeypatch.setattr("dpt_ros.model.export.onnx_difference", lambda *_: None)
    resized = {
        (): "\n  dpt_ros resizes a picture of 640x480 to 96x64 (cubic)\n",
        ("--size", "128x80"): "\n  a picture is to be resized to 128x80 (cubic)\n",
    }
    for index, (words, told) in enumerate(resized.items()):
        out = tmp_path / f"{index}.onnx"
        assert export(model, out, *words) == 0
        assert told in capsys.readouterr().out and told in out.read_text()


def test_an_earlier_export_is_replaced_and_nothing_else(model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("dpt_ros.model.export.export_onnx", written("\x08\x0a"))
    monkeypatch.setattr("dpt_ros.model.export.onnx_difference", lambda *_: None)
    out = tmp_path / "small.onnx"
    out.write_bytes(b"\x08\x0a\x12\x07pytorch, somebody's own")
    assert export(model, out) == 1
    assert "is there and is no network exported by dpt-ros" in capsys.readouterr().err
    assert b"somebody" in out.read_bytes()
    out.unlink()
    assert export(model, out) == export(model, out) == 0
    assert "not checked: onnxruntime is not installed" in capsys.readouterr().out


def test_an_export_that_says_something_else_is_not_kept(model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("dpt_ros.model.export.export_onnx", written(""))
    out = tmp_path / "small.onnx"
    out.write_text(models_export._FORMAT)
    for found in ((0.01, 2.0), (float("nan"), 2.0)):
        monkeypatch.setattr("dpt_ros.model.export.onnx_difference", lambda *_, f=found: f)
        assert export(model, out, "--size", "96x64") == 1
        assert "of outputs up to 2 (onnxruntime on a CPU, at 96x64)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    assert out.read_text() == models_export._FORMAT


def test_without_onnx_it_is_told_how_to_get_it(model, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    assert export(model, tmp_path / "small.onnx") == 1
    error = capsys.readouterr().err
    assert "onnxscript not installed: pip install 'dpt_ros[onnx]'" in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_nothing_is_left(model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("dpt_ros.model.export.export_onnx", written(""))
    (tmp_path / f".small.{os.getpid()}.part.onnx").symlink_to("/dev/full")
    assert export(model, tmp_path / "small.onnx") == 1
    assert "small.onnx: cannot be written: No space left on device; make room" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())
