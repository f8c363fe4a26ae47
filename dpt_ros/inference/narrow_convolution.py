"""Convolutions of stride 2 whose result is one column wide, which a CPU's bfloat16 gets wrong."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dpt_ros.model.resnet_layers import FoldedConv2d

_NARROW = 2
"""Inputs up to this width give one column at stride 2."""


class WidenedConvolution(nn.Module):
    """A convolution of stride 2 that never has a result one column wide.

    oneDNN's AMX kernel (seen with torch 2.12) then reads memory beyond its input: another answer
    in each call, NaN among them. Two columns of zeros more, and the last of the result less, is
    mathematically the same.

    Args:
        convolution: 3x3, of stride 2, padded with zeros on the right.
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C', ceil(h / 2), ceil(w / 2)]."""
        if x.shape[-1] > _NARROW:
            result: Tensor = self.convolution(x)
            return result
        result = self.convolution(F.pad(x, (0, 2)))
        return result[..., :1]


def widen_narrow_convolutions(network: nn.Module) -> None:
    """Wrap a prepared network's 3x3 convolutions of stride 2; once is enough."""
    for module in list(network.modules()):
        if isinstance(module, WidenedConvolution):
            continue
        for name, child in list(module.named_children()):
            if _is_strided_3x3(child):
                setattr(module, name, WidenedConvolution(child))


def _is_strided_3x3(module: nn.Module) -> bool:
    if isinstance(module, FoldedConv2d):
        return module.stride == 2 and module.folded_weight.shape[-1] == 3
    return isinstance(module, nn.Conv2d) and (module.stride, module.kernel_size) == ((2, 2), (3, 3))
