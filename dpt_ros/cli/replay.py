"""`dpt-ros replay`: a recording played through the running node, its depth scored on the way."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dpt_ros.cli.result_files import Kind

if TYPE_CHECKING:
    from dpt_ros.bags.dataset import Sample
    from dpt_ros.bags.sample_settings import SampleSettings
    from dpt_ros.evaluation.known import KnownMetres
    from dpt_ros.evaluation.live import LiveEvaluation, LiveFrame
    from dpt_ros.evaluation.output_folder import OutputFolder
    from dpt_ros.evaluation.replay_report import ReplayFacts
    from dpt_ros.evaluation.truth import Truth
    from dpt_ros.inference.identity import ModelIdentity
    from dpt_ros.ros.camera_recording import CameraRecording, PlayedMessage
    from dpt_ros.ros.replay import Answer
    from dpt_ros.ros.replay_session import ReplayResult

_EXAMPLE = """examples:
  dpt-ros replay my_bag --model dpt_large --calibration calibration.yaml --out replay
  dpt-ros replay my_bag --model dpt_hybrid --rate 0.5 --json replay.json
  dpt-ros replay my_bag --model dpt_hybrid --lockstep --json metrics.json

In lock-step every picture waits for its depth: nothing is dropped, and metrics repeat to the last
digit. In real time the node gets what a robot's node would get, and drops what it has no time for.

In the output folder:
  report.html    what to look at
  metrics.json   how good depth is; knows no time of day
  timing.json    rate, latency, losses, CPU and memory

The exit status is 1 where the replay broke off, where nothing was answered, where --calibration
gave metres to none, or where the file of --foxglove could not be written."""

# The header of an MCAP file: its length, then the profile.
_FOXGLOVE = Kind("file for Foxglove", rb"\A\x89MCAP0\r\n\x01[\s\S]{8}\x07\0{3}dpt_ros")


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    from dpt_ros.cli.numbers import count, playback_rate, seconds
    from dpt_ros.cli.options import add_sample_settings
    from dpt_ros.cli.predict import add_model_options

    parser = subparsers.add_parser(
        "replay",
        help="play a recording through the node, and score what it publishes",
        description="Start the real node in a process of its own, play a recording through it over "
        "DDS, and score what it publishes against the recording's LiDAR.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", help="rosbag2 folder, .mcap or .db3")
    parser.add_argument("--out", default="replay", help="output folder (default: %(default)s)")
    add_model_options(parser)
    parser.add_argument("--calibration", default="", help="calibration.yaml for metres, or bundled")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--lockstep", action="store_true", help="every picture waits for its depth")
    how.add_argument(
        "--rate",
        type=playback_rate,
        default=1.0,
        help="speed of real-time playback (default: %(default)s)",
    )
    parser.add_argument(
        "--frames", type=count, default=0, metavar="N", help="stop after so many (default: all)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="S",
        help="lock-step: give a picture up then (default: %(default)s)",
    )
    parser.add_argument(
        "--protocol",
        action="append",
        help="full, kitti, nyu, zero-shot or all; may be given several times (default: full)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write metrics (and times) there")
    parser.add_argument(
        "--foxglove",
        metavar="FILE.mcap",
        help="also write pictures, points and scores there for Foxglove (needs its library: "
        "pip install foxglove-sdk)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an earlier replay's files")
    add_sample_settings(parser.add_argument_group("the recording's samples"))
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Play, score and report.

    Returns:
        0, or 1 where the replay broke off, nothing was answered, not one answer has the metres of a
        calibration asked for, or the file for Foxglove could not be written.
    """
    from dpt_ros.cli.options import read_sample_settings
    from dpt_ros.cli.result_files import check_files, json_of
    from dpt_ros.evaluation.output_folder import OutputFolder
    from dpt_ros.evaluation.replay_report import summary_lines, write_results
    from dpt_ros.evaluation.truth import Truth, check_choices
    from dpt_ros.ros.camera_recording import CameraRecording
    from dpt_ros.ros.node_process import isolate
    from dpt_ros.whole_file import write_json

    settings = read_sample_settings(options)
    check_files(options, {"json": json_of("replay"), "foxglove": _FOXGLOVE})
    folder = OutputFolder(options.out, options.force)
    check_choices(options.bag, settings)
    isolate()
    with CameraRecording(options.bag, settings.image_topic, settings.camera_info_topic) as bag:
        truth, place = Truth(options.bag, settings), None
        if not options.lockstep:
            place = _place_for_answers(folder, bag, options.frames)
        evaluation, facts, why_no_metres, why_no_file = _play(options, bag, truth, settings, place)
    with folder:
        metrics, timing = write_results(folder.work, evaluation, facts)
    if options.json:  # in lock-step without times: the same replay gives the same file
        found = metrics if options.lockstep else {**metrics, "timing": timing}
        write_json(options.json, found)
    for line in summary_lines(evaluation, facts):
        print(line)
    print(f"-> {folder.path / 'report.html'}")
    if facts.partial:
        print(f"partial: {facts.partial}", file=sys.stderr)
    has_metres = evaluation.published.frames > 0 or not options.calibration
    if evaluation.frames and not has_metres and (why_no_metres or not facts.partial):
        told = f"no picture got the metres of --calibration: {why_no_metres}"
        print(f"dpt-ros replay: {told}", file=sys.stderr)
    if why_no_file:
        print(f"dpt-ros replay: --foxglove {options.foxglove}: {why_no_file}", file=sys.stderr)
    return 1 if facts.partial or not evaluation.frames or not has_metres or why_no_file else 0


