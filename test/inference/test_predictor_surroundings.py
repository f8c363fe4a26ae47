"""The predictor answers the same whatever the process around it does, and so do its copies."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor, Frame, FramePipeline
from dpt_ros.inference.pipeline import OUTPUTS

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def bundled(precision: str = "float32") -> DepthPredictor:
    """DPT-Tiny with the weights that come along."""
    return DepthPredictor.from_model("dpt_tiny", device="cpu", precision=precision)


def test_the_answer_does_not_depend_on_the_process_s_default_type() -> None:
    predictor = bundled()
    pipeline = FramePipeline(predictor, keep_memory=True)
    wanted = frozenset({"inverse_depth", "color"})
    expected = predictor.predict(RGB)
    colors = np.array(pipeline.process([Frame(RGB)], wanted)[0].color)
    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float64, torch.float16, torch.bfloat16):
            torch.set_default_dtype(dtype)
            found = predictor.predict(RGB)
            assert found.dtype == np.float32
            assert np.array_equal(found, expected)
            outputs = pipeline.process([Frame(RGB)], wanted)[0]
            assert np.array_equal(outputs.inverse_depth, expected)
            assert np.array_equal(outputs.color, colors)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_answer_does_not_depend_on_the_caller_s_autocast(dtype: torch.dtype) -> None:
    predictor = bundled()
    expected = predictor.predict(RGB)
    with torch.autocast("cpu", dtype=dtype):
        assert np.array_equal(predictor.predict(RGB), expected)
        assert torch.is_autocast_enabled("cpu")


@pytest.fixture
def other_default_device() -> Iterator[None]:
    """Tensors of which nobody says where they are go where nothing can be computed."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_answer_does_not_depend_on_the_process_s_default_device(
    precision: str, other_default_device: None
) -> None:
    with torch.device("cpu"):
        expected = all_outputs(precision)
    found = all_outputs(precision)
    assert found.keys() == {"inverse_depth", "depth_m", "depth_mm", "color", "points"}
    for name, value in found.items():
        assert np.array_equal(value, expected[name], equal_nan=True), name


def all_outputs(precision: str) -> dict[str, np.ndarray]:
    camera = Camera(64, 48, 50.0, 50.0, 31.5, 23.5, "plumb_bob", (0.1, 0.01, 0.0, 0.0, 0.0))
    pipeline = FramePipeline(bundled(precision))
    outputs = pipeline.process([Frame(RGB, camera, ScaleShift(0.01, 0.5))], OUTPUTS)[0]
    values = dataclasses.asdict(outputs)
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_can_be_copied_and_pickled(precision: str) -> None:
    predictor = bundled(precision)
    expected = predictor.predict(RGB)
    for twin in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        assert np.array_equal(twin.predict(RGB), expected)
