"""Known scale and shift come back from a data set, by every method and weighting."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fit_data import QUICK, SCALE, SHIFT, Network, frames, make_sample, picture_of, write

from dpt_ros.geometry.fit_methods import FIT_METHODS
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.training.fit import fit_dataset
from dpt_ros.training.fit_summary import remarks


def test_known_scale_and_shift_come_back(noisy):
    _, result = noisy
    spread = 1.0 - 1.0 / 12.0

    assert result.written.scale == pytest.approx(SCALE, rel=0.01)
    assert result.written.shift == pytest.approx(SHIFT, abs=0.01 * spread)
    average = result.lines.average
    assert average is not None
    assert average.scale == pytest.approx(SCALE, rel=0.02)
    assert average.shift == pytest.approx(SHIFT, abs=0.02 * spread)
    (low, high), (low_shift, high_shift) = result.intervals
    assert low < result.written.scale < high < 1.1 * low
    assert low_shift < result.written.shift < high_shift
    assert result.lines.inlier_share == pytest.approx(0.7, abs=0.06)
    least_squares = result.lines.by_method["least_squares"]
    assert isinstance(least_squares, ScaleShift)
    assert abs(least_squares.scale / SCALE - 1.0) > 0.05


def test_frames_that_see_no_shift_count_in_the_joint_fit_alone(tmp_path: Path):
    walls = [make_sample("w", index, depths_m=(3.0, 3.3)) for index in range(5)]
    dataset = write(tmp_path / "data", [*frames("a", noise=0.01), *walls])
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, hold_out="0"))

    reasons = [entry.own for entry in result.frames if entry.source == "w"]
    assert all(isinstance(r, str) and "shift cannot be told from scale" in r for r in reasons)
    assert result.written.scale == pytest.approx(SCALE, rel=0.01)
    assert result.training.points > sum(e.points for e in result.frames if e.source == "a")
    assert any("5 of 11 frames cannot be fitted by themselves" in r for r in remarks(result))


def test_the_average_is_the_papers(tmp_path: Path):
    samples = [*frames("a", count=4), *frames("b", count=2, scale=2 * SCALE, shift=0.05)]
    dataset = write(tmp_path / "data", samples)
    settings = dataclasses.replace(QUICK, hold_out="0", write="average")
    result = fit_dataset(Network(), dataset, settings)

    assert result.written.scale == pytest.approx((4 * SCALE + 2 * 2 * SCALE) / 6, rel=1e-3)
    assert result.written.shift == pytest.approx((4 * SHIFT + 2 * 0.05) / 6, abs=1e-3)
    assert result.calibration.fit["written"] == "average: asked for"
    (low, high), _ = result.intervals
    assert low < result.written.scale < high


@pytest.mark.parametrize(("others", "expected"), [(0, "joint"), (4, "average")])
def test_the_better_of_joint_and_average_is_written(others: int, expected: str, tmp_path: Path):
    # The joint fit sides with the many and leaves the few. Frames of hardly any depth spoil the
    # average, and not the joint fit.
    samples = frames("a", 5, noise=0.05)
    samples += frames("b", others, scale=1.5 * SCALE, shift=0.02)
    if not others:
        samples += frames("b", 3, noise=0.05, depths_m=(4.0, 6.6))
    dataset = write(tmp_path / "data", samples)
    settings = dataclasses.replace(QUICK, write="best", hold_out="0")
    result = fit_dataset(Network(), dataset, settings)
    choices = {choice.name: choice for choice in result.alternatives}
    joint = choices["joint, robust"].training_abs_rel
    average = choices["average of frames, robust"].training_abs_rel

    assert result.which == expected
    assert (joint <= average) == (expected == "joint")
    assert result.training.metrics["abs_rel"] == min(joint, average)


@pytest.mark.parametrize("method", FIT_METHODS)
def test_every_method_fits_clean_data(method: str, tmp_path: Path):
    dataset = write(tmp_path / "data", frames("ab", count=2))
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, method=method))

    assert result.written.scale == pytest.approx(SCALE, rel=0.01)
    assert result.written.shift == pytest.approx(SHIFT, abs=0.01)


def test_relative_weighting_gives_smaller_relative_errors(tmp_path: Path):
    # The network compresses what is near: one line cannot be right everywhere.
    samples = []
    for sample in frames("abc", depths_m=(0.5, 30.0), coverage=1.0):
        inverse = (1.0 / sample.depth_m - SHIFT) / SCALE
        bent = np.minimum(inverse, 200.0 + 0.5 * (inverse - 200.0))
        samples.append(dataclasses.replace(sample, rgb=picture_of(bent)))
    dataset = write(tmp_path / "data", samples)
    abs_rel = {}
    for weighting in ("relative", "uniform"):
        settings = dataclasses.replace(QUICK, weighting=weighting, method="least_squares")
        result = fit_dataset(Network(), dataset, settings)
        abs_rel[weighting] = result.training.metrics["abs_rel"]
        assert result.calibration.fit["weighting"].startswith(f"{weighting}: residuals")

    assert abs_rel["relative"] < 0.8 * abs_rel["uniform"]
