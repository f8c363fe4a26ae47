"""Scored frames as a file for Foxglove, for people without RViz: pictures, points and figures.

Written by Foxglove's own library (the optional extra `foxglove`), in its own message types.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.bags.dataset_format import encode_jpeg
from dpt_ros.config import ConfigError
from dpt_ros.evaluation.error_points import error_points
from dpt_ros.evaluation.live import LiveFrame
from dpt_ros.evaluation.pictures import error_picture
from dpt_ros.evaluation.scoring import FrameScore
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.point_cloud import PointCloudSettings, flying_pixels
from dpt_ros.whole_file import part_beside

WORLD, CAMERA = "world", "camera"
PROFILE = "dpt_ros"
"""The profile in the file's header, by which such a file is known from other recordings."""

POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    + [(name, "u1") for name in ("red", "green", "blue", "alpha")]
)
"""A point as Foxglove takes it: metres and a colour."""

_FROM_OPTICAL = (-0.5, 0.5, -0.5, 0.5)  # x, y, z, w of REP 103: z forward to x forward
_STRIDE = 2  # of the cloud: a quarter of the points, and of the file
_RESERVE_BYTES = 50 * 2**20
"""What stays free of the disk: for what the library has not written yet, and for others."""


class FoxgloveFile:
    """An .mcap that grows by one frame at a time, and is there whole or not at all.

    Its topics: /camera, /camera_info, /depth (32FC1, metres), /points (in the picture's colours),
    /lidar (what was measured, in the colours of the error of depth there), /error (the same as a
    picture) and /scores (the frame's metrics). Points lie in the frame `camera` (optical, REP 103).

    What cannot be written, as on a full disk, raises nothing once it is begun, so that the scores
    are not lost with it: `failure` says why there is no file then, on leaving at the latest.

    Args:
        path: where it goes; what is there is replaced.

    Raises:
        ConfigError: Foxglove's library is not installed.
        OSError: the file can't be written.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import foxglove
            from foxglove import channels, messages
            from foxglove.mcap import MCAPWriteOptions
        except ImportError as error:
            raise ConfigError(
                f"{path}: writing it takes Foxglove's library: pip install 'dpt_ros[foxglove]', "
                "or pip install foxglove-sdk"
            ) from error
        self.failure = ""
        self.path = Path(path).expanduser()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._part = part_beside(self.path)
        self._messages: Any = messages
        context = self._context = foxglove.Context()  # channels end with their context
        self._writer = foxglove.open_mcap(
            self._part,
            allow_overwrite=True,
            context=context,
            writer_options=MCAPWriteOptions(profile=PROFILE),
        )
        self._transform = channels.FrameTransformChannel("/tf", context=context)
        self._camera = channels.CompressedImageChannel("/camera", context=context)
        self._camera_info = channels.CameraCalibrationChannel("/camera_info", context=context)
        self._depth = channels.RawImageChannel("/depth", context=context)
        self._points = channels.PointCloudChannel("/points", context=context)
        self._lidar = channels.PointCloudChannel("/lidar", context=context)
        self._error = channels.CompressedImageChannel("/error", context=context)
        self._scores = foxglove.Channel("/scores", message_encoding="json", context=context)

    def add(
        self, frame: LiveFrame, score: FrameScore | None, depth_m: NDArray[np.floating] | None
    ) -> None:
        """Write a frame.

        Args:
            frame: picture, truth and camera.
            score: the one that stands for the frame; None without truth.
            depth_m: [H,W] metres as shown; None without metres.
        """
        if not self.failure and shutil.disk_usage(self.path.parent).free < _RESERVE_BYTES:
            self.failure = (
                f"the disk is nearly full: less than {_RESERVE_BYTES >> 20} MiB are free at "
                f"{self.path.parent}; make room, or name a file on another disk"
            )
        if self.failure:
            return
        at_ns = frame.stamp_ns
        stamp = self._messages.Timestamp(*divmod(at_ns, 1_000_000_000))
        self._transform.log(self._optical_frame(stamp), log_time=at_ns)
        self._camera.log(self._picture(frame.rgb, stamp), log_time=at_ns)
        if frame.camera is not None:
            self._camera_info.log(self._calibration(frame.camera, stamp), log_time=at_ns)
        if score is not None:
            scores = {name: _or_none(value) for name, value in score.metrics.items()}
            self._scores.log({"alignment": score.alignment, **scores}, log_time=at_ns)
        if depth_m is None:
            return
        self._depth.log(self._raw(depth_m, stamp), log_time=at_ns)
        if frame.camera is not None:
            points = predicted_points(depth_m, frame.rgb, frame.camera)
            self._points.log(self._cloud(points, stamp), log_time=at_ns)
        if frame.truth_m is None:
            return
        error = error_picture(frame.rgb, depth_m, frame.truth_m)
        self._error.log(self._picture(error, stamp), log_time=at_ns)
        if frame.camera is not None:
            measured = measured_points(depth_m, frame.truth_m, frame.camera)
            self._lidar.log(self._cloud(measured, stamp), log_time=at_ns)

    def __enter__(self) -> FoxgloveFile:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._writer.close()
            if exception_type is None and not self.failure:
                self._part.replace(self.path)
        except (RuntimeError, OSError) as error:  # of the library: an earlier write failed
            self.failure = self.failure or f"it could not be written: {error}"
        finally:
            self._part.unlink(missing_ok=True)

    def _optical_frame(self, stamp: Any) -> Any:
        x, y, z, w = _FROM_OPTICAL
        return self._messages.FrameTransform(
            timestamp=stamp,
            parent_frame_id=WORLD,
            child_frame_id=CAMERA,
            translation=self._messages.Vector3(),
            rotation=self._messages.Quaternion(x=x, y=y, z=z, w=w),
        )

    def _picture(self, rgb: NDArray[np.uint8], stamp: Any) -> Any:
        data = encode_jpeg(rgb)
        return self._messages.CompressedImage(
            timestamp=stamp, frame_id=CAMERA, data=data, format="jpeg"
        )

    def _calibration(self, camera: Camera, stamp: Any) -> Any:
        k = [camera.fx_px, 0.0, camera.cx_px, 0.0, camera.fy_px, camera.cy_px, 0.0, 0.0, 1.0]
        is_rectified = camera.distortion_model == "none"
        return self._messages.CameraCalibration(
            timestamp=stamp,
            frame_id=CAMERA,
            width=camera.width,
            height=camera.height,
            distortion_model="" if is_rectified else camera.distortion_model,
            D=list(camera.distortion),
            K=k,
            R=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            P=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0],
        )

    def _raw(self, depth_m: NDArray[np.floating], stamp: Any) -> Any:
        height, width = depth_m.shape
        return self._messages.RawImage(
            timestamp=stamp,
            frame_id=CAMERA,
            width=width,
            height=height,
            encoding="32FC1",
            step=4 * width,
            data=depth_m.astype("<f4").tobytes(),
        )

    def _cloud(self, points: NDArray[np.void], stamp: Any) -> Any:
        kinds = self._messages.PackedElementFieldNumericType
        fields = [
            self._messages.PackedElementField(
                name=name,
                offset=POINT.fields[name][1],  # type: ignore[index]
                type=kinds.Float32 if name in "xyz" else kinds.Uint8,
            )
            for name in POINT.names or ()
        ]
        return self._messages.PointCloud(
            timestamp=stamp,
            frame_id=CAMERA,
            point_stride=POINT.itemsize,
            fields=fields,
            data=points.tobytes(),
        )


def predicted_points(
    depth_m: NDArray[np.floating], rgb: NDArray[np.uint8], camera: Camera
) -> NDArray[np.void]:
    """Every second pixel of every second row as a `POINT`, where depth is finite; [N].

    Without flying pixels, as the node's cloud is by default.
    """
    rays = camera.rays().numpy()[::_STRIDE, ::_STRIDE]
    z, colors = depth_m[::_STRIDE, ::_STRIDE], rgb[::_STRIDE, ::_STRIDE]
    depth = torch.from_numpy(np.ascontiguousarray(depth_m, np.float32))[None]
    flying = flying_pixels(depth, PointCloudSettings().edge_removal)[0].numpy()
    known = np.isfinite(z) & (z > 0.0) & np.isfinite(rays).all(-1)
    known &= ~flying[::_STRIDE, ::_STRIDE]
    return _points(rays[known], z[known], colors[known])


def measured_points(
    depth_m: NDArray[np.floating], truth_m: NDArray[np.floating], camera: Camera
) -> NDArray[np.void]:
    """The measured points as `POINT`s, in the colours of the error of depth there; [N]."""
    xyz_and_bits = error_points(depth_m, truth_m, camera)[0]
    bits = np.ascontiguousarray(xyz_and_bits[:, 3]).view(np.uint32)
    colors = np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=-1)
    z = xyz_and_bits[:, 2]
    return _points(xyz_and_bits[:, :2] / z[:, None], z, colors.astype(np.uint8))


def _points(
    rays: NDArray[np.floating], z: NDArray[np.floating], colors: NDArray[np.uint8]
) -> NDArray[np.void]:
    points = np.empty(len(z), POINT)
    points["x"], points["y"], points["z"] = rays[:, 0] * z, rays[:, 1] * z, z
    points["red"], points["green"], points["blue"] = colors[:, 0], colors[:, 1], colors[:, 2]
    points["alpha"] = 255
    return points


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
