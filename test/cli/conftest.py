"""What tests of several commands share."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dpt_ros.cli import evaluate_outputs
from dpt_ros.cli.main import main
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.report import Page

sys.path.append(str(Path(__file__).parents[1] / "model"))  # of small_checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Random weights of `dpt_tiny`."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(create_model("dpt_tiny"), path)
    return path


@pytest.fixture
def drive(tmp_path, recordings) -> Path:
    """Three pictures of noise, and scans of walls 4, 5 and 6 m away, with a pole at 3 m."""
    stamps = recordings.STAMPS
    messages = recordings.drive(stamps, [4.0, 5.0, 6.0])
    kept = [item for item in messages if item[0] not in ("/points", "/camera/image_raw")]
    for index, stamp_ns in enumerate(stamps):
        pole = [[3.0, y, z] for y in np.linspace(0, 0.6, 8) for z in np.linspace(-0.4, 0.8, 8)]
        points = np.concatenate([recordings.wall(4.0 + index), pole])
        rgb = np.random.default_rng(index).integers(0, 255, (24, 32, 3), np.uint8)
        kept.append(("/points", stamp_ns, recordings.cloud(stamp_ns, points)))
        kept.append(("/camera/image_raw", stamp_ns, recordings.image(stamp_ns, rgb)))
    return recordings.write_bag(tmp_path / "drive", kept)


@pytest.fixture
def bags(tmp_path, recordings) -> list[Path]:
    """Two drives of three pictures; the walls are 3 and 8 m away, and 1 m more in each picture."""
    return [
        recordings.write_bag(
            tmp_path / name, recordings.drive(recordings.STAMPS, [d, d + 1, d + 2])
        )
        for name, d in (("drive_1", 3.0), ("drive_2", 8.0))
    ]


@pytest.fixture
def evaluate(request, monkeypatch, checkpoint):
    """Runs `dpt-ros evaluate` with small random weights; returns its exit status.

    Plots take seconds, so only tests that ask for `real_report` have them drawn.
    """
    if "real_report" not in request.fixturenames:
        monkeypatch.setattr(evaluate_outputs, "build_report", lambda *_: Page("no plots"))

    def run(*arguments: object, out: Path, checkpoint: Path = checkpoint) -> int:
        model = ["--model", "dpt_tiny", "--checkpoint", checkpoint]
        words = [*model, "--device", "cpu", "--jobs", "1", "--out", out, *arguments]
        return main(["evaluate", *(str(word) for word in words)])

    return run


@pytest.fixture
def real_report():
    """Has `evaluate` draw its report."""
