"""A small data set, a network of a few thousand weights to train on it, and the fit of another."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample, sample_id
from dpt_ros.geometry.camera import Camera
from dpt_ros.report import Page
from dpt_ros.training import run as whole_run
from dpt_ros.training.fit import FitResult, fit_dataset
from dpt_ros.training.fit_settings import FitSettings

sys.path.insert(0, str(Path(__file__).parent))
from fit_data import Network, frames, write

NANO_CARD = """
name: nano
structure: dpt_base
structure_overrides:
  {embed_dim: 16, depth: 4, num_heads: 2, taps: [0, 1, 2, 3], channels: [8, 8, 8, 8], features: 8,
   head_features: 4, image_size: [32, 32]}
input: {width: 32, height: 32, multiple_of: 32}
"""


def make_sample(source: str, index: int, size=(32, 32), dense=True, random=None) -> Sample:
    """A floor that runs away from the camera and a box on it, coloured by what it is."""
    random = random or np.random.default_rng((len(source), index))
    height, width = size
    v, u = np.mgrid[:height, :width]
    depth = np.minimum(0.5 * width / np.maximum(v - 0.4 * height, 0.5), 20.0)
    rgb = np.stack([255 * v / height, 120 + 0 * u, 40 + 0 * v], axis=-1)
    left, near = int(random.integers(width // 2)), float(random.uniform(1.0, 4.0))
    box = (slice(height // 4, height * 3 // 4), slice(left, left + width // 4))
    depth[box] = np.minimum(depth[box], near)
    rgb[box] = (30, 60, 255 / near)
    rgb[0, 0, 0] = sum(source.encode()) % 256  # no two sources have the same picture
    if not dense:
        depth[random.random(depth.shape) > 0.2] = np.nan
    camera = Camera(width, height, width, width, (width - 1) / 2, (height - 1) / 2)
    rgb, depth = rgb.astype(np.uint8), depth.astype(np.float32)
    return Sample(sample_id(source, index), source, index, rgb, depth, camera)


@pytest.fixture(scope="session")
def write_dataset():
    """Writes a data set: (folder, sources, samples of each, size, dense) -> folder."""

    def write(folder, sources=("a", "b", "c"), samples=4, size=(32, 32), dense=True):
        with DatasetWriter(folder, dense=dense, options={"size": list(size)}) as writer:
            for source in sources:
                for index in range(samples):
                    writer.add(make_sample(source, index, size, dense))
                writer.finish_source(source, {})
        return folder

    return write


@pytest.fixture(scope="session")
def dense_dataset(tmp_path_factory, write_dataset) -> Dataset:
    """Three sources of four dense pictures of 32 x 32."""
    return Dataset(write_dataset(tmp_path_factory.mktemp("dense") / "world"))


@pytest.fixture(scope="session")
def nano_card(tmp_path_factory) -> str:
    """Path of the card of a network of a few thousand weights."""
    path = tmp_path_factory.mktemp("card") / "nano.yaml"
    path.write_text(NANO_CARD, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> tuple[Dataset, FitResult]:
    """Five sources with 2 % noise and 30 % outliers, fitted."""
    samples = frames(noise=0.02, outliers=0.3)
    dataset = write(tmp_path_factory.mktemp("noisy") / "data", samples)
    return dataset, fit_dataset(Network(), dataset, FitSettings(resamples=20))


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.WARNING)


@pytest.fixture
def without_report(monkeypatch):
    """One thread, and neither fit nor report at the end of a run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(whole_run, "fit_again", lambda *_: {})
    monkeypatch.setattr(whole_run, "make_report", lambda *_: Page("no plots"))
    monkeypatch.setattr(whole_run, "example_pictures", lambda *_: [])
    yield
    torch.set_num_threads(threads)
