"""`dpt-ros dataset import`: KITTI and plain folders, source by source, with a progress bar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.bags.importers.foreign import ForeignSource
    from dpt_ros.cli.dataset_result import Result

_OF_FOLDERS = ("depth_scale", "camera", "rectified", "images", "depth", "dense")


def run(options: argparse.Namespace) -> int:
    """Import what was named; returns 0, or 1 where a source gave nothing."""
    from dpt_ros.cli.dataset_result import removed_if_empty
    from dpt_ros.cli.result_files import check_files, folder, json_of

    _refuse_options_of_the_other(options)
    out = folder("out", options.out)
    check_files(options, {"json": json_of("dataset_import")}, made=out)
    sources, made_with = _kitti(options) if options.kitti else _folders(options)
    with removed_if_empty(out):
        result = _import_all(options, out, sources, made_with)
        result.tell(out, "source")
        if options.json:
            result.write(options.json, "dataset_import")
    return 1 if result.failed else 0


def _import_all(
    options: argparse.Namespace,
    out: Path,
    sources: list[ForeignSource],
    made_with: dict[str, Any],
) -> Result:
    from dpt_ros.bags.dataset import DatasetWriter
    from dpt_ros.bags.importers.foreign import ForeignDataError, import_source
    from dpt_ros.cli.dataset_result import Result, refuse_damaged
    from dpt_ros.cli.progress import progress

    with (
        DatasetWriter(out, dense=options.dense, options=made_with) as writer,
        progress(total=sum(source.total for source in sources), unit="picture") as bar,
    ):
        refuse_damaged(out)
        there = writer.sources
        result = Result(finished={s.name: there[s.name] for s in sources if s.name in there})
        before = 0
        for source in sources:

            def show(count: int, _total: int, before: int = before) -> None:
                bar.update(before + count - bar.n)

            before += source.total
            if source.name in result.finished:
                _check_same(source, result.finished[source.name])
                continue
            try:
                built = import_source(source, writer, options.overlays, show)
                result.built[source.name] = built
            except ForeignDataError as error:
                result.failed[source.name] = str(error)
    return result


def _refuse_options_of_the_other(options: argparse.Namespace) -> None:
    """Refuse what is for KITTI where folders are imported, and the other way round."""
    from dpt_ros.cli.dataset import add_parser
    from dpt_ros.cli.options import unused

    lidar = [name for name in vars(options) if name.startswith("lidar.")]
    kind, other, names = "--kitti", "--folder", [*_OF_FOLDERS]
    if options.folder:
        kind, other, names = "--folder", "--kitti", ["kitti_camera", *lidar]
    words = ["dataset", "import", kind, ".", "--out", "."]
    if ignored := unused(options, add_parser, words, names):
        raise ValueError(f"{ignored}: of {other}, and has no effect with {kind}; leave it out")


def _check_same(source: ForeignSource, info: Any) -> None:
    from dpt_ros.bags.dataset import DatasetError, refuse_other_options

    if info.get("path") != str(source.path.absolute()):
        raise DatasetError(
            f"the data set has a source {source.name!r} from {info.get('path')}, not from "
            f"{source.path.absolute()}: name another folder with --out, or rename one of them"
        )
    refuse_other_options(source.name, info, source.options)


def _refuse_same_names(sources: list[ForeignSource]) -> None:
    """A source's name keeps of a folder's the letters A to Z, digits, '.', '_' and '-'."""
    first: dict[str, ForeignSource] = {}
    for source in sources:
        other = first.setdefault(source.name, source)
        if other is not source:
            raise ValueError(
                f"{other.path} and {source.path} both become the source {source.name!r}, whose "
                "name keeps letters A to Z, digits, '.', '_' and '-' of the folder's: rename one "
                "of them"
            )


def _kitti(options: argparse.Namespace) -> tuple[list[ForeignSource], dict[str, Any]]:
    from dpt_ros.bags.importers.kitti import find_kitti
    from dpt_ros.cli.options import read_settings
    from dpt_ros.config import values_of
    from dpt_ros.geometry.lidar_settings import LidarSettings

    settings = read_settings(options, LidarSettings, prefix="lidar.")
    made_with = {
        "kind": "kitti",
        "camera": options.kitti_camera,
        "min_points": options.min_points,
        **{f"lidar.{name}": value for name, value in values_of(settings).items()},
    }
    sources = find_kitti(options.kitti, options.kitti_camera, settings, options.min_points)
    return sources, made_with


def _folders(options: argparse.Namespace) -> tuple[list[ForeignSource], dict[str, Any]]:
    from dpt_ros.bags.importers.folder import find_folder
    from dpt_ros.cli.camera_file import read_camera_file
    from dpt_ros.messages.camera_info import camera_from_info

    if options.depth_scale is None or options.camera is None:
        raise ValueError(
            "--folder needs --depth-scale (metres of one unit of depth, such as 0.001) and "
            "--camera (the camera_info YAML of the pictures)"
        )
    camera = camera_from_info(read_camera_file(options.camera), options.rectified)
    sources = [
        find_folder(
            folder, camera, options.depth_scale, options.images, options.depth, options.min_points
        )
        for folder in (Path(text).expanduser() for text in options.folder)
    ]
    _refuse_same_names(sources)
    made_with = {
        "kind": "folder",
        "depth_scale_m": options.depth_scale,
        "min_points": options.min_points,
    }
    return sources, made_with
