"""`dpt-ros predict`: inverse depth, colour pictures and clouds from files, without ROS."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpt_ros.cli.numbers import counted

if TYPE_CHECKING:
    from dpt_ros.cli.sources import Picture, Source
    from dpt_ros.geometry.depth import DepthLimits
    from dpt_ros.geometry.scale_shift import ScaleShift
    from dpt_ros.inference import DepthPredictor

_log = logging.getLogger(__name__)

_EXAMPLE = """examples:
  dpt-ros predict kitchen.jpg --model dpt_large
  dpt-ros predict drive.mp4 --model dpt_hybrid_kitti --camera camera.yaml --out depth
  dpt-ros predict my_bag --image-topic /camera/image_rect --calibration calibration.yaml

written for every picture NAME:
  NAME_inverse_depth.npy   what the network says, float32, the picture's size; larger is nearer
  NAME_inverse_depth.png   the same in 16 bits, stretched; `offset + step * value` undoes it, with
                           offset and step from predictions.json
  NAME_color.png           the same as a colour map
  NAME_depth_m.npy         metres along the optical axis (only with a metric model or a calibration)
                           nearer than the limits -Inf, farther +Inf (predictions.json has them)
  NAME_points.ply          coloured points in metres, camera frame (with a camera and metres)
  NAME_points_relative.ply the same from relative depth, median 1, when there are no metres: scale
                           is unknown and shift is taken as 0, so shapes are distorted
and predictions.json, with "complete": false where the run was interrupted or
a recording is damaged

