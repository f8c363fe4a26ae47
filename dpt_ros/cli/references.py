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
from typing import Any

from torch import nn

from dpt_ros.model.configurations import DPTConfiguration

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


def hugging_face(configuration: DPTConfiguration) -> nn.Module:
    """The transformers library's DPTForDepthEstimation of a configuration.

    Returns:
        x [B,3,h,w] of the size the configuration was made for -> an object with
        `predicted_depth` [B,h,w], in eval mode.

    Raises:
        ModuleNotFoundError: transformers is not installed.
    """
    transformers = importlib.import_module("transformers")
    taps = list(configuration.taps)
    hybrid: dict[str, Any] = {}
    if configuration.resnet_layers:
        taps = [0, 1, *taps]
        rows, columns = configuration.grid
        hybrid = {
            "is_hybrid": True,
            "backbone_featmap_shape": [1, configuration.resnet_channels[-1], rows, columns],
            "neck_ignore_stages": [0, 1],
            "backbone_config": transformers.BitConfig(
                global_padding="same",
                layer_type="bottleneck",
                depths=list(configuration.resnet_layers),
                hidden_sizes=list(configuration.resnet_channels),
                embedding_size=configuration.resnet_stem_channels,
                out_features=["stage1", "stage2", "stage3"],
                embedding_dynamic_padding=True,
            ),
        }
    config = transformers.DPTConfig(
        hidden_size=configuration.embed_dim,
        num_hidden_layers=configuration.depth,
        num_attention_heads=configuration.num_heads,
        intermediate_size=4 * configuration.embed_dim,
        image_size=configuration.image_size[0],
        backbone_out_indices=taps,
        neck_hidden_sizes=list(configuration.channels),
        fusion_hidden_size=configuration.features,
        readout_type=configuration.readout,
        layer_norm_eps=configuration.layer_norm_eps,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **hybrid,
    )
    with _quiet():
        network: nn.Module = transformers.DPTForDepthEstimation(config)
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
