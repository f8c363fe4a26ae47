"""Builds the reference implementations, from places that the user names. Not needed by the tests.

isl-org/DPT is written for timm 0.4.5. With a newer timm it runs too, but its Hybrid then
standardises weights by the newer timm's formula ("variance" in our configuration).
"""

from __future__ import annotations

import collections.abc
import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from dpt_ros.cli.references import hugging_face
from dpt_ros.model.configurations import DPTConfiguration

_BACKBONES = {"dpt_base": "vitb16_384", "dpt_large": "vitl16_384", "dpt_hybrid": "vitb_rn50_384"}


@contextlib.contextmanager
def _paths(*folders: Path | None) -> Iterator[None]:
    """Imports look here first; a timm imported inside does not stay."""
    before = list(sys.path)
    newer_timm = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "timm"}
    for name in newer_timm:
        del sys.modules[name]
    # timm 0.4.5 imports this module, which torch no longer has, for one name.
    six = types.ModuleType("torch._six")
    six.container_abcs = collections.abc  # type: ignore[attr-defined]
    sys.modules.setdefault("torch._six", six)
    sys.path[:0] = [str(folder) for folder in folders if folder is not None]
    try:
        yield
    finally:
        sys.path[:] = before
        for name in [n for n in sys.modules if n.split(".")[0] == "timm"]:
            del sys.modules[name]
        sys.modules.update(newer_timm)


def isl_org(configuration: DPTConfiguration, checkout: Path, timm: Path | None) -> nn.Module:
    """The authors' DPTDepthModel of this configuration, full-size or small.

    Args:
        configuration: what to build.
        checkout: a clone of https://github.com/isl-org/DPT.
        timm: a folder with timm 0.4.5 in it, or None for the timm of this environment.
    """
    with _paths(checkout, timm):
        models = importlib.import_module("dpt.models")
        if configuration.embed_dim >= 768:
            backbone = _BACKBONES[configuration.name]
            return models.DPTDepthModel(backbone=backbone, readout=configuration.readout).eval()
        encoder = _small_isl_org_encoder(configuration)
        original = models._make_encoder
        models._make_encoder = lambda *_args, **_kwargs: encoder
        try:
            model = models.DPTDepthModel(
                backbone=_BACKBONES[configuration.name], features=configuration.features
            )
        finally:
            models._make_encoder = original
        return model.eval()


def _small_isl_org_encoder(configuration: DPTConfiguration) -> tuple[nn.Module, nn.Module]:
    """What the authors' _make_encoder gives, for sizes it does not know."""
    vit = importlib.import_module("dpt.vit")
    blocks = importlib.import_module("dpt.blocks")
    timm_vit = importlib.import_module("timm.models.vision_transformer")
    sizes = {
        "img_size": configuration.image_size[0],
        "embed_dim": configuration.embed_dim,
        "depth": configuration.depth,
        "num_heads": configuration.num_heads,
        "num_classes": 10,
    }
    common = {
        "features": list(configuration.channels),
        "size": list(configuration.image_size),
        "vit_features": configuration.embed_dim,
        "use_readout": configuration.readout,
    }
    if configuration.resnet_layers:
        resnet = importlib.import_module("timm.models.resnetv2")
        layers = importlib.import_module("timm.models.layers")
        stem = resnet.ResNetV2(
            layers=configuration.resnet_layers,
            channels=configuration.resnet_channels,
            stem_chs=configuration.resnet_stem_channels,
            num_classes=0,
            global_pool="",
            preact=False,
            stem_type="same",
            conv_layer=layers.StdConv2dSame,
        )
        model = timm_vit.VisionTransformer(hybrid_backbone=stem, **sizes)
        pretrained = vit._make_vit_b_rn50_backbone(
            model, hooks=[0, 1, *configuration.taps], **common
        )
    else:
        model = timm_vit.VisionTransformer(**sizes)
        pretrained = vit._make_vit_b16_backbone(model, hooks=list(configuration.taps), **common)
    return pretrained, blocks._make_scratch(list(configuration.channels), configuration.features)


def transformers_dpt(configuration: DPTConfiguration, folder: Path | None) -> nn.Module:
    """Transformers' DPTForDepthEstimation of this configuration.

    Args:
        configuration: what to build.
        folder: a folder with transformers in it, or None for the one of this environment.
    """
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return hugging_face(configuration)
