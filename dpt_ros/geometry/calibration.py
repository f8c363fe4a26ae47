"""The calibration file: which scale and shift make a model's output metres, and how they came."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dpt_ros.config import ConfigError, load_yaml, unknown_key_message
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.depth import DepthLimits
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.whole_file import write_whole

FORMAT = "dpt_ros/calibration/1"

_TOP_KEYS = {
    "format": str,
    "model": str,
    "checkpoint_sha256": str,
    "network_height": int,
    "network_width": int,
    "scale": float,
    "shift": float,
    "near_m": float,
    "far_m": float,
    "camera": Mapping,
    "fit": Mapping,
}
_CAMERA_KEYS = {
    "width": int,
    "height": int,
    "fx_px": float,
    "fy_px": float,
    "cx_px": float,
    "cy_px": float,
    "distortion_model": str,
    "distortion": list,
}
_OPTIONAL_KEYS = {"camera", "fit", "distortion_model", "distortion"}


class CalibrationError(ValueError):
    """A calibration that can't be read, is wrong, or was made for something else."""


@dataclass(frozen=True)
class Calibration:
    """What makes one model's inverse depth metric, for one network size.

    Args:
        scale_shift: inverse depth to 1/m.
        model: name of the model it was fitted with.
        checkpoint_sha256: SHA-256 of that model's weights file, 64 hexadecimal digits.
        network_height, network_width: size of the network's input in pixels.
        camera: the camera it was fitted with, or None if that is not known.
        near_m, far_m: the range of depths it was fitted on.
        fit: how it was fitted (method, samples, errors, date ...), plain YAML values.

    Raises:
        CalibrationError: a scale that is not positive, or a size, hash or range that can't be.
    """

    scale_shift: ScaleShift
    model: str
    checkpoint_sha256: str
    network_height: int
    network_width: int
    camera: Camera | None
    near_m: float
    far_m: float
    fit: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.scale_shift.scale > 0.0:
            raise CalibrationError(
                f"scale: got {self.scale_shift.scale}, expected above 0: larger inverse depth is "
                "nearer"
            )
        if not self.model:
            raise CalibrationError("model: got an empty name")
        if not re.fullmatch(r"[0-9a-f]{64}", self.checkpoint_sha256):
            raise CalibrationError(
                f"checkpoint_sha256: got {self.checkpoint_sha256!r}, expected 64 lower-case "
                "hexadecimal digits"
            )
        if self.network_height < 1 or self.network_width < 1:
            raise CalibrationError(
                f"network size: got height {self.network_height}, width {self.network_width}, "
                "expected at least 1"
            )
        try:
            DepthLimits(self.near_m, self.far_m)
        except ValueError as error:
            raise CalibrationError(str(error)) from error


