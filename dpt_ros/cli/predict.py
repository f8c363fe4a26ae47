"""`dpt-ros predict`: inverse depth, colour pictures and clouds from files, without ROS."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from dpt_ros.cli.sources import Picture, Source
    from dpt_ros.geometry.camera import Camera
    from dpt_ros.geometry.scale_shift import ScaleShift
    from dpt_ros.inference import DepthPredictor
    from dpt_ros.inference.pipeline import FrameOutputs

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
  NAME_points.ply          coloured points in metres, camera frame (with a camera and metres)
  NAME_points_relative.ply the same from relative depth, median 1, when there are no metres: scale
                           is unknown and shift is taken as 0, so shapes are distorted
and predictions.json, with "complete": false where the run was interrupted"""

_FILES = (
    "inverse_depth.npy",
    "inverse_depth.png",
    "color.png",
    "depth_m.npy",
    "points.ply",
    "points_relative.ply",
)
"""What may be written for a picture, after its name and _."""

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
        "--calibration", help="calibration.yaml that makes this model's depth metric"
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
    parser.add_argument("--camera", help="camera_info YAML as ROS's camera_calibration writes it")
    parser.add_argument("--image-topic", help="image topic of a bag that has several")
    parser.add_argument(
        "--rectified",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the pictures are rectified (default: a bag's topic name says; else no)",
    )


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
    """Predict every picture; returns 0, or 1 where not one could be read."""
    from tqdm import tqdm

    from dpt_ros.cli.sources import Source
    from dpt_ros.geometry.depth import DepthLimits
    from dpt_ros.inference.colormap import ColormapSettings
    from dpt_ros.inference.metres import Metres
    from dpt_ros.inference.pipeline import Frame, FramePipeline

    source = Source(options.input, options.camera, options.image_topic, options.rectified)
    total = source.count()  # where it cannot be opened, that is told before the model is loaded
    out = _output_folder(options.out, source, options.force)
    predictor = load_predictor(options)
    metres = Metres(predictor, options.calibration or "")
    # Colours are kept steady within a video, not between pictures of different scenes.
    is_video = source.kind in ("video", "bag")
    colormap = ColormapSettings(smoothing=_VIDEO_SMOOTHING if is_video else 0.0)
    pipeline = FramePipeline(predictor, metres.limits(DepthLimits()), colormap=colormap)
    entries: list[dict[str, Any]] = []
    why_no_metres: Counter[str] = Counter()
    ending = "interrupted"
    try:
        for picture in tqdm(source, total=total, unit="picture", file=sys.stderr):
            height, width = picture.rgb.shape[:2]
            earned = metres.of_image(width, height, picture.camera)
            if earned.scale_shift is None:
                why_no_metres[earned.why_not] += 1
            frame = Frame(picture.rgb, picture.camera, earned.scale_shift)
            outputs = pipeline.process([frame], _wanted(picture, earned.scale_shift))[0]
            if not entries:
                _remove_earlier(out)
            if not options.force:
                _refuse_others_files(out, picture.name)
            entries.append(_write(out, picture, outputs, earned.scale_shift))
        ending = ""
    except Exception:
        ending = "broken off"
        raise
    finally:
        if entries:
            _write_manifest(out, predictor, options, entries, source.skipped, not ending)
        if entries or not ending:
            tell_troubles(source, options.camera)
            print(_counted(len(entries), len(source.skipped), total, ending), f"-> {out}")
            _tell_metres(why_no_metres, len(entries))
    return 0 if entries else 1


def tell_troubles(source: Source, camera_file: str | None) -> None:
    """Say on standard error what was skipped, and why pictures came without a camera."""
    for reason in source.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    for reason in source.camera_troubles:
        remedy = "" if camera_file else "; --camera FILE names the camera"
        print(f"without a camera: {reason}{remedy}", file=sys.stderr)


def _counted(written: int, skipped: int, total: int | None, ending: str) -> str:
    """Such as "13 of 200 pictures, interrupted"."""
    if not ending:
        return f"{written} of {written + skipped} pictures"
    return f"{written}{f' of {total}' if total else ''} pictures, {ending}"


def _tell_metres(why_none: Counter[str], pictures: int) -> None:
    """Say how many pictures have no metres, and the reason of most of them."""
    if not why_none:
        return
    count = sum(why_none.values())
    reason = why_none.most_common(1)[0][0]
    if len(why_none) > 1:
        reason += f" (and {len(why_none) - 1} more reasons)"
    if count >= pictures:
        print(f"Depth is relative, not metres: {reason}")
    else:
        print(f"{count} of {pictures} pictures have no metres: {reason}")


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
    from dpt_ros.cli.options import folder

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


def _remove_earlier(out: Path) -> None:
    """Remove the files of the run whose predictions.json is there: this one may write fewer.

    Names come from a file: only plain ones count, so nothing outside of the folder is touched.
    """
    manifest = out / "predictions.json"
    try:
        names = [
            entry["name"] for entry in json.loads(manifest.read_text(encoding="utf-8"))["pictures"]
        ]
    except (OSError, ValueError, KeyError, TypeError):  # none, or none that we wrote
        return
    for name in names:
        if not isinstance(name, str) or not name or Path(name).name != name or "\0" in name:
            continue
        for path in (out / f"{name}_{file}" for file in _FILES):
            if path.is_file() or path.is_symlink():
                path.unlink()
    manifest.unlink()


def _refuse_others_files(out: Path, name: str) -> None:
    """Refuse to write over what is not of an earlier run that finished its predictions.json.

    Raises:
        FileExistsError: names the first such file.
    """
    for path in (out / f"{name}_{file}" for file in _FILES):
        if path.exists():
            raise FileExistsError(
                f"{path}: is there already, and would be lost; name another folder with --out, or "
                "overwrite it with --force"
            )


def _write(
    out: Path, picture: Picture, outputs: FrameOutputs, scale_shift: ScaleShift | None
) -> dict[str, Any]:
    """Write one picture's files; returns its entry of the manifest."""
    import cv2
    import numpy as np

    from dpt_ros.cli.ply import write_ply

    inverse_depth, color = outputs.inverse_depth, outputs.color
    if inverse_depth is None or color is None:
        raise RuntimeError(f"{picture.name}: the pipeline left out what it was asked for")
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    step = (high - low) / 65535.0 or 1.0
    stretched = np.round((inverse_depth - low) / step).astype(np.uint16)
    for optional in ("depth_m.npy", "points.ply", "points_relative.ply"):  # of an earlier run
        (out / f"{picture.name}_{optional}").unlink(missing_ok=True)
    np.save(out / f"{picture.name}_inverse_depth.npy", inverse_depth)
    _write_png(out / f"{picture.name}_inverse_depth.png", stretched)
    _write_png(out / f"{picture.name}_color.png", cv2.cvtColor(color, cv2.COLOR_RGB2BGR))
    if outputs.depth_m is not None:
        np.save(out / f"{picture.name}_depth_m.npy", outputs.depth_m)
    if outputs.points is not None:
        write_ply(out / f"{picture.name}_points.ply", outputs.points, "metres, camera frame")
    elif picture.camera is not None:
        points = relative_points(inverse_depth, picture.rgb, picture.camera)
        path = out / f"{picture.name}_points_relative.ply"
        write_ply(path, points, "NOT metres: relative depth, median 1, shift taken as 0")
    return {
        "name": picture.name,
        "stamp_ns": picture.stamp_ns,
        "width": int(inverse_depth.shape[1]),
        "height": int(inverse_depth.shape[0]),
        "png": {"offset": low, "step": step},
        "metric": None if scale_shift is None else dataclasses.asdict(scale_shift),
    }


def relative_points(inverse_depth: np.ndarray, rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """Points [H,W,4] of relative inverse depth [H,W]: median depth 1, shift taken as 0.

    What is more than ten medians away is left out (NaN).
    """
    import numpy as np
    import torch

    from dpt_ros.geometry.depth import DepthLimits, inverse_depth_to_depth
    from dpt_ros.geometry.point_cloud import PointCloudSettings, depth_to_points
    from dpt_ros.geometry.scale_shift import ScaleShift
    from dpt_ros.inference.predictor import as_tensor

    positive = inverse_depth[inverse_depth > 0.0]
    median = float(np.median(positive)) if positive.size else 1.0
    limits = DepthLimits(near_m=0.001, far_m=10.0)
    relative = torch.from_numpy(inverse_depth)[None]
    depth = inverse_depth_to_depth(relative, ScaleShift(1.0 / median, 0.0), limits)
    pixels = as_tensor(rgb)[None]
    cloud = depth_to_points(depth, camera.ray_planes(), pixels, PointCloudSettings())
    return cloud.values[0].numpy()


def _write_png(path: Path, pixels: np.ndarray) -> None:
    import cv2

    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path}: could not be written")


def _write_manifest(
    out: Path,
    predictor: DepthPredictor,
    options: argparse.Namespace,
    entries: list[dict[str, Any]],
    skipped: list[str],
    is_complete: bool,
) -> None:
    manifest = {
        "complete": is_complete,
        "model": predictor.model_name,
        "checkpoint_sha256": predictor.checkpoint_sha256,
        "device": str(predictor.device),
        "precision": predictor.precision,
        "calibration": options.calibration,
        "pictures": entries,
        "skipped": skipped,
    }
    temporary = out / ".predictions.json.part"
    temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    temporary.replace(out / "predictions.json")
