"""Packed linear layers compute what they replace, and are left out where they can't be used."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from dpt_ros.inference import DepthPredictor, packed_linear
from dpt_ros.inference.device import cpu_bfloat16_flag
from dpt_ros.inference.packed_linear import PackedLinear, can_pack, pack_linear_layers
from dpt_ros.model import create_model

# Not by `can_pack` alone: where a CPU has bfloat16, a torch that packs no more has to show.
needs_packing = pytest.mark.skipif(
    not (can_pack() or cpu_bfloat16_flag()), reason="neither CPU nor torch has bfloat16 products"
)
LAYERS_A_BLOCK = 3  # qkv, fc1 and fc2; the projection has as many outputs as inputs


@pytest.fixture(autouse=True)
def forget_whether_torch_packs() -> Iterator[None]:
    can_pack.cache_clear()
    yield
    can_pack.cache_clear()


def make_network(name: str = "dpt_tiny", readout: str = "project") -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, readout=readout).prepare_for_inference().to(torch.bfloat16)


def count_packed(network: nn.Module) -> int:
    return sum(isinstance(module, PackedLinear) for module in network.modules())


def break_packing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(source: nn.Linear) -> nn.Module:
        raise error

    monkeypatch.setattr(packed_linear, "PackedLinear", refuse)


@needs_packing
@pytest.mark.parametrize("readout", ["project", "ignore"])
@torch.inference_mode()
def test_packed_layers_give_the_same_for_every_size_and_batch(readout: str) -> None:
    plain = make_network(readout=readout)
    packed = copy.deepcopy(plain)
    assert pack_linear_layers(packed)
    blocks = len(packed.encoder.vit.blocks)  # type: ignore[union-attr, arg-type]
    assert count_packed(packed) == LAYERS_A_BLOCK * blocks

    for shape in [(1, 3, 64, 96), (2, 3, 64, 96), (1, 3, 192, 48), (1, 3, 64, 96)]:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
        expected = plain(x).float()
        assert expected.std() > 0
        assert ((packed(x).float() - expected).norm() / expected.norm()) < 2e-3


@needs_packing
@torch.inference_mode()
def test_a_packed_layer_is_a_linear_map_with_its_bias() -> None:
    for bias in (True, False):
        linear = nn.Linear(24, 40, bias=bias, dtype=torch.bfloat16)
        x = torch.randn(2, 5, 24, dtype=torch.bfloat16)
        exact = x.double() @ linear.weight.double().T + (linear.bias.double() if bias else 0.0)
        torch.testing.assert_close(PackedLinear(linear)(x).double(), exact, rtol=0.01, atol=0.01)


@needs_packing
def test_only_bfloat16_that_is_not_compiled_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DepthPredictor, "_compile", lambda self: None)

    def predictor(precision: str, compile: bool) -> DepthPredictor:
        model = create_model("dpt_tiny")
        return DepthPredictor(model, device="cpu", precision=precision, compile=compile)

    assert count_packed(predictor("bfloat16", compile=False)._network) > 0  # type: ignore[arg-type]
    assert count_packed(predictor("bfloat16", compile=True)._network) == 0  # type: ignore[arg-type]
    assert count_packed(predictor("float32", compile=False)._network) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [AttributeError("no such operator"), RuntimeError("no oneDNN")])
def test_a_torch_that_can_not_pack_runs_the_network_as_it_is(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    break_packing(monkeypatch, error)
    network = make_network()
    kinds = [type(module) for module in network.modules()]

    assert not pack_linear_layers(network)
    assert [type(module) for module in network.modules()] == kinds


def test_a_torch_that_packs_wrongly_runs_the_network_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packed_linear, "PackedLinear", lambda source: lambda x: 2.0 * source(x))
    assert not can_pack()
