"""Shows a run while it goes: a progress bar on standard error, curves for TensorBoard."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from dpt_ros.training.state import Progress

_log = logging.getLogger(__name__)

_TERMINAL_S = 0.1
_LOG_S = 30.0

T = TypeVar("T")


def shown(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """The same items, with a progress bar on standard error while they are gone through."""
    bar: Iterable[T] = _bar(items, desc=what, total=total, unit="frame")
    return bar


def _bar(items: Any = None, **how: Any) -> Any:
    """A bar of tqdm; where standard error is no terminal, drawn anew only once in 30 s."""
    from tqdm import tqdm

    interval_s = _TERMINAL_S if sys.stderr.isatty() else _LOG_S
    return tqdm(
        items,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=interval_s,
        maxinterval=max(interval_s, 10.0),
        **how,
    )


class ProgressMonitor:
    """A context manager; called after each step.

    Args:
        steps: of the whole run.
        folder: where TensorBoard's files go; without TensorBoard installed there are none.
        is_shown: False in all but the main process of several.
    """

    def __init__(self, steps: int, folder: Path, *, is_shown: bool = True) -> None:
        self._steps, self._folder, self._is_shown = steps, folder, is_shown
        self._bar: Any = None
        self._writer: Any = None
        self._told = 0

    def __enter__(self) -> ProgressMonitor:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close both."""
        for shown in (self._bar, self._writer):
            if shown is not None:
                shown.close()

    def __call__(self, progress: Progress) -> None:
        """Show how far the run is."""
        if not self._is_shown:
            return
        if self._bar is None:
            self._open(progress)
        self._bar.update(progress.step - self._bar.n)
        if len(progress.history) > self._told:
            entry = progress.history[-1]
            self._told = len(progress.history)
            self._bar.set_postfix_str(f"loss {entry['loss']:.4f}", refresh=False)
            self._write("training", entry)
        if progress.validations and progress.validations[-1]["step"] == progress.step:
            self._write("validation", progress.validations[-1])

    def _open(self, progress: Progress) -> None:
        before = progress.step - 1
        self._bar = _bar(total=self._steps, initial=before, unit="step")
        self._told = max(0, len(progress.history) - 1)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            _log.info("no curves for TensorBoard: it is not installed")
            return
        # What a killed process wrote beyond its last checkpoint is dropped.
        self._writer = SummaryWriter(str(self._folder), purge_step=before)

    def _write(self, kind: str, entry: dict[str, float]) -> None:
        if self._writer is None:
            return
        for name, value in entry.items():
            if name != "step":
                self._writer.add_scalar(f"{kind}/{name}", value, int(entry["step"]))
