"""What is left of a recording that was cut off, as when a robot loses power, or damaged.

An mcap file ends with an index and a footer, without which it can't be opened. This shows its
whole records with an index of them, and copies nothing.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

from dpt_ros.bags.mcap_scan import MAGIC, McapScan


def is_cut_off(path: Path) -> bool:
    """Whether a file begins as an mcap file does, and does not end as one."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return False
        file.seek(max(len(MAGIC), path.stat().st_size - len(MAGIC)))
        return file.read() != MAGIC


class WholePartPath:
    """Stands for the path of a damaged mcap file where rosbags opens one (its `RPath`).

    Args:
        path: the file.
        scan: what was found in it.
    """

    def __init__(self, path: Path, scan: McapScan) -> None:
        self._path, self._scan = path, scan
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
        """The whole records and what was made to follow them, to read."""
        raw = _Ended(self._path.open("rb", buffering=0), self._scan)
        return cast("BinaryIO", io.BufferedReader(raw))


class _Ended(io.RawIOBase):
    """The first bytes of a file, then others."""

    def __init__(self, file: io.FileIO, scan: McapScan) -> None:
        self._file, self._end, self._tail, self._place = file, scan.end, scan.tail, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence, self._end + len(self._tail))
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._place >= self._end:
            start = self._place - self._end
            data = self._tail[start : start + len(view)]
        else:
            self._file.seek(self._place)
            data = self._file.read(min(len(view), self._end - self._place))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
