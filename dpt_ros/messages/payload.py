"""The `data` field of a message as a flat uint8 array, wherever the message comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def payload_bytes(data: Any) -> NDArray[np.uint8]:
    """View a message's `data` as flat, read-only uint8 [N]; copies only where it must.

    Args:
        data: array.array (rclpy), contiguous ndarray (rosbags), bytes or memoryview: viewed.
            Anything else, such as a list: copied.
    """
    if len(data) == 0:
        return np.empty(0, np.uint8)
    try:
        flat: NDArray[np.uint8] = np.frombuffer(data, dtype=np.uint8)
    except (TypeError, ValueError, BufferError):
        flat = np.ascontiguousarray(data, dtype=np.uint8).reshape(-1)
    flat.flags.writeable = False
    return flat
