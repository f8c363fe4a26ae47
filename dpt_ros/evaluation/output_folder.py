"""An output folder that appears as a whole: files are made beside it, then moved all at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType

from dpt_ros.whole_file import part_beside


class OutputFolder:
    """Used as a context manager: `work` is where files are made; without an error they are moved.

    Args:
        path: the folder that is to hold the files.
        force: overwrite files of an earlier run.
        another: how people name another folder, where they are told to.
        overwrite: how they choose to overwrite.

    Raises:
        FileExistsError: on creation, when the folder is there with files in it, without `force`.
        NotADirectoryError: there is a file of that name.
        OSError: the folder can't be made.
    """

    def __init__(
        self,
        path: str | Path,
        force: bool = False,
        another: str = "--out",
        overwrite: str = "--force",
    ) -> None:
        self.path = Path(path).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"{path}: is a file, expected a folder: name another one")
        if not force and self.path.is_dir() and any(self.path.iterdir()):
            raise FileExistsError(
                f"{path}: is there already and not empty: name another folder with {another}, or "
                f"overwrite its results with {overwrite}"
            )
        self._whole = self.path.resolve()  # what a link leads to
        self._is_replaced = not self._whole.exists() or _can_be_replaced(self._whole)
        beside = self._whole.parent if self._is_replaced else self._whole
        _require_writable(beside, f"{path}", another)
        if self._whole.is_dir() and any(self._whole.iterdir()):  # its files are replaced one by one
            _require_writable(self._whole, f"{path}", another)
        self.work = part_beside(beside / self._whole.name)

    def __enter__(self) -> OutputFolder:
        self.work.mkdir(parents=True)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception_type is None:
            try:
                self._move()
            except OSError as error:
                raise OSError(
                    f"the results could not be moved to {self.path} ({error}): they are in "
                    f"{self.work}"
                ) from error
        shutil.rmtree(self.work, ignore_errors=True)

    def _move(self) -> None:
        if self._is_replaced and self._whole.is_dir() and not any(self._whole.iterdir()):
            self._whole.rmdir()
        if self._is_replaced and not self._whole.exists():
            self.work.replace(self._whole)
            return
        for source in sorted(self.work.rglob("*")):
            target = self._whole / source.relative_to(self.work)
            if source.is_dir():
                target.mkdir(exist_ok=True)
            else:
                source.replace(target)


def _can_be_replaced(folder: Path) -> bool:
    """Whether an existing folder may be removed and made anew: nothing rests on it."""
    is_used = folder.is_mount() or folder == Path.cwd()
    return not is_used and os.access(folder.parent, os.W_OK | os.X_OK)


def _require_writable(folder: Path, name: str, another: str) -> None:
    """Tell now, not once the results are there.

    Raises:
        PermissionError: files can't be made there.
    """
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{name}: {folder} can't be written: name another folder with {another}"
        )
