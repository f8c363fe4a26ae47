"""The colour of every hit: texture, light and shadow, haze, and the sky behind.

Pixels run along the last axis throughout, so that every operation works on long rows.
"""

from __future__ import annotations

import numpy as np
import torch

from dpt_ros.synthetic.casting import Hits
from dpt_ros.synthetic.scene import Colour, Scene
from dpt_ros.synthetic.shadows import lamp_shadows, sun_shadows
from dpt_ros.synthetic.surfaces import Surfaces, SurfaceTable
from dpt_ros.synthetic.texture_bank import TextureBank
from dpt_ros.synthetic.textures import TILE_PX, noise

REFERENCE_FOCAL_PX = 457.0
"""Focal length for which textures are smoothed, whatever the picture's size: a small picture shows
what a 640 pixel wide one shows when pixels are dropped from it."""

_LAMP_SHADOW_LIGHT = 0.35
"""Share of a lamp's light that walls and ceiling scatter into its shadows."""


class Shader:
    """Shades a scene's hits; its shadow maps and textures are made once."""

    def __init__(self, scene: Scene, device: torch.device) -> None:
        self._scene, self._device = scene, device
        self._table = SurfaceTable(scene.primitives, device)
        self._textures = TextureBank(scene.materials, device)
        self._sun_map = sun_shadows(scene, scene.sun, device) if scene.sun else None
        self._lamp_maps = [lamp_shadows(scene, lamp, device) for lamp in scene.lamps]
        self._clouds = torch.as_tensor(noise(np.random.default_rng(scene.look), 0.2), device=device)

    def shade(self, hits: Hits, rays: torch.Tensor, eye: torch.Tensor) -> torch.Tensor:
        """Linear light [3,H,W].

        Args:
            hits: of H x W rays.
            rays: [3,H,W] in the world, 1 long in the hits' unit.
            eye: [3] where they start.
        """
        # Looking up by 32-bit indices takes a third of the time.
        solid = hits.solid.reshape(-1).to(torch.int32)
        inverse = hits.inverse.reshape(-1)
        directions = rays.reshape(3, -1)
        (sky,) = (solid < 0).nonzero(as_tuple=True)
        if len(sky):
            # The sky is shaded as if it were solid 0, one metre away, and painted over.
            solid, inverse = solid.clamp_min(0), torch.where(solid < 0, 1.0, inverse)
        depth = inverse.reciprocal()
        surfaces = self._table.look_up((directions * depth).add_(eye[:, None]), solid)
        colour = self._hazed(self._surface_light(surfaces, directions, depth), depth)
        if len(sky):
            colour[:, sky] = self._sky(directions[:, sky])
        return colour.reshape(rays.shape)

    def _surface_light(
        self, surfaces: Surfaces, directions: torch.Tensor, depth: torch.Tensor
    ) -> torch.Tensor:
        facing = _dot(surfaces.normals, directions).abs_()
        facing = facing.div_(_dot(directions, directions).sqrt_()).clamp_min_(0.02)
        footprint = facing.rsqrt_().mul_(depth).div_(REFERENCE_FOCAL_PX)
        colour = self._textures.colour(surfaces.material, surfaces.place, footprint)
        light = self._light(surfaces).add_(self._textures.emission(surfaces.material))
        return colour.mul_(surfaces.tint).mul_(light)

    def _light(self, surfaces: Surfaces) -> torch.Tensor:
        """Light [3,K] that falls on the surfaces."""
        points, normals = surfaces.points, surfaces.normals
        # Less of the surroundings' light comes from below, and little close to the ground.
        share = (normals[2] * 0.28).add_(0.72)
        share = share.mul_((points[2] * 0.75).clamp_(0, 0.3).add_(0.7))
        share = torch.where(normals[2] > 0.9, 1.0, share)
        light = share * self._column(self._scene.air.ambient)
        if self._scene.sun is not None and self._sun_map is not None:
            sun = self._scene.sun
            slope = _dot(normals, self._column(sun.direction)).clamp_min_(0)
            lit = self._sun_map.lit(torch.add(points, normals, alpha=0.03))
            light.addcmul_(slope.mul_(lit), self._column(sun.colour))
        above = torch.add(points, normals, alpha=0.02) if self._lamp_maps else points
        for lamp, shadow_map in zip(self._scene.lamps, self._lamp_maps, strict=True):
            towards = self._column(lamp.position) - points
            square = _dot(towards, towards).add_(0.15)
            slope = _dot(normals, towards).clamp_min_(0).div_(square * square.sqrt())
            lit = shadow_map.lit(above).mul_(1 - _LAMP_SHADOW_LIGHT).add_(_LAMP_SHADOW_LIGHT)
            light.addcmul_(slope.mul_(lit), self._column(lamp.colour))
        return light

    def _hazed(self, colour: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        air = self._scene.air
        if air.haze_per_m == 0.0:
            return colour
        lost = torch.expm1(depth * -air.haze_per_m).neg_()
        return colour.lerp_(self._column(air.horizon).expand_as(colour), lost.expand_as(colour))

    def _sky(self, directions: torch.Tensor) -> torch.Tensor:
        air = self._scene.air
        unit = directions / directions.norm(dim=0)
        height = unit[2].clamp(0, 1)
        horizon, zenith = self._column(air.horizon), self._column(air.zenith)
        colour: torch.Tensor = horizon + (zenith - horizon) * height.sqrt()
        if air.clouds > 0:
            texel = (unit[:2] / (height + 0.15) * 40.0).floor().to(torch.int64) % TILE_PX
            cover = self._clouds[texel[1], texel[0]] * 0.6 + (air.clouds - 0.5) * 2.0
            cover = cover.clamp(0, 1) * (height * 4).clamp(0, 1)
            colour.lerp_(horizon.expand_as(colour), cover.expand_as(colour))
        return colour

    def _column(self, colour: Colour) -> torch.Tensor:
        return torch.tensor(colour, dtype=torch.float32, device=self._device)[:, None]


def _dot(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Scalar products of vectors [3,K]."""
    return (left[0] * right[0]).addcmul_(left[1], right[1]).addcmul_(left[2], right[2])
