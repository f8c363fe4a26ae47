"""Numbers that are too large for the network's format: in its weights, and in what it gives."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from dpt_ros.model.integrity import CheckpointError


def refuse_large_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Refuse weights that would become infinite in `dtype`.

    Raises:
        CheckpointError: names the first one, its largest value and what `dtype` holds.
    """
    limit = torch.finfo(dtype).max
    for name, values in itertools.chain(network.named_parameters(), network.named_buffers()):
        if not values.is_floating_point() or torch.finfo(values.dtype).max <= limit:
            continue
        low, high = (float(end) for end in torch.aminmax(values.detach()))
        if max(-low, high) > limit:
            raise CheckpointError(
                f"{name} holds values up to {max(-low, high):g}, expected at most {limit:g}, the "
                f"largest in {_name(dtype)}; use precision:=float32"
            )


class FiniteCheck:
    """Whether a network's output is all numbers, found out without making the device wait.

    Args:
        inverse_depth: the output, any shape, on the device.
    """

    def __init__(self, inverse_depth: Tensor) -> None:
        ends = _ends(inverse_depth)
        if ends.device.type == "cuda":
            ends = torch.empty_like(ends, device="cpu", pin_memory=True).copy_(
                ends, non_blocking=True
            )
        self._ends = ends

    def is_finite(self) -> bool:
        """The answer; on a GPU to be asked after the download."""
        return bool(self._ends.isfinite().all())


def is_finite(inverse_depth: Tensor) -> bool:
    """Whether all of a network's output, of any shape, is numbers; waits for the device."""
    return bool(_ends(inverse_depth).isfinite().all())


def not_finite_message(precision: str) -> str:
    """What to tell of an output that is not finite."""
    remedy = (
        "the weights are damaged, or their training diverged: use another checkpoint"
        if precision == "float32"
        else "use precision:=float32"
    )
    return f"the network's output is not finite in {precision}; {remedy}"


def _ends(values: Tensor) -> Tensor:
    """The smallest and the largest, or NaN if one is, [2]; one pass over the values."""
    return torch.stack(torch.aminmax(values))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
