"""The results as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from dpt_ros import __version__
from dpt_ros.evaluation.models import EvaluatedModel
from dpt_ros.evaluation.protocols import MIN_DEPTH_M
from dpt_ros.evaluation.recordings import Recording
from dpt_ros.evaluation.run import Evaluation
from dpt_ros.metrics import METRICS

FORMAT = "dpt_ros/evaluation/1"


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything that was found out, as plain values: the same for the same evaluation."""
    models = [result.model for result in evaluation.results]
    return {
        "format": FORMAT,
        "versions": versions(),
        **identity(evaluation.recordings, models),
        "samples": {str(r.path): r.samples for r in evaluation.recordings},
        "protocols": {
            protocol.name: {
                "meaning": protocol.meaning,
                "depth_m": [MIN_DEPTH_M, protocol.cap_m],
                "range_edges_m": list(protocol.edges_m),
            }
            for protocol in evaluation.plan.protocols
        },
        "alignments": list(evaluation.plan.alignments),
        "results": [
            {"model": result.model.label, **summary.to_json()}
            for result in evaluation.results
            for summary in result.summaries
        ],
        "failures": {
            result.model.label: result.model.failures
            for result in evaluation.results
            if result.model.failures
        },
        "unreadable": evaluation.unreadable,
    }


def identity(recordings: Sequence[Recording], models: Sequence[EvaluatedModel]) -> dict[str, Any]:
    """What was evaluated on what."""
    return {
        "inputs": [
            {
                "path": str(recording.path),
                "fingerprint": recording.dataset.fingerprint,
                "frames": len(recording.dataset),
                "frames_with_truth": sum(bool(r.points) for r in recording.dataset.records),
                "rejected": dict(recording.rejected),
                "warnings": list(recording.warnings),
            }
            for recording in recordings
        ],
        "models": [{"label": model.label, **model.description} for model in models],
    }


def versions() -> dict[str, str]:
    """What computed it."""
    return {
        "dpt_ros": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def summary_csv(evaluation: Evaluation) -> str:
    """One line for each model, protocol, alignment and range; the range "all" is the image."""
    head = ["model", "protocol", "alignment", "range", "frames", "pixels", *METRICS]
    head += [f"{name}_{end}" for name in METRICS for end in ("low", "high")]
    lines: list[list[Any]] = []
    for result in evaluation.results:
        for s in result.summaries:
            names = [result.model.label, s.protocol, s.alignment]
            ends = [value for name in METRICS for value in s.intervals[name]]
            lines.append([*names, "all", s.frames, s.pixels, *_numbers(s.metrics, ends)])
            nothing = [math.nan] * len(ends)
            for r in s.ranges:
                lines.append([*names, r.name, r.frames, r.pixels, *_numbers(r.metrics, nothing)])
    return _csv(head, lines)


def frames_csv(evaluation: Evaluation) -> str:
    """One line for each frame, model, protocol and alignment."""
    head = ["frame", "model", "protocol", "alignment", "pixels", "coverage", "scale", "shift"]
    lines = [
        [
            score.frame,
            result.model.label,
            score.protocol,
            score.alignment,
            int(score.pixels[0]),
            *_numbers(score.metrics, [score.coverage, score.scale, score.shift], is_last=True),
            score.remark,
        ]
        for result in evaluation.results
        for score in result.scores
    ]
    return _csv([*head, *METRICS, "remark"], lines)


def _numbers(
    metrics: Mapping[str, float], others: Sequence[float], is_last: bool = False
) -> list[str]:
    values = [metrics[name] for name in METRICS]
    listed = [*others, *values] if is_last else [*values, *others]
    return [repr(float(value)) if math.isfinite(value) else "" for value in listed]


def _csv(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return text.getvalue()
