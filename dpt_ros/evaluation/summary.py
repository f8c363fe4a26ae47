"""From the scores of frames to the figures of a recording: means, intervals, means by range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.evaluation.intervals import mean_intervals
from dpt_ros.evaluation.protocols import Protocol
from dpt_ros.evaluation.scoring import FrameScore
from dpt_ros.metrics import METRICS

_MAX_REMARKS = 8


@dataclass(frozen=True)
class RangeSummary:
    """One range bin: means over the frames that have pixels in it."""

    name: str
    frames: int
    pixels: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """All frames under one protocol and one alignment.

    `metrics` are means over the frames of what was measured in each; `intervals` are the ends of
    their 95 % bootstrap intervals. All are NaN when no frame was scored. `remarks` counts what was
    said of frames, with one example each.
    """

    protocol: str
    alignment: str
    frames: int
    unscored: int
    flat: int
    pixels: int
    coverage: float
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    ranges: list[RangeSummary]
    remarks: dict[str, tuple[int, str]]

    @property
    def why_not(self) -> str:
        """Why there are no figures; "" if there are."""
        if self.frames:
            return ""
        return next((example for _, example in self.remarks.values()), "no frame was scored")

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; what is not a number is None."""
        return {
            "protocol": self.protocol,
            "alignment": self.alignment,
            "frames": self.frames,
            "frames_unscored": self.unscored,
            "frames_taken_as_flat": self.flat,
            "pixels": self.pixels,
            "coverage": _plain(self.coverage),
            "metrics": {name: _plain(value) for name, value in self.metrics.items()},
            "share_above_1.25_percent": _plain(100.0 * (1.0 - self.metrics["delta1"])),
            "intervals_95": {
                name: [_plain(low), _plain(high)] for name, (low, high) in self.intervals.items()
            },
            "ranges": {
                item.name: {
                    "frames": item.frames,
                    "pixels": item.pixels,
                    "metrics": {name: _plain(value) for name, value in item.metrics.items()},
                }
                for item in self.ranges
            },
            "remarks": {
                text: {"frames": count, "example": example}
                for text, (count, example) in self.remarks.items()
            },
        }


def summarise(scores: Iterable[FrameScore], protocols: Sequence[Protocol]) -> list[Summary]:
    """Summarise frames, one summary for each protocol and alignment.

    The same scores give the same figures to the last digit, whatever order they come in.

    Args:
        scores: of one model; of any protocols and alignments.
        protocols: those that were used, in the order of the result; within one the alignments
            keep the order of their first score.
    """
    groups: dict[tuple[str, str], list[FrameScore]] = {}
    for score in scores:
        groups.setdefault((score.protocol, score.alignment), []).append(score)
    return [
        _summary(protocol, alignment, sorted(group, key=lambda score: score.frame))
        for protocol in protocols
        for (name, alignment), group in groups.items()
        if name == protocol.name
    ]


def _summary(protocol: Protocol, alignment: str, group: list[FrameScore]) -> Summary:
    values = [score.values for score in group if score.values is not None]
    pixels = [score.pixels for score in group if score.values is not None]
    shape = (len(protocol.ranges) + 1, len(METRICS))
    stacked = np.stack(values) if values else np.empty((0, *shape))
    counts = np.stack(pixels) if pixels else np.empty((0, shape[0]), np.int64)
    whole = stacked[:, 0]
    intervals = mean_intervals(whole).tolist()
    coverages = [score.coverage for score in group if score.values is not None]
    return Summary(
        protocol=protocol.name,
        alignment=alignment,
        frames=len(values),
        unscored=len(group) - len(values),
        flat=sum(score.scale == 0.0 for score in group),
        pixels=int(counts[:, 0].sum()),
        coverage=math.fsum(coverages) / len(coverages) if coverages else math.nan,
        metrics=_means(whole),
        intervals={n: (low, high) for n, (low, high) in zip(METRICS, intervals, strict=True)},
        ranges=[
            _range(name, stacked[:, index], counts[:, index])
            for index, name in enumerate(protocol.ranges, start=1)
        ],
        remarks=_remarks(group),
    )


def _range(name: str, values: NDArray[np.float64], counts: NDArray[np.int64]) -> RangeSummary:
    filled = counts > 0
    return RangeSummary(name, int(filled.sum()), int(counts.sum()), _means(values[filled]))


def _means(values: NDArray[np.float64]) -> dict[str, float]:
    means = values.mean(axis=0).tolist() if len(values) else [math.nan] * len(METRICS)
    return dict(zip(METRICS, means, strict=True))


def _remarks(group: Iterable[FrameScore]) -> dict[str, tuple[int, str]]:
    """Remarks by what stands before their colon: how many, and one of them."""
    remarks: dict[str, tuple[int, str]] = {}
    for score in group:
        if not score.remark:
            continue
        kind = score.remark.partition(":")[0]
        if kind not in remarks and len(remarks) >= _MAX_REMARKS:
            kind = "other remarks"
        count, example = remarks.get(kind, (0, score.remark))
        remarks[kind] = (count + 1, example)
    return remarks


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
