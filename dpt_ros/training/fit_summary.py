"""A fit told in plain values: what stands under `fit:` in the calibration, and the JSON."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dpt_ros import __version__
from dpt_ros.config import values_of
from dpt_ros.geometry.fit import INLIER_SIGMAS
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.training.fit_lines import CONFIDENCE
from dpt_ros.training.fit_quality import FrameFit, Quality

if TYPE_CHECKING:
    from dpt_ros.training.fit import Alternative, FitResult

WHAT_WEIGHTING = {
    "relative": "residuals relative to the truth: 10 % count alike near and far",
    "uniform": "residuals in 1/m: what is near counts most",
}

_FEW_INLIERS = 0.6
_WIDE_SPREAD = 0.3
_DRIFT = 0.15
_FEW_FRAMES = 20
_FEW_RIGHT = 2.0 / 3.0
_FEW_OF_ALL = 0.002
_BETTER = 0.8
_LISTED = 50


def summarise(result: FitResult) -> dict[str, Any]:
    """What the calibration says of the fit: plain YAML values, lengths bounded."""
    lines = result.lines
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "method": result.settings.method,
        "weighting": f"{result.settings.weighting}: {WHAT_WEIGHTING[result.settings.weighting]}",
        "written": f"{result.which}: {result.why_written}",
        "joint": {"scale": _digits(lines.joint.slope), "shift": _digits(lines.joint.intercept)},
        "average_of_frames": _pair(lines.average),
        f"interval_{CONFIDENCE:.0%}".replace("%", "_percent"): {
            "scale": [_digits(value) for value in result.intervals[0]],
            "shift": [_digits(value) for value in result.intervals[1]],
            "from": f"{result.settings.resamples} resamples of {result.training.frames} frames",
        },
        "inlier_share": _digits(lines.inlier_share),
        "sigma": _digits(lines.joint.sigma),
        "inlier": f"within {INLIER_SIGMAS:g} sigma, {_unit(result)}",
        "training": _quality(result.training),
        "held_out": _quality(result.held_out) if result.held_out else None,
        "abs_rel_of_one_depth_for_all": _digits(result.constant[1]),
        "held_out_sources": result.held_out_sources[:_LISTED],
        "why_nothing_is_held_out": result.why_not_held_out,
        "per_frame": _spread(result.frames),
        "frames_left_out": {reason: len(ids) for reason, ids in result.left_out.items()},
        "truth": {
            "near_m": _digits(result.near_m),
            "far_m": _digits(result.far_m),
            "dense": result.is_dense,
        },
        "cameras": result.view.cameras,
        "data_set_sha256": result.fingerprint,
        "settings": values_of(result.settings),
        "remarks": remarks(result),
    }


def as_json(result: FitResult) -> dict[str, Any]:
    """The whole result as JSON can hold it, every frame included."""
    calibration = result.calibration
    return {
        "scale": calibration.scale_shift.scale,
        "shift": calibration.scale_shift.shift,
        "model": calibration.model,
        "checkpoint_sha256": calibration.checkpoint_sha256,
        "network_height": calibration.network_height,
        "network_width": calibration.network_width,
        "near_m": calibration.near_m,
        "far_m": calibration.far_m,
        "camera": dataclasses.asdict(result.view.camera),
        "fit": dict(calibration.fit),
        "frames": [_frame(entry) for entry in result.frames],
        "left_out": result.left_out,
        "alternatives": [_alternative(alternative) for alternative in result.alternatives],
    }


def remarks(result: FitResult) -> list[str]:
    """What should be known before the calibration is trusted."""
    said: list[str] = []
    if result.why_not_held_out:
        said.append(
            f"Nothing was held out: {result.why_not_held_out}. All errors are on the frames that "
            "were fitted; expect larger ones elsewhere."
        )
    if result.training.frames < _FEW_FRAMES:
        said.append(
            f"Frames fitted: only {result.training.frames}. Intervals from so few are too narrow; "
            "record more places."
        )
    if result.lines.inlier_share < _FEW_INLIERS:
        said.append(
            f"Only {result.lines.inlier_share:.0%} of the points are inliers: one scale and shift "
            "does not describe this network here."
        )
    abs_rel = result.training.metrics["abs_rel"]
    if abs_rel >= result.constant[1]:
        said.append(
            f"AbsRel is {abs_rel:.3f}, and {result.constant[1]:.3f} if every pixel is said to be "
            f"{result.constant[0]:.2f} m away: depth in metres from this calibration is of no use."
        )
    said += _poor_ranges(result)
    known = [choice for choice in result.alternatives if isinstance(choice.fit, ScaleShift)]
    best = min(known, key=lambda choice: choice.training_abs_rel)
    if best.training_abs_rel < _BETTER * abs_rel:
        said.append(
            f"Another way of fitting has a smaller error on the same frames ({best.name}: AbsRel "
            f"{best.training_abs_rel:.3f}, written: {abs_rel:.3f})."
        )
    spread = frame_spread(result.frames)
    if spread and spread.relative > _WIDE_SPREAD:
        said.append(
            f"The scale of single frames differs by {spread.relative:.0%} (half of 16 % to 84 %, "
            "by the median): metres of single frames will be off by about as much."
        )
    if spread and abs(spread.drift) > _DRIFT:
        said.append(
            f"The scale of single frames changes by {spread.drift:+.0%} from the first to the last "
            "third of the time: the scene decides it."
        )
    average = result.lines.average
    unfitted = sum(isinstance(entry.own, str) for entry in result.frames)
    if average is None:
        said.append("Not one frame could be fitted by itself: there is no average of frames.")
    elif unfitted:
        said.append(f"{unfitted} of {len(result.frames)} frames cannot be fitted by themselves.")
    if result.view.cameras > 1:
        said.append(
            f"There are {result.view.cameras} cameras with nearly the same field of view; the "
            "most frequent one is written."
        )
    for reason, ids in result.left_out.items():
        said.append(f"{len(ids)} frames were left out, {ids[0]} first: {reason}.")
    return said


def _poor_ranges(result: FitResult) -> list[str]:
    """At which ends of the depths fitted to the calibration is not to be trusted, and what to do.

    Judged by what was held out where that is; ranges of a few points say nothing.
    """
    quality = result.held_out or result.training
    rows = [row for row in quality.by_range if row.points >= _FEW_OF_ALL * quality.points]
    if all(row.delta1 < _FEW_RIGHT for row in rows):
        return []  # not a matter of range; AbsRel tells
    said = []
    for option, ends in (("far", list(reversed(rows))), ("near", rows)):
        poor = list(itertools.takewhile(lambda row: row.delta1 < _FEW_RIGHT, ends))
        if not poor:
            continue
        last = poor[-1]
        where, limit_m = ("Beyond", last.near_m) if option == "far" else ("Below", last.far_m)
        points = sum(row.points for row in poor)
        wrong = 1.0 - sum(row.delta1 * row.points for row in poor) / points
        said.append(
            f"{where} {limit_m:g} m {wrong:.0%} of the points are off by more than 25 % (by "
            f"{last.bias:+.0%} in the median between {last.near_m:g} and {last.far_m:g} m): "
            f"fit with --{option}-m {limit_m:g}, and no metres are published there, or fine-tune."
        )
    return said


@dataclasses.dataclass(frozen=True)
class FrameSpread:
    """How the fits to single frames differ.

    Attributes:
        scale: 5th, 50th and 95th percentile.
        shift: likewise, in 1/m.
        relative: half of the 16th to 84th percentile of the scale, by its median.
        drift: relative change of the scale's median from the first to the last third in time,
            the mean over sources.
    """

    scale: tuple[float, float, float]
    shift: tuple[float, float, float]
    relative: float
    drift: float


def frame_spread(frames: Sequence[FrameFit]) -> FrameSpread | None:
    """None where no frame could be fitted by itself."""
    fits = [(entry, entry.own) for entry in frames if isinstance(entry.own, ScaleShift)]
    if not fits:
        return None
    scales = np.array([fit.scale for _, fit in fits])
    low, middle, high = np.percentile(scales, (16.0, 50.0, 84.0)).tolist()
    drifts = []
    for source in {entry.source for entry, _ in fits}:
        of_source = sorted((e.stamp_ns, fit.scale) for e, fit in fits if e.source == source)
        third = len(of_source) // 3
        if third >= 3:
            first, last = (
                float(np.median([scale for _, scale in part]))
                for part in (of_source[:third], of_source[-third:])
            )
            drifts.append(last / first - 1.0)
    return FrameSpread(
        scale=_percentiles(scales.tolist()),
        shift=_percentiles([fit.shift for _, fit in fits]),
        relative=0.5 * (high - low) / middle,
        drift=math.fsum(drifts) / len(drifts) if drifts else 0.0,
    )


def _percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, (5.0, 50.0, 95.0)).tolist()
    return low, middle, high


def _spread(frames: Sequence[FrameFit]) -> dict[str, Any] | None:
    spread = frame_spread(frames)
    if spread is None:
        return None
    names = ("low_5_percent", "median", "high_95_percent")
    sources = sorted({entry.source for entry in frames})
    return {
        "scale": dict(zip(names, map(_digits, spread.scale), strict=True)),
        "shift": dict(zip(names, map(_digits, spread.shift), strict=True)),
        "scale_spread": _digits(spread.relative),
        "scale_drift_over_time": _digits(spread.drift),
        "by_source": {source: _of_source(frames, source) for source in sources[:_LISTED]},
    }


def _of_source(frames: Sequence[FrameFit], source: str) -> dict[str, Any]:
    entries = [entry for entry in frames if entry.source == source]
    fits = [entry.own for entry in entries if isinstance(entry.own, ScaleShift)]
    return {
        "frames": len(entries),
        "fitted_by_themselves": len(fits),
        "scale": _digits(float(np.median([fit.scale for fit in fits]))) if fits else None,
        "shift": _digits(float(np.median([fit.shift for fit in fits]))) if fits else None,
        "abs_rel": _digits(float(np.mean([entry.abs_rel for entry in entries]))),
        "held_out": entries[0].is_held_out,
    }


def _quality(quality: Quality) -> dict[str, Any]:
    return {
        "frames": quality.frames,
        "points": quality.points,
        **{name: _digits(value) for name, value in quality.metrics.items()},
        "abs_rel_fitted_per_frame": _digits(quality.own_abs_rel),
        "by_range": [
            {field: _digits(value) for field, value in dataclasses.asdict(row).items()}
            for row in quality.by_range
        ],
    }


def _frame(entry: FrameFit) -> dict[str, Any]:
    own = entry.own
    return {
        "id": entry.id,
        "source": entry.source,
        "stamp_ns": entry.stamp_ns,
        "held_out": entry.is_held_out,
        "points": entry.points,
        "scale": own.scale if isinstance(own, ScaleShift) else None,
        "shift": own.shift if isinstance(own, ScaleShift) else None,
        "why_not_fitted": own if isinstance(own, str) else "",
        "abs_rel": entry.abs_rel,
        "abs_rel_fitted_per_frame": None if math.isnan(entry.own_abs_rel) else entry.own_abs_rel,
    }


def _alternative(alternative: Alternative) -> dict[str, Any]:
    fit = alternative.fit
    return {
        "name": alternative.name,
        "scale": fit.scale if isinstance(fit, ScaleShift) else None,
        "shift": fit.shift if isinstance(fit, ScaleShift) else None,
        "why_not_fitted": fit if isinstance(fit, str) else "",
        "training_abs_rel": _digits(alternative.training_abs_rel),
        "held_out_abs_rel": _digits(alternative.held_out_abs_rel),
    }


def _pair(fit: ScaleShift | None) -> dict[str, Any] | None:
    return None if fit is None else {"scale": _digits(fit.scale), "shift": _digits(fit.shift)}


def _unit(result: FitResult) -> str:
    return "relative to the truth" if result.settings.weighting == "relative" else "in 1/m"


def _digits(value: float) -> Any:
    """Five digits; None for what is not a number."""
    if isinstance(value, int):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None
