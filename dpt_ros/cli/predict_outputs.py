"""The files that `dpt-ros predict` writes: each picture's, all of them or none, and their list."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from dpt_ros.cli.sources import Picture, Source
    from dpt_ros.geometry.camera import Camera
    from dpt_ros.geometry.depth import DepthLimits
    from dpt_ros.geometry.scale_shift import ScaleShift
    from dpt_ros.inference import DepthPredictor
    from dpt_ros.inference.pipeline import FrameOutputs

_FILES = (
    "inverse_depth.npy",
    "inverse_depth.png",
    "color.png",
    "depth_m.npy",
    "points.ply",
    "points_relative.ply",
)
"""What may be written for a picture, after its name and _."""


def remove_earlier(out: Path) -> None:
    """Remove the files of the run whose predictions.json is there: this one may write fewer.

    Names come from a file: only plain ones count, so nothing outside of the folder is touched.
    """
    manifest = out / "predictions.json"
    try:
        names = [
            entry["name"] for entry in json.loads(manifest.read_text(encoding="utf-8"))["pictures"]
        ]
    except (OSError, ValueError, KeyError, TypeError):  # none, or none that we wrote
        return
    for name in names:
        if not isinstance(name, str) or not name or Path(name).name != name or "\0" in name:
            continue
        for path in _files_of(out, name):
            if path.is_file() or path.is_symlink():
                path.unlink()
    manifest.unlink()


def refuse_others_files(out: Path, name: str) -> None:
    """Refuse to write over what is not of an earlier run that finished its predictions.json.

    Raises:
        FileExistsError: names the first such file.
    """
    for path in _files_of(out, name):
        if path.exists():
            raise FileExistsError(
                f"{path}: is there already, and would be lost; name another folder with --out, or "
                "overwrite it with --force"
            )


def write_picture(
    out: Path, picture: Picture, outputs: FrameOutputs, scale_shift: ScaleShift | None
) -> dict[str, Any]:
    """Write one picture's files; returns its entry of the manifest.

    Raises:
        OSError: one cannot be written; says why. None of them is left then.
    """
    try:
        return _write_files(out, picture, outputs, scale_shift)
    except BaseException:
        for path in _files_of(out, picture.name):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def _files_of(out: Path, name: str) -> list[Path]:
    return [out / f"{name}_{file}" for file in _FILES]


def _write_files(
    out: Path, picture: Picture, outputs: FrameOutputs, scale_shift: ScaleShift | None
) -> dict[str, Any]:
    import cv2
    import numpy as np

    from dpt_ros.cli.ply import write_ply

    inverse_depth, color = outputs.inverse_depth, outputs.color
    if inverse_depth is None or color is None:
        raise RuntimeError(f"{picture.name}: the pipeline left out what it was asked for")
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    step = (high - low) / 65535.0 or 1.0
    stretched = np.round((inverse_depth - low) / step).astype(np.uint16)
    for optional in ("depth_m.npy", "points.ply", "points_relative.ply"):  # of an earlier run
        (out / f"{picture.name}_{optional}").unlink(missing_ok=True)
    _write_array(out / f"{picture.name}_inverse_depth.npy", inverse_depth)
    write_png(out / f"{picture.name}_inverse_depth.png", stretched)
    write_png(out / f"{picture.name}_color.png", cv2.cvtColor(color, cv2.COLOR_RGB2BGR))
    if outputs.depth_m is not None:
        _write_array(out / f"{picture.name}_depth_m.npy", outputs.depth_m)
    if outputs.points is not None:
        path = out / f"{picture.name}_points.ply"
        with _told(path):
            write_ply(path, outputs.points, "metres, camera frame")
    elif picture.camera is not None:
        points = relative_points(inverse_depth, picture.rgb, picture.camera)
        path = out / f"{picture.name}_points_relative.ply"
        with _told(path):
            write_ply(path, points, "NOT metres: relative depth, median 1, shift taken as 0")
    return {
        "name": picture.name,
        "stamp_ns": picture.stamp_ns,
        "width": int(inverse_depth.shape[1]),
        "height": int(inverse_depth.shape[0]),
        "png": {"offset": low, "step": step},
        "metric": None if scale_shift is None else dataclasses.asdict(scale_shift),
    }


def relative_points(inverse_depth: np.ndarray, rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """Points [H,W,4] of relative inverse depth [H,W]: median depth 1, shift taken as 0.

    What is more than ten medians away is left out (NaN).
    """
    import numpy as np
    import torch

    from dpt_ros.geometry.depth import DepthLimits, inverse_depth_to_depth
    from dpt_ros.geometry.point_cloud import PointCloudSettings, depth_to_points
    from dpt_ros.geometry.scale_shift import ScaleShift
    from dpt_ros.inference.predictor import as_tensor

    positive = inverse_depth[inverse_depth > 0.0]
    median = float(np.median(positive)) if positive.size else 1.0
    limits = DepthLimits(near_m=0.001, far_m=10.0)
    relative = torch.from_numpy(inverse_depth)[None]
    depth = inverse_depth_to_depth(relative, ScaleShift(1.0 / median, 0.0), limits)
    pixels = as_tensor(rgb)[None]
    cloud = depth_to_points(depth, camera.ray_planes(), pixels, PointCloudSettings())
    return cloud.values[0].numpy()


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a picture as cv2 takes it.

    Raises:
        OSError: it cannot be written; says why.
    """
    import cv2

    data = cv2.imencode(".png", pixels)[1]
    with _told(path):
        path.write_bytes(data.data)


def _write_array(path: Path, values: np.ndarray) -> None:
    import numpy as np

    data = io.BytesIO()
    np.save(data, values)  # which does not say why a file cannot be written
    with _told(path):
        path.write_bytes(data.getbuffer())


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Name the file that cannot be written."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"{path}: could not be written ({why})") from error


def write_manifest(
    out: Path,
    predictor: DepthPredictor,
    options: argparse.Namespace,
    entries: list[dict[str, Any]],
    source: Source,
    limits: DepthLimits,
    is_complete: bool,
) -> None:
    """Write predictions.json: how the pictures were made, and what each came to.

    `limits` are those of the pictures with metres: without one, none are told.
    """
    from dpt_ros.whole_file import write_json

    has_metres = any(entry["metric"] for entry in entries)
    manifest = {
        "complete": is_complete,
        "model": predictor.model_name,
        "checkpoint_sha256": predictor.checkpoint_sha256,
        "device": str(predictor.device),
        "precision": predictor.precision,
        "calibration": options.calibration,
        "depth_limits_m": [limits.near_m, limits.far_m] if has_metres else None,
        "pictures": entries,
        "skipped": source.skipped,
        "left_out": source.left_out,
        "notes": source.notes,
    }
    path = out / "predictions.json"
    with _told(path):
        write_json(path, manifest)
