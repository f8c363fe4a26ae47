"""Plots of an evaluation: error against range, prediction against truth, frames, clouds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.evaluation.agreement import Agreement
from dpt_ros.evaluation.summary import Summary
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.point_cloud import PointCloudSettings, depth_to_points
from dpt_ros.report.figures import COLORS, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_METRES = (0.3, 0.5, 1, 2, 5, 10, 20, 40, 80, 160)
_FEW_METRES = (0.3, 1, 3, 10, 30, 80)
_CLOUD_POINTS = 30_000
_NIGHT = "#0f141c"


def error_by_range(summaries: Mapping[str, Summary]) -> Figure:
    """Bars of the relative error by range, one colour a model (or whatever the names stand for)."""
    with plot_style():
        figure, axes = _figure(6.8, 3.1)
        ranges = [item.name for item in next(iter(summaries.values())).ranges]
        width = 0.8 / len(summaries)
        for index, (name, summary) in enumerate(summaries.items()):
            heights = [item.metrics["abs_rel"] for item in summary.ranges]
            places = np.arange(len(ranges)) + (index - (len(summaries) - 1) / 2) * width
            axes.bar(places, heights, 0.92 * width, label=name, color=COLORS[index % len(COLORS)])
        axes.set_xticks(range(len(ranges)), ranges)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("AbsRel")
        axes.set_xlabel("true depth")
        if len(summaries) > 1:
            axes.legend()
        return figure


def bias_by_range(agreements: Mapping[str, Agreement]) -> Figure:
    """Median and middle half of the relative error against true depth."""
    with plot_style():
        figure, axes = _figure(6.8, 3.1)
        axes.axhline(0.0, color="#000000", linewidth=1.0, alpha=0.6)
        reach = 0.1
        for index, (name, agreement) in enumerate(agreements.items()):
            middles = np.sqrt(agreement.edges_m[1:] * agreement.edges_m[:-1])
            low, middle, high = 100.0 * agreement.error_percentiles((25.0, 50.0, 75.0)).T
            color = COLORS[index % len(COLORS)]
            axes.plot(middles, middle, color=color, label=name)
            axes.fill_between(middles, low, high, color=color, alpha=0.18)
            reach = max(reach, *np.abs(np.nan_to_num((low, high))).max(axis=1))
        _log_metres(axes, "x")
        axes.set_ylim(-min(1.1 * reach, 100.0), min(1.1 * reach, 150.0))
        axes.set_xlabel("true depth [m]")
        axes.set_ylabel("relative error [%]")
        if len(agreements) > 1:
            axes.legend()
        return figure


def prediction_against_truth(agreements: Mapping[str, Agreement]) -> Figure:
    """Where the pixels lie: density by true and predicted depth, one panel a model."""
    with plot_style():
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure

        count = len(agreements)
        figure = Figure(figsize=(min(4.2 * count, 8.4), 4.2 if count == 1 else 8.4 / count + 0.4))
        panels = figure.subplots(1, count, squeeze=False, sharey=True)[0]
        for axes, (name, agreement) in zip(panels, agreements.items(), strict=True):
            edges = agreement.edges_m
            counts = np.where(agreement.counts > 0, agreement.counts, np.nan)
            if np.isfinite(counts).any():
                axes.pcolormesh(
                    edges, edges, counts, norm=LogNorm(), cmap="viridis", rasterized=True
                )
            ends = np.array([edges[0], edges[-1]])
            axes.plot(ends, ends, color="#000000", linewidth=1.2)
            for factor in (1.25, 0.8):
                axes.plot(ends, factor * ends, color="#000000", linewidth=0.8, linestyle="--")
            places = _METRES if count == 1 else _FEW_METRES
            _log_metres(axes, "x", places)
            _log_metres(axes, "y", places)
            axes.set_xlim(*ends)
            axes.set_ylim(*ends)
            axes.set_aspect("equal")
            axes.set_title(name)
            axes.set_xlabel("true depth [m]")
        panels[0].set_ylabel("predicted depth [m]")
        return figure


def error_over_frames(values: Mapping[str, Sequence[float]]) -> Figure:
    """AbsRel of every frame, in the order in which they were recorded."""
    from matplotlib.ticker import MaxNLocator

    with plot_style():
        figure, axes = _figure(6.8, 2.7)
        for index, (name, errors) in enumerate(values.items()):
            color = COLORS[index % len(COLORS)]
            style = {"marker": "o"} if len(errors) < 60 else {"linewidth": 1.2}
            axes.plot(range(1, len(errors) + 1), errors, color=color, label=name, **style)
        axes.set_ylim(bottom=0.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("frame")
        axes.set_ylabel("AbsRel")
        if len(values) > 1:
            axes.legend()
        return figure


def cloud_from_outside(
    rgb: NDArray[np.uint8],
    depth_m: NDArray[np.floating],
    truth_m: NDArray[np.floating],
    camera: Camera,
) -> Figure:
    """The predicted cloud in the picture's colours beside what was measured: above and side."""
    with plot_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.6, 5.0))
        panels = figure.subplots(
            2, 2, sharex="col", sharey="row", gridspec_kw={"height_ratios": [2.0, 1.0]}
        )
        reach = _reach(truth_m, depth_m)
        clouds = (("prediction", depth_m), ("measured", truth_m))
        for column, (name, depth) in enumerate(clouds):
            points, colors = _cloud(rgb, depth, camera, thin=name == "prediction")
            inside = points[:, 2] < reach
            points, colors = points[inside], colors[inside]
            style: dict[str, Any] = {"s": 1.2, "c": colors, "linewidths": 0, "rasterized": True}
            if name == "measured":
                style.update(c=points[:, 2], cmap="turbo_r", vmin=0.0, vmax=reach)
            above, side = panels[0, column], panels[1, column]
            above.scatter(points[:, 2], -points[:, 0], **style)
            side.scatter(points[:, 2], -points[:, 1], **style)
            above.set_title(f"{name}, from above")
            side.set_title(f"{name}, from the side")
            side.set_xlabel("forwards [m]")
        _frame_views(panels, truth_m, camera, reach)
        return figure


