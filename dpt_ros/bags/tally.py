"""What is counted while samples are made: how many, what was rejected and why, what to know."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.geometry.camera import Camera

_LISTED = 20
"""Cameras of a source that the manifest lists at most; every sample has its own besides."""


@dataclass
class Tally:
    """What was counted on the way.

    `rejected`: reason -> how often; `examples`: reason -> the first one's words; `points`: of the
    samples, how many were in the picture, hidden, in the body's boxes; `damage`: what of a
    recording is lost; `calibration`: camera and transform of the first sample; `cameras`: how many
    samples have each camera, in the order of their first.
    """

    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    points: Counter[str] = field(default_factory=Counter)
    calibration: dict[str, Any] = field(default_factory=dict)
    cameras: Counter[Camera] = field(default_factory=Counter)
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

    def note_calibration(
        self,
        camera: Camera,
        camera_frame: str,
        lidar_frame: str,
        transform_camera_lidar: NDArray[np.float64],
    ) -> None:
        """Keep the camera, the frames and the transform [4, 4] of the first sample."""
        self.calibration = {
            "camera": asdict(camera),
            "camera_frame": camera_frame,
            "lidar_frame": lidar_frame,
            "transform_camera_lidar": transform_camera_lidar.round(9).tolist(),
        }

    def count_camera(self, camera: Camera, stamp_ns: int) -> None:
        """Count a sample's camera; a recording in which it changes tells so once."""
        if self.cameras and camera not in self.cameras and len(self.cameras) == 1:
            (first,) = self.cameras
            changed = {
                name: f"{old} to {new}"
                for name, new in asdict(camera).items()
                if (old := asdict(first)[name]) != new
            }
            listed = ", ".join(f"{name} {values}" for name, values in changed.items())
            self.warn(
                f"camera_info changes within the recording, first at {stamp_ns / 1e9:.3f} s "
                f"({listed}): every picture has its own; a fit of metres takes one field of view"
            )
        self.cameras[camera] += 1

    @property
    def info(self) -> dict[str, Any]:
        """What a manifest says of it."""
        cameras = [{**asdict(camera), "samples": count} for camera, count in self.cameras.items()]
        several = {"cameras": cameras} if len(cameras) > 1 else {}
        calibration = json.dumps({**self.calibration, **several}, sort_keys=True)
        return {
            "calibration_sha256": hashlib.sha256(calibration.encode()).hexdigest(),
            "calibration": self.calibration,
            **{name: listed[:_LISTED] for name, listed in several.items()},
            "scans": self.scans_read,
            "points": dict(self.points),
            "rejected": dict(self.rejected),
            "examples": self.examples,
            "warnings": self.warnings,
            **({"damage": self.damage} if self.damage else {}),
        }
