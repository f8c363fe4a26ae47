"""What the fit is made from: some pixels of every frame, predicted and true. Streams the frames."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        sources: what a fit can be made to: those with the view that most pictures have, alone;
            None: all that are fitted have it.
        is_held_out_odd: whether something held out by name has another view than that.
    """

    def __init__(self, found: str, sources: Sequence[str] | None, is_held_out_odd: bool) -> None:
        self.found = found
        self.choice = f"--sources {shlex.quote(','.join(sources[:_NAMED]))}" if sources else ""
        remedies = ["hold out another with --hold-out"] if is_held_out_odd else []
        if sources is not None:
            such_as = f", such as {self.choice}" if sources else ""
            remedies.append(f"choose sources that go together with --sources{such_as}")
        super().__init__(f"{found}: {', and '.join(remedies)}")


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


def find_view(
    predictor: DepthPredictor,
    records: Sequence[SampleRecord],
    held_out: Sequence[SampleRecord] = (),
) -> View:
    """The camera that the records share.

    Args:
        predictor: whose network sees the pictures.
        records: what is fitted, at least one; also what a share of the sources holds out.
        held_out: what was held out by name, which has to go with the records.

    Raises:
        SeveralViewsError: cameras with different fields of view or network sizes,
            with the sources that go together.
    """
    every = [*records, *held_out]
    sizes = {
        record.camera: predictor.network_size(record.camera.height, record.camera.width)
        for record in every
    }
    size = Counter(sizes[record.camera] for record in records).most_common(1)[0][0]
    cameras = Counter(record.camera for record in records if sizes[record.camera] == size)
    camera = cameras.most_common(1)[0][0]
    differences = {other: view_difference(camera, other) for other in sizes}
    odd, odd_held_out = (
        {r.source for r in part if sizes[r.camera] != size or differences[r.camera]}
        for part in (records, held_out)
    )
    if odd or odd_held_out:
        names = {*odd, *(f"{name} (held out)" for name in odd_held_out)}
        first = next(filter(None, differences.values()), "")
        raise SeveralViewsError(
            _sizes_found(sizes, records, held_out)
            if len(set(sizes.values())) > 1
            else f"the cameras see different fields: in {_names(names)} {first} as for most "
            "pictures to fit; a calibration holds for one",
            sorted({record.source for record in records} - odd) if odd else None,
            bool(odd_held_out),
        )
    return View(camera, size, len(sizes))


def _sizes_found(
    sizes: Mapping[Camera, tuple[int, int]],
    records: Sequence[SampleRecord],
    held_out: Sequence[SampleRecord],
) -> str:
    names: dict[tuple[int, int], set[str]] = {}
    for part, note in ((records, ""), (held_out, " (held out)")):
        for record in part:
            names.setdefault(sizes[record.camera], set()).add(record.source + note)
    listed = "; ".join(f"{w}x{h}: {_names(sources)}" for (h, w), sources in names.items())
    return (
        f"the network sees the pictures in different sizes ({listed}), and a calibration holds "
        "for one"
    )


def _names(sources: Iterable[str]) -> str:
    names = sorted(sources)
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _too_few(settings: FitSettings) -> str:
    return (
        f"fewer than {settings.min_frame_points} points between {settings.near_m:g} and "
        f"{settings.far_m:g} m"
    )
