"""Convolutions of stride 2, also where the result is one column wide."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

_NARROW = 2
"""Inputs up to this width give one column."""


def halve(convolve: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a convolution that halves x [B, C, h, w], and pads with zeros on the right.

    With a result one column wide, oneDNN's AMX kernel for bfloat16 (seen with torch 2.12) reads
    memory beyond its input: another answer in each call, NaN among them. So there two columns of
    zeros are added, and the last of the result is dropped, which is mathematically the same.
    """
    if x.shape[-1] > _NARROW:
        return convolve(x)
    return convolve(F.pad(x, (0, 2)))[..., :1]


class HalvingConv2d(nn.Conv2d):
    """3x3 at stride 2: [B, C, h, w] to [B, C', ceil(h / 2), ceil(w / 2)]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C', ceil(h / 2), ceil(w / 2)]."""
        return halve(super().forward, x)
