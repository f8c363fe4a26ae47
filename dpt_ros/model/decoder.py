"""The convolutional decoder: reassemble, residual units, fusion, depth head (paper, section 3).

Levels are numbered from the finest, 0 to 3, at strides 4, 8, 16 and 32. Interpolation is bilinear
with `align_corners=True`, as in the authors' code.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dpt_ros.model.halving import HalvingConv2d
from dpt_ros.model.readout import make_readout


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear [B, C, h, w] to [B, C, *size], corners aligned."""
    resized: Tensor = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return resized


def double(x: Tensor) -> Tensor:
    """Bilinear [B, C, h, w] to [B, C, 2h, 2w], corners aligned."""
    return resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))


def _conv3x3(in_channels: int, out_channels: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)


class Reassemble(nn.Module):
    """Tokens of one block to a feature map of one level: read, concatenate, resample."""

    def __init__(self, level: int, readout: str, embed_dim: int, channels: int) -> None:
        super().__init__()
        self.readout = make_readout(readout, embed_dim)
        self.projection = nn.Conv2d(embed_dim, channels, kernel_size=1)
        self.resample = _make_resample(level, channels)

    def forward(self, patches: Tensor, readout: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patch tokens [B, N, D], readout token [B, 1, D], N = rows x columns of the grid."""
        tokens = self.readout(patches, readout)
        # [B, rows, columns, D] seen as [B, D, rows, columns] is channels-last without a copy.
        feature_map = tokens.unflatten(1, grid).permute(0, 3, 1, 2)
        resampled: Tensor = self.resample(self.projection(feature_map))
        return resampled


def _make_resample(level: int, channels: int) -> nn.Module:
    """From the patch grid (stride 16) to stride 4, 8, 16 or 32."""
    if level == 0:
        return nn.ConvTranspose2d(channels, channels, kernel_size=4, stride=4)
    if level == 1:
        return nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)
    if level == 2:
        return nn.Identity()
    return HalvingConv2d(channels, channels)


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))); the sum takes x as it came, not rectified."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(features, features)
        self.conv2 = _conv3x3(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[B, F, h, w] to the same shape."""
        change: Tensor = self.conv2(F.relu(self.conv1(F.relu(x)), inplace=True))
        return change + x


class Fusion(nn.Module):
    """Joins one level with what came from the deeper levels (paper, figure 1, right).

    The deepest level has nothing below it, hence no unit of its own for the lateral.
    """

    def __init__(self, features: int, deepest: bool) -> None:
        super().__init__()
        self.lateral_unit = None if deepest else ResidualUnit(features)
        self.output_unit = ResidualUnit(features)
        self.output_conv = nn.Conv2d(features, features, kernel_size=1)

    def forward(self, lateral: Tensor, deeper: Tensor | None) -> Tensor:
        """Two maps of one size, [B, F, h, w] each, to one: the caller resizes it.

        The paper's code applies the 1x1 convolution after the upsampling. The two commute, since
        interpolation weights sum to one, and this order costs a quarter.
        """
        if self.lateral_unit is not None and deeper is not None:
            lateral = deeper + self.lateral_unit(lateral)
        fused: Tensor = self.output_conv(self.output_unit(lateral))
        return fused


class DepthHead(nn.Module):
    """Features at stride 2 to inverse depth at stride 1: [B, F, h, w] to [B, 2h, 2w], >= 0."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(features, features // 2)
        self.conv2 = _conv3x3(features // 2, hidden)
        self.conv3 = nn.Conv2d(hidden, 1, kernel_size=1)
        # Training from scratch must not start where the last ReLU is zero for every pixel.
        nn.init.ones_(self.conv3.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """[B, F, h, w] to [B, 2h, 2w]."""
        hidden = F.relu(self.conv2(double(self.conv1(x))), inplace=True)
        return F.relu(self.conv3(hidden)).squeeze(1)


class Decoder(nn.Module):
    """Four levels, channels as given, to one feature map at stride 2."""

    def __init__(self, channels: tuple[int, ...], features: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_conv3x3(c, features, bias=False) for c in channels)
        deepest = len(channels) - 1
        self.fusion = nn.ModuleList(
            Fusion(features, deepest=level == deepest) for level in range(len(channels))
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Feature maps, finest first, to [B, F, 2h, 2w] with h, w those of the finest."""
        laterals = [conv(level) for conv, level in zip(self.lateral, levels, strict=True)]
        *finer, (fusion, lateral) = zip(self.fusion, laterals, strict=True)
        path = fusion(lateral, None)
        for fusion, lateral in reversed(finer):
            # To the lateral's own size, which is twice the deeper one unless that is odd.
            path = fusion(lateral, resize(path, lateral.shape[-2:]))
        return double(path)
