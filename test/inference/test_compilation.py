"""Compiling with backends that count or fail: before the first frame, and never in its way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from dpt_ros.inference import DepthPredictor, InferenceError
from dpt_ros.inference import predictor as predictor_module
from dpt_ros.model import create_model
from dpt_ros.model.cards import InputSpec, ModelCard

CARD = ModelCard(name="small", structure="dpt_tiny", input=InputSpec(width=96, height=64))


def random_rgb(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def compiled_predictor(
    monkeypatch: pytest.MonkeyPatch, backend: Callable[..., object]
) -> DepthPredictor:
    """One of a single convolution, which `backend` compiles."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.convolution(x)[:, 0]
            return result

    torch._dynamo.reset()
    monkeypatch.setattr(predictor_module, "_prepare", lambda *_: Small().requires_grad_(False))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    return DepthPredictor(
        create_model("dpt_tiny"), CARD, device="cpu", precision="float32", compile=True
    )


def test_frames_of_the_cards_size_find_the_network_compiled(monkeypatch: pytest.MonkeyPatch):
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        compiled.append(graph)
        return graph.forward

    predictor = compiled_predictor(monkeypatch, backend)
    assert len(compiled) == 1 and predictor.is_compiled
    predictor.predict(random_rgb(64, 96))
    predictor.predict(random_rgb(128, 192))
    with ThreadPoolExecutor(1) as worker:  # as the node's
        worker.submit(predictor.predict, random_rgb(64, 96)).result()
    assert len(compiled) == 1
    for width in (70, 90, 110):
        predictor.predict(random_rgb(50, width))
    assert len(compiled) == 2


@pytest.mark.parametrize("works", [0, 1])
def test_a_network_that_does_not_compile_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, works: int
):
    calls: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        calls.append(graph)
        if len(calls) > works:
            raise KeyError("no compiler here")
        return graph.forward

    predictor = compiled_predictor(monkeypatch, backend)
    assert predictor.is_compiled == bool(works)
    for width in (50, 70, 90):
        assert np.isfinite(predictor.predict(random_rgb(20, width))).all()
    assert not predictor.is_compiled
    assert len(calls) == works + 1
    assert caplog.text.count("runs uncompiled: compiling failed") == 1


def test_a_failure_on_an_image_leaves_the_network_compiled(monkeypatch: pytest.MonkeyPatch):
    predictor = compiled_predictor(monkeypatch, lambda graph, inputs: graph.forward)

    def fail(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(predictor._network, "_compiled", fail)
    with pytest.raises(InferenceError, match="CUDA out of memory"):
        predictor.predict(random_rgb(20, 30))
    assert predictor.is_compiled
