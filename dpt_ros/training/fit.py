"""Scale and shift of a network for a data set: the calibration, with the evidence for it.

The network stays as it is. Each frame is fitted by itself and the fits are averaged (Ranftl et al.,
DPT, ICCV 2021, section 4.1); one line is fitted to the points of all frames together. Resampled
frames give the intervals, and sources that took no part judge the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dpt_ros.bags.dataset import Dataset
from dpt_ros.config import ConfigError
from dpt_ros.geometry.calibration import Calibration
from dpt_ros.geometry.fit import FitError
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor
from dpt_ros.training.fit_lines import Intervals, Lines, fit_lines
from dpt_ros.training.fit_pairs import (
    Collected,
    FramePairs,
    Progress,
    View,
    collect_pairs,
    find_view,
)
from dpt_ros.training.fit_quality import (
    FrameFit,
    Quality,
    best_constant,
    frame_fits,
    mean_abs_rel,
    measure,
)
from dpt_ros.training.fit_settings import FitSettings
from dpt_ros.training.fit_summary import summarise
from dpt_ros.training.split import (
    Split,
    folder_named,
    is_share,
    known_names,
    names_in,
    split_sources,
)

RANGE_PERCENT = (0.1, 99.9)
"""Percentiles of the true depths fitted on between which the calibration holds.

Not the ends themselves, which single wrong points of a sensor set; and nothing beyond, where no
metre was measured.
"""


@dataclass(frozen=True)
class Alternative:
    """A scale and shift that could have been written, or why there is none, and its AbsRel."""

    name: str
    fit: ScaleShift | str
    training_abs_rel: float
    held_out_abs_rel: float


@dataclass(frozen=True)
class FitResult:
    """A calibration and what it rests on.

    Attributes:
        calibration: what the node loads; `fit_summary.summarise` makes its `fit`.
        settings: what was asked for.
        lines: everything that was fitted.
        which: "joint" or "average": which of them is the calibration's.
        why_written: why that one.
        view: the camera and the network's size.
        frames: one entry for every frame used, training frames first, each part in order of time.
        training: errors on the frames fitted to.
        held_out: errors on the frames held out; None where nothing is.
        constant: the best single depth in metres for all points fitted to, and its AbsRel.
        why_not_held_out: why nothing is held out; "" where something is.
        held_out_sources: what was held out.
        alternatives: AbsRel, on the frames fitted to and on those held out (NaN where none are),
            of the joint fit by every method and of the average of frames.
        pairs: the points fitted to, for plots.
        left_out: ids of the frames that could not be used, by the reason why.
        near_m: nearest truth fitted to (`RANGE_PERCENT`): nothing nearer is published.
        far_m: farthest truth fitted to: nothing beyond is published.
        is_dense: whether nearly every pixel has truth.
        fingerprint: SHA-256 of the data set's list of samples.
    """

    calibration: Calibration
    settings: FitSettings
    lines: Lines
    which: str
    why_written: str
    view: View
    frames: list[FrameFit]
    training: Quality
    held_out: Quality | None
    constant: tuple[float, float]
    why_not_held_out: str
    held_out_sources: list[str]
    alternatives: list[Alternative]
    pairs: list[FramePairs]
    left_out: dict[str, list[str]]
    near_m: float
    far_m: float
    is_dense: bool
    fingerprint: str

    @property
    def written(self) -> ScaleShift:
        """The calibration's scale and shift."""
        return self.calibration.scale_shift

    @property
    def intervals(self) -> Intervals:
        """95 % intervals of the written scale and of the written shift."""
        average = self.lines.average_interval
        return average if self.which == "average" and average else self.lines.joint_interval


