"""When pictures were published and answered: rate, latency, jitter and what was lost. No ROS."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50, 95, 99)

FAILURES = ("stale", "undecodable", "failed")
"""The node's counts of pictures that it took, and that gave no depth by no choice of its own."""

_JUMP_S = 1.0
"""A clock that goes back by more begins a part of its own: the recording was played again."""


@dataclass(frozen=True)
class FrameTime:
    """One picture that was played. Seconds are those of one clock that never jumps.

    Args:
        stamp_ns: of the picture's header.
        taken_s: when the playback's clock showed the stamp.
        published_s: when the picture was handed to the middleware.
        heard_s: when its depth was received; NaN: never.
    """

    stamp_ns: int
    taken_s: float
    published_s: float
    heard_s: float = math.nan


class TimingLog:
    """Collects the times of all pictures: 32 bytes each."""

    def __init__(self) -> None:
        self._stamps_ns = array("q")
        self._seconds = array("d")

    def add(self, time: FrameTime) -> int:
        """Note a picture, in the order in which they were published; returns its place."""
        # Another thread may look meanwhile: whatever has a stamp has its times.
        self._seconds.extend((time.taken_s, time.published_s, time.heard_s))
        self._stamps_ns.append(time.stamp_ns)
        return len(self) - 1

    def heard(self, place: int, heard_s: float) -> None:
        """Note when the depth of the picture at that place was received."""
        self._seconds[3 * place + 2] = heard_s

    def __len__(self) -> int:
        return len(self._stamps_ns)

    @property
    def stamps_s(self) -> NDArray[np.float64]:
        """Seconds since the first picture's stamp, of every picture."""
        stamps = np.frombuffer(self._stamps_ns.tobytes(), np.int64)
        return np.asarray((stamps - stamps[:1]) / 1e9)

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """From the moment of the stamp to the depth; NaN where none came."""
        taken, _, heard = self._columns()
        return np.asarray(heard - taken)

    @property
    def response_s(self) -> NDArray[np.float64]:
        """From publication to the depth: the node and the middleware; NaN where none came."""
        _, published, heard = self._columns()
        return np.asarray(heard - published)

    def summary(self) -> dict[str, Any]:
        """What it comes to; None for what cannot be told.

        `latency_ms` counts from the stamp, `response_ms` from publication. `jitter_ms` is how much
        the time between two answers differs from the time between their stamps (absolute, of
        consecutive answers), `rate_in_hz` and `rate_out_hz` pictures and answers a second of
        playback.
        """
        taken, published, heard = self._columns()
        answered = np.isfinite(heard)
        part = np.cumsum(np.diff(published, prepend=published[:1]) < -_JUMP_S)[answered]
        order = np.lexsort((heard[answered], part))
        is_next = np.diff(part[order]) == 0
        apart = np.diff(heard[answered][order]) - np.diff(taken[answered][order])
        return {
            "frames": len(heard),
            "answered": int(answered.sum()),
            "rate_in_hz": _rate(published),
            "rate_out_hz": _rate(heard[answered]),
            "latency_ms": distribution_ms((heard - taken)[answered]),
            "response_ms": distribution_ms((heard - published)[answered]),
            "jitter_ms": distribution_ms(np.abs(apart[is_next])),
            "playback_late_ms": distribution_ms(np.maximum(published - taken, 0.0)),
        }

    def _columns(self) -> NDArray[np.float64]:
        # A copy at once: an array that numpy reads from cannot grow, in another thread, meanwhile.
        count = len(self)
        seconds = np.frombuffer(self._seconds.tobytes(), np.float64)
        return np.asarray(seconds[: 3 * count].reshape(-1, 3).T)


