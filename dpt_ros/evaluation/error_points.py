"""The measured points of a picture in the colours of the error of depth there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpt_ros.evaluation.pictures import error_picture
from dpt_ros.geometry.camera import Camera


def error_points(
    depth_m: NDArray[np.floating], truth_m: NDArray[np.floating], camera: Camera
) -> NDArray[np.float32]:
    """Where depth is wrong, in space: red where it is too far, blue where it is too near.

    Args:
        depth_m: [H,W] metres, as predicted.
        truth_m: [H,W] metres, NaN where unknown.
        camera: of the picture.

    Returns:
        [1,N,4] float32: x, y, z of the measured points in the optical frame, and the bits
        0x00RRGGBB, as `dpt_ros.messages.encode.points_to_cloud` takes them.
    """
    known = np.isfinite(truth_m) & (truth_m > 0.0) & np.isfinite(depth_m) & (depth_m > 0.0)
    rays = camera.rays().numpy()[known]
    z = truth_m[known].astype(np.float32)
    if not z.size:
        return np.empty((1, 0, 4), np.float32)
    black = np.zeros((1, len(z), 3), np.uint8)
    row = error_picture(black, depth_m[known][None], truth_m[known][None])
    colors = row[0].astype(np.uint32)
    points = np.empty((1, len(z), 4), np.float32)
    points[0, :, :2] = rays * z[:, None]
    points[0, :, 2] = z
    bits = (colors[:, 0] << 16) | (colors[:, 1] << 8) | colors[:, 2]
    points[0, :, 3] = bits.astype(np.uint32).view(np.float32)
    return points
