"""What a run leaves on disk so that it can go on after being killed at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dpt_ros.whole_file import install, write_json

_log = logging.getLogger(__name__)

FORMAT = "dpt_ros/training/1"

KEPT_CHECKPOINTS = 2

_BEFORE_NOTED = {"alignment": "robust"}
"""Settings that runs had before their description told of them."""

_NAME = re.compile(r"step_(\d{8,})\.pt")


class TrainingError(RuntimeError):
    """A run that cannot begin, go on, or be resumed."""


class AnotherRunError(TrainingError):
    """A folder whose run was begun with other options or data."""


@dataclasses.dataclass
class Progress:
    """How far a run is and what happened on the way; plain values."""

    step: int = 0
    """Steps done, skipped ones included: the position in the data."""
    without_truth: int = 0
    """Steps skipped because no picture of the batch had truth enough."""
    without_truth_in_row: int = 0
    """Of these, the ones since the last that was not skipped so."""
    not_finite: int = 0
    """Steps skipped because the loss or its gradient was no number."""
    overflowed: int = 0
    """Steps skipped because float16's scaler found a gradient too large for it."""
    not_finite_in_row: int = 0
    """Steps of either kind since the last that was not skipped so."""
    unreadable: dict[str, int] = dataclasses.field(default_factory=dict)
    """Why samples could not be read, and how often."""
    seconds: float = 0.0
    best: float = float("inf")
    """Smallest validation loss."""
    best_step: int = 0
    since_best: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """Means of loss and terms over a few steps each."""
    validations: list[dict[str, float]] = dataclasses.field(default_factory=list)
    validations_without_loss: int = 0
    """Validations whose loss was no number: they count for nothing."""
    why_no_validation_loss: str = ""
    """Why the last of them was none."""
    window: dict[str, float] = dataclasses.field(default_factory=dict)
    """Sums since the last entry of `history`."""
    is_stopped: bool = False
    """Whether it stopped early."""


class RunFolder:
    """The folder of a run: `run.json`, `checkpoints/`, results."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.checkpoints = self.path / "checkpoints"
        self.result = self.path / "result.json"
        self.weights = self.path / "model.safetensors"
        self.report = self.path / "report.html"
        self.metres = self.path / "metres.json"
        self.tensorboard = self.path / "tensorboard"

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end, and its weights are still there."""
        return self.result.exists() and self.weights.exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the right to train here; it goes with the process, however that ends.

        Raises:
            TrainingError: another process has it, or the folder holds something else than a run.
            OSError: the folder cannot be made or written.
        """
        self._refuse_others_files()
        try:
            import fcntl
        except ImportError:  # a system without such locks
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TrainingError(
                    f"another process is training in {self.path}: wait for it, or name another "
                    "folder with --out"
                ) from error
            except OSError as error:  # a file system without locks, as some network folders are
                _log.debug("%s cannot be locked: %s", self.path, error)
            yield

    def begin(self, description: Mapping[str, Any]) -> bool:
        """Make the folder for a run, or find the same run in it.

        A run of which nothing came, neither checkpoint nor result, gives way to another one.

        Args:
            description: what decides the result; plain values that JSON can hold.

        Returns:
            whether the run had begun before.

        Raises:
            TrainingError: the folder holds another run, or something else.
            OSError: it cannot be written.
        """
        wanted = json.loads(json.dumps({"format": FORMAT, **description}))
        file = self.path / "run.json"
        self._refuse_others_files()
        if file.exists():
            try:
                self._compare(self.description(), wanted)
                return True
            except AnotherRunError:
                if self._list() or self.result.exists() or self.weights.exists():
                    raise
            # What was fitted and drawn for the options it was begun with.
            self.metres.unlink(missing_ok=True)
            shutil.rmtree(self.tensorboard, ignore_errors=True)
        write_json(file, wanted)
        return False

    def _refuse_others_files(self) -> None:
        if (self.path / "run.json").exists() or not self.path.exists():
            return
        if any(path.name[0] != "." for path in self.path.iterdir()):
            raise TrainingError(
                f"{self.path} holds files and no run; name a new or an empty folder with --out"
            )

    def description(self) -> dict[str, Any]:
        """What `begin` wrote.

        Raises:
            TrainingError: it is damaged, or of another version.
        """
        file = self.path / "run.json"
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{file} cannot be read ({error}); name another folder") from error
        found = there.get("format") if isinstance(there, dict) else None
        if found != FORMAT:
            raise TrainingError(
                f"{file} has the format {found!r}, expected {FORMAT!r}; name another folder"
            )
        return dict(there)

    def save(self, state: Mapping[str, Any], step: int) -> Path:
        """Write a checkpoint, whole or not at all, and drop all but the last ones.

        Raises:
            TrainingError: it cannot be written; the checkpoints before it are still there.
        """
        target = self.checkpoints / f"step_{step:08d}.pt"
        part = target.with_name(f".{target.name}.part")
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(dict(state), file)
            install(part, target)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise TrainingError(self._not_written(target, error)) from error
        for _, old in self._list()[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)
        return target

    def load_last(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read; None if there is none.

        Raises:
            TrainingError: there are some, and none can be read.
        """
        reason = ""
        for _, path in reversed(self._list()):
            try:
                return dict(torch.load(path, map_location="cpu", weights_only=True))
            except Exception as error:  # a damaged file can raise anything
                reason = f"{path}: {str(error).splitlines()[0] if str(error) else error!r}"
        if reason:
            raise TrainingError(
                f"no checkpoint of {self.path} can be read ({reason}); begin anew in another folder"
            )
        return None

    def _list(self) -> list[tuple[int, Path]]:
        found = [(_NAME.fullmatch(path.name), path) for path in self.checkpoints.glob("step_*.pt")]
        return sorted((int(match[1]), path) for match, path in found if match)

    def _compare(self, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        differing = [
            f"{name} {_short(there_value)}, not {_short(wanted_value)}"
            for name, there_value, wanted_value in _differences(there, wanted)
        ]
        if differing:
            raise AnotherRunError(
                f"{self.path} holds a run with {'; '.join(differing[:5])}: give the same options "
                "to resume it, or name another folder with --out"
            )

    def _not_written(self, target: Path, error: Exception) -> str:
        last = self._list()
        kept = f"the last good one is {last[-1][1].name}" if last else "there is none before it"
        advice = "run the same command again to go on"
        if _is_disk_full(error):
            return (
                f"{target}: the checkpoint cannot be written: the disk is full; {kept}. Make room, "
                f"then {advice}"
            )
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        return (
            f"{target}: the checkpoint cannot be written: {reason}; {kept}. Once that is mended, "
            f"{advice}"
        )


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether that is the cause: torch's writer raises an error of its own after the disk's."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _differences(
    there: Mapping[Any, Any], wanted: Mapping[Any, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in sorted({*there, *wanted}):
        left, right = there.get(name, _BEFORE_NOTED.get(name)), wanted.get(name)
        if name == "files" and left is None:
            continue  # a run begun before this was noted
        if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            left, right = (dict(enumerate(each)) for each in (left, right))
        if isinstance(left, dict) and isinstance(right, dict):
            found += _differences(left, right, f"{prefix}{name}.")
        elif left != right:
            found.append((f"{prefix}{name}", left, right))
    return found
