"""What the depth node says of itself in /diagnostics, as values; and its times over a while."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticArray

Reports = Mapping[str, Mapping[str, str]]
"""The newest diagnostics: status -> key -> value."""

_FRAMES = " frames"


def reports_of(message: DiagnosticArray) -> dict[str, dict[str, str]]:
    """The statuses of a message by name; each also has its `message`."""
    return {
        status.name: {"message": status.message, **{pair.key: pair.value for pair in status.values}}
        for status in message.status
    }


def camera_report(reports: Reports) -> dict[str, str]:
    """What the node says of its camera; empty while it has not."""
    return _ending_in(": camera", reports)


def network_report(reports: Reports) -> dict[str, str]:
    """What the node says of its network; empty while it has not."""
    return _ending_in(": network", reports)


def frame_counts(camera: Mapping[str, str]) -> dict[str, int]:
    """The counts of frames (names of `statistics.COUNTS`) in a report about a camera."""
    return {
        key.removesuffix(_FRAMES): int(value)
        for key, value in camera.items()
        if key.endswith(_FRAMES)
    }


class StageTimes:
    """The node's own times over a whole replay: it reports those of its last seconds."""

    def __init__(self) -> None:
        self._reports: dict[str, dict[str, float]] = {}

    def look(self, camera: Mapping[str, str]) -> None:
        """Take in a report about the camera; the same one again changes nothing."""
        self._reports[camera.get("published frames", "0")] = {
            key.removesuffix(" ms"): float(value)
            for key, value in camera.items()
            if key.endswith(" ms") and not key.startswith("latency") and value != "none"
        }

    def medians(self) -> dict[str, float]:
        """Median over the reports of each time; the first one, warming up, if there is no other."""
        reports = [report for report in self._reports.values() if report]
        reports = reports[1:] or reports
        names = sorted({name for report in reports for name in report})
        return {
            name: round(statistics.median(r[name] for r in reports if name in r), 3)
            for name in names
        }


def _ending_in(suffix: str, reports: Reports) -> dict[str, str]:
    return next((dict(values) for name, values in reports.items() if name.endswith(suffix)), {})
