"""Whether a weights file is what it should be, and how it gets its name. Knows no torch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Progress = Callable[[str, int, int | None], None]
"""Called with what is done ("download", "copy" or "check"), bytes done, bytes in all or None."""

FileKind = Literal["torch_zip", "torch_pickle", "safetensors", "web_page", "git_lfs", "empty", "?"]

CHUNK_BYTES = 1 << 20

KIND_NAMES: dict[FileKind, str] = {
    "torch_zip": "a PyTorch file",
    "torch_pickle": "a PyTorch file in the format from before torch 1.6",
    "safetensors": "a safetensors file",
    "web_page": "a web page (a login or an error page saved in place of the weights?)",
    "git_lfs": "a Git LFS pointer, not the weights: run `git lfs pull` where it came from",
    "empty": "empty",
    "?": "no weights file",
}

# The hash of 1.4 GB takes seconds, and one start needs it twice: to check the file, and to compare
# it with the calibration's.
_digests: dict[tuple[str, int, int, int], str] = {}


class CheckpointError(ValueError):
    """Weights that are missing, wrong or damaged: which file, what is wrong, what to do."""


def file_kind(path: Path) -> FileKind:
    """Tell from its first bytes what a file is."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "empty"
    # First, as it begins with the length of its header: any byte, and so those of the others.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return "torch_zip"
    if head[:1] == b"\x80":
        return "torch_pickle"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "web_page"
    if head.startswith(b"version https://git-lfs"):
        return "git_lfs"
    return "?"


def file_sha256(path: str | Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file as 64 hexadecimal digits; remembered until the file changes.

    Raises:
        CheckpointError: the file can't be read.
    """
    path = Path(path)
    try:
        status = path.stat()
        key = (str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns)
        if key in _digests:
            return _digests[key]
        digest = _sha256(path, status.st_size, progress)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    # A file just written may be written again within the clock tick of its time stamp.
    if time.time_ns() - status.st_mtime_ns > 2_000_000_000:
        _digests[key] = digest
    return digest


def check_sha256(path: Path, expected: str, progress: Progress | None = None) -> str:
    """Compare a file's SHA-256 with the expected one, which may be only its first digits.

    Returns:
        the file's whole SHA-256.

    Raises:
        CheckpointError: they differ, or the file can't be read.
    """
    digest = file_sha256(path, progress)
    if digest.startswith(expected):
        return digest
    size_mb = path.stat().st_size / 1e6
    raise CheckpointError(
        f"{path}: wrong SHA-256: got {digest[: max(8, len(expected))]}, expected {expected}; it is "
        f"{KIND_NAMES[file_kind(path)]} of {size_mb:.1f} MB: another file, or a damaged one"
    )


def _sha256(path: Path, size: int, progress: Progress | None) -> str:
    sha256 = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    done = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            sha256.update(buffer[:count])
            done += count
            if progress is not None:
                progress("check", done, size)
    return sha256.hexdigest()
