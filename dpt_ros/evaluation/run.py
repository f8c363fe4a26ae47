"""The evaluation itself: predict what is missing, then score what is kept.

Frames stream through: apart from the scores, nothing of a frame is held once it is scored.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Dataset, DatasetError, SampleRecord
from dpt_ros.evaluation.agreement import Agreement, PixelSample
from dpt_ros.evaluation.alignment import ALIGNMENTS, Known
from dpt_ros.evaluation.models import EvaluatedModel, Progress
from dpt_ros.evaluation.protocols import Protocol
from dpt_ros.evaluation.recordings import Recording, check_together
from dpt_ros.evaluation.scoring import FrameScore, score_frame
from dpt_ros.evaluation.summary import Summary, summarise
from dpt_ros.geometry.camera import Camera

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAITING_PER_JOB = 4


@dataclass(frozen=True)
class Plan:
    """How frames are scored.

    Args:
        protocols: which ones.
        alignments: names of `ALIGNMENTS`.
        jobs: frames that are scored at the same time.
    """

    protocols: Sequence[Protocol]
    alignments: Sequence[str] = tuple(ALIGNMENTS)
    jobs: int = 2


@dataclass
class ModelResult:
    """What came out for one model."""

    model: EvaluatedModel
    scores: list[FrameScore] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    """By alignment, under the first protocol."""

    def summary(self, protocol: str, alignment: str) -> Summary | None:
        """The summary under these names, if there is one."""
        for summary in self.summaries:
            if (summary.protocol, summary.alignment) == (protocol, alignment):
                return summary
        return None

    def scores_of(self, protocol: str, alignment: str) -> list[FrameScore]:
        """The frames scored under these names, in the order of the recordings."""
        return [
            score
            for score in self.scores
            if (score.protocol, score.alignment) == (protocol, alignment)
            and score.values is not None
        ]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was found out."""

    recordings: Sequence[Recording]
    plan: Plan
    results: list[ModelResult]
    unreadable: dict[str, str] = field(default_factory=dict)
    """Frames whose truth is missing or damaged, by id, and why: no model was scored on them."""

    @property
    def frames(self) -> int:
        """How many frames there are, with truth or without."""
        return sum(len(recording.dataset) for recording in self.recordings)

    @property
    def has_truth(self) -> bool:
        """Whether any frame has depth to compare with."""
        return any(recording.has_truth for recording in self.recordings)

    def troubles(self) -> list[str]:
        """Models that know what they are scored on, and what went wrong with single frames."""
        listed = []
        sources = {r.source for x in self.recordings for r in x.dataset.records if r.points}
        for result in self.results:
            if doubt := result.model.doubt(sources):
                listed.append(f"{result.model.label}: {doubt}")
        if self.unreadable:
            why = next(iter(self.unreadable.values()))
            listed.append(f"left out {_frames(self.unreadable)} without readable truth: {why}")
        for result in self.results:
            if failures := result.model.failures:
                why = next(iter(failures.values()))
                listed.append(f"{result.model.label} failed on {_frames(failures)}: {why}")
        return listed

    def without_figures(self) -> dict[tuple[str, str], list[str]]:
        """A model's label and why it has no figures -> the alignments that it has none under.

        A baseline is not missed where no network has figures, nor a model's own metres where it has
        those of a calibration.
        """
        networks = [result for result in self.results if not result.model.is_baseline]
        of_networks = {s.alignment for result in networks for s in result.summaries if s.frames}
        found: dict[tuple[str, str], dict[str, None]] = {}
        for result in self.results:
            is_calibrated = any(s.alignment == "calibration" and s.frames for s in result.summaries)
            for summary in result.summaries:
                is_missed = not result.model.is_baseline or summary.alignment in of_networks
                is_missed &= not (is_calibrated and summary.alignment == "none")
                if is_missed and not summary.frames:
                    names = found.setdefault((result.model.label, summary.why_not), {})
                    names[summary.alignment] = None
        return {key: list(names) for key, names in found.items()}

    def find(self, identifier: str) -> tuple[Dataset, int]:
        """Where a frame is."""
        for recording in self.recordings:
            for index, record in enumerate(recording.dataset.records):
                if record.id == identifier:
                    return recording.dataset, index
        raise KeyError(identifier)


