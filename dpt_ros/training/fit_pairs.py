"""What the fit is made from: some pixels of every frame, predicted and true. Streams the frames."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Dataset, DatasetError, SampleRecord
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.fit import FitError
from dpt_ros.geometry.views import view_difference
from dpt_ros.inference import DepthPredictor, InferenceError
from dpt_ros.training.fit_settings import FitSettings

MAX_POINTS = 4_000_000
"""Points kept of all frames together (32 MB); many frames give fewer points each."""

_NAMED = 5
"""Sources named in a message at most."""

Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class FramePairs:
    """Some pixels of one frame: the network's inverse depth and the true depth, float32 [N]."""

    id: str
    source: str
    stamp_ns: int
    inverse_depth: NDArray[np.float32]
    truth_m: NDArray[np.float32]


@dataclass
class Collected:
    """The frames that can be used, and the ids of those left out by the reason why."""

    frames: list[FramePairs] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, identifier: str) -> None:
        """Count a frame that cannot be used."""
        self.left_out.setdefault(reason, []).append(identifier)


class SeveralViewsError(FitError):
    """Pictures for which no single calibration holds.

    Args:
        found: what differs, and why that cannot be.
        sources: what a fit can be made to: those with the view that most pictures have, alone.
    """

    def __init__(self, found: str, sources: Sequence[str]) -> None:
        self.found = found
        self.choice = f"--sources {shlex.quote(','.join(sources[:_NAMED]))}" if sources else ""
        such_as = f", such as {self.choice}" if sources else ""
        super().__init__(
            f"{found}: choose sources that go together, also what is held out, with "
            f"--sources{such_as}"
        )


@dataclass(frozen=True)
class View:
    """The one camera of a data set, and the size in which the network sees its pictures."""

    camera: Camera
    network_size: tuple[int, int]
    cameras: int
    """How many cameras of this field of view there are; `camera` is the most frequent."""


def collect_pairs(
    predictor: DepthPredictor,
    datasets: Sequence[Dataset],
    settings: FitSettings,
    progress: Progress = iter,
) -> Collected:
    """Run the network over every frame and keep some pixels of each.

    Pixels are chosen at random among those with truth between the settings' depths, for each frame
    by its own seed: the same frame gives the same pixels whatever else is in the data set.

    Args:
        predictor: the network.
        datasets: where the frames are.
        settings: depths, points per frame, seed.
        progress: wraps the frames, to show how far it is.

    Returns:
        The frames with enough points. What cannot be read or predicted is counted and named.
    """
    places = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
    points = min(settings.points_per_frame, max(MAX_POINTS // max(len(places), 1), 10))
    collected = Collected()
    for dataset, index in progress(places):
        record = dataset.records[index]
        if record.points < settings.min_frame_points:
            collected.leave_out(_too_few(settings), record.id)
            continue
        try:
            sample = dataset[index]
            inverse_depth = predictor.predict(sample.rgb)
        except (DatasetError, InferenceError) as error:
            collected.leave_out(str(error), record.id)
            continue
        with np.errstate(invalid="ignore"):
            is_true = (sample.depth_m >= settings.near_m) & (sample.depth_m <= settings.far_m)
        chosen = np.flatnonzero(is_true)
        if chosen.size < settings.min_frame_points:
            collected.leave_out(_too_few(settings), record.id)
            continue
        if chosen.size > points:
            random = np.random.default_rng([settings.seed, *record.id.encode()])
            chosen = np.sort(random.choice(chosen, points, replace=False))
        frame = FramePairs(
            record.id,
            record.source,
            record.stamp_ns,
            inverse_depth.reshape(-1)[chosen],
            sample.depth_m.reshape(-1)[chosen],
        )
        if np.isfinite(frame.inverse_depth).all():
            collected.frames.append(frame)
        else:
            collected.leave_out("the network's output is not finite", record.id)
    return collected


def find_view(predictor: DepthPredictor, records: Sequence[SampleRecord]) -> View:
    """The camera that the records, at least one, share.

    Raises:
        SeveralViewsError: cameras with different fields of view or network sizes,
            with the sources that have them.
    """
    sources: dict[tuple[int, int], set[str]] = {}
    pictures: Counter[tuple[int, int]] = Counter()
    for record in records:
        size = predictor.network_size(record.camera.height, record.camera.width)
        sources.setdefault(size, set()).add(record.source)
        pictures[size] += 1
    if len(sources) > 1:
        listed = "; ".join(f"{w}x{h}: {_names(names)}" for (h, w), names in sources.items())
        most = sources[pictures.most_common(1)[0][0]]
        others = {name for names in sources.values() if names is not most for name in names}
        raise SeveralViewsError(
            f"the network sees the pictures in different sizes ({listed}), and a calibration holds "
            "for one",
            sorted(most - others),
        )
    cameras = Counter(record.camera for record in records)
    camera = cameras.most_common(1)[0][0]
    differences = {other: view_difference(camera, other) for other in cameras}
    others = {record.source for record in records if differences[record.camera]}
    if others:
        first = next(filter(None, differences.values()))
        raise SeveralViewsError(
            f"the cameras see different fields: in {_names(others)} {first} as for most pictures; "
            "a calibration holds for one",
            sorted({record.source for record in records} - others),
        )
    return View(camera, next(iter(sources)), len(cameras))


def _names(sources: Iterable[str]) -> str:
    names = sorted(sources)
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _too_few(settings: FitSettings) -> str:
    return (
        f"fewer than {settings.min_frame_points} points between {settings.near_m:g} and "
        f"{settings.far_m:g} m"
    )