def check_calibration(
    calibration: Calibration, *, model: str, checkpoint_sha256: str, network_size: tuple[int, int]
) -> None:
    """Refuse a calibration that was not made for this network.

    Args:
        calibration: what was loaded.
        model: the model that runs.
        checkpoint_sha256: SHA-256 of its weights file.
        network_size: (height, width) of the network's input.

    Raises:
        CalibrationError: says everything that differs, and what to do.
    """
    made_for = (calibration.network_height, calibration.network_width)
    differences = [
        f"it was made for {name} {got}, but {expected} runs"
        for name, got, expected in (
            ("model", calibration.model, model),
            ("weights with SHA-256", calibration.checkpoint_sha256, checkpoint_sha256 or "unknown"),
            ("network size (height x width)", _size(made_for), _size(network_size)),
        )
        if got != expected
    ]
    if differences:
        raise CalibrationError(
            "the calibration does not fit: " + "; ".join(differences) + ". Make a new calibration "
            "with what runs, or run what it was made for"
        )


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration file.

    Raises:
        CalibrationError: names the file and what is wrong: it can't be read, is no calibration,
            has another format, or has a missing, unknown or wrong value.
    """
    try:
        values = load_yaml(path)
        if values.get("format") != FORMAT:
            raise CalibrationError(
                f"format: got {values.get('format')!r}, expected {FORMAT!r}; is this a calibration?"
            )
        return _from_mapping(values)
    except ConfigError as error:  # already names the file
        raise CalibrationError(str(error)) from error
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from error


def save_calibration(calibration: Calibration, path: str | Path) -> None:
    """Write a calibration file, with its folder; an earlier one is replaced whole or not at all.

    Raises:
        CalibrationError: the file can't be written, or `fit` holds something YAML can't.
    """
    path = Path(path)
    try:
        text = yaml.safe_dump(_to_mapping(calibration), sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise CalibrationError(
            f"fit: expected plain numbers, texts, lists and mappings: {error}"
        ) from error
    try:
        write_whole(path, text.encode(), is_lasting=True)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror or error}") from error


def _to_mapping(calibration: Calibration) -> dict[str, Any]:
    camera: dict[str, Any] | None = None
    if calibration.camera is not None:
        # Each as its own type: numbers of NumPy are not YAML's.
        camera = {
            name: kind(getattr(calibration.camera, name)) for name, kind in _CAMERA_KEYS.items()
        }
    return {
        "format": FORMAT,
        "model": str(calibration.model),
        "checkpoint_sha256": calibration.checkpoint_sha256,
        "network_height": int(calibration.network_height),
        "network_width": int(calibration.network_width),
        "scale": float(calibration.scale_shift.scale),
        "shift": float(calibration.scale_shift.shift),
        "near_m": float(calibration.near_m),
        "far_m": float(calibration.far_m),
        "camera": camera,
        "fit": dict(calibration.fit),
    }


def _from_mapping(values: Mapping[str, Any]) -> Calibration:
    checked = _checked(values, _TOP_KEYS, "")
    camera = None
    if "camera" in checked:
        arguments = _checked(checked["camera"], _CAMERA_KEYS, "camera.")
        coefficients = arguments.pop("distortion", [])
        arguments["distortion"] = tuple(
            _value(f"camera.distortion[{i}]", value, float) for i, value in enumerate(coefficients)
        )
        camera = Camera(**arguments)
    return Calibration(
        scale_shift=ScaleShift(checked["scale"], checked["shift"]),
        model=checked["model"],
        checkpoint_sha256=checked["checkpoint_sha256"],
        network_height=checked["network_height"],
        network_width=checked["network_width"],
        camera=camera,
        near_m=checked["near_m"],
        far_m=checked["far_m"],
        fit=checked.get("fit", {}),
    )


def _checked(values: Mapping[str, Any], types: Mapping[str, type], prefix: str) -> dict[str, Any]:
    for key in values:
        if key not in types:
            known = [f"{prefix}{name}" for name in types]
            raise CalibrationError(unknown_key_message(f"{prefix}{key}", known))
    missing = [f"{prefix}{key}" for key in types if key not in {*values, *_OPTIONAL_KEYS}]
    if missing:
        raise CalibrationError(f"missing: {', '.join(missing)}")
    return {
        key: _value(f"{prefix}{key}", value, types[key])
        for key, value in values.items()
        if not (value is None and key in _OPTIONAL_KEYS)
    }


def _value(name: str, value: Any, expected: type) -> Any:
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, expected):
        hint = ""
        if expected is float and isinstance(value, str):
            hint = "; YAML wants a point in the number, as in 6.0e-05"
        elif expected is str:
            hint = "; put it in quotes"
        name_of_type = {float: "number", int: "whole number", str: "text", list: "list"}
        raise CalibrationError(
            f"{name}: got {value!r}, expected a {name_of_type.get(expected, 'mapping')}{hint}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise CalibrationError(f"{name}: got {value}, expected a finite number")
    return value


def _size(height_width: tuple[int, int]) -> str:
    return f"{height_width[0]} x {height_width[1]}"
