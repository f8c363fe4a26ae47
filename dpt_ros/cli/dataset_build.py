"""`dpt-ros dataset build`: several recordings at once, with one progress bar."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.bags.build import Recording
    from dpt_ros.bags.sample_settings import SampleSettings
    from dpt_ros.cli.dataset_result import Result

_POLL_S = 0.2


@dataclass
class _Job:
    """What a process needs to build one source."""

    recording: Recording
    out: Path
    settings: SampleSettings
    overlays: int


@dataclass
class _Outcome:
    """How it went: `info` of a finished source, or `error`; `is_full` when the disk is."""

    name: str
    info: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    is_full: bool = False


class _Progress:
    """Scans read and in total, over all sources of this process."""

    def __init__(self, done: Any, total: Any) -> None:
        self._done, self._total = done, total
        self._seen = (0, 0)

    def restart(self) -> None:
        self._seen = (0, 0)

    def __call__(self, done: int, total: int) -> None:
        for shared, value, seen in zip(
            (self._done, self._total), (done, total), self._seen, strict=True
        ):
            with shared.get_lock():
                shared.value += value - seen
        self._seen = (done, total)


_progress: _Progress | None = None
"""Of a worker process, which runs one job after the other; set when the process starts."""


def run(options: argparse.Namespace) -> int:
    """Build every bag; returns 0, or 1 where one gave nothing."""
    from dpt_ros.cli.dataset_result import removed_if_empty
    from dpt_ros.cli.options import read_sample_settings
    from dpt_ros.cli.result_files import check_files, folder, json_of

    settings = read_sample_settings(options)
    out = folder("out", options.out)
    check_files(options, {"json": json_of("dataset_build")}, made=out)
    with removed_if_empty(out):
        result = _build_all(options, out, settings)
        result.tell(out, "bag")
        if options.json:
            result.write(options.json, "dataset_build")
    return 1 if result.failed else 0


def _build_all(options: argparse.Namespace, out: Path, settings: SampleSettings) -> Result:
    from dpt_ros.bags.build import dataset_options, name_recordings
    from dpt_ros.bags.dataset import DatasetWriter
    from dpt_ros.cli.dataset_result import Result, refuse_damaged

    with DatasetWriter(out, dense=False, options=dataset_options(settings)) as writer:
        refuse_damaged(out)
        sources = writer.sources
    recordings, done = name_recordings(options.bags, sources, settings)
    result = Result(finished={name: sources[name] for name in done})
    jobs = [_Job(recording, out, settings, options.overlays) for recording in recordings]
    for outcome in _outcomes(jobs, min(options.jobs, len(jobs))):
        if outcome.error:
            result.failed[outcome.name] = outcome.error
        else:
            result.built[outcome.name] = outcome.info
        if outcome.is_full:
            break
    return result


def _outcomes(jobs: list[_Job], processes: int) -> Iterator[_Outcome]:
    """Run the jobs, here or in processes of their own, and show how far they are."""
    import multiprocessing

    from dpt_ros.cli.progress import progress as make_bar

    context = multiprocessing.get_context("spawn")
    done, total = context.Value("q", 0), context.Value("q", 0)
    with make_bar(total=0, unit="scan", disable=not jobs) as bar:

        def show() -> None:
            # Without their locks: a process that was killed may have taken one with it.
            bar.total = total.get_obj().value
            bar.update(done.get_obj().value - bar.n)

        if processes <= 1:
            progress = _Progress(done, total)
            for job in jobs:
                yield _build(job, _Shown(progress, show))
            show()
            return
        with ProcessPoolExecutor(processes, context, _start, (done, total)) as pool:
            pending: dict[Future[_Outcome], str] = {}
            try:
                for job in jobs:
                    pending[_submit(pool, job)] = job.recording.name
                while pending:
                    ready, _ = wait(pending, _POLL_S, FIRST_COMPLETED)
                    show()
                    yield from (_outcome(future, pending.pop(future)) for future in ready)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, job: _Job) -> Future[_Outcome]:
    try:
        return pool.submit(_build, job)
    except BrokenProcessPool as error:  # one that runs was killed before all were submitted
        failed: Future[_Outcome] = Future()
        failed.set_exception(error)
        return failed


def _outcome(future: Future[_Outcome], name: str) -> _Outcome:
    """What came of a source; a process that is killed ends all that are not finished."""
    try:
        return future.result()
    except BrokenProcessPool:
        why = "a process was killed before this bag was finished (out of memory?)"
        return _Outcome(name, error=f"{why}: the same command goes on; give it fewer --jobs")


class _Shown(_Progress):
    """Progress that draws the bar itself, in the process that has it."""

    def __init__(self, progress: _Progress, show: Any) -> None:
        super().__init__(progress._done, progress._total)
        self._show = show

    def __call__(self, done: int, total: int) -> None:
        super().__call__(done, total)
        self._show()


def _start(done: Any, total: Any) -> None:
    global _progress
    _progress = _Progress(done, total)


def _build(job: _Job, progress: _Progress | None = None) -> _Outcome:
    """Build one source; what goes wrong is told, and leaves the others alone."""
    from dpt_ros.bags.build import build_source, dataset_options
    from dpt_ros.bags.dataset import DatasetWriter

    shown = progress or _progress
    if shown is None:
        raise RuntimeError("the process was not started by this command")
    shown.restart()
    name = job.recording.name
    try:
        options = dataset_options(job.settings)
        with DatasetWriter(job.out, dense=False, options=options) as writer:
            info = build_source(job.recording, writer, job.settings, job.overlays, shown)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return _Outcome(name, error=str(error), is_full=is_full)
    except ValueError as error:
        return _Outcome(name, error=str(error))
    return _Outcome(name, info)
