"""Varies a sample: colours, and which part of the picture the network sees, mirrored or not.

Geometry stays true: the network sees the picture at the scale it has at inference, a crop only
moves the principal point, and truth keeps its own pixels.
"""

from __future__ import annotations

import functools
import math
import statistics
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpt_ros.training.settings import AugmentSettings

# Luma of ITU-R BT.601, which saturation and hue leave alone.
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class View:
    """Which part of a picture the network sees.

    The picture of `picture_size` is resized to `network_size`, from which the window of
    `crop_size` at (left, top) is cut; then it is mirrored or not. Sizes are (height, width).
    """

    picture_size: tuple[int, int]
    network_size: tuple[int, int]
    crop_size: tuple[int, int]
    left: int = 0
    top: int = 0
    is_mirrored: bool = False

    def cut(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """An image [..., h, w] of the network's size to the view's window."""
        rows = slice(self.top, self.top + self.crop_size[0])
        columns = slice(self.left, self.left + self.crop_size[1])
        window = image[..., rows, columns]
        return window[..., ::-1] if self.is_mirrored else window

    def position(
        self, u: NDArray[Any], v: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where pixels (u, v) of the picture lie in the view; whole numbers are pixel centres."""
        x = (u + 0.5) * (self.network_size[1] / self.picture_size[1]) - 0.5 - self.left
        y = (v + 0.5) * (self.network_size[0] / self.picture_size[0]) - 0.5 - self.top
        return (self.crop_size[1] - 1 - x if self.is_mirrored else x), y


def random_view(
    picture_size: tuple[int, int],
    network_size: tuple[int, int],
    crop_size: tuple[int, int],
    settings: AugmentSettings,
    random: np.random.Generator,
) -> View:
    """A random window, mirrored as often as the settings say."""
    spare_rows = network_size[0] - crop_size[0]
    spare_columns = network_size[1] - crop_size[1]
    return View(
        picture_size,
        network_size,
        crop_size,
        left=int(random.integers(spare_columns + 1)),
        top=int(random.integers(spare_rows + 1)),
        is_mirrored=bool(random.random() < settings.flip),
    )


def central_view(
    picture_size: tuple[int, int], network_size: tuple[int, int], crop_size: tuple[int, int]
) -> View:
    """The window in the middle, as it is."""
    left = (network_size[1] - crop_size[1]) // 2
    top = (network_size[0] - crop_size[0]) // 2
    return View(picture_size, network_size, crop_size, left, top)


def vary_colors(
    rgb: NDArray[np.uint8], settings: AugmentSettings, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Change brightness, contrast, saturation, hue and gamma; blur; add noise.

    Args:
        rgb: [H, W, 3]; left as it is.
        settings: how much.
        random: what decides; the same state gives the same picture.
    """
    change = random.uniform(-1.0, 1.0, size=5)
    is_blurred, blur_px = random.random() < settings.blur, random.uniform(0.3, 1.5)
    noise, noise_seed = random.random() * settings.noise, int(random.integers(2**31))
    matrix = _color_matrix(1.0 + settings.saturation * change[2], settings.hue * change[3])
    varied = cv2.transform(rgb, matrix)
    varied = cv2.LUT(
        varied,
        _tone_curve(
            1.0 + settings.brightness * change[0],
            1.0 + settings.contrast * change[1],
            math.exp(settings.gamma * change[4]),
        ),
    )
    if is_blurred:
        varied = cv2.GaussianBlur(varied, (0, 0), blur_px)
    if noise >= 0.5:
        grain = np.random.Generator(np.random.SFC64(noise_seed)).bytes(varied.size)
        places = np.frombuffer(grain, dtype=np.uint8).reshape(varied.shape)
        levels = np.round(_normal_quantiles() * noise).astype(np.int16)
        varied = cv2.add(varied, cv2.LUT(places, levels), dtype=cv2.CV_8U)
    return np.asarray(varied, dtype=np.uint8)


def _color_matrix(saturation: float, hue_deg: float) -> NDArray[np.float64]:
    """A 3x3 matrix on (r, g, b) that turns and stretches colours about grey, at constant luma."""
    grey = np.tile(_LUMA, (3, 1))
    axis = np.ones(3) / math.sqrt(3.0)
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    angle = math.radians(hue_deg)
    # Rodrigues' formula: a turn about the grey axis.
    turn = np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)
    chroma = (np.eye(3) - grey) @ turn @ (np.eye(3) - grey)
    return np.asarray(grey + saturation * chroma)


@functools.cache
def _normal_quantiles() -> NDArray[np.float64]:
    """256 equally likely values of a normal distribution: a random byte picks one, quickly."""
    normal = statistics.NormalDist()
    return np.array([normal.inv_cdf((place + 0.5) / 256) for place in range(256)])


def _tone_curve(brightness: float, contrast: float, gamma: float) -> NDArray[np.uint8]:
    level = np.linspace(0.0, 1.0, 256) ** gamma * brightness
    level = (level - 0.5) * contrast + 0.5
    return np.clip(np.round(255.0 * level), 0, 255).astype(np.uint8)
