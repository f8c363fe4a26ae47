"""`dpt-ros evaluate`: how good models' depth is on data sets and recordings, without ROS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpt_ros.cli.numbers import count, positive

if TYPE_CHECKING:
    from dpt_ros.evaluation.models import EvaluatedModel
    from dpt_ros.evaluation.run import Plan
    from dpt_ros.inference.identity import ModelIdentity

_EXAMPLE = """examples:
  dpt-ros evaluate my_bag --model dpt_tiny --calibration calibration.yaml --out evaluation
  dpt-ros evaluate drives --model dpt_tiny --model dpt_hybrid_kitti --baseline training_drives \\
      --protocol kitti --protocol full --out evaluation
  dpt-ros evaluate my_bag --model dpt_tiny --checkpoint runs/a/model.safetensors --out mine

written to OUT:
  report.html       to look at, in any browser, without network
  evaluation.json   everything as numbers
  summary.csv       one line for each model, protocol, alignment and range
  frames.csv        one line for each frame
  kept/             predictions, and recordings' frames: the same command again only scores

alignments: none (the model's own metres), calibration (one scale and shift for all frames),
least_squares and median (from the truth of the frame that is scored: shape, not metres)"""


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    parser = subparsers.add_parser(
        "evaluate",
        help="how good depth is, against LiDAR or rendered depth: figures and a report",
        description="Score models on data sets and recordings, and write a report.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="DATASET_OR_BAG", help="what to evaluate on")
    parser.add_argument("--out", required=True, metavar="DIR", help="the evaluation's folder")
    parser.add_argument(
        "--force", action="store_true", help="replace the results of another evaluation in OUT"
    )
    _add_models(parser)
    _add_scoring(parser)
    for kind, text in (("json", "results"), ("csv", "summary"), ("html", "report")):
        parser.add_argument(
            f"--{kind}", metavar="FILE", help=f"write the {text} there too, besides OUT"
        )
    _add_recordings(parser)
    parser.set_defaults(func=run)


def _add_models(parser: argparse.ArgumentParser) -> None:
    from dpt_ros.cli.options import add_settings
    from dpt_ros.inference.settings import InferenceSettings

    group = parser.add_argument_group("models")
    group.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="a model; may be repeated"
    )
    group.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="FILE",
        help="weights of the first --model, the second ...; '' or none: the model's own",
    )
    group.add_argument(
        "--calibration",
        action="append",
        default=[],
        metavar="FILE",
        help="a calibration, or bundled; goes to the model that it was made for; may be repeated",
    )
    group.add_argument(
        "--baseline",
        metavar="DATASET",
        help="training data set whose mean inverse depth per pixel is shown as a baseline",
    )
    add_settings(group, InferenceSettings, leave_out=("model", "checkpoint"))


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scoring")
    group.add_argument(
        "--protocol",
        action="append",
        metavar="NAME",
        help="full (whole image, 80 m; the default), kitti (Garg's crop, 80 m), nyu (10 m), "
        "zero-shot (MiDaS), or all; may be repeated; pictures are of the first",
    )
    group.add_argument(
        "--alignment",
        action="append",
        metavar="NAME",
        help="none, calibration, least_squares, median; may be repeated (default: all)",
    )
    group.add_argument(
        "--ranges",
        default="5,10,20,40",
        metavar="M,M,...",
        help="where ranges end, in metres (default: %(default)s)",
    )
    group.add_argument(
        "--show",
        type=count,
        default=3,
        metavar="N",
        help="worst frames, and evenly spread ones, in the report (default: %(default)s)",
    )
    group.add_argument(
        "--jobs", type=positive, default=2, help="frames scored at a time (default: %(default)s)"
    )
    group.add_argument(
        "--keep", metavar="DIR", help="folder of kept predictions (default: OUT/kept)"
    )


def _add_recordings(parser: argparse.ArgumentParser) -> None:
    from dpt_ros.cli.options import add_sample_settings

    group = parser.add_argument_group("recordings", "how bags are read; see `dataset build`")
    add_sample_settings(group)


def run(options: argparse.Namespace) -> int:
    """Evaluate; returns 0, or 1 where there was truth and not one frame could be scored."""
    from dpt_ros.cli.evaluate_inputs import open_input
    from dpt_ros.cli.evaluate_outputs import (
        FILES,
        check_folder,
        check_same,
        told,
        warnings,
        write_results,
    )
    from dpt_ros.cli.options import read_sample_settings
    from dpt_ros.cli.result_files import check_files, folder
    from dpt_ros.evaluation.run import evaluate

    plan = _plan(options)
    out = folder("out", options.out)
    check_folder(out, options.force)
    check_files(options, FILES, made=out)
    keep = folder("keep", options.keep) if options.keep else out / "kept"
    settings = read_sample_settings(options)
    recordings = [open_input(Path(path), settings, keep, _progress) for path in options.inputs]
    models = _models(options, keep)
    if not options.force:
        check_same(out, recordings, models)
    evaluation = evaluate(recordings, models, plan, _progress)
    write_results(evaluation, out, options)
    for warning in warnings(evaluation):
        print(f"warning: {warning}", file=sys.stderr)
    print(told(evaluation))
    print(f"{evaluation.frames} frames -> {out / 'report.html'}")
    is_scored = any(s.frames for result in evaluation.results for s in result.summaries)
    return 0 if is_scored or not evaluation.has_truth else 1


def _plan(options: argparse.Namespace) -> Plan:
    """What the options ask for; wrong ones are refused before anything is computed."""
    from dpt_ros.evaluation.alignment import ALIGNMENTS
    from dpt_ros.evaluation.protocols import choose_protocols
    from dpt_ros.evaluation.run import Plan

    try:
        edges = [float(edge) for edge in options.ranges.split(",") if edge.strip()]
    except ValueError as error:
        raise ValueError(f"--ranges: got {options.ranges!r}, expected such as 5,10,20") from error
    alignments = tuple(dict.fromkeys(options.alignment or ALIGNMENTS))
    if unknown := [name for name in alignments if name not in ALIGNMENTS]:
        raise ValueError(
            f"--alignment: got {', '.join(unknown)}, expected some of {', '.join(ALIGNMENTS)}"
        )
    protocols = choose_protocols(options.protocol or ["full"], edges)
    return Plan(protocols, alignments, options.jobs)


def _models(options: argparse.Namespace, keep: Path) -> list[EvaluatedModel]:
    """The networks in the given order, then the baseline."""
    from dpt_ros.bags.dataset import Dataset
    from dpt_ros.cli.options import read_settings
    from dpt_ros.evaluation.models import BaselineModel, NetworkModel
    from dpt_ros.inference.identity import ModelIdentity
    from dpt_ros.inference.settings import InferenceSettings

    if len(options.checkpoint) > len(options.model):
        raise ValueError(
            f"got {len(options.checkpoint)} --checkpoint for {len(options.model)} --model, "
            "expected at most one each, in the same order"
        )
    checkpoints = [*options.checkpoint, *[""] * (len(options.model) - len(options.checkpoint))]
    identities = [
        ModelIdentity.of(name, checkpoint or None)
        for name, checkpoint in zip(options.model, checkpoints, strict=True)
    ]
    labels = _labels(identities)
    calibrations = _calibrations(options.calibration, identities)
    models: list[EvaluatedModel] = []
    for index, identity in enumerate(identities):
        chosen = {"model": options.model[index], "checkpoint": checkpoints[index]}
        inference = read_settings(
            argparse.Namespace(**{**vars(options), **chosen}), InferenceSettings
        )
        calibration = calibrations[index]
        models.append(NetworkModel(identity, inference, labels[index], calibration, keep))
    if options.baseline:
        models.append(BaselineModel(Dataset(Path(options.baseline).expanduser()), keep, _progress))
    return models


def _labels(identities: list[ModelIdentity]) -> list[str]:
    """The models' names; with their weights' names, or hashes, where that is not enough."""
    names = [identity.model_name for identity in identities]
    files = [f"{i.model_name} ({_weights_name(i.checkpoint_path)})" for i in identities]
    hashes = [f"{i.model_name} ({i.checkpoint_sha256[:8]})" for i in identities]
    for labels in (names, files, hashes):
        if len(set(labels)) == len(labels):
            return labels
    raise ValueError(f"--model: the same model and weights twice: {', '.join(hashes)}")


def _weights_name(path: Path) -> str:
    # The results of training runs are all called model.safetensors.
    return path.parent.name if path.stem == "model" else path.stem


def _calibrations(texts: list[str], identities: list[ModelIdentity]) -> list[str]:
    """For each model the path of its calibration, or ""."""
    from dpt_ros.geometry.calibration import CalibrationError

    found = [""] * len(identities)
    for text in texts:
        reasons = []
        for index, identity in enumerate(identities):
            try:
                path = _calibration_for(text, identity)
            except CalibrationError as error:
                reasons.append(str(error))
                continue
            if found[index]:
                raise CalibrationError(f"{found[index]} and {path} are for the same model")
            found[index] = path
            break
        else:
            raise CalibrationError("\n".join(dict.fromkeys(reasons)))
    return found


def _calibration_for(text: str, identity: ModelIdentity) -> str:
    """The path of a calibration that was made for this model with these weights."""
    from dpt_ros.geometry.calibration import CalibrationError, load_calibration
    from dpt_ros.inference.metres import find_calibration

    path = find_calibration(text, identity.model_name)
    calibration = load_calibration(path)
    made_for = (calibration.model, calibration.checkpoint_sha256)
    if made_for != (identity.model_name, identity.checkpoint_sha256):
        raise CalibrationError(
            f"{path} was made for {calibration.model} with weights of SHA-256 "
            f"{calibration.checkpoint_sha256[:16]}..., not for {identity.model_name} with "
            f"{identity.checkpoint_sha256[:16]}...: make one for these weights with `dpt-ros fit`"
        )
    return str(path)


def _progress(items: Iterable[Any], what: str) -> Iterable[Any]:
    from dpt_ros.cli.progress import progress

    bar: Iterable[Any] = progress(items, desc=what, unit="frame")
    return bar
