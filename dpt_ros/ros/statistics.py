"""Counts, rates, latencies and stage times of one stream. Knows no ROS."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from dpt_ros.evaluation.timing import FAILURES

WINDOW_S = 5.0
"""Rates and percentiles are taken over this many seconds."""

_PATIENCE_INTERVALS = 2.5
"""A stream is slow rather than silent until so many of its last interval have passed, ..."""
_PATIENCE_S = 30.0
"""... but no longer than this, so that a camera that died is told."""

_MOST_FRAMES = 1024

_LOST_SHARE = 0.05
_LOST_FRAMES = 2
"""A stream is lossy above this share of what was sent, ... and above so many, within `WINDOW_S`."""

ENDS = ("published", "overwritten", *FAILURES, "not wanted")
"""What becomes of a frame."""
COUNTS = ("received", *ENDS)


@dataclasses.dataclass(frozen=True)
class FrameTimes:
    """When one frame passed each stage, in seconds of a clock that never jumps.

    `received`: the subscription's callback began. `taken`: the worker took it from the mailbox;
    `idle_since` is when the worker had finished the frame before. `decoded`: pixels and camera
    are known. `processed`: the pipeline gave its outputs, of which `network_s` were spent inside
    the network. `published`: the last message was handed to the middleware.
    """

    received: float
    idle_since: float
    taken: float
    decoded: float
    processed: float
    network_s: float
    published: float

    @property
    def stages_s(self) -> dict[str, float]:
        """Seconds by stage.

        `receive` is the hand-over from the subscription to the worker, without the time the
        worker was still busy with the frame before. `post` is what the pipeline does beside the
        network: upload, colours, depth, points, download. `overhead` is the sum of all stages but
        the network's.
        """
        receive = self.taken - max(self.received, min(self.idle_since, self.taken))
        stages = {
            "receive": receive,
            "decode": self.decoded - self.taken,
            "network": self.network_s,
            "post": self.processed - self.decoded - self.network_s,
            "publish": self.published - self.processed,
        }
        stages["overhead"] = sum(stages.values()) - self.network_s
        return stages


STAGES = ("receive", "decode", "network", "post", "publish", "overhead")


class FrameStatistics:
    """Filled by the executor's and the worker's thread, read by the diagnostics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._arrivals_s: deque[float] = deque(maxlen=_MOST_FRAMES)
        self._frames: deque[FrameTimes] = deque(maxlen=_MOST_FRAMES)
        self._latencies_s: deque[tuple[float, float]] = deque(maxlen=_MOST_FRAMES)
        self._losses: deque[tuple[float, int]] = deque(maxlen=_MOST_FRAMES)
        self._lost = 0

    def count(self, name: str) -> None:
        """Add one to one of `COUNTS`."""
        with self._lock:
            self._counts[name] += 1

    def arrived(self, now_s: float, overwritten: bool) -> None:
        """Note an image that came in, and whether it took the place of an older one."""
        with self._lock:
            self._counts["received"] += 1
            self._counts["overwritten"] += overwritten
            self._arrivals_s.append(now_s)

    def lost(self, now_s: float, number: int) -> None:
        """Note images that were sent, and that the middleware knows not to have come."""
        with self._lock:
            self._lost += number
            self._losses.append((now_s, number))

    @property
    def lost_frames(self) -> int:
        """How many were lost on the way; none of them is in `counts`."""
        with self._lock:
            return self._lost

    def losses(self, now_s: float) -> tuple[int, int] | None:
        """Images lost and images sent in the last seconds; None where too few to speak of."""
        with self._lock:
            lost = sum(number for at_s, number in self._losses if now_s - at_s <= WINDOW_S)
            came = sum(now_s - at_s <= WINDOW_S for at_s in self._arrivals_s)
        if lost <= _LOST_FRAMES or lost <= _LOST_SHARE * (lost + came):
            return None
        return lost, lost + came

    def finished(self, times: FrameTimes, latency_s: float | None) -> None:
        """Note a published frame; `latency_s` from its stamp, None if the stamp says nothing."""
        with self._lock:
            self._counts["published"] += 1
            self._frames.append(times)
            if latency_s is not None:
                self._latencies_s.append((times.published, latency_s))

    def forget_latencies(self) -> None:
        """Drop what was measured against a clock that jumped since."""
        with self._lock:
            self._latencies_s.clear()

    @property
    def counts(self) -> dict[str, int]:
        """All counts since the node was configured."""
        with self._lock:
            return {name: self._counts[name] for name in COUNTS}

    def is_silent(self, now_s: float, after_s: float) -> bool:
        """Whether no image has come for `after_s`, or for longer than a slow camera takes."""
        with self._lock:
            if not self._arrivals_s:
                return True
            return now_s - self._arrivals_s[-1] >= max(after_s, _patience_s(self._arrivals_s))

    def rates_hz(self, now_s: float) -> tuple[float, float]:
        """Images in and frames out a second."""
        with self._lock:
            arrivals = list(self._arrivals_s)
            published = [frame.published for frame in self._frames]
        return rate_hz(arrivals, now_s), rate_hz(published, now_s)

    def latencies_s(self, now_s: float) -> list[float]:
        """From the image's stamp to the last message published, of the last seconds."""
        with self._lock:
            return [latency for at, latency in self._latencies_s if now_s - at <= WINDOW_S]

    def stages_s(self, now_s: float) -> dict[str, list[float]]:
        """Seconds each stage took, by stage, of the last seconds."""
        with self._lock:
            frames = [frame for frame in self._frames if now_s - frame.published <= WINDOW_S]
        times = [frame.stages_s for frame in frames]
        return {stage: [entry[stage] for entry in times] for stage in STAGES}


def rate_hz(times_s: Iterable[float], now_s: float) -> float:
    """Events a second within the last `WINDOW_S`, of a slower stream from its last two.

    0 for fewer than two events, and once the stream is silent.
    """
    times_s = tuple(times_s)
    recent = [time_s for time_s in times_s if now_s - time_s <= WINDOW_S]
    if len(recent) < 2 and times_s and now_s - times_s[-1] <= _patience_s(times_s):
        recent = list(times_s[-2:])
    if len(recent) < 2 or recent[-1] <= recent[0]:
        return 0.0
    return (len(recent) - 1) / (recent[-1] - recent[0])


def _patience_s(times_s: Sequence[float]) -> float:
    """How long the next event may take; 0 where fewer than two tell no interval."""
    if len(times_s) < 2:
        return 0.0
    return min(_PATIENCE_INTERVALS * (times_s[-1] - times_s[-2]), _PATIENCE_S)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # ceil
    return ordered[max(int(rank), 1) - 1]
