"""Linear layers whose weights lie in memory as a CPU's bfloat16 products want them."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpt_ros.model.readout import ProjectReadout


class PackedLinear(nn.Module):
    """A linear layer in the layout of oneDNN; torch's own brings its weight there in every call.

    Args:
        source: bfloat16, on the CPU. Its weight is copied.
    """

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        # Plain attributes: a packed weight is no state to be moved, converted or saved.
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(source.weight.detach())
        self._bias = None if source.bias is None else source.bias.detach()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled by the plain weight: a packed one has no storage to be read."""
        return _packed, (self._weight.to_dense(), self._bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, "none", [], ""
        )
        return result


def _packed(weight: Tensor, bias: Tensor | None) -> PackedLinear:
    source = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    source.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        source.bias = nn.Parameter(bias, requires_grad=False)
    return PackedLinear(source)


class SplitProjectReadout(nn.Module):
    """ProjectReadout with each half of its weight by itself; torch copies a half in every call."""

    def __init__(self, source: ProjectReadout) -> None:
        super().__init__()
        of_patches, of_readout = source.project.weight.detach().chunk(2, dim=1)
        self._of_patches, self._of_readout = of_patches.contiguous(), of_readout.contiguous()
        self._bias = source.project.bias.detach()

    def forward(self, patches: Tensor, readout: Tensor) -> Tensor:
        """GELU(W [patch token, readout token] + b)."""
        shared = F.linear(readout, self._of_readout, self._bias)
        return F.gelu(F.linear(patches, self._of_patches) + shared)


def pack_linear_layers(network: nn.Module) -> bool:
    """Replace a bfloat16 network's linear layers on a CPU by packed ones, if torch can do that.

    What they give is the same, up to the order of sums. The network can't be moved, converted,
    saved or compiled afterwards.

    Layers with as many outputs as inputs stay: those of DPT-Large (1024) take 0.75 ms as they are
    and 1.05 packed, with AMX; for the smaller networks' it makes no difference.

    Returns:
        Whether it was done.
    """
    if not can_pack():
        return False
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ProjectReadout):
                setattr(module, name, SplitProjectReadout(child))
            elif isinstance(child, nn.Linear) and child.in_features != child.out_features:
                setattr(module, name, PackedLinear(child))
    return True


@functools.cache
def can_pack() -> bool:
    """Whether this build of torch packs weights and computes with them what it should.

    It is tried out: torch has this for its own compiler, not as a public function.
    """
    linear = nn.Linear(32, 16, device="cpu", dtype=torch.bfloat16).requires_grad_(False)
    x = torch.linspace(-2, 2, 32, device="cpu", dtype=torch.bfloat16)[None]
    try:
        packed = PackedLinear(linear)(x)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.allclose(packed, linear(x), rtol=0.02, atol=0.02)
