"""`dpt-ros dataset`: recordings and foreign data to pictures with depth."""

from __future__ import annotations

import argparse
from typing import Any

from dpt_ros.cli.numbers import count

_EXAMPLE = """examples:
  dpt-ros dataset build drive_1 drive_2 --out drives
  dpt-ros dataset build drive_* --out drives --image-topic /camera/image_raw --jobs 4
  dpt-ros dataset import --kitti kitti/2011_09_26 --out kitti
  dpt-ros dataset show drives"""

_BUILD_EXAMPLE = """examples:
  dpt-ros dataset build my_bag --out drives
  dpt-ros dataset build drive_* --out drives --jobs 4 --max-gap-s 0.02
  dpt-ros dataset build my_bag --out drives --transforms extrinsics.yaml \\
      --body-box "base_link -0.4 0.4 -0.3 0.3 0 1"

The same command again goes on where it stopped, bag by bag: finished bags are skipped, one that was
not is begun anew. A bag is read by one process; --jobs reads several bags at once.

Look at the pictures in OUT/overlays: edges of the depth have to lie on edges of the picture."""


_IMPORT_EXAMPLE = """examples:
  dpt-ros dataset import --kitti kitti/2011_09_26 --out kitti
  dpt-ros dataset import --kitti kitti/object/training --out kitti_object
  dpt-ros dataset import --folder office kitchen --depth-scale 0.001 --camera camera.yaml \\
      --out rooms

A folder holds images/NAME.png (or .jpg, ...) and depth/NAME.png: 16 bits, depth along the optical
axis, 0 = unknown, of the picture's size."""


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    parser = subparsers.add_parser(
        "dataset",
        help="recordings with camera and LiDAR to pictures with depth",
        description="Make data sets to fit, train and evaluate with.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="build|import|show", required=True)
    _add_build(kinds)
    _add_import(kinds)
    _add_show(kinds)


def _add_build(kinds: Any) -> None:
    from dpt_ros.cli.numbers import positive
    from dpt_ros.cli.options import add_sample_settings

    parser = kinds.add_parser(
        "build",
        help="from rosbag2 recordings (mcap, sqlite3; no ROS needed)",
        description="Make a data set of rosbag2 recordings with a camera and a LiDAR.",
        epilog=_BUILD_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bags", nargs="+", metavar="BAG", help="rosbag2 folder, .mcap or .db3")
    _add_output(parser)
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        help="bags read at the same time, each by one process (default: %(default)s)",
    )
    add_sample_settings(parser)
    parser.set_defaults(func=_run_build)


def _add_import(kinds: Any) -> None:
    from dpt_ros.cli.options import add_picture_choice, add_settings
    from dpt_ros.geometry.lidar_settings import LidarSettings

    parser = kinds.add_parser(
        "import",
        help="from KITTI, or a folder of pictures and 16-bit depth",
        description="Make a data set of data in another layout.",
        epilog=_IMPORT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds_of_input = parser.add_mutually_exclusive_group(required=True)
    kinds_of_input.add_argument(
        "--kitti", metavar="DIR", help="KITTI: a drive, date or folder of dates (raw), or training"
    )
    kinds_of_input.add_argument(
        "--folder", metavar="DIR", nargs="+", help="folders, each with pictures and depth images"
    )
    _add_output(parser)
    parser.add_argument(
        "--min-points",
        type=count,
        default=50,
        help="pictures with fewer known depths are left out (default: %(default)s)",
    )
    kitti = parser.add_argument_group("of KITTI")
    kitti.add_argument(
        "--kitti-camera", type=int, choices=range(4), default=2, help="2 is left, 3 right colour"
    )
    add_settings(kitti, LidarSettings, prefix="lidar.")
    folder = parser.add_argument_group("of folders")
    folder.add_argument(
        "--depth-scale", type=float, metavar="M", help="metres of one unit: 0.001 of millimetres"
    )
    folder.add_argument(
        "--camera",
        metavar="FILE",
        help="camera_info YAML as ROS's camera_calibration or `ros2 topic echo --once` writes it",
    )
    add_picture_choice(folder, default=False, when_left_out="raw")
    folder.add_argument("--images", default="images", help="folder of pictures (%(default)s)")
    folder.add_argument("--depth", default="depth", help="folder of depth images (%(default)s)")
    folder.add_argument(
        "--dense", action="store_true", help="nearly every pixel's depth is known (not LiDAR)"
    )
    parser.set_defaults(func=_run_import)


def _add_show(kinds: Any) -> None:
    parser = kinds.add_parser(
        "show",
        help="what a data set holds",
        description="Print the sources of a data set, with counts and what was rejected.",
        epilog="example:\n  dpt-ros dataset show drives",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", help="the data set's folder")
    parser.add_argument("--json", metavar="FILE", help="write it as JSON too")
    parser.set_defaults(func=_run_show)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="the data set's folder")
    parser.add_argument(
        "--overlays",
        type=count,
        default=12,
        help="pictures to look at, of each source; 0 writes none (default: %(default)s)",
    )
    parser.add_argument("--json", metavar="FILE", help="write what was done as JSON too")


def _run_build(options: argparse.Namespace) -> int:
    from dpt_ros.cli.dataset_build import run

    return run(options)


def _run_import(options: argparse.Namespace) -> int:
    from dpt_ros.cli.dataset_import import run

    return run(options)


def _run_show(options: argparse.Namespace) -> int:
    from dpt_ros.cli.dataset_show import run

    return run(options)
