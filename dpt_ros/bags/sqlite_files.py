"""The sqlite3 files of a recording, where rosbags can open them.

It reads no write-ahead log beside a file, which a recorder that was killed leaves with the newest
messages; and it puts a file's path into a URI as it is. So the one is read from a merged copy, the
other through a link. The recording's own files stay as they are.
"""

from __future__ import annotations

import itertools
import logging
import os
import shlex
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path, PurePath
from typing import Any

import yaml

_LOG = logging.getLogger(__name__)
_SUFFIX = ".db3"
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_OF_A_URI = "#?%"  # "?" and "#" end a path there, and "%23" is one character


class SqliteFileError(ValueError):
    """A file cannot be copied or merged to be read."""


class SqliteFiles:
    """Paths at which a recording's sqlite3 files can be opened; as long as `stack` is open."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._folder: Path | None = None
        self._places: dict[Path, Path] = {}
        self._numbers = itertools.count()

    def of_recording(self, storage: Path) -> list[Path]:
        """What to open in place of a recording's folder or file: mostly that itself.

        Raises:
            SqliteFileError: says what to do.
        """
        if not storage.is_dir():
            return [self.of_file(storage)]
        ours = sorted(file for file in storage.iterdir() if _SUFFIX in file.suffixes)
        for file in ours:
            _refuse_half_a_page(file)
        if not any(has_log(file) or _is_misread(file) for file in ours):
            return [storage]
        try:
            metadata = yaml.safe_load((storage / "metadata.yaml").read_text(encoding="utf-8"))
            information = metadata["rosbag2_bagfile_information"]
            files = [storage / PurePath(name).name for name in information["relative_file_paths"]]
            is_compressed = (information.get("compression_mode") or "none").lower() != "none"
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
            return [storage]  # what is wrong is found, and told, on opening
        is_ours = information.get("storage_identifier") == "sqlite3"
        if not is_ours or not all(file.exists() for file in files):
            return [storage]
        if is_compressed:
            return [self._folder_of(metadata, files)]
        # The metadata's counts are older than the log, and a file that was begun last may be
        # missing there: the files tell themselves.
        files += [file for file in ours if has_log(file) and file not in files]
        return [self.of_file(file) for file in files]

    def of_file(self, file: Path) -> Path:
        """What to open in place of one of a recording's files: mostly that itself.

        Raises:
            SqliteFileError: says what to do.
        """
        if file not in self._places:
            _refuse_half_a_page(file)
            place = file
            if has_log(file):
                place = self._merged(file)
            elif _is_misread(file):
                place = self._linked(file)
            self._places[file] = place
        return self._places[file]

    def _folder_of(self, metadata: Any, files: list[Path]) -> Path:
        """A folder with the same files: only its metadata tells how they are compressed."""
        places = [self.of_file(file) for file in files]
        links = [
            self._linked(file) if place == file else place
            for file, place in zip(files, places, strict=True)
        ]
        information = metadata["rosbag2_bagfile_information"]
        information["relative_file_paths"] = [link.name for link in links]
        folder = self._made_folder()
        (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata), encoding="utf-8")
        return folder

    def _merged(self, file: Path) -> Path:
        """A copy of a file with what is in the log beside it."""
        log = _log_of(file)
        command = f'sqlite3 {shlex.quote(str(file))} "PRAGMA wal_checkpoint(TRUNCATE)"'
        try:
            place = self._new_place(file)
            needed = file.stat().st_size + 2 * log.stat().st_size
            if (free := shutil.disk_usage(place.parent).free) < needed:
                raise OSError(f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")
            shutil.copyfile(file, place)
            shutil.copyfile(log, _log_of(place))
        except OSError as error:
            raise SqliteFileError(
                f"{file} was not closed, and there is no copy to merge its newest messages into, "
                f"which are in {log.name} ({error}): make room, name another folder for temporary "
                f"files with TMPDIR, or merge them for good with `{command}`"
            ) from error
        try:
            with closing(sqlite3.connect(place)) as database:
                database.execute("PRAGMA synchronous=OFF")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise SqliteFileError(
                f"{file} was not closed, and its newest messages, in {log.name}, cannot be merged "
                f"into it ({error}): it may be damaged; try `sqlite3 FILE.db3 .recover`"
            ) from error
        _LOG.warning(
            "%s was not closed: its newest messages, in %s, are read from a merged copy; merge "
            "them for good with `%s`",
            *(file, log.name, command),
        )
        return place

    def _linked(self, file: Path) -> Path:
        """A link to a file, or a copy where there can be no links."""
        try:
            place = self._new_place(file)
            try:
                place.symlink_to(file.absolute())
            except OSError:
                shutil.copyfile(file, place)
        except OSError as error:
            raise SqliteFileError(
                f"{file} cannot be opened by this path, nor linked or copied to another ({error}): "
                f"rename it and its folders to be without any of {' '.join(_OF_A_URI)}"
            ) from error
        return place

    def _new_place(self, file: Path) -> Path:
        folder = self._made_folder()
        ending = "".join(suffix for suffix in file.suffixes if suffix in (_SUFFIX, ".zstd"))
        return folder / f"{next(self._numbers)}{ending}"

    def _made_folder(self) -> Path:
        if self._folder is None:
            made = tempfile.TemporaryDirectory(prefix="dpt_ros_")
            self._folder = Path(self._stack.enter_context(made))
        return self._folder


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def has_log(file: Path) -> bool:
    """Whether a sqlite3 file was not closed: its newest messages are in a log beside it."""
    log = _log_of(file)
    return file.suffix == _SUFFIX and log.is_file() and log.stat().st_size > 0


def _refuse_half_a_page(file: Path) -> None:
    """A file that ends within a page was cut off, and SQLite may read zeros in place of the rest.

    What is in a log beside it may mend that, and half a page of a compressed file is none.
    """
    if file.suffix != _SUFFIX or has_log(file):
        return
    try:
        with file.open("rb") as opened:
            header = opened.read(_HEADER_BYTES)
            size = opened.seek(0, os.SEEK_END)
    except OSError:
        return  # told on opening
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    if len(header) == _HEADER_BYTES and header.startswith(_MAGIC) and page and size % page:
        raise SqliteFileError(
            f"{file} cannot be read (it ends within a page of {page} bytes): it was cut off; try "
            "`sqlite3 FILE.db3 .recover`"
        )


def _is_misread(file: Path) -> bool:
    """Whether rosbags opens another path than this; a URI that begins with // names a host."""
    path = str(file)
    is_of_a_uri = path.startswith("//") or any(character in path for character in _OF_A_URI)
    return _SUFFIX in file.suffixes and is_of_a_uri
