"""An mcap file that was cut off, as when a robot loses power: what is whole of it, as a file.

A recording ends with an index and a footer, without which it can't be opened. This shows its whole
records with a footer that says "no index" (mcap.dev, specification), and copies nothing.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

_MAGIC = b"\x89MCAP0\r\n"
_DATA_END = 0x0F
# Opcode, length, no summary, no summary offsets, no checksum.
_FOOTER = struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + _MAGIC


def is_cut_off(path: Path) -> bool:
    """Whether a file begins as an mcap file does, and does not end as one."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
        file.seek(max(len(_MAGIC), path.stat().st_size - len(_MAGIC)))
        return file.read() != _MAGIC


class CutOffPath:
    """Stands for the path of a cut off mcap file where rosbags opens one (its `RPath`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = _end_of_whole_records(path)
        self.stem = path.stem
        self.suffix = path.suffix

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, key: Any) -> Path:
        return Path(self._path, key)

    def exists(self) -> bool:
        """As of a path."""
        return True

    def is_dir(self) -> bool:
        """As of a path."""
        return False

    def read_text(self, encoding: str | None = None) -> str:
        """As of a path."""
        return self._path.read_text(encoding)

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """As of a path."""
        return self._path.stat(follow_symlinks=follow_symlinks)

    def open(self, *_args: Any, **_keywords: Any) -> BinaryIO:
        """The whole records and a footer, to read."""
        raw = _Ended(self._path.open("rb", buffering=0), self._end)
        return cast("BinaryIO", io.BufferedReader(raw))


class _Ended(io.RawIOBase):
    """The first bytes of a file, then the footer."""

    def __init__(self, file: io.FileIO, end: int) -> None:
        self._file, self._end, self._place = file, end, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence, self._end + len(_FOOTER))
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._place >= self._end:
            start = self._place - self._end
            data = _FOOTER[start : start + len(view)]
        else:
            self._file.seek(self._place)
            data = self._file.read(min(len(view), self._end - self._place))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _end_of_whole_records(path: Path) -> int:
    """Where the last whole record ends that holds data; zeros that were never written are none."""
    size, place = path.stat().st_size, len(_MAGIC)
    with path.open("rb") as file:
        while True:
            file.seek(place)
            head = file.read(9)
            if len(head) < 9 or not 0 < head[0] < _DATA_END:
                return place
            after = place + 9 + int.from_bytes(head[1:], "little")
            if after > size:
                return place
            place = after