def _frame_views(panels: Any, truth_m: NDArray[np.floating], camera: Camera, reach: float) -> None:
    """Same axes for both clouds, on dark ground."""
    row, column = np.nonzero(np.isfinite(truth_m))
    depth = truth_m[row, column]
    row, column, depth = row[depth < reach], column[depth < reach], depth[depth < reach]
    sideways = np.abs((column - camera.cx_px) / camera.fx_px * depth)
    upwards = -(row - camera.cy_px) / camera.fy_px * depth
    half = float(np.percentile(sideways, 99.0)) * 1.1 + 0.5 if depth.size else reach / 2
    low, high = np.percentile(upwards, [0.5, 99.5]) if depth.size else (-1.0, 1.0)
    margin = 0.25 * (high - low) + 0.3
    panels[0, 0].set_ylim(-half, half)
    panels[1, 0].set_ylim(low - margin, high + margin)
    panels[0, 0].set_ylabel("to the left [m]")
    panels[1, 0].set_ylabel("up [m]")
    for axes in panels.ravel():
        axes.set_xlim(0.0, reach)
        axes.set_facecolor(_NIGHT)
        axes.grid(color="#6b7686", alpha=0.35)


def _cloud(
    rgb: NDArray[np.uint8], depth_m: NDArray[np.floating], camera: Camera, thin: bool
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Points [N,3] in the optical frame and their colours [N,3], at most `_CLOUD_POINTS`."""
    settings = PointCloudSettings() if thin else PointCloudSettings(edge_removal=0.0)
    depth = torch.from_numpy(np.ascontiguousarray(depth_m, np.float32))[None]
    image = torch.from_numpy(np.ascontiguousarray(rgb))[None]
    cloud = depth_to_points(depth, camera.ray_planes(), image, settings)
    points = cloud.values[0, ..., :3].numpy()
    known = np.flatnonzero(np.isfinite(points).all(axis=-1).ravel())
    if len(known) > _CLOUD_POINTS:
        known = np.random.default_rng(0).choice(known, _CLOUD_POINTS, replace=False)
    return points.reshape(-1, 3)[known], rgb.reshape(-1, 3)[known] / 255.0


def _reach(truth_m: NDArray[np.floating], depth_m: NDArray[np.floating]) -> float:
    """How far the views go: nearly all of what was measured."""
    known = truth_m[np.isfinite(truth_m)]
    if not known.size:
        known = depth_m[np.isfinite(depth_m)]
    return float(np.percentile(known, 98.0)) * 1.05 if known.size else 10.0


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def _log_metres(axes: Axes, which: str, places: Sequence[float] = _METRES) -> None:
    """A logarithmic axis with metres as people say them."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(_fixed(places))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(_fixed(()))


def _fixed(places: Sequence[float]) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(list(places))
