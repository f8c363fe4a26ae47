"""Shadow maps: what a light sees, cast once a scene with the same code as the camera's picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.casting import cast
from dpt_ros.synthetic.primitives import Floats
from dpt_ros.synthetic.ray_grids import PinholeGrid
from dpt_ros.synthetic.scene import Lamp, Scene, Sun

_SUN_DISTANCE_M = 1000.0
_SUN_MAP_PX = 1024
_SUN_BIAS_M = 0.08
_LAMP_MAP_PX = 384
_LAMP_MAP_TANGENT = 3.0
_LAMP_BIAS_M = 0.04


@dataclass(frozen=True, eq=False)
class ShadowMap:
    """What a light sees: a pinhole camera at the light.

    Args:
        transform_light_world: [4,4].
        camera: its size and focal length.
        inverse: [h,w] 1/Z of what it sees first.
        bias_m: what is this much further away than that is in the shadow.
    """

    transform_light_world: Floats
    camera: Camera
    inverse: torch.Tensor
    bias_m: float

    def lit(self, points: torch.Tensor) -> torch.Tensor:
        """Share of light that reaches points [3,K] of the world, [K], 0 to 1."""
        camera = self.camera
        x, y, z = (
            points[0] * float(row[0]) + points[1] * float(row[1]) + (points[2] * row[2] + row[3])
            for row in self.transform_light_world[:3].tolist()
        )
        ahead = z > 1e-2
        inverse = torch.where(ahead, z, 1.0).reciprocal_()
        u = (x * inverse).mul_(camera.fx_px).add_(camera.cx_px)
        v = (y * inverse).mul_(camera.fy_px).add_(camera.cy_px)
        inside = ahead & (u >= 0) & (v >= 0) & (u < camera.width - 1) & (v < camera.height - 1)
        u, v = u.clamp_(0, camera.width - 1.001), v.clamp_(0, camera.height - 1.001)
        left, top = u.floor(), v.floor()
        du, dv = u.sub_(left), v.sub_(top)
        first = top.mul_(camera.width).add_(left).to(torch.int32)
        limit = torch.where(ahead, z.sub_(self.bias_m), 1.0).reciprocal_()
        flat = self.inverse.view(-1)
        a, b, c, d = (
            (flat.index_select(0, first + step) <= limit).to(u.dtype)
            for step in (0, 1, camera.width, camera.width + 1)
        )
        share = torch.lerp(torch.lerp(a, b, du), torch.lerp(c, d, du), dv)
        return torch.where(inside, share, 1.0)


def sun_shadows(scene: Scene, sun: Sun, device: torch.device) -> ShadowMap:
    """The sun's view, from so far away that its rays part by less than 6 degrees."""
    towards = np.array(sun.direction)
    eye = np.array(sun.centre) + towards * _SUN_DISTANCE_M
    side = np.cross(-towards, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    rotation = np.stack([side, np.cross(-towards, side), -towards], 1)
    focal = _SUN_MAP_PX / 2 * _SUN_DISTANCE_M / sun.radius_m
    return _shadows(scene, eye, rotation, _SUN_MAP_PX, focal, _SUN_BIAS_M, device)


def lamp_shadows(scene: Scene, lamp: Lamp, device: torch.device) -> ShadowMap:
    """A lamp's view straight down."""
    rotation = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    focal = _LAMP_MAP_PX / 2 / _LAMP_MAP_TANGENT
    return _shadows(
        scene, np.array(lamp.position), rotation, _LAMP_MAP_PX, focal, _LAMP_BIAS_M, device
    )


def _shadows(
    scene: Scene,
    eye: Floats,
    rotation: Floats,
    size: int,
    focal: float,
    bias_m: float,
    device: torch.device,
) -> ShadowMap:
    camera = Camera(size, size, focal, focal, (size - 1) / 2, (size - 1) / 2)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, eye
    hits = cast(scene.primitives, PinholeGrid(camera), pose, device)
    return ShadowMap(np.asarray(np.linalg.inv(pose), np.float64), camera, hits.inverse, bias_m)
