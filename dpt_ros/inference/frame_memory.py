"""Memory for a stream's outputs that is made once and written for each of its frames."""

from __future__ import annotations

import array
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class FrameMemory:
    """Arrays by name, each in an `array.array` of bytes of its own.

    That is what a ROS message holds its data in: `dpt_ros.messages.encode` hands such an array over
    without a copy. And what is written again needs no new pages from the system.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.generic]] = {}

    def tensor(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> Tensor:
        """The tensor of that name, with what was written to it before if it has this shape.

        Args:
            name: of an output.
            shape: without a 0.
            dtype: always the same for a name.
        """
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape:
            memory = array.array("B", bytes(math.prod(shape) * np.dtype(dtype).itemsize))
            self._arrays[name] = kept = np.frombuffer(memory, dtype).reshape(shape)
        return torch.from_numpy(kept)

    def array(self, name: str) -> NDArray[np.generic]:
        """The same memory as an array.

        Raises:
            KeyError: `tensor` was never asked for that name.
        """
        return self._arrays[name]
