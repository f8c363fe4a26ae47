"""What is counted while samples are made: how many, what was rejected and why, what to know."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """What was counted on the way.

    `rejected`: reason -> how often; `examples`: reason -> the first one's words; `points`: of the
    samples, how many were in the picture, hidden, in the body's boxes; `damage`: where a recording
    breaks off; `calibration`: camera and transform of the first sample.
    """

    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    points: Counter[str] = field(default_factory=Counter)
    calibration: dict[str, Any] = field(default_factory=dict)
    damage: str = ""
    samples: int = 0
    scans_read: int = 0
    scans_total: int = 0

    def reject(self, reason: str, example: str = "") -> None:
        """Count something that gave no sample."""
        self.rejected[reason] += 1
        if example:
            self.examples.setdefault(reason, example)

    def warn(self, text: str) -> None:
        """Tell something once."""
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def info(self) -> dict[str, Any]:
        """What a manifest says of it."""
        calibration = json.dumps(self.calibration, sort_keys=True)
        return {
            "calibration_sha256": hashlib.sha256(calibration.encode()).hexdigest(),
            "calibration": self.calibration,
            "scans": self.scans_read,
            "points": dict(self.points),
            "rejected": dict(self.rejected),
            "examples": self.examples,
            "warnings": self.warnings,
            **({"damage": self.damage} if self.damage else {}),
        }