def _frames(of: Sized) -> str:
    return f"{len(of)} frame{'' if len(of) == 1 else 's'}"


def evaluate(
    recordings: Sequence[Recording],
    models: Sequence[EvaluatedModel],
    plan: Plan,
    progress: Progress,
) -> Evaluation:
    """Evaluate models on recordings.

    Raises:
        RecordingError: no frames, or frames that are in two recordings.
        OSError: predictions can't be kept.
    """
    check_together(recordings)
    for model, recording in itertools.product(models, recordings):
        model.prepare(recording.dataset, progress)
    results = [ModelResult(model) for model in models]
    unreadable: dict[str, str] = {}
    for record, scored in _scored(recordings, models, plan, progress):
        if isinstance(scored, DatasetError):
            unreadable[record.id] = str(scored)
            continue
        for result, (scores, cells) in zip(results, scored, strict=True):
            result.scores += scores
            for alignment, of_frame in cells.items():
                empty = Agreement.empty(plan.protocols[0].cap_m)
                result.agreements.setdefault(alignment, empty).add(of_frame)
    for result in results:
        result.summaries = summarise(result.scores, plan.protocols)
    return Evaluation(recordings, plan, results, unreadable)


Scored = tuple[list[FrameScore], dict[str, NDArray[np.int64]]]
"""Of one model: scores, and by alignment the cells of `Agreement` that some pixels fall into."""


def _scored(
    recordings: Sequence[Recording],
    models: Sequence[EvaluatedModel],
    plan: Plan,
    progress: Progress,
) -> Iterator[tuple[SampleRecord, list[Scored] | DatasetError]]:
    """Every frame's scores, one entry a model, in the order of the recordings; or why none."""
    frames = [
        (recording.dataset, record)
        for recording in recordings
        for record in recording.dataset.records
        if record.points
    ]
    cameras = {record.camera for _, record in frames}
    known = [{camera: model.known(camera) for camera in cameras} for model in models]

    def score(
        frame: tuple[Dataset, SampleRecord],
    ) -> tuple[SampleRecord, list[Scored] | DatasetError]:
        dataset, record = frame
        try:
            truth_m = dataset.depth(record)
        except DatasetError as error:
            return record, error
        return record, [
            _score(model, dataset, record, truth_m, plan, of_camera)
            for model, of_camera in zip(models, known, strict=True)
        ]

    yield from _in_order(progress(frames, "score"), score, plan.jobs)


def _score(
    model: EvaluatedModel,
    dataset: Dataset,
    record: SampleRecord,
    truth_m: NDArray[np.float32],
    plan: Plan,
    known: dict[Camera, Known],
) -> Scored:
    predicted = model.prediction(dataset, record)
    if predicted is None:
        predicted = np.full(truth_m.shape, np.nan, np.float32)
    scores: list[FrameScore] = []
    cells: dict[str, NDArray[np.int64]] = {}
    for protocol in plan.protocols:
        of_protocol = score_frame(
            record.id, predicted, truth_m, protocol, known[record.camera], plan.alignments
        )
        scores += of_protocol
        if protocol is not plan.protocols[0] or all(s.values is None for s in of_protocol):
            continue
        pixels = PixelSample.of_frame(predicted, truth_m, protocol)
        cells = {
            found.alignment: pixels.cells(found.scale, found.shift)
            for found in of_protocol
            if found.values is not None
        }
    return scores, cells


def _in_order(
    items: Iterable[Item], function: Callable[[Item], Result], jobs: int
) -> Iterator[Result]:
    """`map` on several threads, with a bounded number of results that wait."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= _WAITING_PER_JOB * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
