"""Files that are there whole or not at all, and JSON that every reader takes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def part_beside(path: Path) -> Path:
    """Where this process writes what is to become `path`: in its folder, hidden."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_whole(path: str | Path, data: bytes, *, is_lasting: bool = False) -> None:
    """Write a file, with its folder; one that was there is replaced as a whole or not at all.

    Args:
        path: the file.
        data: all of it.
        is_lasting: whether to wait for the disk, so that a power cut leaves the old or the new one.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_beside(path)
    try:
        part.write_bytes(data)
        if is_lasting:
            install(part, path)
        else:
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def install(part: Path, target: Path) -> None:
    """Give a whole file its name, so that a power cut leaves the old or the new one.

    Raises:
        OSError: it could not be done.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write `json_text`, as `write_whole` does."""
    write_whole(path, json_text(values).encode())


def json_text(values: Mapping[str, Any]) -> str:
    """JSON, a line per value; NaN and infinities, which JSON lacks, become null."""
    return json.dumps(_without_nan(values), indent=1, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
