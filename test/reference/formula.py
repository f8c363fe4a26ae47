"""Weights and pictures from integer arithmetic: the same on every machine and in every version.

Random generators may change between releases; these numbers cannot, so that outputs of reference
implementations can be recorded once and compared for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch

# Small networks of the same construction, for recorded outputs. Overrides of a structure.
SMALL_STRUCTURES = {
    "vit": (
        "dpt_base",
        {
            "embed_dim": 32,
            "depth": 5,
            "num_heads": 2,
            "taps": (0, 2, 3, 4),
            "channels": (8, 16, 24, 32),
            "features": 16,
            "image_size": (64, 64),
        },
    ),
    "hybrid": (
        "dpt_hybrid",
        {
            "embed_dim": 32,
            "depth": 3,
            "num_heads": 2,
            "taps": (1, 2),
            "channels": (128, 128, 24, 32),
            "resnet_layers": (1, 1, 2),
            "resnet_channels": (128, 128, 256),
            "resnet_stem_channels": 32,
            "features": 16,
            "image_size": (64, 64),
        },
    ),
}


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [-1, 1) that depend on the name and the place alone (splitmix64), float32."""
    state = np.arange(int(np.prod(shape)), dtype=np.uint64)
    with np.errstate(over="ignore"):
        state += np.uint64(zlib.crc32(name.encode()) << 32 | 1)
        state *= np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    # 24 bits are exact in float32.
    values = (state >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return values.reshape(shape)


def weight(name: str, shape: tuple[int, ...], large_branches: bool = False) -> torch.Tensor:
    """A weight of realistic size: keeps signals of order one through a deep network.

    The last convolution's is positive, so that its ReLU does not hide differences behind zeros.
    `large_branches` leaves a ResNet's branches and filters as large as its trunk: the harder case,
    in which rounding errors grow most.
    """
    values = uniform(name, shape)
    if name.endswith((".4.weight", "conv3.weight")) and shape[0] == 1:
        values = np.abs(values)
    if name.endswith(("cls_token", "pos_embed", "position_embeddings")):
        values = values * np.float32(0.5)
    elif len(shape) == 1:
        is_scale = name.endswith("weight")
        values = np.float32(0.2) * values + np.float32(1 if is_scale else 0)
        if name.endswith("norm3.weight") and not large_branches:
            # A trained ResNet's branch is a small change; with a large one, sixteen blocks make
            # rounding errors twenty times larger, in the reference as in ours. 0.3 is an estimate,
            # not read off public weights.
            values = values * np.float32(0.3)
    elif len(shape) == 4 and any(part in name for part in ("backbone", "resnet")):
        # Standardised: the size matters through the epsilon alone, about as in released weights.
        values = values if large_branches else values * np.float32(0.005)
    else:
        values = values * np.float32((3.0 / np.prod(shape[1:])) ** 0.5)
    return torch.from_numpy(values)


def weights(
    shapes: Mapping[str, tuple[int, ...]], large_branches: bool = False
) -> dict[str, torch.Tensor]:
    """A state dict for these names and shapes."""
    return {name: weight(name, tuple(shape), large_branches) for name, shape in shapes.items()}


def picture(height: int, width: int, batch: int = 1) -> torch.Tensor:
    """A normalised picture [B, 3, h, w]: slopes, an edge and texture, within -1 .. 1."""
    rows = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    columns = np.linspace(-0.3, 0.3, width, dtype=np.float32)[None, :]
    edge = np.where(columns > 0.05, np.float32(0.2), np.float32(-0.1))
    slopes = np.stack([rows + columns + edge, rows - columns, 2 * columns + 0 * rows])
    texture = uniform(f"picture {height} {width}", (batch, 3, height, width))
    return torch.from_numpy(np.clip(slopes + np.float32(0.3) * texture, -1, 1))


def relative_difference(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """The larger of |a - b| / |b| in the Euclidean norm and max |a - b| / max |b|.

    Raises:
        ValueError: shapes differ, or the reference says nothing because it is (nearly) constant.
    """
    a, b = ours.double(), reference.double()
    if a.shape != b.shape:
        raise ValueError(f"shapes {list(a.shape)} and {list(b.shape)} differ")
    if not (b > 0).float().mean() > 0.5 or not b.std() > 0.01 * b.mean():
        raise ValueError(f"the reference says nothing: mean {b.mean()}, deviation {b.std()}")
    difference = a - b
    return max(
        (difference.norm() / b.norm()).item(), (difference.abs().max() / b.abs().max()).item()
    )
