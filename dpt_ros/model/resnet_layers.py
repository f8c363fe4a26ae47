"""The layers of the Hybrid's ResNet stem: standardised weights, TensorFlow's SAME padding.

Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
arXiv 1903.10520; the two ways to keep the division safe are told apart in configurations.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpt_ros.model.halving import halve

SIGMA_EPSILON = 1e-5
VARIANCE_EPSILON = 1e-8


def standardize_weight(weight: Tensor, formula: str) -> Tensor:
    """Give each filter of [out, in, kh, kw] zero mean and unit (biased) deviation.

    `formula` is "sigma": / (sigma + 1e-5), or "variance": / sqrt(sigma^2 + 1e-8). Half precision
    is computed in float32; the result has the dtype of `weight`.
    """
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    variance, mean = torch.var_mean(wide, dim=(1, 2, 3), keepdim=True, correction=0)
    if formula == "sigma":
        deviation = variance.sqrt() + SIGMA_EPSILON
    else:
        deviation = (variance + VARIANCE_EPSILON).sqrt()
    return ((wide - mean) / deviation).to(weight.dtype)


class SamePaddedConv2d(nn.Module):
    """A bias-free convolution of even-sized images, padded as TensorFlow's SAME does.

    For even sides and stride 1 or 2 the padding is a constant, max(kernel - stride, 0), of which
    the smaller half comes first. The network's sides are multiples of 16, so all sides are even.
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        total = max(kernel_size - stride, 0)
        self.before, self.after = total // 2, total - total // 2

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve x [B, in, h, w] with weight [out, in, k, k]."""
        if self.stride == 2 and weight.shape[-1] > 1:
            return halve(lambda wide: self._convolve(wide, weight), x)
        return self._convolve(x, weight)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.before == self.after:
            return F.conv2d(x, weight, stride=self.stride, padding=self.before)
        padded = F.pad(x, (self.before, self.after, self.before, self.after))
        return F.conv2d(padded, weight, stride=self.stride)


class SamePaddedMaxPool2d(nn.Module):
    """Maximum of 3x3 at stride 2 with that padding, of values that are not negative."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C, h / 2, w / 2]."""
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1)), kernel_size=3, stride=2)


class StandardizedConv2d(SamePaddedConv2d):
    """The trainable form: standardises its weight in each forward pass."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        formula: str,
        **factory: torch.device | torch.dtype | int | None,
    ) -> None:
        super().__init__(kernel_size, stride)
        if factory.pop("groups", 1) != 1 or factory.pop("dilation", 1) != 1:
            raise ValueError("the ResNet stem has neither groups nor dilation")
        self.formula = formula
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, **factory))  # type: ignore[arg-type]
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, h, w] to [B, out, h / stride, w / stride]."""
        return self.convolve(x, standardize_weight(self.weight, self.formula))

    def folded(self) -> FoldedConv2d:
        """The same convolution with its standardised weight computed once."""
        return FoldedConv2d(self)


class FoldedConv2d(SamePaddedConv2d):
    """The inference form: the standardised weight is a constant.

    It has no parameter `weight`, so that loading a checkpoint into it, or training it, cannot
    go wrong unnoticed.
    """

    folded_weight: Tensor

    def __init__(self, source: StandardizedConv2d) -> None:
        nn.Module.__init__(self)
        self.stride, self.before, self.after = source.stride, source.before, source.after
        weight = standardize_weight(source.weight.detach(), source.formula)
        self.register_buffer("folded_weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, h, w] to [B, out, h / stride, w / stride]."""
        return self.convolve(x, self.folded_weight)
