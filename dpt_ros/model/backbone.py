"""The encoder: timm's ViT, after timm's ResNet in Hybrid; gives the tapped levels."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.norm_act import GroupNormAct
from timm.layers.patch_embed import PatchEmbed
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dpt_ros.model.configurations import DPTConfiguration
from dpt_ros.model.resnet_layers import SamePaddedMaxPool2d, StandardizedConv2d

TokenTap = tuple[Tensor, Tensor]
"""Patch tokens [B, N, D] and readout token [B, 1, D] of one block."""


class TokenEmbed(PatchEmbed):
    """timm's patch embedding, with the position embedding added and the readout token in front.

    timm itself resizes a position embedding with antialiased bicubic interpolation; DPT was
    trained with plain bilinear. Doing it here, and telling the ViT that it has neither position
    nor class token of its own, needs nothing but timm's public constructor. `position` is
    [1, D, rows, columns]; the readout token's own position is part of `cls_token` [1, 1, D].
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cls_token = nn.Parameter(torch.empty(1, 1, kwargs["embed_dim"]))
        self.position = nn.Parameter(torch.empty(1, kwargs["embed_dim"], *self.grid_size))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Image [B, C, h, w] to tokens [B, 1 + N, D], the readout token first."""
        patches: Tensor = self.proj(x)
        position = F.interpolate(
            self.position, size=patches.shape[-2:], mode="bilinear", align_corners=False
        )
        tokens = (patches + position).flatten(2).transpose(1, 2)
        return torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)


class Encoder(nn.Module):
    """An image [B, 3, h, w] to ResNet features (Hybrid: two levels) and tapped tokens."""

    def __init__(self, configuration: DPTConfiguration) -> None:
        super().__init__()
        self.taps = list(configuration.taps)
        self.resnet = _make_resnet(configuration) if configuration.resnet_layers else None
        self.vit = _make_vit(configuration)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[TokenTap]]:
        """Levels that are feature maps already, then tokens for each of the others."""
        levels: list[Tensor] = []
        if self.resnet is not None:
            stages: Any = self.resnet.forward_intermediates(
                x, indices=[1, 2, 3], intermediates_only=True
            )
            levels, x = list(stages[:-1]), stages[-1]
        tokens: Any = self.vit.forward_intermediates(
            x,
            indices=self.taps,
            norm=False,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return levels, [(tapped[:, 1:], tapped[:, :1]) for tapped in tokens]


def _make_resnet(configuration: DPTConfiguration) -> ResNetV2:
    """The first three stages of a ResNet-50 with group norm and standardised weights.

    timm computes SAME padding from the image's size, which an exported program with a dynamic size
    would have to do too; for sides that are multiples of 16 it is a constant.
    """
    resnet = ResNetV2(
        layers=list(configuration.resnet_layers),
        channels=configuration.resnet_channels,
        stem_chs=configuration.resnet_stem_channels,
        num_classes=0,
        global_pool="",
        preact=False,
        norm_layer=partial(GroupNormAct, num_groups=configuration.resnet_norm_groups),
        conv_layer=partial(StandardizedConv2d, formula=configuration.weight_standardization),
    )
    resnet.stem.pool = SamePaddedMaxPool2d()
    return resnet


def _make_vit(configuration: DPTConfiguration) -> VisionTransformer:
    """The transformer without classifier and final norm, which DPT does not use.

    In Hybrid its "image" is the ResNet's last feature map, and a patch is one element of it.
    """
    after_resnet = bool(configuration.resnet_layers)
    return VisionTransformer(
        img_size=configuration.grid if after_resnet else configuration.image_size,
        patch_size=1 if after_resnet else configuration.patch_size,
        in_chans=configuration.resnet_channels[-1] if after_resnet else 3,
        num_classes=0,
        embed_dim=configuration.embed_dim,
        depth=configuration.depth,
        num_heads=configuration.num_heads,
        global_pool="",
        class_token=False,
        pos_embed="none",
        final_norm=False,
        dynamic_img_size=True,
        embed_layer=TokenEmbed,
        norm_layer=partial(nn.LayerNorm, eps=configuration.layer_norm_eps),
    )
