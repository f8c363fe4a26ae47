"""`dpt-ros train`: fine-tune a network, or train one from scratch, on data sets with depth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_EXAMPLE = """examples:
  dpt-ros train kitti_dataset --init dpt_hybrid --out runs/kitti --stage decoder --epochs 5
  dpt-ros train kitti_dataset --init dpt_hybrid --out runs/metres --mode metric
  dpt-ros train rendered --init scratch --model dpt_tiny --out runs/tiny --size 256x192 \\
      --backbone-lr 5e-4 --decoder-lr 5e-4 --steps 5000
  torchrun --nproc-per-node 2 -m dpt_ros.cli.main train DATASET --init dpt_large --out runs/large

A run that was killed goes on where it was: give the same command again. Its folder holds:
  model.safetensors   the result, with its card: give it as --model (the node: model:=)
  report.html         the result beside the untouched model, with curves
  result.json         the same as numbers
  checkpoints/        the last two states; tensorboard/ the curves"""

_KNOWN_BY = rb'\A\s*\{\s*"format": *"dpt_ros/training/'
"""What the head of a run's result, and of its run.json, is known by."""


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    from dpt_ros.cli.options import add_settings
    from dpt_ros.training.settings import TrainSettings

    parser = subparsers.add_parser(
        "train",
        help="fine-tune a network on data sets with depth, or train one from scratch",
        description="Train on pictures with LiDAR or rendered depth.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="folder of a data set")
    parser.add_argument(
        "--init",
        required=True,
        help="what to start from: a model's name, a weights file, scratch (random weights), or "
        "backbone (timm's image-classification encoder, random decoder)",
    )
    parser.add_argument(
        "--model",
        default="",
        help="name or file of the model card, for scratch, backbone, and weights without a card "
        "(default: dpt_tiny for scratch and backbone)",
    )
    parser.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--name", default="", help="the result's name on its card (default: the start's)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON there too")
    add_settings(parser, TrainSettings)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Train and say what came of it; returns 0."""
    from dpt_ros.cli.options import read_settings
    from dpt_ros.cli.result_files import folder, writable
    from dpt_ros.training.run import command_line, train
    from dpt_ros.training.settings import TrainSettings
    from dpt_ros.whole_file import write_json

    settings = read_settings(options, TrainSettings)
    out = folder("out", options.out)
    if options.json:
        options.json = writable("json", options.json)
        _check_json(options.json, out)
    result = train(
        options.datasets,
        options.init,
        out,
        settings,
        model_name=options.model,
        name=options.name,
        command=command_line(),
    )
    if result:  # in a process of several, only the main one has it
        if options.json:
            write_json(options.json, result)
        weights = out / "model.safetensors"
        if weights.is_file():  # a complete run is not run again, whatever became of its files
            print(f"weights -> {weights}")
    return 0


def _check_json(path: str, out: Path) -> None:
    """Refuse a place for the result where something else would be lost.

    Raises:
        ValueError: it lies in the folder of a run, and is not this run's own result.
        FileExistsError: something that is no result is there.
    """
    from dpt_ros.cli.result_files import is_known_by, replaceable

    place, run_folder = Path(path).resolve(), out.resolve()
    is_of_run = run_folder in (place, *place.parents)
    is_of_run |= is_known_by(place.with_name("run.json"), _KNOWN_BY)
    if is_of_run and place != run_folder / "result.json":
        raise ValueError(
            f"--json {path}: lies in the folder of a run, whose files are its own; name a file "
            "elsewhere"
        )
    replaceable("json", path, "result of a training", _KNOWN_BY)