def fit_dataset(
    predictor: DepthPredictor,
    dataset: Dataset,
    settings: FitSettings | None = None,
    progress: Progress = iter,
    *,
    split: Split | None = None,
) -> FitResult:
    """Fit scale and shift of the predictor's network to a data set.

    Args:
        predictor: the network as it will run: weights from a file, size of its input.
        dataset: pictures with depth, of one camera.
        settings: None: the defaults.
        progress: wraps the frames, to show how far it is.
        split: what of it is fitted to, and what judges that; None: as the settings say.

    Raises:
        FitError: what cannot be fitted, with what to record instead.
        ConfigError, DatasetError: sources that there are not.
        CalibrationError: weights that come from no file, and so have no SHA-256.
    """
    settings = settings or FitSettings()
    frames = _frames(predictor, dataset, settings, progress, split)
    lines = fit_lines(frames.training, frames.held_out, settings)
    result = _judged(predictor, frames, lines, settings)
    _check_better_than_constant(result)
    fit = {**summarise(result), "device": str(predictor.device), "precision": predictor.precision}
    return replace(result, calibration=replace(result.calibration, fit=fit))


def used_sources(dataset: Dataset, settings: FitSettings) -> Dataset:
    """The sources of a data set that the settings ask for: to fit, or to hold out by name.

    Raises:
        DatasetError: sources to fit to that there are not.
        ConfigError: sources to hold out that there are not, or that leave none to fit; no name.
    """
    if not settings.sources:
        return dataset
    chosen = names_in(settings.sources)
    if not chosen:
        raise ConfigError(
            f"sources: got {settings.sources!r}, expected sources separated by commas; without "
            "--sources all are taken"
        )
    fitted = dataset.select(chosen)
    if is_share(settings.hold_out, [dataset]) or folder_named(settings.hold_out, [dataset]):
        return fitted
    held_out = known_names(settings.hold_out, [dataset], "hold-out")
    if all(name in held_out for name in chosen):
        raise ConfigError(
            f"both to be fitted and held out: {', '.join(chosen)}; nothing is left to fit: name "
            "other sources with --sources or with --hold-out"
        )
    return dataset.select(list(dict.fromkeys([*chosen, *held_out])))


@dataclass(frozen=True)
class _Frames:
    """What is fitted, what judges the fit, and what could not be used."""

    view: View
    training: list[FramePairs]
    held_out: list[FramePairs]
    held_out_sources: list[str]
    why_not_held_out: str
    left_out: dict[str, list[str]]
    is_dense: bool
    fingerprint: str


def _frames(
    predictor: DepthPredictor,
    dataset: Dataset,
    settings: FitSettings,
    progress: Progress,
    split: Split | None,
) -> _Frames:
    dataset = used_sources(dataset, settings)
    if not len(dataset):
        raise FitError(
            "the data set has no sample: look at what its manifest says was rejected and why"
        )
    is_by_name = split is not None or not is_share(settings.hold_out, [dataset])
    split = split or split_sources([dataset], settings.hold_out, settings.seed, option="hold-out")
    view = _view(predictor, split, is_by_name=is_by_name)
    training = collect_pairs(predictor, split.training, settings, progress)
    _check_frames(training, settings)
    held_out = Collected()
    why_not_held_out = split.why_no_validation
    if split.validation:
        held_out = collect_pairs(predictor, split.validation, settings, progress)
        why_not_held_out = "" if held_out.frames else "no frame of the sources could be used"
    reasons = {**training.left_out, **held_out.left_out}
    return _Frames(
        view=view,
        training=training.frames,
        held_out=held_out.frames,
        held_out_sources=sorted({r.source for part in split.validation for r in part.records}),
        why_not_held_out=why_not_held_out,
        left_out={
            reason: [*training.left_out.get(reason, []), *held_out.left_out.get(reason, [])]
            for reason in reasons
        },
        is_dense=dataset.dense,
        fingerprint=dataset.fingerprint,
    )


def _view(predictor: DepthPredictor, split: Split, *, is_by_name: bool) -> View:
    """The view of what is fitted and held out; what a share holds out could be fitted as well."""
    fitted = [record for data in split.training for record in data.records]
    held_out = [record for data in split.validation for record in data.records]
    if is_by_name:
        return find_view(predictor, fitted, held_out)
    return find_view(predictor, [*fitted, *held_out])