class _Played(NamedTuple):
    """What a replay came to, and why pictures have no metres, and Foxglove no file; "" if none."""

    evaluation: LiveEvaluation
    facts: ReplayFacts
    why_no_metres: str
    why_no_file: str


def _place_for_answers(folder: OutputFolder, bag: CameraRecording, most_pictures: int) -> Path:
    """Where the node's answers are kept until they are scored: on the disk of the results."""
    from dpt_ros.ros.kept_answers import check_room

    place = folder.work.parent
    place.mkdir(parents=True, exist_ok=True)
    if warning := check_room(bag, most_pictures, place):
        print(f"warning: {warning}", file=sys.stderr)
    return place


def _play(
    options: argparse.Namespace,
    bag: CameraRecording,
    truth: Truth,
    settings: SampleSettings,
    place: Path | None,
) -> _Played:
    """Play the recording, and score what comes."""
    from dpt_ros.cli.demo import weights_of
    from dpt_ros.cli.progress import progress as make_bar
    from dpt_ros.config import values_of
    from dpt_ros.evaluation.foxglove_file import FoxgloveFile
    from dpt_ros.evaluation.known import KnownMetres
    from dpt_ros.evaluation.live import LiveEvaluation
    from dpt_ros.evaluation.protocols import choose_protocols
    from dpt_ros.evaluation.replay_report import shown_depth
    from dpt_ros.inference.identity import ModelIdentity
    from dpt_ros.ros.replay_session import ReplayOptions, replay

    model = ModelIdentity.of(options.model, options.checkpoint or weights_of(options.model))
    metres = KnownMetres(model, options.calibration)
    protocols = choose_protocols(options.protocol or ["full"])
    evaluation = LiveEvaluation(metres.of_camera, protocols)
    total = min(options.frames or bag.image_count, bag.image_count)
    foxglove = FoxgloveFile(options.foxglove) if options.foxglove else None
    progress = make_bar(total=total, unit="picture")

    def told(played: PlayedMessage) -> None:
        progress.update()

    def concluded(played: PlayedMessage, answer: Answer | None) -> None:
        # Asked for also where nobody answered: truth is read on as far as it is asked for.
        sample = truth.of(played.stamp_ns)
        if answer is None:
            return
        frame = _frame(played, answer, sample, truth.source)
        score = evaluation.headline_of(evaluation.add(frame))
        if foxglove is not None:
            foxglove.add(frame, score, shown_depth(frame, score, protocols[0]))
        if score is not None:
            shown = f"AbsRel {score.metrics['abs_rel']:.3f}"
            progress.set_postfix_str(shown, refresh=False)

    how = ReplayOptions(
        rate=0.0 if options.lockstep else options.rate,
        timeout_s=options.timeout,
        with_metres=metres.has_any and bool(bag.camera_info_topic),
        most_pictures=options.frames,
        keep_in=place,
    )
    is_raw = settings.pictures == "raw"
    is_rectified = bag.is_rectified if settings.pictures == "auto" else not is_raw
    parameters = {**_parameters(options, model, metres), "rectified": is_rectified}
    with progress, foxglove or contextlib.nullcontext():
        result = replay(bag, parameters, how, concluded, told)
    if not options.frames and not result.partial:
        truth.finish()
    facts = _facts(options, bag, truth, model, metres, result)
    facts.samples = values_of(settings)
    why_no_file = "" if foxglove is None else foxglove.failure
    return _Played(evaluation, facts, _why_no_metres(bag, result), why_no_file)


