"""LiDAR points to the sparse depth image that the camera would have seen them at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.lidar_settings import LidarSettings

__all__ = ["LidarSettings", "Projection", "project_scan"]


@dataclass(frozen=True)
class Projection:
    """A scan in the picture.

    Args:
        depth_m: [H, W] float32, metres along the optical axis, NaN where no point is.
        in_front: how many points are in front of the camera.
        in_image: how many of them fall in the picture.
        hidden: how many of those were removed, being hidden behind nearer ones.

    The robot's own points count in none of them, but hide others.
    """

    depth_m: NDArray[np.float32]
    in_front: int
    in_image: int
    hidden: int


def project_scan(
    points: NDArray[np.floating],
    camera: Camera,
    transform_camera_lidar: NDArray[np.floating],
    settings: LidarSettings | None = None,
    is_body: NDArray[np.bool_] | None = None,
) -> Projection:
    """Sparse depth of a scan, without the points that the camera can't see, and their counts.

    Args:
        points: [N, 3] in the LiDAR's frame, metres.
        camera: with its distortion.
        transform_camera_lidar: [4, 4], takes a LiDAR point to the camera's optical frame.
        settings: None is the defaults.
        is_body: bool [N], which points are the robot's own; None: none. They hide what is behind
            them as others do, and where one is the nearest in its pixel, that pixel has no depth.

    Returns:
        Depth along the optical axis, not range; of several points in a pixel the nearest counts.

    Raises:
        ValueError: arrays of other shapes.
    """
    settings = settings or LidarSettings()
    if points.ndim != 2 or points.shape[1] != 3 or transform_camera_lidar.shape != (4, 4):
        raise ValueError(
            f"got points {points.shape} and a transform {transform_camera_lidar.shape}, "
            "expected (N, 3) and (4, 4)"
        )
    transform = np.asarray(transform_camera_lidar, np.float64)
    in_camera = np.asarray(points, np.float64) @ transform[:3, :3].T + transform[:3, 3]
    is_body = np.zeros(len(points), np.bool_) if is_body is None else is_body
    z = in_camera[:, 2]
    with np.errstate(invalid="ignore"):
        in_range = (z > settings.near_m) & (z <= settings.far_m)
    in_camera, is_body = in_camera[in_range], is_body[in_range]
    pixels = camera.project(torch.from_numpy(in_camera)).numpy()
    columns, rows = np.floor(pixels + 0.5).T
    with np.errstate(invalid="ignore"):  # NaN: beyond the lens's field of view
        inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    z = in_camera[inside, 2].astype(np.float32)  # as in the image, so that none hides itself
    flat = rows[inside].astype(np.intp) * camera.width + columns[inside].astype(np.intp)
    nearest = _nearest_in_pixel(z, flat, camera)
    limit = _hiding_depth(nearest, camera, settings).reshape(-1)[flat]
    is_other, in_body = ~is_body[inside], is_body[inside]
    nearest_body = _nearest_in_pixel(z[in_body], flat[in_body], camera).reshape(-1)[flat]
    is_visible = is_other & (z <= limit) & (z < nearest_body)
    return Projection(
        depth_m=_to_image(z[is_visible], flat[is_visible], camera),
        in_front=int((~is_body).sum()),
        in_image=int(is_other.sum()),
        hidden=int(is_other.sum() - is_visible.sum()),
    )


def _nearest_in_pixel(
    z: NDArray[np.float32], flat: NDArray[np.intp], camera: Camera
) -> NDArray[np.float32]:
    """[H, W] depth of the nearest point of each pixel, +Inf where there is none."""
    image = np.full(camera.height * camera.width, np.inf, np.float32)
    np.minimum.at(image, flat, z)
    return image.reshape(camera.height, camera.width)


def _to_image(
    z: NDArray[np.float32], flat: NDArray[np.intp], camera: Camera
) -> NDArray[np.float32]:
    nearest = _nearest_in_pixel(z, flat, camera)
    return np.where(np.isinf(nearest), np.float32(np.nan), nearest)


def _hiding_depth(
    nearest: NDArray[np.float32], camera: Camera, settings: LidarSettings
) -> NDArray[np.float32]:
    """[H, W]: what is deeper than this is hidden by a point nearby, +Inf where there is none.

    A point's window is a square; half its side in pixels is `focal * window_m / depth`, rounded
    down.
    """
    import cv2

    focal_px = max(camera.fx_px, camera.fy_px)
    limit = np.full_like(nearest, np.inf)
    reach = np.floor(focal_px * settings.occlusion_window_m / nearest)
    reach = np.minimum(reach, settings.occlusion_window_max_px)
    # Points of one reach at a time: a minimum over squares, which cv2 finds quickly.
    for radius in range(1, int(reach.max(initial=0.0)) + 1):
        chosen = np.where(reach == radius, nearest, np.float32(np.inf))
        square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        border = (cv2.BORDER_CONSTANT, float("inf"))
        limit = np.minimum(limit, cv2.erode(chosen, square, None, (-1, -1), 1, *border))
    limit *= np.float32(1.0 + settings.occlusion_step)
    return limit
