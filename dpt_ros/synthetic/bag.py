"""Record a drive as a rosbag2, with the topics, frames and delays of a robot."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.bag_messages import BagMessages
from dpt_ros.synthetic.robot import Robot
from dpt_ros.synthetic.settings import BagSettings

START_NS = 1_700_000_000_000_000_000
"""Stamp of the beginning of every drive."""

IMAGE = "/camera/image_rect"
COMPRESSED = "/camera/image_rect/compressed"
CAMERA_INFO = "/camera/camera_info"
DEPTH = "/camera/depth/image_rect"
POINTS = "/lidar/points"
STATIC_TRANSFORMS = "/tf_static"
TRANSFORMS = "/tf"
ODOMETRY = "/odom"

_TYPES = {
    IMAGE: "sensor_msgs/msg/Image",
    COMPRESSED: "sensor_msgs/msg/CompressedImage",
    CAMERA_INFO: "sensor_msgs/msg/CameraInfo",
    DEPTH: "sensor_msgs/msg/Image",
    POINTS: "sensor_msgs/msg/PointCloud2",
    STATIC_TRANSFORMS: "tf2_msgs/msg/TFMessage",
    TRANSFORMS: "tf2_msgs/msg/TFMessage",
    ODOMETRY: "nav_msgs/msg/Odometry",
}
_ODOMETRY_HZ = 50.0
# The first picture comes once a scan can begin before it; messages come after what they tell of.
_SCAN_LEAD_S = 0.02
"""A scan that goes with a picture begins this much earlier: the two run on their own."""
_FIRST_PICTURE_S = 0.1
_PICTURE_DELAY_S, _SCAN_DELAY_S, _ODOMETRY_DELAY_S = 0.012, 0.004, 0.002
_ENDLESS = QosTime(2147483647, 4294967295)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _ENDLESS,
    _ENDLESS,
    QosLiveliness.AUTOMATIC,
    _ENDLESS,
    False,
)


class Recorded(NamedTuple):
    """A message, and when the recorder got it (seconds from the start)."""

    time_s: float
    topic: str
    message: Any


def record_bag(
    folder: str | Path, settings: BagSettings, robot: Robot, camera: Camera
) -> Iterator[int]:
    """Write a drive as a rosbag2.

    Args:
        folder: of the recording; must not exist. It appears when the recording is whole.
        settings: what to record; its kind, seed and split have to be those of `robot`.
        robot: see `robot_for`.
        camera: of the pictures.

    Yields:
        The number of each picture, counted from 1, when it is written.

    Raises:
        FileExistsError: there is something at `folder`.
        OSError: it can't be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists: name a folder that does not, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    plugin = StoragePlugin.MCAP if settings.storage == "mcap" else StoragePlugin.SQLITE3
    makes = BagMessages()
    pictures = 0
    try:
        with Writer(unfinished, version=9, storage_plugin=plugin) as writer:
            connections = {
                topic: writer.add_connection(
                    topic,
                    _TYPES[topic],
                    typestore=makes.types,
                    offered_qos_profiles=[_LATCHED] if topic == STATIC_TRANSFORMS else [],
                )
                for topic in topics_of(settings)
            }
            for time_s, topic, message in drive_messages(makes, settings, robot, camera):
                data = makes.types.serialize_cdr(message, _TYPES[topic])
                writer.write(connections[topic], START_NS + round(time_s * 1e9), data)
                if topic == CAMERA_INFO:
                    pictures += 1
                    yield pictures
        _name_after(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def robot_for(settings: BagSettings, **options: Any) -> Robot:
    """The robot whose drive is to be recorded; `options` are Robot's (rig, lidar, device)."""
    lasting_s = _FIRST_PICTURE_S + settings.seconds
    return Robot(settings.kind, settings.seed, lasting_s, split=settings.split, **options)


def topics_of(settings: BagSettings) -> tuple[str, ...]:
    """The topics of a recording."""
    picture = COMPRESSED if settings.compressed else IMAGE
    depth = (DEPTH,) if settings.depth else ()
    return (STATIC_TRANSFORMS, TRANSFORMS, ODOMETRY, picture, CAMERA_INFO, *depth, POINTS)


def drive_messages(
    makes: BagMessages, settings: BagSettings, robot: Robot, camera: Camera
) -> Iterator[Recorded]:
    """All messages of a drive in the order in which a recorder gets them."""
    static = makes.static_transforms(
        robot.transform_base_camera, robot.transform_base_lidar, START_NS
    )
    yield Recorded(0.0, STATIC_TRANSFORMS, static)
    yield from heapq.merge(
        _movement(makes, robot),
        _pictures(makes, settings, robot, camera),
        _scans(makes, settings, robot),
        key=lambda recorded: recorded.time_s,
    )


def _movement(makes: BagMessages, robot: Robot) -> Iterator[Recorded]:
    for number in range(int(robot.known_until_s * _ODOMETRY_HZ) + 1):
        time_s = number / _ODOMETRY_HZ
        pose, (speed, turn_rate) = robot.transform_odom_base(time_s), robot.velocity(time_s)
        stamp_ns, received_s = _stamp_ns(time_s), time_s + _ODOMETRY_DELAY_S
        yield Recorded(received_s, TRANSFORMS, makes.moving_transform(pose, stamp_ns))
        odometry = makes.odometry(pose, speed, turn_rate, stamp_ns)
        yield Recorded(received_s, ODOMETRY, odometry)


def _pictures(
    makes: BagMessages, settings: BagSettings, robot: Robot, camera: Camera
) -> Iterator[Recorded]:
    for number in range(picture_count(settings)):
        time_s = _FIRST_PICTURE_S + number / settings.rate
        stamp_ns, received_s = _stamp_ns(time_s), time_s + _PICTURE_DELAY_S
        rgb, depth_m = robot.picture(camera, time_s)
        if settings.compressed:
            yield Recorded(received_s, COMPRESSED, makes.jpeg(rgb, stamp_ns))
        else:
            yield Recorded(received_s, IMAGE, makes.image(rgb, stamp_ns))
        if settings.depth:
            yield Recorded(received_s, DEPTH, makes.depth(depth_m, stamp_ns))
        yield Recorded(received_s, CAMERA_INFO, makes.camera_info(camera, stamp_ns))


def _scans(makes: BagMessages, settings: BagSettings, robot: Robot) -> Iterator[Recorded]:
    period_s = 1.0 / robot.lidar_settings.rate_hz
    start_s = _FIRST_PICTURE_S - _SCAN_LEAD_S
    last_s = _FIRST_PICTURE_S + (picture_count(settings) - 1) / settings.rate
    for number in range(int((last_s - start_s) / period_s) + 1):
        time_s = start_s + number * period_s
        cloud = makes.cloud(robot.scan(time_s), _stamp_ns(time_s))
        yield Recorded(time_s + period_s + _SCAN_DELAY_S, POINTS, cloud)


def picture_count(settings: BagSettings) -> int:
    """How many pictures a recording has."""
    return max(1, round(settings.seconds * settings.rate))


def _stamp_ns(time_s: float) -> int:
    return START_NS + round(time_s * 1e9)


def _name_after(unfinished: Path, folder: Path) -> None:
    """Give a whole recording its name: the folder, its storage file, and that in metadata.yaml."""
    metadata = unfinished / "metadata.yaml"
    text = metadata.read_text(encoding="utf-8")
    for file in list(unfinished.iterdir()):
        if file.name.startswith(unfinished.name):
            named = file.name.replace(unfinished.name, folder.name, 1)
            text = text.replace(file.name, named)
            file.rename(file.with_name(named))
    metadata.write_text(text, encoding="utf-8")
    unfinished.rename(folder)