def _why_no_metres(bag: CameraRecording, result: ReplayResult) -> str:
    if bag.camera_info_topic:
        return result.why_no_metres
    return (
        f"the recording has no camera_info for {bag.image_topic}; where it has one under another "
        "name, give that with --camera-info-topic"
    )


def _parameters(
    options: argparse.Namespace, model: ModelIdentity, metres: KnownMetres
) -> dict[str, Any]:
    return {
        "model": options.model,
        "checkpoint": str(model.checkpoint_path.resolve()),
        "calibration": metres.calibration_path,
        "device": options.device,
        "precision": options.precision,
        "compile": options.compile,
    }


def _frame(played: PlayedMessage, answer: Answer, sample: Sample | None, source: str) -> LiveFrame:
    from dpt_ros.evaluation.live import LiveFrame

    depths = (answer.inverse_depth, answer.depth_m)
    return LiveFrame.of_picture(source, played.stamp_ns, played.message, sample, *depths)


def _facts(
    options: argparse.Namespace,
    bag: CameraRecording,
    truth: Truth,
    model: ModelIdentity,
    metres: KnownMetres,
    result: ReplayResult,
) -> ReplayFacts:
    from dpt_ros.evaluation.replay_report import ReplayFacts

    missing = [f"truth: {truth.missing}"] if truth.missing else []
    if not bag.camera_info_topic:
        missing.append("camera_info: without it the node publishes no metres and no points")
    if result.why_no_metres:
        missing.append(f"metres: {result.why_no_metres}")
    elif not metres.has_any:
        missing.append("metres: this model's depth is relative; give --calibration")
    doubt = metres.doubt([truth.source]) if truth.found else ""
    return ReplayFacts(
        title=f"{options.model} on {Path(options.bag).resolve().name}, played through the node",
        mode="lock-step" if options.lockstep else f"real time at rate {options.rate:g}",
        recording={
            "path": str(options.bag),
            "image_topic": bag.image_topic,
            "camera_info_topic": bag.camera_info_topic,
            "pictures": bag.image_count,
        },
        model={
            "model": options.model,
            "checkpoint_sha256": model.checkpoint_sha256,
            "metres": metres.source,
            "device": options.device,
            "precision": options.precision,
        },
        timing=result.log.timing,
        losses=result.losses,
        load=result.load,
        stages_ms=result.stages_ms,
        network=result.network,
        missing=missing,
        troubles=[*([doubt] if doubt else []), *result.log.troubles, *truth.warnings],
        rejected=truth.rejected,
        partial=result.partial,
    )
