"""Other implementations of DPT, with random weights, to be timed beside ours. None is required."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from torch import nn

_ISL_ORG_BACKBONES = {
    "dpt_base": "vitb16_384",
    "dpt_large": "vitl16_384",
    "dpt_hybrid": "vitb_rn50_384",
}


def isl_org(checkout: str | Path, structure: str) -> nn.Module | None:
    """The network of the authors' code, run under the timm that is installed here.

    Args:
        checkout: a clone of isl-org/DPT.
        structure: dpt_base, dpt_large or dpt_hybrid.

    Returns:
        x [B,3,h,w] -> [B,h,w] in eval mode; None where it has no such structure.

    Raises:
        FileNotFoundError: the folder is no checkout of it.
    """
    if structure not in _ISL_ORG_BACKBONES:
        return None
    folder = Path(checkout).expanduser()
    if not (folder / "dpt" / "models.py").is_file():
        raise FileNotFoundError(f"{folder}: has no dpt/models.py, so it is no clone of isl-org/DPT")
    with _importable_from(folder), _quiet():
        models = importlib.import_module("dpt.models")
        network: nn.Module = models.DPTDepthModel(backbone=_ISL_ORG_BACKBONES[structure])
    return network.eval()


def hugging_face(structure: str) -> nn.Module | None:
    """The transformers library's DPTForDepthEstimation, or None where it has no such structure.

    Raises:
        ModuleNotFoundError: transformers is not installed.
    """
    from transformers import DPTConfig, DPTForDepthEstimation

    if structure == "dpt_large":
        config = DPTConfig(
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            backbone_out_indices=[5, 11, 17, 23],
            neck_hidden_sizes=[256, 512, 1024, 1024],
            add_projection=False,
        )
    elif structure == "dpt_base":
        config = DPTConfig(
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            backbone_out_indices=[2, 5, 8, 11],
            neck_hidden_sizes=[96, 192, 384, 768],
        )
    elif structure == "dpt_hybrid":
        config = DPTConfig(
            is_hybrid=True,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            neck_hidden_sizes=[256, 512, 768, 768],
        )
    else:
        return None
    with _quiet():
        network: nn.Module = DPTForDepthEstimation(config)
    return network.eval()


@contextlib.contextmanager
def _importable_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Foreign constructors print and warn; that is not ours to show."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
