"""Writes coloured points as a binary PLY file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_VERTEX = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
)
_TYPES = {"<f4": "float", "|u1": "uchar"}


def write_ply(path: str | Path, points: np.ndarray, comment: str) -> int:
    """Write the finite points of an organised cloud.

    Args:
        path: the file to write.
        points: [H,W,4] float32: x, y, z and the bits of 0x00RRGGBB.
        comment: one line for the header.

    Returns:
        How many points were written.
    """
    flat = np.ascontiguousarray(points, np.float32).reshape(-1, 4)
    flat = flat[np.isfinite(flat[:, :3]).all(1)]
    vertices = np.empty(len(flat), _VERTEX)
    for axis, name in enumerate("xyz"):
        vertices[name] = flat[:, axis]
    rgb = np.ascontiguousarray(flat[:, 3]).view(np.uint32)
    for shift, name in ((16, "red"), (8, "green"), (0, "blue")):
        vertices[name] = (rgb >> shift) & 0xFF
    properties = [f"property {_TYPES[_VERTEX[name].str]} {name}" for name in _VERTEX.names or ()]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {comment}",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header\n",
    ]
    with Path(path).open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(vertices.tobytes())
    return len(vertices)
