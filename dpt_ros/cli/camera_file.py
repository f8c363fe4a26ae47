"""A camera from a YAML file, in the words of a calibration or of a camera_info message."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dpt_ros.config import ConfigError

_FORMATS = (
    "the file is a camera_info YAML as ROS's camera_calibration writes it, or what `ros2 topic "
    "echo --once` prints of a camera_info"
)
_ROI = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0}


def read_camera_file(path: str | Path) -> types.SimpleNamespace:
    """Read a camera_info YAML.

    It is as camera_calibration and camera_info_manager write it, or a message as `ros2 topic echo`
    prints it, of several the first.

    Returns:
        An object with the fields of sensor_msgs/CameraInfo.

    Raises:
        ConfigError: the file can't be read.
        ValueError: a key is missing or has the wrong number of values.
    """
    path = Path(path).expanduser()
    values = _first_document(path)
    of_message = {str(key).lower(): value for key, value in values.items()}  # ROS 1 writes K, D, P
    if "k" in of_message and "camera_matrix" not in values:
        return _message(path, of_message)
    return _calibration(path, values)


def _first_document(path: Path) -> dict[str, Any]:
    """`ros2 topic echo` ends a message with ---, after which YAML's next document begins."""
    try:
        content = next(yaml.safe_load_all(path.read_text(encoding="utf-8")), None)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}; {_FORMATS}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of names to values; {_FORMATS}")
    return content


def _calibration(path: Path, values: Mapping[str, Any]) -> types.SimpleNamespace:
    def matrix(key: str, count: int) -> list[float]:
        data = values.get(key, {}).get("data") if isinstance(values.get(key), dict) else None
        return _numbers(path, f"{key}.data", data, count)

    _check_whole(path, values, "image_width", "image_height")
    model = _distortion_model(path, values)
    k = matrix("camera_matrix", 9)
    has_p = "projection_matrix" in values
    d = matrix("distortion_coefficients", 0) if "distortion_coefficients" in values else []
    p = matrix("projection_matrix", 12) if has_p else _without_rectification(k)
    size = (values["image_width"], values["image_height"])
    return _camera_info(size, model, d, k, p, (0, 0), _ROI)


def _message(path: Path, values: Mapping[str, Any]) -> types.SimpleNamespace:
    roi = values.get("roi", {})
    if not isinstance(roi, dict):
        raise ValueError(f"{path}: roi: expected a mapping, got {roi!r}; {_FORMATS}")
    numbers = {"binning_x": 0, "binning_y": 0} | dict(values)
    region = _ROI | {key: value for key, value in roi.items() if key in _ROI}
    _check_whole(path, numbers, "width", "height", "binning_x", "binning_y")
    _check_whole(path, region, *_ROI)
    model = _distortion_model(path, values)
    k = _numbers(path, "k", values["k"], 9)
    d = _numbers(path, "d", values.get("d", []), 0)
    p = _numbers(path, "p", values["p"], 12) if "p" in values else _without_rectification(k)
    size, binning = (
        tuple(numbers[key] for key in keys)
        for keys in (("width", "height"), ("binning_x", "binning_y"))
    )
    return _camera_info(size, model, d, k, p, binning, region)


def _camera_info(
    size: tuple[int, ...],
    model: str,
    d: list[float],
    k: list[float],
    p: list[float],
    binning: tuple[int, ...],
    roi: Mapping[str, int],
) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        width=size[0],
        height=size[1],
        distortion_model=model,
        d=d,
        k=k,
        p=p,
        binning_x=binning[0],
        binning_y=binning[1],
        roi=types.SimpleNamespace(**roi, do_rectify=False),
    )


def _without_rectification(k: list[float]) -> list[float]:
    return [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]


def _check_whole(path: Path, values: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if not isinstance(values.get(key), int):
            got = values.get(key)
            raise ValueError(f"{path}: {key}: expected an integer, got {got!r}; {_FORMATS}")


def _distortion_model(path: Path, values: Mapping[str, Any]) -> str:
    model = values.get("distortion_model", "plumb_bob")
    if not isinstance(model, str):
        raise ValueError(f"{path}: distortion_model: expected a name, got {model!r}")
    return model


def _numbers(path: Path, key: str, data: Any, count: int) -> list[float]:
    if not isinstance(data, list) or (count and len(data) != count):
        raise ValueError(
            f"{path}: {key}: expected a list of {count or 'the'} numbers, got {data!r}; {_FORMATS}"
        )
    try:
        return [float(value) for value in data]
    except (TypeError, ValueError):
        raise ValueError(f"{path}: {key}: expected numbers, got {data!r}") from None
