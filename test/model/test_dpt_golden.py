"""The network against recorded outputs of isl-org/DPT and transformers (test/reference)."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dpt_ros.model.configurations import get_configuration
from dpt_ros.model.dpt import DPT
from dpt_ros.model.foreign_keys import rename_hugging_face, rename_isl_org

REFERENCE = Path(__file__).parent.parent / "reference"
formula = SimpleNamespace(**runpy.run_path(str(REFERENCE / "formula.py")))


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "golden.npz") as file:
        return dict(file)


def build(golden, reference: str, network: str, readout: str, **overrides) -> DPT:
    """Ours, with the weights that the reference had when its outputs were recorded."""
    structure, small = formula.SMALL_STRUCTURES[network]
    configuration = get_configuration(structure, **small, readout=readout, **overrides)
    shapes = json.loads(golden[f"{reference} {network} {readout}"].tobytes())
    rename = rename_isl_org if reference == "isl_org" else rename_hugging_face
    model = DPT(configuration).eval()
    model.load_state_dict(rename(formula.weights(shapes), configuration), strict=True)
    return model


@torch.no_grad()
def difference_from(golden, name: str, model: DPT, height: int, width: int) -> float:
    ours = model(formula.picture(height, width))[:, ::3, ::3]
    return formula.relative_difference(ours, torch.from_numpy(golden[f"{name} {height}x{width}"]))


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (160, 96)])
@pytest.mark.parametrize("readout", ["ignore", "add", "project"])
@pytest.mark.parametrize("network", ["vit", "hybrid"])
def test_equals_the_authors_code(golden, network, readout, size):
    model = build(golden, "isl_org", network, readout)
    name = f"isl_org {network} {readout}"
    assert difference_from(golden, name, model, *size) < 1e-5
    model.prepare_for_inference()
    assert difference_from(golden, name, model, *size) < 1e-5


@pytest.mark.parametrize(
    ("network", "readout"),
    [("vit", "ignore"), ("vit", "add"), ("vit", "project"), ("hybrid", "project")],
)
def test_equals_transformers(golden, network, readout):
    model = build(golden, "transformers", network, readout, weight_standardization="variance")
    name = f"transformers {network} {readout}"
    assert difference_from(golden, name, model, 64, 64) < 1e-5


def test_recorded_outputs_can_tell_small_errors_apart(golden):
    """The comparison has teeth: each of these is a known mistake in other implementations."""
    name = "isl_org hybrid project"
    variance = build(golden, "isl_org", "hybrid", "project", weight_standardization="variance")
    assert difference_from(golden, name, variance, 64, 64) > 1e-4
    name = "isl_org vit project"
    model = build(golden, "isl_org", "vit", "project", layer_norm_eps=1e-3)
    assert difference_from(golden, name, model, 64, 64) > 1e-4
