"""Render a scene: the picture a robot's camera would take, and the exact depth of every pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.casting import cast
from dpt_ros.synthetic.primitives import Floats
from dpt_ros.synthetic.ray_grids import PinholeGrid
from dpt_ros.synthetic.scene import Scene
from dpt_ros.synthetic.sensor import Sensor
from dpt_ros.synthetic.shading import Shader


class Rendering(NamedTuple):
    """rgb uint8 [H,W,3], and depth_m float32 [H,W]: Z in metres, NaN where there is only sky."""

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]


class Renderer:
    """Renders one scene; textures and shadow maps are made once, when it is created.

    Args:
        scene: what to see.
        device: "cpu", "cuda" or another torch device.
    """

    def __init__(self, scene: Scene, device: torch.device | str = "cpu") -> None:
        self.scene = scene
        self._device = torch.device(device)
        with torch.inference_mode():
            self._shader = Shader(scene, self._device)
            self._sensor = Sensor(scene.look, self._device)

    def render(self, camera: Camera, transform_world_camera: Floats, seed: int = 0) -> Rendering:
        """One picture; one ray through the centre of each pixel.

        Args:
            camera: without distortion.
            transform_world_camera: [4,4], takes a point of the camera's optical frame to the world.
            seed: decides the picture's noise and nothing else.

        Raises:
            ValueError: the camera has a distortion.
        """
        grid = PinholeGrid(camera)
        with torch.inference_mode():
            hits = cast(self.scene.primitives, grid, transform_world_camera, self._device)
            light = self._shader.shade(
                hits,
                self._world_rays(grid, transform_world_camera[:3, :3]),
                torch.as_tensor(
                    transform_world_camera[:3, 3].astype(np.float32), device=self._device
                ),
            )
            rgb = self._sensor.develop(light, seed)
            depth_m = torch.where(hits.solid >= 0, 1.0 / hits.inverse, torch.nan)
        return Rendering(rgb.cpu().numpy(), depth_m.cpu().numpy())

    def _world_rays(self, grid: PinholeGrid, rotation: Floats) -> torch.Tensor:
        """The pixels' rays in the world, [3,H,W], 1 long along the optical axis."""
        x, y = grid.axes()
        columns = (rotation[:, 1:2] * y + rotation[:, 2:]).astype(np.float32)
        rows = (rotation[:, 0:1] * x).astype(np.float32)
        return (
            torch.as_tensor(columns, device=self._device)[:, :, None]
            + torch.as_tensor(rows, device=self._device)[:, None]
        )


def render(
    scene: Scene,
    camera: Camera,
    transform_world_camera: Floats,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Rendering:
    """One picture of a scene; for several, a `Renderer` does not make the shadows anew.

    Raises:
        ValueError: the camera has a distortion.
    """
    return Renderer(scene, device).render(camera, transform_world_camera, seed)
