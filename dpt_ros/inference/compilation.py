"""A compiled network that runs as it is where the compiler fails, at the start or later."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

Network = Callable[[Tensor], Tensor]


class CompiledNetwork:
    """Compiled once a size of its input, up to the first size for which that fails.

    Args:
        network: what to compile; runs from a failure on.
        name: what the model is called in the log.
    """

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name
        self._compiled: Network | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether the next input goes through the compiler."""
        return self._compiled is not None

    def compile(self, run_once: Callable[[], object]) -> None:
        """Compile by calling `run_once`, which runs this network on an input as it will come."""
        try:
            self._compiled = torch.compile(self._network)
            run_once()
        except Exception as error:  # no compiler, no memory, a Python that torch can't compile for
            self._give_up(error)
        if self.is_compiled:
            _log.info("%s is compiled", self._name)

    def __call__(self, x: Tensor) -> Tensor:
        """What the network gives for `x`."""
        if self._compiled is not None:
            try:
                return self._compiled(x)
            except _compiler_error() as error:
                self._give_up(error)
        return self._network(x)

    def _give_up(self, error: Exception) -> None:
        # Not tried again: each frame would wait for the same failure.
        self._compiled = None
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        _log.warning("%s runs uncompiled: compiling failed: %s", self._name, *reason)


def _compiler_error() -> type[Exception]:
    """What torch raises when compiling fails; torch's failures on an image are others."""
    from torch._dynamo.exc import TorchDynamoException  # takes seconds, and is there by then

    return TorchDynamoException