def distribution_ms(seconds: NDArray[np.float64]) -> dict[str, float] | None:
    """Percentiles, mean and extremes in milliseconds; None of nothing."""
    if not seconds.size:
        return None
    milliseconds = 1000.0 * seconds
    values = np.percentile(milliseconds, PERCENTILES)
    result = {f"p{percent}": float(v) for percent, v in zip(PERCENTILES, values, strict=True)}
    result |= {"mean": float(milliseconds.mean()), "max": float(milliseconds.max())}
    return {name: round(value, 3) for name, value in result.items()}


def losses(played: int, answered: int, node: Mapping[str, int], again: int = 0) -> dict[str, int]:
    """Where the pictures that were not answered went.

    Args:
        played: pictures, each counted once.
        answered: those whose depth was received.
        node: the node's own counts: received, published, overwritten, stale, ...
        again: how often one of them was published once more, which the node counts too.

    Returns:
        `published_again`: `again`, which is neither played nor lost; `dropped`: a newer picture
        came before the node had time (newest wins); `stale`, `undecodable`, `failed` as the node
        says; `lost_before_node` and `lost_after_node`: gone in the middleware; `in_node`: the node
        had not said what became of them.
    """
    received = node.get("received", 0)
    ends = {name: node.get(name, 0) for name in FAILURES}
    dropped, published = node.get("overwritten", 0), node.get("published", 0)
    finished = published + dropped + node.get("not wanted", 0) + sum(ends.values())
    found = {
        "lost_after_node": max(published - answered, 0),
        "dropped": dropped,
        "in_node": max(received - finished, 0),
        **ends,
    }
    # A picture that came to the node twice had two ends, and is to have one here.
    twice = min(again, max(received - played, 0))
    for name, count in found.items():
        found[name] -= min(count, twice)
        twice -= min(count, twice)
    return {
        "played": played,
        "published_again": again,
        "answered": answered,
        "dropped": found["dropped"],
        **{name: found[name] for name in ends},
        "lost_before_node": max(played - received, 0),
        "lost_after_node": found["lost_after_node"],
        "in_node": found["in_node"],
    }


class LiveLosses:
    """Where pictures went that somebody else publishes, from the node's first report on.

    Numbers that belong together are taken at the node's reports: what comes after the last one is
    left out, as the node has not counted it yet.
    """

    def __init__(self) -> None:
        self._first: tuple[int, int, dict[str, int]] | None = None
        self._last: tuple[int, int, dict[str, int]] = (0, 0, {})
        self.troubles: list[str] = []

    def look(self, pictures: int, answers: int, node: Mapping[str, int]) -> None:
        """Take in a report of the node.

        Args:
            pictures: how many have come, to whoever watches.
            answers: how many depth images have come.
            node: the node's own counts; empty: it has no camera at the moment.
        """
        if not node:
            return
        received, before = node.get("received", 0), self._last[2].get("received", 0)
        if self._first is None and received == pictures:  # both have seen it from the beginning
            self._first = 0, 0, {}
        elif self._first is None or received < before:
            # Pictures that the node still has are among those that become something from now on.
            waiting = losses(0, 0, node)["in_node"]
            self._first = pictures - waiting, answers, {**node, "received": received - waiting}
        if received < before:
            self.troubles = ["the node began to count anew: its counts are those since then"]
        self._last = pictures, answers, dict(node)

    def summary(self) -> dict[str, int]:
        """See `losses`; empty without a report.

        Played are those that came, or as many as came to the node where these are more.
        """
        if self._first is None:
            return {}
        (pictures, answers, before), (all_pictures, all_answers, node) = self._first, self._last
        counts = {name: value - before.get(name, 0) for name, value in node.items()}
        played = max(all_pictures - pictures, counts.get("received", 0))
        return losses(played, all_answers - answers, counts)


def _rate(times_s: NDArray[np.float64]) -> float | None:
    """Per second of what passed, part by part where the clock went back."""
    between_s = np.diff(times_s)
    between_s = between_s[between_s >= -_JUMP_S]
    span_s = float(between_s.sum())
    return round(between_s.size / span_s, 3) if span_s > 0.0 else None
