"""Scale and shift: the two numbers that turn relative inverse depth into metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ScaleShift:
    """What makes inverse depth metric (Ranftl et al., MiDaS, 2020).

    `metric_inverse_depth = scale * inverse_depth + shift`, in 1/m.

    Raises:
        ValueError: one of the two is not finite.
    """

    scale: float
    shift: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and math.isfinite(self.shift)):
            raise ValueError(f"got scale {self.scale} and shift {self.shift}, expected finite ones")

    def apply(self, inverse_depth: torch.Tensor) -> torch.Tensor:
        """Inverse depth of any shape -> metric inverse depth in 1/m; the input is left as it is."""
        shift = torch.tensor(self.shift, dtype=inverse_depth.dtype)
        return torch.add(shift, inverse_depth, alpha=self.scale)  # one pass over the image
