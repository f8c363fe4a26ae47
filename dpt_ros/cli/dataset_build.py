"""`dpt-ros dataset build`: several recordings at once, with one progress bar."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.bags.build import Recording
    from dpt_ros.bags.sample_settings import SampleSettings

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
    from dpt_ros.bags.build import dataset_options, name_recordings
    from dpt_ros.bags.dataset import DatasetWriter
    from dpt_ros.cli.dataset_show import print_source, write_json
    from dpt_ros.cli.options import folder, read_sample_settings, writable

    settings = read_sample_settings(options)
    out = folder("out", options.out)
    with DatasetWriter(out, dense=False, options=dataset_options(settings)) as writer:
        recordings, done = name_recordings(options.bags, writer.sources, settings)
    if options.json:  # it may lie in the data set's folder, which is there now
        options.json = writable("json", options.json)
    for name in done:
        print(f"{name}: is finished already")
    jobs = [_Job(recording, out, settings, options.overlays) for recording in recordings]
    built: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for outcome in _outcomes(jobs, min(options.jobs, len(jobs))):
        if outcome.error:
            failed[outcome.name] = outcome.error
        else:
            built[outcome.name] = outcome.info
        if outcome.is_full:
            break
    for name, info in built.items():
        print_source(name, info)
    for name, reason in failed.items():
        print(f"{name}: failed: {reason}", file=sys.stderr)
    samples = sum(info["samples"] for info in built.values())
    bags = f"{len(built)} bag{'s' * (len(built) != 1)}"
    print(f"{samples} samples of {bags} -> {out}")
    if options.json:
        result = {"built": built, "finished_before": done, "failed": failed, "samples": samples}
        write_json(Path(options.json), result)
    return 1 if failed else 0


def _outcomes(jobs: list[_Job], processes: int) -> Iterator[_Outcome]:
    """Run the jobs, here or in processes of their own, and show how far they are."""
    import multiprocessing

    from tqdm import tqdm

    context = multiprocessing.get_context("spawn")
    done, total = context.Value("q", 0), context.Value("q", 0)
    with tqdm(total=0, unit="scan", file=sys.stderr, disable=not jobs) as bar:

        def show() -> None:
            # Without their locks: a process that was killed may have taken one with it.
            bar.total, bar.n = total.get_obj().value, done.get_obj().value
            bar.refresh()

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
