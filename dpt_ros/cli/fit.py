"""`dpt-ros fit`: the calibration that makes a network's inverse depth metres, from a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpt_ros.cli.result_files import Kind, check_files

if TYPE_CHECKING:
    from dpt_ros.bags.dataset import Dataset, Sample
    from dpt_ros.inference import DepthPredictor
    from dpt_ros.training.fit import FitResult
    from dpt_ros.training.fit_quality import FrameFit
    from dpt_ros.training.fit_report import Picture

_EXAMPLE = """examples:
  dpt-ros fit my_dataset --model dpt_large --out calibration.yaml
  dpt-ros fit my_dataset --model dpt_tiny --checkpoint tiny.safetensors --out calibration.yaml \\
      --hold-out bag_3,bag_7
  ros2 launch dpt_ros depth.launch.py model:=dpt_large calibration:=calibration.yaml

Beside the calibration, calibration.html shows whether to believe it: open it.

The network is left as it is. The calibration holds for this model, its weights, the size of the
network's input and the camera's field of view; the node checks all of them. The data set comes
from `dpt-ros dataset build` (bags with LiDAR) or `dpt-ros synthetic dataset`."""

_FORMAT = "dpt_ros/fit/1"
_WORST_FRAMES = 4
_FILES = {
    "out": Kind("calibration", rb"^format: *['\"]?dpt_ros/calibration/"),
    "report": Kind("page of a fit", rb"<title>Scale and shift of "),
    # Earlier versions wrote no format.
    "json": Kind("result of a fit", rb'\A\s*\{\s*"(format": *"dpt_ros/fit/|scale")'),
}


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    from dpt_ros.cli.options import add_settings
    from dpt_ros.cli.predict import add_model_options
    from dpt_ros.training.fit_settings import FitSettings

    parser = subparsers.add_parser(
        "fit",
        help="scale and shift that make a network's output metres, from pictures with depth",
        description="Fit scale and shift to a data set; write the calibration with its evidence.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="DATASET", help="folder of a data set")
    parser.add_argument(
        "--out",
        default="calibration.yaml",
        metavar="FILE",
        help="the calibration (default: %(default)s)",
    )
    page = parser.add_mutually_exclusive_group()
    page.add_argument(
        "--report",
        metavar="FILE",
        help="the page with the evidence (HTML; default: beside --out, calibration.html)",
    )
    page.add_argument("--no-report", action="store_true", help="write no page")
    parser.add_argument("--json", metavar="FILE", help="write the result, every frame, as JSON")
    add_model_options(parser.add_argument_group("network"))
    add_settings(parser.add_argument_group("fit"), FitSettings)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Fit, write, and say what came of it; returns 0."""
    from dpt_ros.bags.dataset import Dataset
    from dpt_ros.cli.options import read_settings
    from dpt_ros.cli.predict import load_predictor
    from dpt_ros.geometry.calibration import save_calibration
    from dpt_ros.training.fit import fit_dataset
    from dpt_ros.training.fit_settings import FitSettings
    from dpt_ros.training.fit_summary import as_json
    from dpt_ros.whole_file import write_json

    settings = read_settings(options, FitSettings)
    options.report = _report_path(options)
    check_files(options, _FILES)
    dataset = Dataset(options.dataset)
    predictor = load_predictor(options)
    result = fit_dataset(predictor, dataset, settings, progress=_progress)
    try:
        save_calibration(result.calibration, options.out)  # first: nothing after it may lose it
    finally:
        _say(result)
    if options.json:
        write_json(options.json, {"format": _FORMAT, **as_json(result)})
    if options.report:
        _write_report(options, predictor, dataset, result)
    for path in (options.out, options.report, options.json):
        if path:
            print(f"-> {path}")
    return 0


def _progress(frames: Iterable[Any]) -> Iterable[Any]:
    from dpt_ros.cli.progress import progress

    shown: Iterable[Any] = progress(frames, unit="frame")
    return shown


def _report_path(options: argparse.Namespace) -> str:
    """Where the page goes; "" where none is wanted."""
    if options.no_report or not Path(options.out).name:  # a folder, which is told
        return ""
    page = Path(options.out).with_suffix(".html")
    if page == Path(options.out):
        page = page.with_suffix(".report.html")
    return options.report or str(page)


def _say(result: FitResult) -> None:
    from dpt_ros.training.fit_summary import remarks

    (low, high), (low_shift, high_shift) = result.intervals
    print(f"written: {result.which} ({result.why_written})")
    print(f"scale {result.written.scale:.5g}   95 %: {low:.5g} to {high:.5g}")
    print(f"shift {result.written.shift:.5g} 1/m   95 %: {low_shift:.5g} to {high_shift:.5g}")
    parts = [("fitted", result.training)]
    parts += [("held out", result.held_out)] if result.held_out else []
    for name, quality in parts:
        print(
            f"{name}: {quality.frames} frames, AbsRel {quality.metrics['abs_rel']:.4f}, "
            f"delta1 {quality.metrics['delta1']:.4f}; each frame fitted by itself: "
            f"AbsRel {quality.own_abs_rel:.4f}"
        )
    print(f"inliers {result.lines.inlier_share:.0%} of the points")
    near_m, far_m = result.calibration.near_m, result.calibration.far_m
    print(f"fitted on {near_m:.2g} to {far_m:.3g} m, {result.settings.weighting} weighting")
    for remark in remarks(result):
        print(f"note: {remark}", file=sys.stderr)


def _write_report(
    options: argparse.Namespace, predictor: DepthPredictor, dataset: Dataset, result: FitResult
) -> None:
    from dpt_ros.bags.dataset import Dataset
    from dpt_ros.training.fit import used_sources
    from dpt_ros.training.fit_report import make_report
    from dpt_ros.training.run import command_line
    from dpt_ros.training.split import folder_named

    datasets = [dataset]
    if folder := folder_named(result.settings.hold_out, [used_sources(dataset, result.settings)]):
        datasets.append(Dataset(folder))
    places = {
        (is_held_out, record.id): (each, index)
        for is_held_out, each in ((False, dataset), (True, datasets[-1]))
        for index, record in enumerate(each.records)
    }
    pictures: list[Picture] = []
    worst = sorted(result.frames, key=lambda frame: frame.abs_rel, reverse=True)
    for frame in worst[:_WORST_FRAMES]:
        each, index = places[frame.is_held_out, frame.id]
        pictures += _pictures(predictor, each[index], frame, result)
    name = dataset.folder.resolve().name
    make_report(result, pictures, command_line(), name).save(options.report)


def _pictures(
    predictor: DepthPredictor, sample: Sample, frame: FrameFit, result: FitResult
) -> list[Picture]:
    """The frame's picture with the truth, its predicted depth, and where that is wrong."""
    from dpt_ros.evaluation.pictures import (
        color_limits,
        depth_picture,
        error_picture,
        truth_picture,
    )
    from dpt_ros.training.fit_quality import predicted_m

    inverse_depth = predictor.predict(sample.rgb)
    depth_m = predicted_m(inverse_depth, result.written, result.settings)
    limits = color_limits(sample.depth_m)
    part = "held out" if frame.is_held_out else "fitted"
    return [
        (sample.rgb, f"{frame.id}, {part}: AbsRel {frame.abs_rel:.3f}"),
        (truth_picture(sample.rgb, sample.depth_m, limits), "truth"),
        (depth_picture(depth_m, limits), "predicted, in the same colours"),
        (error_picture(sample.rgb, depth_m, sample.depth_m), "red: too far; blue: too near"),
    ]
