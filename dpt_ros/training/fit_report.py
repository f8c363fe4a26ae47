"""The page of a fit: the calibration, how far it holds, and where it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.config import values_of
from dpt_ros.geometry.fit import INLIER_SIGMAS
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.report import Page
from dpt_ros.report.figures import COLORS, plot_style
from dpt_ros.training.fit import FitResult
from dpt_ros.training.fit_quality import FrameFit, Quality
from dpt_ros.training.fit_summary import WHAT_WEIGHTING, frame_spread, remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = tuple[NDArray[np.uint8], str]

_SCATTERED = 15_000
_MOST_SOURCES = 30
_NAMES = {"joint": "the joint fit", "average": "the average of the fits to single frames"}


def make_report(
    result: FitResult, pictures: Sequence[Picture] = (), command: str = "", data: str = ""
) -> Page:
    """The page of a fit.

    Args:
        result: of `fit_dataset`.
        pictures: the frames with the largest errors, and what is wrong in them.
        command: what was typed.
        data: the data set's name.
    """
    calibration = result.calibration
    page = Page(
        f"Scale and shift of {calibration.model}",
        f"{f'Fitted to {data}: ' if data else ''}{result.training.frames} frames fitted, "
        f"{result.held_out.frames if result.held_out else 0} held out",
    )
    page.headlines(_headlines(result))
    for remark in remarks(result):
        page.warning(remark)
    _fit_section(page, result)
    _range_section(page, result)
    _time_section(page, result)
    if pictures:
        page.section("Worst frames")
        page.text(
            "The frames with the largest AbsRel. In the last picture of each, red is predicted too "
            "far and blue too near."
        )
        page.images(pictures)
    page.section("How")
    if command:
        page.text(f"`{command}`")
    page.settings(
        {
            "network size": f"{calibration.network_width} x {calibration.network_height}",
            "checkpoint SHA-256": calibration.checkpoint_sha256,
            "data set SHA-256": result.fingerprint,
            "held out": ", ".join(result.held_out_sources[:_MOST_SOURCES]),
            "settings": values_of(result.settings),
        }
    )
    return page


def _headlines(result: FitResult) -> list[tuple[str, str, str]]:
    quality = result.held_out or result.training
    where = "held out" if result.held_out else "on the frames fitted to"
    scale, shift = result.written.scale, result.written.shift
    scales, shifts = result.intervals
    return [
        (
            "AbsRel",
            f"{quality.metrics['abs_rel']:.3f}",
            f"{where}, one scale and shift for all; one depth for all pixels: "
            f"{result.constant[1]:.2f}",
        ),
        ("delta1", f"{quality.metrics['delta1']:.3f}", where),
        (
            "AbsRel, own fits",
            f"{quality.own_abs_rel:.3f}",
            f"{where}, each frame with its own scale and shift",
        ),
        ("Scale", f"{scale:.4g}", f"95 %: {scales[0]:.4g} to {scales[1]:.4g}"),
        ("Shift", f"{shift:.3g}", f"in 1/m; 95 %: {shifts[0]:.3g} to {shifts[1]:.3g}"),
        (
            "Fitted on",
            f"{result.calibration.near_m:.2g} to {result.calibration.far_m:.3g} m",
            "depth outside is not published",
        ),
    ]


def _fit_section(page: Page, result: FitResult) -> None:
    settings = result.settings
    page.section("The fit")
    page.text(
        "`1 / depth = scale * inverse_depth + shift`. Written to the calibration: "
        f"{_NAMES[result.which]} ({result.why_written}). Weighting: {settings.weighting}, that "
        f"is {WHAT_WEIGHTING[settings.weighting]}. {result.lines.inlier_share:.0%} of the points "
        f"are inliers, within {INLIER_SIGMAS:g} sigma of the joint fit."
    )
    page.figure(_scatter(result), "Points of the frames fitted to, and the lines through them.")
    rows = [
        [
            choice.name,
            choice.fit.scale if isinstance(choice.fit, ScaleShift) else None,
            choice.fit.shift if isinstance(choice.fit, ScaleShift) else None,
            choice.training_abs_rel,
            choice.held_out_abs_rel,
        ]
        for choice in result.alternatives
    ]
    page.table(
        ["fit", "scale", "shift (1/m)", "AbsRel, fitted", "AbsRel, held out"],
        rows,
        "What each way of fitting gives on the same points, with the same weighting.",
        {"AbsRel, held out" if result.held_out else "AbsRel, fitted": "min"},
    )


def _range_section(page: Page, result: FitResult) -> None:
    page.section("Error by range")
    page.figure(
        _error_by_range(result),
        "Median and 5 to 95 % of the relative error; above 0 is predicted too far.",
    )
    columns = [
        "from (m)",
        "to (m)",
        "points",
        "AbsRel",
        "delta1",
        "median error",
        "5 %",
        "95 %",
        "residual (1/m)",
    ]
    for name, quality in _qualities(result):
        rows = [
            [
                row.near_m,
                row.far_m,
                row.points,
                row.abs_rel,
                row.delta1,
                row.bias,
                row.low,
                row.high,
                row.residual_per_m,
            ]
            for row in quality.by_range
        ]
        page.table(columns, rows, f"Frames {name}; errors relative to the truth.")


def _time_section(page: Page, result: FitResult) -> None:
    page.section("Frame by frame")
    page.figure(
        _over_time(result),
        "Scale and shift of each frame fitted by itself, in the order of time within each source; "
        "grey: what is written; hollow: held out.",
    )
    spread = frame_spread(result.frames)
    if spread is not None:
        page.table(
            ["of single frames", "5 %", "median", "95 %"],
            [["scale", *spread.scale], ["shift (1/m)", *spread.shift]],
        )
    rows = []
    for source in list(dict.fromkeys(entry.source for entry in result.frames))[:_MOST_SOURCES]:
        entries = [entry for entry in result.frames if entry.source == source]
        fits = [entry.own for entry in entries if isinstance(entry.own, ScaleShift)]
        rows.append(
            [
                source,
                "held out" if entries[0].is_held_out else "fitted",
                len(entries),
                float(np.mean([entry.abs_rel for entry in entries])),
                float(np.median([fit.scale for fit in fits])) if fits else None,
                float(np.median([fit.shift for fit in fits])) if fits else None,
            ]
        )
    page.table(["source", "part", "frames", "AbsRel", "scale", "shift (1/m)"], rows, "By source.")


def _scatter(result: FitResult) -> Figure:
    from matplotlib.figure import Figure

    x = np.concatenate([frame.inverse_depth for frame in result.pairs]).astype(np.float64)
    y = 1.0 / np.concatenate([frame.truth_m for frame in result.pairs]).astype(np.float64)
    chosen = np.random.default_rng(0).permutation(x.size)[:_SCATTERED]
    left, right = np.percentile(x, (0.1, 99.9)).tolist()
    bottom, top = np.percentile(y, (0.1, 99.9)).tolist()
    pad_x, pad_y = 0.05 * (right - left), 0.05 * (top - bottom)
    with plot_style():
        figure = Figure(figsize=(8.0, 4.6))
        axes = figure.subplots()
        axes.plot(
            x[chosen], y[chosen], ".", markersize=2.5, alpha=0.25, color=COLORS[0],
            markeredgewidth=0.0, rasterized=True,
        )  # fmt: skip
        ends = np.array([left - pad_x, right + pad_x])
        joint = result.lines.joint
        axes.plot(ends, joint.slope * ends + joint.intercept, color=COLORS[1], label="joint")
        if average := result.lines.average:
            axes.plot(
                ends, average.scale * ends + average.shift, "--", color=COLORS[2],
                label="average of frames",
            )  # fmt: skip
        axes.set_xlim(left - pad_x, right + pad_x)
        axes.set_ylim(bottom - pad_y, top + pad_y)
        axes.set_xlabel("inverse depth, as the network gives it")
        axes.set_ylabel("true inverse depth (1/m)")
        axes.legend()
    return figure


def _error_by_range(result: FitResult) -> Figure:
    from matplotlib.figure import Figure

    with plot_style():
        figure = Figure()
        axes = figure.subplots()
        for color, (name, quality) in zip(COLORS, _qualities(result), strict=False):
            middle = [np.sqrt(row.near_m * row.far_m) for row in quality.by_range]
            low, bias, high = (
                np.array([100.0 * getattr(row, field) for row in quality.by_range])
                for field in ("low", "bias", "high")
            )
            axes.fill_between(middle, low, high, color=color, alpha=0.18, linewidth=0.0)
            axes.plot(middle, bias, "o-", color=color, label=name)
        axes.axhline(0.0, color="#b0b0b0", linewidth=1.0)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(*np.clip(axes.get_ylim(), -100.0, 150.0))
        axes.set_xlabel("true depth (m)")
        axes.set_ylabel("relative error (%)")
        axes.legend()
    return figure


def _over_time(result: FitResult) -> Figure:
    from matplotlib.figure import Figure

    ordered = sorted(result.frames, key=lambda entry: (entry.source, entry.stamp_ns))
    with plot_style():
        figure = Figure(figsize=(8.0, 6.0))
        above, middle, below = figure.subplots(3, 1, sharex=True)
        for place, axes, written in (
            (0, above, result.written.scale),
            (1, middle, result.written.shift),
        ):
            for number, of_source in enumerate(_by_source(ordered)):
                _dots(axes, of_source, place, COLORS[number % len(COLORS)])
            axes.axhline(written, color="#b0b0b0", linewidth=1.5)
        above.set_ylabel("scale")
        middle.set_ylabel("shift (1/m)")
        _keep_in_view(above, [e.own.scale for e in ordered if isinstance(e.own, ScaleShift)])
        _keep_in_view(middle, [e.own.shift for e in ordered if isinstance(e.own, ScaleShift)])
        numbers = range(1, len(ordered) + 1)
        below.plot(numbers, [entry.abs_rel for entry in ordered], label="written")
        below.plot(numbers, [entry.own_abs_rel for entry in ordered], label="each frame's own")
        below.set_ylim(bottom=0.0)
        below.set_ylabel("AbsRel")
        below.set_xlabel("frame")
        below.legend()
    return figure


def _by_source(ordered: Sequence[FrameFit]) -> Iterator[list[tuple[int, FrameFit]]]:
    """The numbered frames of each source that could be fitted."""
    for source in dict.fromkeys(entry.source for entry in ordered):
        yield [
            (number, entry)
            for number, entry in enumerate(ordered, 1)
            if entry.source == source and isinstance(entry.own, ScaleShift)
        ]


def _dots(axes: Axes, frames: Sequence[tuple[int, FrameFit]], place: int, color: str) -> None:
    if not frames:
        return
    values: list[Any] = []
    for _, entry in frames:
        own = entry.own
        values.append((own.scale, own.shift)[place] if isinstance(own, ScaleShift) else None)
    numbers = [number for number, _ in frames]
    is_held_out = frames[0][1].is_held_out
    axes.plot(
        numbers, values, "o-", color=color, markersize=4, linewidth=0.8,
        markerfacecolor="none" if is_held_out else color,
    )  # fmt: skip


def _keep_in_view(axes: Axes, values: Sequence[float]) -> None:
    """Leave out a few wild frames that would squeeze the others to a line."""
    if len(values) < 10:
        return
    low, high = np.percentile(values, (2.0, 98.0)).tolist()
    pad = 0.3 * (high - low)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - pad), min(top, high + pad))


def _qualities(result: FitResult) -> list[tuple[str, Quality]]:
    both = [("fitted", result.training)]
    return [*both, ("held out", result.held_out)] if result.held_out else both
