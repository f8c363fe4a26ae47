"""An output folder that appears as a whole: files are made beside it, then moved all at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType


class OutputFolder:
    """Used as a context manager: `work` is where files are made; without an error they are moved.

    Args:
        path: the folder that is to hold the files.
        force: overwrite files of an earlier run.

    Raises:
        FileExistsError: on creation, when the folder is there with files in it, without `force`.
        NotADirectoryError: there is a file of that name.
        OSError: the folder can't be made.
    """

    def __init__(self, path: str | Path, force: bool = False) -> None:
        self.path = Path(path).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"{path}: is a file, expected a folder: name another one")
        if not force and self.path.is_dir() and any(self.path.iterdir()):
            raise FileExistsError(
                f"{path}: is there already and not empty: name another folder with --out, or "
                "overwrite its results with --force"
            )
        whole = self.path.resolve()
        self.work = whole.with_name(f".{whole.name}.{os.getpid()}.part")

    def __enter__(self) -> OutputFolder:
        self.work.mkdir(parents=True)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exception_type is None:
                self._move()
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    def _move(self) -> None:
        is_here = self.path.resolve() == Path.cwd()
        if self.path.is_dir() and not is_here and not any(self.path.iterdir()):
            self.path.rmdir()
        if not self.path.exists():
            self.work.replace(self.path)
            return
        for source in sorted(self.work.rglob("*")):
            target = self.path / source.relative_to(self.work)
            if source.is_dir():
                target.mkdir(exist_ok=True)
            else:
                source.replace(target)
