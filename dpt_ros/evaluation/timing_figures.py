"""Plots of when depth came: latency as a histogram and over the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dpt_ros.evaluation.timing import PERCENTILES, TimingLog
from dpt_ros.report.figures import COLORS, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 4000
_LEAST_MS = 1.0
"""What a histogram spans at least."""


def latency_histogram(timing: TimingLog) -> Figure:
    """How often depth came how late, counted from the picture's stamp."""
    from matplotlib.figure import Figure

    with plot_style():
        figure = Figure(figsize=(8.0, 3.2))
        axes = figure.subplots()
        latency_ms = 1000.0 * timing.latency_s[np.isfinite(timing.latency_s)]
        bins = min(max(10, int(np.sqrt(latency_ms.size))), 60)
        low_ms, high_ms = float(latency_ms.min()), float(latency_ms.max())
        if high_ms - low_ms < _LEAST_MS:  # a clock that ticks coarsely gives all the same latency
            low_ms, high_ms = low_ms - _LEAST_MS / 2, high_ms + _LEAST_MS / 2
        axes.hist(latency_ms, bins=bins, range=(low_ms, high_ms), color=COLORS[0])
        for percent, style in zip(PERCENTILES, ("-", "--", ":"), strict=True):
            value = float(np.percentile(latency_ms, percent))
            label = f"p{percent}: {value:.0f} ms"
            axes.axvline(value, color=COLORS[1], linestyle=style, label=label)
        axes.set_xlabel("latency from the stamp [ms]")
        axes.set_ylabel("pictures")
        axes.legend()
        return figure


def latency_timeline(timing: TimingLog) -> Figure:
    """Latency of every picture over the recording; pictures without depth on the bottom line."""
    from matplotlib.figure import Figure

    with plot_style():
        figure = Figure(figsize=(8.0, 3.2))
        axes = figure.subplots()
        latency_ms = 1000.0 * timing.latency_s
        step = max(1, len(latency_ms) // _MOST_POINTS)
        seconds, latency_ms = timing.stamps_s[: len(latency_ms) : step], latency_ms[::step]
        axes.plot(seconds, latency_ms, ".", color=COLORS[0], label="depth", rasterized=True)
        lost = ~np.isfinite(latency_ms)
        if lost.any():
            bottom = np.zeros(int(lost.sum()))
            axes.plot(seconds[lost], bottom, "|", color=COLORS[7], label="no depth")
            axes.legend()
        axes.set_ylim(bottom=0.0 if lost.any() or np.nanmin(latency_ms) >= 0.0 else None)
        axes.set_xlabel("time since the first picture [s]")
        axes.set_ylabel("latency [ms]")
        return figure
