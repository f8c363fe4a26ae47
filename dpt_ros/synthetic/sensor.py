"""From linear light to the picture a camera delivers: exposure, vignetting, noise, 8 bits."""

from __future__ import annotations

import numpy as np
import torch

_REFERENCE_WIDTH = 640
_GRAIN_STARTS = 1 << 17


class Sensor:
    """A camera's electronics, with its own white balance and noise.

    Args:
        look: seed of what stays the same from picture to picture.
        device: where to compute.
    """

    def __init__(self, look: int, device: torch.device) -> None:
        rng = np.random.default_rng(look)
        white = [rng.uniform(0.94, 1.06), 1.0, rng.uniform(0.94, 1.06)]
        self._white = torch.tensor(white, dtype=torch.float32, device=device)[:, None, None]
        self._target = float(rng.uniform(0.17, 0.26))
        self._vignetting = float(rng.uniform(0.05, 0.35))
        self._noise = float(rng.uniform(0.004, 0.016))
        self._grain = torch.empty(0, device=device)
        self._grain_seed = int(rng.integers(2**62))

    def develop(self, light: torch.Tensor, seed: int) -> torch.Tensor:
        """Linear light [3,H,W], which is overwritten -> rgb uint8 [H,W,3].

        Args:
            light: what falls on the sensor.
            seed: decides this picture's noise and the error of its exposure.
        """
        _, height, width = light.shape
        rng = np.random.default_rng(seed)
        mean = float(light.mean(0).clamp_(max=2.0).mean())
        gain = self._target * float(rng.uniform(0.92, 1.08)) / max(mean, 1e-6)
        y = torch.linspace(-1, 1, height, device=light.device)[:, None]
        x = torch.linspace(-1, 1, width, device=light.device)
        fall = (x * x + y * y).mul_(-0.5 * self._vignetting).add_(1.0)
        # A shoulder instead of clipping, and a gamma of 2: the picture is 0 to 1 from here on.
        exposed = light.mul_(self._white * (-1.4 * gain)).mul_(fall)
        picture = torch.expm1(exposed).neg_().clamp_min_(0).sqrt_()
        # Interpolating a larger picture, as a network's input transform does, averages some noise.
        strength = self._noise * (0.85 if width < _REFERENCE_WIDTH else 1.0)
        start = int(rng.integers(_GRAIN_STARTS))
        picture.view(-1).add_(self._grain_of(start, picture.numel()), alpha=strength)
        pixels = picture.mul_(255.0).round_().clamp_(0, 255).to(torch.uint8)
        return pixels.permute(1, 2, 0).contiguous()

    def _grain_of(self, start: int, count: int) -> torch.Tensor:
        """Normal noise; pictures take it from one long row, each from a place of its own."""
        needed = count + _GRAIN_STARTS
        if len(self._grain) < needed:
            generator = torch.Generator().manual_seed(self._grain_seed)
            self._grain = torch.randn(needed, generator=generator).to(self._grain.device)
        return self._grain[start : start + count]
