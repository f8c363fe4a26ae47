"""The read operation: what the readout (class) token adds to the patch tokens (paper, eq. 4-6).

Each takes patch tokens [B, N, D] and the readout token [B, 1, D], and gives [B, N, D].
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class IgnoreReadout(nn.Module):
    """Leaves the readout token out."""

    def forward(self, patches: Tensor, readout: Tensor) -> Tensor:
        """Patch tokens, unchanged."""
        return patches


class AddReadout(nn.Module):
    """Adds the readout token to each patch token."""

    def forward(self, patches: Tensor, readout: Tensor) -> Tensor:
        """Patch tokens + readout token."""
        return patches + readout


class ProjectReadout(nn.Module):
    """Concatenates the readout token to each patch token and projects back: GELU(linear).

    A linear map of a concatenation is the sum of two linear maps. The readout token's is computed
    once instead of once a patch, which halves the work.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(2 * embed_dim, embed_dim)

    def forward(self, patches: Tensor, readout: Tensor) -> Tensor:
        """GELU(W [patch token, readout token] + b)."""
        of_patches, of_readout = self.project.weight.chunk(2, dim=1)
        shared = F.linear(readout, of_readout, self.project.bias)
        return F.gelu(F.linear(patches, of_patches) + shared)


def make_readout(operation: str, embed_dim: int) -> nn.Module:
    """The module for "ignore", "add" or "project"."""
    if operation == "ignore":
        return IgnoreReadout()
    if operation == "add":
        return AddReadout()
    return ProjectReadout(embed_dim)
