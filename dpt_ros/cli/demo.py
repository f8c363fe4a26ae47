"""`dpt-ros demo`: the real node on a synthetic drive or on the user's pictures, over DDS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpt_ros.cli.numbers import counted

if TYPE_CHECKING:
    from dpt_ros.cli.sources import Picture, Source
    from dpt_ros.ros.node_process import NodeProcess
    from dpt_ros.ros.player import Player

_EXAMPLE = """examples:
  dpt-ros demo
  dpt-ros demo --json demo.json
  dpt-ros demo my_pictures
  dpt-ros demo drive.mp4 --model dpt_large
  dpt-ros demo my_bag --calibration calibration.yaml

Without an input a synthetic robot drives through a rendered world with camera and LiDAR, and the
bundled model's depth is scored while it drives. In the output folder then:
  report.html     what came out, with pictures
  animation.webp  camera, depth, LiDAR and cloud of the drive
  depth/*.png     depth in millimetres (16 bits) and in colours
  points.ply      the node's points, in metres

The model's weights are fetched when they are missing. In the output folder, for every picture:
  NAME_demo.png   the picture beside the node's colour map of inverse depth
  NAME_demo.ply   the node's points, in metres (with a camera and a calibration or metric model)

Of a file with several frames (GIF, WebP, PNG, TIFF) the first is taken, and that is told; a GIF by
itself is played like a video."""
_DRIVE = {"kind": "corridor", "seconds": 24.0, "rate": 4.0}
_NOT_OF_A_DRIVE = ("split", "storage", "compressed", "depth")
_START_S = 180.0
_ANSWER_S = 120.0
_POINTS_S = 3.0


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    from dpt_ros.cli.options import add_settings
    from dpt_ros.cli.predict import add_source_options
    from dpt_ros.inference.settings import InferenceSettings
    from dpt_ros.synthetic.settings import BagSettings

    parser = subparsers.add_parser(
        "demo",
        help="the real node on a synthetic drive, or on your pictures, video or bag",
        description="Start the real node in a process of its own, let a synthetic robot drive or "
        "publish your pictures to it, and write what it publishes.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input", nargs="?", help="picture, folder of pictures, video, or rosbag2 (default: a drive)"
    )
    parser.add_argument("--out", default="demo_output", help="output folder (default: %(default)s)")
    parser.add_argument(
        "--model",
        help="name of the model (default: dpt_tiny for the drive, dpt_hybrid for an input)",
    )
    add_settings(parser, InferenceSettings, leave_out=("model",))
    add_source_options(parser)
    parser.add_argument("--calibration", default="", help="calibration.yaml for metres, or bundled")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="also write there what was measured: of the drive metrics and times, else times",
    )
    parser.add_argument(
        "--force", action="store_true", help="write a drive's files into a folder that holds others"
    )
    add_settings(
        parser.add_argument_group("the synthetic drive"),
        BagSettings,
        leave_out=_NOT_OF_A_DRIVE,
        defaults=_DRIVE,
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Drive, or play every picture through the node; 0, or 1 where nothing was answered."""
    from dpt_ros.cli.result_files import check_files, json_of
    from dpt_ros.inference.settings import InferenceSettings

    # A drive's is what a replay writes.
    check_files(options, {"json": json_of("demo" if options.input else "replay")})
    if options.input is None:
        from dpt_ros.cli.demo_drive import run_drive

        return run_drive(options)
    _refuse_options_of_the_drive(options)
    options.model = options.model or InferenceSettings().model
    return _run_pictures(options)


def _refuse_options_of_the_drive(options: argparse.Namespace) -> None:
    from dpt_ros.cli.options import unused
    from dpt_ros.config import list_settings
    from dpt_ros.synthetic.settings import BagSettings

    of_drive = [s.name for s in list_settings(BagSettings) if s.name not in _NOT_OF_A_DRIVE]
    if ignored := unused(options, add_parser, ["demo"], [*of_drive, "force"]):
        raise ValueError(
            f"{ignored}: of the synthetic drive, and {options.input} is played instead; leave out "
            "one of them"
        )


def _run_pictures(options: argparse.Namespace) -> int:
    """Play every picture through the node; returns 0, or 1 where none was answered."""
    from dpt_ros.cli.predict import ending_of, output_folder, tell_troubles, told_count
    from dpt_ros.cli.result_files import write_json
    from dpt_ros.cli.sources import Source
    from dpt_ros.ros.node_process import NodeProcess, isolate
    from dpt_ros.ros.node_reports import camera_report
    from dpt_ros.ros.player import Player

    source = Source(options.input, options.camera, options.image_topic, options.rectified)
    total, answered = source.count(), 0  # what cannot be opened is told before weights are fetched
    out = output_folder(options.out, source)
    parameters = _parameters(options)
    out.mkdir(parents=True, exist_ok=True)
    isolate()
    try:
        with NodeProcess(parameters) as node, Player(["color", "points"]) as player:
            print(f"starting the node with {options.model}", file=sys.stderr)
            player.wait_for_node(node.check, _START_S)
            for _ in _answered(source, total, node, player, out):
                answered += 1
            player.spin(1.2)  # until the diagnostics have reported once more
            report = player.diagnostics
    except BaseException as error:
        if answered:
            tell_troubles(source, options.camera)
            print(told_count(answered, source, total, ending_of(error)), f"-> {out}")
        raise
    tell_troubles(source, options.camera)
    _summarise(report, answered, out)
    if options.json:
        found = {
            "input": options.input,
            "model": options.model,
            "answered": answered,
            "skipped": source.skipped,
            "notes": source.notes,
            "node": camera_report(report),
        }
        write_json(options.json, "demo", found)
    return 0 if answered else 1


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The node's parameters; fetches the model's weights where they are missing."""
    from dpt_ros.geometry.calibration import load_calibration
    from dpt_ros.inference.metres import find_calibration

    checkpoint = options.checkpoint or weights_of(options.model)
    calibration = ""
    if options.calibration:
        path = find_calibration(options.calibration, options.model)
        load_calibration(path)  # whose faults are told now, not once the node runs
        calibration = str(path.resolve())
    return {
        "model": options.model,
        "checkpoint": str(Path(checkpoint).expanduser().resolve()),
        "calibration": calibration,
        "device": options.device,
        "precision": options.precision,
        "compile": options.compile,
        # The player says which part of the lens model holds: a rectified picture has none.
        "rectified": False,
    }


def weights_of(model: str) -> Path:
    """The model's weights file, fetched first if it is not here."""
    from dpt_ros.cli.models import ProgressBars
    from dpt_ros.model.cards import load_card
    from dpt_ros.model.weights import pull

    with ProgressBars() as bars:
        return pull(load_card(model), progress=bars)


def _answered(
    source: Source, total: int | None, node: NodeProcess, player: Player, out: Path
) -> Iterator[str]:
    """Publish the pictures one by one; yields the names of those answered, once written."""
    from dpt_ros.cli.progress import progress as make_bar

    with_points = True
    progress = make_bar(source, total=total, unit="picture")
    for picture in progress:
        answers = player.play(picture.rgb, picture.camera, ["color"], _ANSWER_S)
        node.check()
        if "color" not in answers:
            source.skipped.append(f"{picture.name}: no answer within {_ANSWER_S:g} s")
            continue
        if picture.camera is not None and with_points:
            answers = _wait_for_points(player, picture)
            with_points = "points" in answers
        _write(picture, answers, out)
        progress.set_postfix_str(_times(player.diagnostics), refresh=False)
        yield picture.name


def _wait_for_points(player: Player, picture: Picture) -> dict[str, Any]:
    """The answers with their points; the picture is played again if these do not come.

    Topics connect one by one: colours may arrive before anybody could hear of points.
    """
    answers = player.wait(["points"], _POINTS_S)
    if "points" in answers:
        return answers
    return {**answers, **player.play(picture.rgb, picture.camera, ["points"], _POINTS_S)}


def _write(picture: Picture, answers: dict[str, Any], out: Path) -> None:
    import cv2
    import numpy as np

    from dpt_ros.cli.ply import write_ply
    from dpt_ros.cli.predict_outputs import write_png
    from dpt_ros.messages.decode import image_to_rgb

    both = np.concatenate([picture.rgb, image_to_rgb(answers["color"])], axis=1)
    write_png(out / f"{picture.name}_demo.png", cv2.cvtColor(both, cv2.COLOR_RGB2BGR))
    if "points" in answers:
        cloud = answers["points"]
        points = np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)
        write_ply(out / f"{picture.name}_demo.ply", points, "metres, camera frame")


def _times(report: dict[str, dict[str, str]]) -> str:
    from dpt_ros.ros.node_reports import camera_report

    values = camera_report(report)
    return (
        f"network {values.get('network p50 ms')} ms, beside it {values.get('overhead p50 ms')} ms"
    )


def _summarise(report: dict[str, dict[str, str]], answered: int, out: Path) -> None:
    from dpt_ros.ros.node_reports import camera_report

    values = camera_report(report)
    print(f"{counted(answered, 'picture')} -> {out}")
    for key in ("latency p50 ms", "latency p95 ms", "network p50 ms", "overhead p50 ms"):
        print(f"  {key:<16} {values.get(key, 'none')}")
    for key in ("calibration", "not published: points"):
        if key in values:
            print(f"  {key}: {values[key]}")
