"""`dpt-ros synthetic`: render a data set, or record a bag, of an artificial world."""

from __future__ import annotations

import argparse
from typing import Any

_DATASET_EXAMPLE = """examples:
  dpt-ros synthetic dataset --out train --split train --scenes 400 --frames-per-scene 12
  dpt-ros synthetic dataset --out test --split test --scenes 40 --frames-per-scene 8 --seed 3"""

_BAG_EXAMPLE = """examples:
  dpt-ros synthetic bag --out drive --kind street --seconds 30
  dpt-ros synthetic bag --out drive --kind room --seed 7 --compressed --storage sqlite3"""


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    parser = subparsers.add_parser(
        "synthetic",
        help="a rendered world with exact depth: data sets and bags",
        description="Render rooms, corridors, streets and yards as a robot with a camera and a "
        "LiDAR would see them. The same seed gives the same world.",
    )
    products = parser.add_subparsers(dest="product", metavar="dataset|bag", required=True)
    _add_dataset(products)
    _add_bag(products)


def _add_dataset(products: Any) -> None:
    from dpt_ros.cli.options import add_settings
    from dpt_ros.synthetic.settings import SyntheticSettings

    parser = products.add_parser(
        "dataset",
        help="pictures with exact depth, to train, fit and evaluate on",
        description="Render a data set; a run that was stopped goes on where it was.",
        epilog=_DATASET_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--scenes", type=_positive, default=40, help="scenes (%(default)s)")
    parser.add_argument(
        "--size", default="256x192", type=_size, help="of the pictures (%(default)s)"
    )
    parser.add_argument(
        "--camera-size",
        type=_size,
        help="size of the camera's own pictures, whose view is taken over when --size has another "
        "shape (default: --size)",
    )
    parser.add_argument("--jobs", type=_positive, default=1, help="processes (%(default)s)")
    _add_device(parser)
    add_settings(parser, SyntheticSettings)
    _add_rig(parser)
    parser.set_defaults(func=_run_dataset)


def _add_bag(products: Any) -> None:
    from dpt_ros.cli.options import add_settings
    from dpt_ros.synthetic.settings import BagSettings, LidarSettings

    parser = products.add_parser(
        "bag",
        help="a recording of a drive: pictures, LiDAR, transforms, odometry",
        description="Write a rosbag2 as a robot would record it: /camera/image_rect, "
        "/camera/camera_info, /lidar/points, /tf_static, /tf and /odom.",
        epilog=_BAG_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the recording; a new folder")
    parser.add_argument(
        "--size", default="640x480", type=_size, help="of the pictures (%(default)s)"
    )
    _add_device(parser)
    add_settings(parser, BagSettings)
    add_settings(parser, LidarSettings, prefix="lidar.")
    _add_rig(parser)
    parser.set_defaults(func=_run_bag)


def _add_device(parser: Any) -> None:
    parser.add_argument(
        "--device",
        default="cpu",
        help="where pictures are rendered: auto, cpu, or cuda:N; only cpu gives the same bytes on "
        "every machine (%(default)s)",
    )


def _add_rig(parser: Any) -> None:
    from dpt_ros.cli.options import add_settings
    from dpt_ros.synthetic.settings import RigSettings

    add_settings(parser, RigSettings, prefix="rig.")


def _size(text: str) -> tuple[int, int]:
    from dpt_ros.cli.numbers import size

    return size(text)


def _positive(text: str) -> int:
    from dpt_ros.cli.numbers import positive

    return positive(text)


def _run_dataset(options: argparse.Namespace) -> int:
    from dpt_ros.cli.options import read_settings
    from dpt_ros.cli.progress import progress
    from dpt_ros.inference.device import choose_device
    from dpt_ros.synthetic.dataset import build_dataset
    from dpt_ros.synthetic.rig import rig_camera
    from dpt_ros.synthetic.settings import RigSettings, SyntheticSettings

    rig = read_settings(options, RigSettings, prefix="rig.")
    camera = rig_camera(rig, *(options.camera_size or options.size)).scaled(*options.size)
    settings = read_settings(options, SyntheticSettings)
    finished = build_dataset(
        options.out,
        settings,
        camera,
        options.scenes,
        rig=rig,
        jobs=options.jobs,
        device=choose_device(options.device)[0],
    )
    for _ in progress(finished, total=options.scenes, unit="scene"):
        pass
    print(f"{options.out}: {options.scenes} scenes of {camera.width}x{camera.height} pixels")
    return 0


def _run_bag(options: argparse.Namespace) -> int:
    from dpt_ros.cli.options import read_settings
    from dpt_ros.cli.progress import progress
    from dpt_ros.inference.device import choose_device
    from dpt_ros.synthetic.bag import picture_count, record_bag, robot_for, topics_of
    from dpt_ros.synthetic.rig import rig_camera
    from dpt_ros.synthetic.settings import BagSettings, LidarSettings, RigSettings

    settings = read_settings(options, BagSettings)
    rig = read_settings(options, RigSettings, prefix="rig.")
    lidar = read_settings(options, LidarSettings, prefix="lidar.")
    camera = rig_camera(rig, *options.size)
    device, _ = choose_device(options.device)
    robot = robot_for(settings, rig=rig, lidar=lidar, device=device)
    count = picture_count(settings)
    recorded = record_bag(options.out, settings, robot, camera)
    for _ in progress(recorded, total=count, unit="picture"):
        pass
    print(f"{options.out}: {count} pictures; topics {', '.join(topics_of(settings))}")
    return 0
