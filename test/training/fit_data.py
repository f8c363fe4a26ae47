"""Data sets whose scale and shift are known, and a network that reads them from the colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample, sample_id
from dpt_ros.geometry.camera import Camera
from dpt_ros.inference import InferenceError
from dpt_ros.training.fit_settings import FitSettings

SCALE, SHIFT = 0.0021, -0.04
SHA256 = "ab" * 32
CAMERA = Camera(48, 36, 40.0, 40.0, 23.5, 17.5)
QUICK = FitSettings(resamples=20, write="joint")


class Network:
    """Stands for a predictor: reads its inverse depth from the picture's colours.

    A picture that begins with (255, 0, 255) makes it fail, with (255, 255, 0) gives NaN.
    """

    model_name = "dpt_tiny"
    checkpoint_sha256 = SHA256
    device = torch.device("cpu")
    precision = "float32"

    def __init__(self, sign: float = 1.0, constant: bool = False) -> None:
        self._sign, self._constant = sign, constant

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        return (192, 256) if width * 3 == height * 4 else (192, 320)

    def predict(self, rgb: np.ndarray) -> np.ndarray:
        first = tuple(rgb[0, 0].tolist())
        if first == (255, 0, 255):
            raise InferenceError("the network failed: out of memory")
        value = rgb[..., 0].astype(np.float32) * 256.0 + rgb[..., 1]
        if first == (255, 255, 0):
            value[3, 3:] = np.nan
        return np.full_like(value, 7.0) if self._constant else self._sign * value / 100.0


def picture_of(inverse_depth: np.ndarray) -> np.ndarray:
    """The picture in which `Network` sees this inverse depth (0 to 600, steps of 0.01)."""
    value = np.clip(np.round(inverse_depth * 100.0), 0, 65535).astype(int)
    return np.stack((value // 256, value % 256, value * 0), -1).astype(np.uint8)


def make_sample(
    source: str,
    index: int,
    *,
    scale: float = SCALE,
    shift: float = SHIFT,
    noise: float = 0.0,
    outliers: float = 0.0,
    depths_m: tuple[float, float] = (1.0, 12.0),
    coverage: float = 0.5,
    camera: Camera = CAMERA,
) -> Sample:
    """A frame whose truth is `1 / (scale * inverse_depth + shift)`, noisy and with outliers."""
    random = np.random.default_rng([index, *source.encode()])
    shape = (camera.height, camera.width)
    truth_m = np.exp(random.uniform(*np.log(depths_m), shape))
    inverse_depth = (1.0 / truth_m - shift) / scale
    inverse_depth *= 1.0 + noise * random.normal(size=shape)
    wrong = random.random(shape) < outliers
    truth_m[wrong] = random.uniform(*depths_m, wrong.sum())
    truth_m[random.random(shape) > coverage] = np.nan
    rgb = picture_of(inverse_depth)
    stamp_ns = 10**8 * index
    identifier = sample_id(source, stamp_ns)
    return Sample(identifier, source, stamp_ns, rgb, truth_m.astype(np.float32), camera)


def write(folder: Path, samples: Sequence[Sample]) -> Dataset:
    with DatasetWriter(folder, dense=False, options={}) as writer:
        for source in dict.fromkeys(sample.source for sample in samples):
            for sample in samples:
                if sample.source == source:
                    writer.add(sample)
            writer.finish_source(source, {})
    return Dataset(folder)


def frames(sources: str = "abcde", count: int = 6, **options) -> list[Sample]:
    return [make_sample(source, index, **options) for source in sources for index in range(count)]
