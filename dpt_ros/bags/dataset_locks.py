"""Several processes at one data set: who writes, and what is removed where nobody came far."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from dpt_ros.bags.dataset_format import MANIFEST, SAMPLES, read_manifest

PARTS = ".parts"
"""Folder with one file for each source that is being written, locked by who writes it."""
_LOCK = ".lock"
_FILES = (SAMPLES, MANIFEST, _LOCK)
_FOLDERS = (PARTS, "images", "depth", "overlays")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have the manifest for oneself."""
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # closing the file unlocks it
        yield


def is_alone(folder: Path) -> bool:
    """Whether nobody is writing a source."""
    with contextlib.ExitStack() as stack:
        for path in (folder / PARTS).glob("*.jsonl"):
            try:
                fcntl.flock(stack.enter_context(path.open("ab")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def remove_if_empty(folder: Path) -> None:
    """Remove a data set without a finished source, unless somebody is writing one.

    With files of others in its folder it stays.

    Raises:
        DatasetError: it is damaged.
        OSError: it can't be removed.
    """
    with locked(folder):
        has_others = bool({path.name for path in folder.iterdir()} - {*_FILES, *_FOLDERS})
        if has_others or read_manifest(folder)["sources"] or not is_alone(folder):
            return
        for name in _FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in _FILES:
            (folder / name).unlink()
    folder.rmdir()