Of a folder, pictures are taken and what cannot be read is skipped and told; folders in it, files of
other kinds and those whose name begins with a dot are left out. Of a file with several frames (GIF,
WebP, PNG, TIFF) the first is taken, and that is told; a GIF by itself is played like a video. Of 16
bits the upper 8 are taken: what a camera wrote in 10 to 14 of them is dark until it is scaled. The
exit status is 1 where no picture could be read, or where --calibration gave metres to none."""

_VIDEO_SMOOTHING = 0.9  # half of a jump of the range is left after seven frames


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    parser = subparsers.add_parser(
        "predict",
        help="depth of a picture, folder, video or bag, written to files",
        description="Depth of a picture, folder, video or bag, written to files.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", help="picture, folder of pictures, video, or rosbag2")
    parser.add_argument("--out", default="predictions", help="output folder (default: %(default)s)")
    add_model_options(parser)
    add_source_options(parser)
    parser.add_argument(
        "--calibration", help="calibration.yaml that makes this model's depth metric, or bundled"
    )
    for end, where in (("near", "nearer than this is -Inf"), ("far", "beyond this is +Inf")):
        parser.add_argument(
            f"--depth.{end}-m",
            type=float,
            metavar="METRES",
            help=f"depth {where} and no point; as the node's parameter depth.{end}_m",
        )
    parser.add_argument(
        "--force", action="store_true", help="replace the results of an earlier run in --out"
    )
    parser.set_defaults(func=run)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options that choose a model and how it runs."""
    from dpt_ros.cli.options import add_settings
    from dpt_ros.inference.settings import InferenceSettings

    add_settings(parser, InferenceSettings)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how pictures are found and which camera took them."""
    from dpt_ros.cli.options import add_picture_choice

    parser.add_argument(
        "--camera",
        help="camera_info YAML as ROS's camera_calibration writes it, or as `ros2 topic echo "
        "--once` prints it",
    )
    parser.add_argument("--image-topic", help="image topic of a bag that has several")
    add_picture_choice(parser, when_left_out="a bag's topic name says; else raw")


def load_predictor(options: argparse.Namespace) -> DepthPredictor:
    """The predictor that the options of `add_model_options` ask for."""
    from dpt_ros.inference import DepthPredictor

    return DepthPredictor.from_model(
        options.model,
        checkpoint=options.checkpoint or None,
        device=options.device,
        precision=options.precision,
        compile=options.compile,
    )


def run(options: argparse.Namespace) -> int:
    """Predict every picture.

    Returns:
        0, or 1 where not one could be read, or not one got the metres of a calibration asked for.
    """
    from dpt_ros.cli import predict_outputs as files
    from dpt_ros.cli.progress import progress
    from dpt_ros.cli.sources import Source
    from dpt_ros.inference.colormap import ColormapSettings
    from dpt_ros.inference.metres import Metres
    from dpt_ros.inference.pipeline import Frame, FramePipeline

    source = Source(options.input, options.camera, options.image_topic, options.rectified)
    total = source.count()  # where it cannot be opened, that is told before the model is loaded
    out = _output_folder(options.out, source, options.force)
    asked = _limits_asked(options)
    predictor = load_predictor(options)
    metres = Metres(predictor, options.calibration or "")
    # Colours are kept steady within a video, not between pictures of different scenes.
    is_video = source.kind in ("video", "bag")
    colormap = ColormapSettings(smoothing=_VIDEO_SMOOTHING if is_video else 0.0)
    limits = metres.limits(asked)
    if metres.source != "none":
        _log.info("depth limits in force: %s", metres.limits_in_force(asked))
    pipeline = FramePipeline(predictor, limits, colormap=colormap)
    entries: list[dict[str, Any]] = []
    why_no_metres: Counter[str] = Counter()
    ending = ""
    try:
        for picture in progress(source, total=total, unit="picture"):
            height, width = picture.rgb.shape[:2]
            earned = metres.of_image(width, height, picture.camera)
            if earned.scale_shift is None:
                why_no_metres[earned.why_not] += 1
            frame = Frame(picture.rgb, picture.camera, earned.scale_shift)
            outputs = pipeline.process([frame], _wanted(picture, earned.scale_shift))[0]
            if not entries:
                files.remove_earlier(out)
            if not options.force:
                files.refuse_others_files(out, picture.name)
            entries.append(files.write_picture(out, picture, outputs, earned.scale_shift))
    except BaseException as error:
        ending = ending_of(error)
        raise
    finally:
        if entries:
            files.write_manifest(out, predictor, options, entries, source, limits, not ending)
        if entries or not ending:
            tell_troubles(source, options.camera)
            print(told_count(len(entries), source, total, ending), f"-> {out}")
            _tell_metres(why_no_metres, len(entries), options.calibration)
    has_metres = sum(why_no_metres.values()) < len(entries)
    return 0 if entries and (has_metres or not options.calibration) else 1


def _limits_asked(options: argparse.Namespace) -> DepthLimits:
    """The limits of depth that the options name; the node's defaults for those left out.

    Raises:
        ConfigError: one is out of range.
        ValueError: near is not smaller than far.
    """
    from dpt_ros.config import build
    from dpt_ros.geometry.depth import DepthLimits

    given = {name: getattr(options, f"depth.{name}") for name in ("near_m", "far_m")}
    return build(DepthLimits, {name: value for name, value in given.items() if value is not None})


def ending_of(error: BaseException) -> str:
    """How a run that raised this ended, to be told beside the number of its pictures."""
    from dpt_ros.bags.reader import BagError

    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "of a damaged recording" if isinstance(error, BagError) else "broken off"


def tell_troubles(source: Source, camera_file: str | None) -> None:
    """Say on standard error what was not read, and why pictures came without a camera."""
    for reason in source.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    for note in source.notes:
        print(f"note: {note}", file=sys.stderr)
    if source.left_out:
        print(f"left out: {source.left_out}", file=sys.stderr)
    for reason in source.camera_troubles:
        remedy = "" if camera_file else "; --camera FILE names the camera"
        print(f"without a camera: {reason}{remedy}", file=sys.stderr)


def told_count(written: int, source: Source, total: int | None, ending: str) -> str:
    """Such as "13 of 200 pictures, interrupted"; `ending` is "" of a run that went to its end."""
    if ending:
        of_total = f"{written} of {counted(total, 'picture')}" if total else ""
        return f"{of_total or counted(written, 'picture')}, {ending}"
    if source.kind == "video":  # of which no frame can be read beyond one that cannot
        return counted(written, "picture")
    return f"{written} of {counted(written + len(source.skipped), 'picture')}"


def _tell_metres(why_none: Counter[str], pictures: int, calibration: str | None) -> None:
    """Say how many pictures have no metres, and the reason of most of them."""
    if not why_none:
        return
    count = sum(why_none.values())
    reason = why_none.most_common(1)[0][0]
    if len(why_none) > 1:
        reason += f" (and {counted(len(why_none) - 1, 'more reason')})"
    if count < pictures:
        print(f"{count} of {pictures} pictures have no metres: {reason}")
    elif calibration:
        told = f"no picture got the metres of --calibration: {reason}"
        print(f"dpt-ros predict: {told}", file=sys.stderr)
    else:
        print(f"Depth is relative, not metres: {reason}")


def _wanted(picture: Picture, scale_shift: ScaleShift | None) -> frozenset[str]:
    wanted = {"inverse_depth", "color"}
    if scale_shift is not None:
        wanted |= {"depth"} if picture.camera is None else {"depth", "points"}
    return frozenset(wanted)


def output_folder(text: str, source: Source) -> Path:
    """The path that --out names: a folder that holds none of the input's pictures.

    Raises:
        NotADirectoryError: it is a file.
        ValueError: pictures of the input lie there: results could be named like them.
    """
    from dpt_ros.cli.result_files import folder

    out = folder("out", text)
    if out.resolve() in source.picture_folders():
        raise ValueError(
            f"--out {text}: holds pictures of the input, which results would overwrite; name "
            "another folder"
        )
    return out


def _output_folder(text: str, source: Source, force: bool) -> Path:
    out = output_folder(text, source)
    if (out / "predictions.json").exists() and not force:
        raise FileExistsError(
            f"{out}: holds the results of an earlier run; name another folder with --out, or "
            "overwrite them with --force"
        )
    out.mkdir(parents=True, exist_ok=True)
    return out