def _judged(
    predictor: DepthPredictor, frames: _Frames, lines: Lines, settings: FitSettings
) -> FitResult:
    name, written, why = _choose(lines, frames.training, settings)
    training = frame_fits(frames.training, lines.of_frames, written, settings, is_held_out=False)
    held_out = frame_fits(frames.held_out, lines.of_held_out, written, settings, is_held_out=True)
    truth_m = np.concatenate([frame.truth_m for frame in frames.training])
    near_m, far_m = np.percentile(truth_m, RANGE_PERCENT).tolist()
    judged = measure(frames.held_out, held_out, written, settings) if held_out else None
    return FitResult(
        calibration=_calibration(predictor, frames.view, written, near_m, far_m),
        settings=settings,
        lines=lines,
        which=name,
        why_written=why,
        view=frames.view,
        frames=[*training, *held_out],
        training=measure(frames.training, training, written, settings),
        held_out=judged,
        constant=best_constant(frames.training),
        why_not_held_out=frames.why_not_held_out,
        held_out_sources=frames.held_out_sources,
        alternatives=_alternatives(lines, frames.training, frames.held_out, settings),
        pairs=frames.training,
        left_out=frames.left_out,
        near_m=near_m,
        far_m=far_m,
        is_dense=frames.is_dense,
        fingerprint=frames.fingerprint,
    )


def _choose(
    lines: Lines, training: Sequence[FramePairs], settings: FitSettings
) -> tuple[str, ScaleShift, str]:
    """Name, scale and shift of what is written, and why it is."""
    joint, average = ScaleShift(lines.joint.slope, lines.joint.intercept), lines.average
    if settings.write == "average" and average is None:
        raise FitError("not one frame can be fitted by itself: there is no average to write")
    if average is None:
        return "joint", joint, "no frame can be fitted by itself"
    if settings.write != "best":
        return settings.write, {"joint": joint, "average": average}[settings.write], "asked for"
    errors = [mean_abs_rel(training, fit, settings) for fit in (joint, average)]
    why = (
        f"on the frames fitted to AbsRel is {errors[0]:.4f} with the joint fit and {errors[1]:.4f} "
        "with the average of frames"
    )
    return ("joint", joint, why) if errors[0] <= errors[1] else ("average", average, why)


def _calibration(
    predictor: DepthPredictor, view: View, written: ScaleShift, near_m: float, far_m: float
) -> Calibration:
    return Calibration(
        scale_shift=written,
        model=predictor.model_name,
        checkpoint_sha256=predictor.checkpoint_sha256,
        network_height=view.network_size[0],
        network_width=view.network_size[1],
        camera=view.camera,
        near_m=near_m,
        far_m=far_m,
    )


def _check_frames(collected: Collected, settings: FitSettings) -> None:
    count = len(collected.frames)
    if count >= settings.min_frames:
        return
    left_out = collected.left_out.items()
    reasons = "; ".join(f"{len(ids)} left out: {reason}" for reason, ids in left_out)
    raise FitError(
        f"got {count} frames to fit, expected at least {settings.min_frames}"
        f"{f' ({reasons})' if reasons else ''}: record longer, with the range sensor's points in "
        "the picture"
    )


def _check_better_than_constant(result: FitResult) -> None:
    depth_m, constant_abs_rel = result.constant
    best = min(result.alternatives, key=lambda choice: _or_infinity(choice.training_abs_rel))
    if best.training_abs_rel >= constant_abs_rel:
        raise FitError(
            f"AbsRel is {best.training_abs_rel:.3f} at best ({best.name}), and "
            f"{constant_abs_rel:.3f} if every pixel is said to be {depth_m:.2f} m away: the "
            "prediction adds nothing; take a trained model, check that pictures and truth belong "
            "together, and look at the data set's overlays"
        )


def _or_infinity(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _alternatives(
    lines: Lines,
    training: Sequence[FramePairs],
    held_out: Sequence[FramePairs],
    settings: FitSettings,
) -> list[Alternative]:
    fits: dict[str, ScaleShift | str] = {f"joint, {k}": fit for k, fit in lines.by_method.items()}
    fits[f"average of frames, {settings.method}"] = lines.average or "no frame can be fitted"
    return [
        Alternative(
            name,
            fit,
            math.nan if isinstance(fit, str) else mean_abs_rel(training, fit, settings),
            math.nan if isinstance(fit, str) else mean_abs_rel(held_out, fit, settings),
        )
        for name, fit in fits.items()
    ]
