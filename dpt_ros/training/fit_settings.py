"""What `dpt-ros fit` can be told. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass

from dpt_ros.config import ConfigError, setting
from dpt_ros.geometry.fit_methods import FIT_METHODS

WEIGHTINGS = ("relative", "uniform")
WRITTEN = ("best", "joint", "average")


@dataclass(frozen=True)
class FitSettings:
    """How scale and shift are fitted to a data set.

    Raises:
        ConfigError: depths the wrong way round.
    """

    method: str = setting("robust", "How a line is fitted.", choices=FIT_METHODS)
    weighting: str = setting(
        "relative",
        "What residuals are measured in: relative to the truth, so that 10 % count alike near and "
        "far; or uniform in 1/m, as the paper does, which favours what is near.",
        choices=WEIGHTINGS,
    )
    write: str = setting(
        "best",
        "What goes into the calibration: the joint fit to the points of all frames, the average of "
        "the fits to single frames, as in the DPT paper, or the one of them with the smaller "
        "AbsRel on the frames fitted to.",
        choices=WRITTEN,
    )
    sources: str = setting(
        "", "Sources (bags, scenes) to fit to, separated by commas; empty: all of the data set."
    )
    hold_out: str = setting(
        "0.2",
        "What judges the fit without being fitted: sources of the data set separated by commas, a "
        "share of the sources from 0 to below 1, or the folder of another data set.",
    )
    points_per_frame: int = setting(
        2000, "Points taken of a frame at most, at random.", minimum=10, maximum=1_000_000
    )
    min_frame_points: int = setting(
        100, "Points that a frame must have to count.", minimum=3, maximum=1_000_000
    )
    min_frames: int = setting(1, "Frames that there must be to fit.", minimum=1, maximum=1_000_000)
    min_depth_ratio: float = setting(
        1.5,
        "How many times farther the far points (95 %) must be than the near ones (5 %): with "
        "everything at one distance shift cannot be told from scale.",
        minimum=1.01,
        maximum=1000.0,
    )
    near_m: float = setting(
        0.1, "Truth nearer than this is not used.", unit="m", minimum=0.001, maximum=1e4
    )
    far_m: float = setting(
        80.0,
        "Truth beyond this is not used, and errors are measured with predictions clamped to it.",
        unit="m",
        minimum=0.001,
        maximum=1e4,
    )
    resamples: int = setting(
        200, "Bootstrap resamples of frames, for the intervals.", minimum=20, maximum=10_000
    )
    seed: int = setting(0, "Of everything random.", minimum=0, maximum=2**31 - 1)

    def __post_init__(self) -> None:
        if self.near_m >= self.far_m:
            raise ConfigError(
                f"near_m {self.near_m:g} and far_m {self.far_m:g}: expected near_m below far_m"
            )
