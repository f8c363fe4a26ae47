"""Where metres come from: a calibration file, the model's card, or nowhere.

A metre is only published when it is earned: by a calibration made with this model, these weights,
this network size and a camera of this view, or by a model that was trained on metres.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from dpt_ros.config import ConfigError
from dpt_ros.geometry.calibration import (
    Calibration,
    CalibrationError,
    check_calibration,
    load_calibration,
)
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.depth import DepthLimits
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.geometry.views import view_difference
from dpt_ros.model.cards import CALIBRATION_SUFFIX, cards_folder

if TYPE_CHECKING:
    from dpt_ros.inference.identity import ModelIdentity
    from dpt_ros.inference.predictor import DepthPredictor

BUNDLED = "bundled"
"""Stands for the calibration that comes with the model."""


@dataclasses.dataclass(frozen=True)
class MetresOfImage:
    """Scale and shift for one image, or why it has none."""

    scale_shift: ScaleShift | None = None
    why_not: str = ""


def find_calibration(text: str, model: str) -> Path:
    """The file that a user means.

    Args:
        text: a path, or "bundled".
        model: the model that runs.

    Raises:
        CalibrationError: "bundled", and none comes with this model; lists those with one.
    """
    if text != BUNDLED:
        return Path(text).expanduser()
    path = cards_folder() / f"{model}{CALIBRATION_SUFFIX}"
    if not path.is_file():
        found = cards_folder().glob(f"*{CALIBRATION_SUFFIX}")
        others = sorted(path.name.removesuffix(CALIBRATION_SUFFIX) for path in found)
        raise CalibrationError(
            f"calibration: got {BUNDLED!r}, but none comes with {model}, only with "
            f"{', '.join(others) or 'no model'}; make one with `dpt-ros fit`"
        )
    return path


class Metres:
    """Decides for each image whether its depth can be given in metres.

    Args:
        predictor: the model that is loaded, or what tells which it is.
        calibration_path: a calibration file, or "bundled" for the one that comes with the model;
            "" for none.

    Raises:
        CalibrationError: the file cannot be read, or belongs to another model or other weights.
    """

    def __init__(self, predictor: DepthPredictor | ModelIdentity, calibration_path: str) -> None:
        self._predictor = predictor
        self._path = calibration_path
        self._calibration: Calibration | None = None
        self._key: tuple[int, int, Camera | None] | None = None
        self._known = MetresOfImage()
        if calibration_path:
            path = find_calibration(calibration_path, predictor.model_name)
            self._calibration = load_calibration(path)
            size = (self._calibration.network_height, self._calibration.network_width)
            self._check(self._calibration, size)

    @property
    def source(self) -> str:
        """What makes depth metric, for people."""
        if self._calibration is not None:
            pair = self._calibration.scale_shift
            return f"{self._path} (scale {pair.scale:g}, shift {pair.shift:g})"
        pair_of_card = self._predictor.metric_scale_shift
        if pair_of_card is not None:
            return (
                f"the model's own (scale {pair_of_card.scale:g}, shift {pair_of_card.shift:g}; "
                "true for cameras like those it was trained with)"
            )
        return "none"

    @property
    def needs_camera(self) -> bool:
        """Whether metres are given for images of a known camera only."""
        return self._calibration is not None and self._calibration.camera is not None

    def limits(self, limits: DepthLimits) -> DepthLimits:
        """`limits`, within the range for which the calibration holds.

        At both ends: nearer than what it was fitted on, a metre is not earned either, and -Inf
        still says that something is there.

        Raises:
            ConfigError: no depth is left.
        """
        if self._calibration is None:
            return limits
        held_near_m, held_far_m = self._calibration.near_m, self._calibration.far_m
        near_m, far_m = max(held_near_m, limits.near_m), min(held_far_m, limits.far_m)
        if near_m >= far_m:
            raise ConfigError(
                f"depth.near_m {limits.near_m:g} to depth.far_m {limits.far_m:g} lies outside "
                f"of the calibration's range, {held_near_m:g} to {held_far_m:g} m"
            )
        return DepthLimits(near_m, far_m)

    def limits_in_force(self, limits: DepthLimits) -> str:
        """`limits` narrowed as by `limits()`, for people, and which ends the calibration set.

        Raises:
            ConfigError: no depth is left.
        """
        held = self.limits(limits)
        text = f"{held.near_m:.4g} to {held.far_m:.4g} m"
        if held == limits:
            return text
        if held.near_m != limits.near_m and held.far_m != limits.far_m:
            return f"{text} (calibration)"
        return f"{text} ({'near' if held.near_m != limits.near_m else 'far'}: calibration)"

    def of_image(self, width: int, height: int, camera: Camera | None) -> MetresOfImage:
        """Scale and shift for an image of `width` x `height` pixels, seen by `camera`."""
        key = (width, height, camera)
        if key != self._key:
            self._known = self._decide(width, height, camera)
            self._key = key
        return self._known

    def _decide(self, width: int, height: int, camera: Camera | None) -> MetresOfImage:
        calibration = self._calibration
        if calibration is None:
            scale_shift = self._predictor.metric_scale_shift
            if scale_shift is None:
                return MetresOfImage(
                    why_not=f"{self._predictor.model_name} gives relative inverse depth; metres "
                    "take a calibration (the node's parameter, the commands' --calibration)"
                )
            return MetresOfImage(scale_shift)
        try:
            self._check(calibration, self._predictor.network_size(height, width))
        except CalibrationError as error:
            return MetresOfImage(why_not=str(error))
        if calibration.camera is not None:
            if camera is None:
                return MetresOfImage(
                    why_not=f"{self._path}: was made for one camera, and this image's is not known"
                )
            difference = view_difference(calibration.camera, camera)
            if difference:
                return MetresOfImage(
                    why_not=f"{self._path}: was made with another camera: {difference}; fit a "
                    "calibration for this camera"
                )
        return MetresOfImage(calibration.scale_shift)

    def _check(self, calibration: Calibration, network_size: tuple[int, int]) -> None:
        try:
            check_calibration(
                calibration,
                model=self._predictor.model_name,
                checkpoint_sha256=self._predictor.checkpoint_sha256,
                network_size=network_size,
            )
        except CalibrationError as error:
            raise CalibrationError(f"{self._path}: {error}") from error
