"""Where camera and LiDAR sit on the robot, as a camera model and transforms."""

from __future__ import annotations

import math

import numpy as np

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.primitives import Floats, turned
from dpt_ros.synthetic.settings import RigSettings

__all__ = [
    "ROTATION_BODY_OPTICAL",
    "RigSettings",
    "rig_camera",
    "transform_base_camera",
    "transform_base_lidar",
]

ROTATION_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation that takes a vector of the optical frame (x right, y down, z forward) to a body frame
(x forward, y left, z up), REP 103."""


def rig_camera(rig: RigSettings, width: int, height: int) -> Camera:
    """The rig's camera for pictures of width x height pixels, with square pixels."""
    focal = width / 2 / math.tan(math.radians(rig.field_of_view_deg) / 2)
    return Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def transform_base_camera(rig: RigSettings) -> Floats:
    """[4,4], takes a point of the camera's optical frame to base_link."""
    transform = np.eye(4)
    transform[:3, :3] = turned(0.0, math.radians(rig.camera_pitch_deg)) @ ROTATION_BODY_OPTICAL
    transform[:3, 3] = rig.camera_forward_m, 0.0, rig.camera_height_m
    return transform


def transform_base_lidar(rig: RigSettings) -> Floats:
    """[4,4], takes a point of the LiDAR's frame (x forward, z up) to base_link."""
    transform = np.eye(4)
    transform[:3, :3] = turned(math.radians(rig.lidar_yaw_deg))
    transform[:3, 3] = rig.lidar_forward_m, 0.0, rig.lidar_height_m
    return transform
