"""Fits to few frames, some of which show nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.geometry.fit import FitError
from dpt_ros.training.fit_lines import fit_lines
from dpt_ros.training.fit_pairs import FramePairs
from dpt_ros.training.fit_settings import FitSettings

FEW = FitSettings(resamples=40)


def frame(number: int, blank: float | None = None) -> FramePairs:
    """Of scale 0.5 and shift 0.02; a blank one has one value everywhere, as of a dark picture."""
    random = np.random.default_rng(number)
    truth_m = random.uniform(1.0, 20.0, 400).astype(np.float32)
    inverse_depth = ((1.0 / truth_m - 0.02) / 0.5 + random.normal(0.0, 0.01, 400)).astype("f4")
    shown = inverse_depth if blank is None else np.full_like(inverse_depth, blank)
    return FramePairs(str(number), "s", number, shown, truth_m)


@pytest.mark.parametrize("count", [1, 3])
def test_one_blank_frame_among_few_does_not_end_the_fit(count: int):
    frames = [*(frame(number) for number in range(count)), frame(99, blank=0.3)]
    lines = fit_lines(frames, [], FEW)

    assert lines.joint.slope == pytest.approx(0.5, rel=0.02)
    (low, high), _ = lines.joint_interval
    assert 0.0 < low <= lines.joint.slope <= high < 0.52
    assert "does not tell near from far" in str(lines.of_frames["99"])


def test_frames_that_are_all_blank_are_refused():
    frames = [frame(0, blank=0.3), frame(1, blank=0.31)]
    with pytest.raises(FitError, match=r"of 40 resamples of 2 frames have no line.*record more"):
        fit_lines(frames, [], FEW)


@pytest.mark.parametrize("method", ["robust", "huber"])
def test_frames_that_are_all_but_blank_are_no_line_either(method: str):
    """One pixel of each differs: a line through it would be as steep as it likes."""
    frames = [frame(number) for number in range(2)]
    for number in range(10, 14):
        blank = frame(number, blank=0.0)
        blank.inverse_depth[0] = 1e-3
        frames.append(blank)
    (low, high), _ = fit_lines(frames, [], FitSettings(method=method, resamples=40)).joint_interval

    assert 0.0 < low < high < 0.6
