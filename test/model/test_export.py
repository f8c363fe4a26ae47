"""Exports agree with the network at sizes and batches that the export did not see."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dpt_ros.model import create_model
from dpt_ros.model.dpt import DPT
from dpt_ros.model.export import INPUT_NAME, OUTPUT_NAME, export_onnx, export_program

REFERENCE = Path(__file__).parent.parent / "reference"
formula = SimpleNamespace(**runpy.run_path(str(REFERENCE / "formula.py")))

# height, width, batch: odd and even numbers of patches, the smallest, one picture and several.
SIZES = ((48, 80, 1), (64, 96, 2), (160, 96, 3), (48, 48, 1))

# Tracing with free sizes is slow: as few layers as there can be.
SHALLOWER = {
    "vit": {"depth": 4, "taps": (0, 1, 2, 3)},
    "hybrid": {"depth": 2, "taps": (0, 1), "resnet_layers": (1, 1, 1)},
}


def small(network: str) -> DPT:
    structure, settings = formula.SMALL_STRUCTURES[network]
    model = create_model(structure, **{**settings, **SHALLOWER[network]})
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(formula.weights(shapes))
    return model.prepare_for_inference()


@torch.no_grad()
def test_program_takes_any_height_width_and_batch():
    model = small("hybrid")
    program = export_program(model).module()
    for height, width, batch in SIZES:
        picture = formula.picture(height, width, batch)
        assert formula.relative_difference(program(picture), model(picture)) < 1e-5


@pytest.mark.parametrize("network", ["vit", "hybrid"])
@torch.no_grad()
def test_onnx_takes_any_height_width_and_batch(tmp_path, network):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = small(network)
    path = tmp_path / "network.onnx"
    export_onnx(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == [INPUT_NAME]
    assert [node.name for node in session.get_outputs()] == [OUTPUT_NAME]
    for height, width, batch in SIZES:
        picture = formula.picture(height, width, batch)
        (output,) = session.run(None, {INPUT_NAME: picture.numpy()})
        difference = formula.relative_difference(torch.from_numpy(output), model(picture))
        assert difference < 1e-3


def test_refuses_training_mode_and_other_file_names(tmp_path):
    model = create_model("dpt_tiny")
    with pytest.raises(ValueError, match="training mode"):
        export_onnx(model, tmp_path / "network.onnx")
    with pytest.raises(ValueError, match="ends in .onnx"):
        export_onnx(model, tmp_path / "network.pt")


def test_a_program_of_one_size_takes_no_other():
    model = small("vit")
    program = export_program(model, (32, 48)).module()
    picture = formula.picture(32, 48, 1)
    assert formula.relative_difference(program(picture), model(picture)) < 1e-5
    with pytest.raises((AssertionError, RuntimeError)):
        program(formula.picture(48, 48, 1))
