"""Which topics of a recording are the camera's and the LiDAR's, found by type and by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dpt_ros.bags.reader import IMAGE_TYPES, BagReader

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = "tf2_msgs/msg/TFMessage"


@dataclass(frozen=True)
class SensorTopics:
    """The topics that samples are made of; `odometry` is empty where there is none."""

    image: str
    camera_info: str
    points: str
    odometry: str = ""
    moving_transforms: tuple[str, ...] = ()
    static_transforms: tuple[str, ...] = ()

    @property
    def streamed(self) -> tuple[str, ...]:
        """What is read in the order of time; fixed transforms are read before."""
        optional = (self.odometry,) if self.odometry else ()
        return (self.image, self.camera_info, self.points, *optional, *self.moving_transforms)


def find_topics(
    bag: BagReader,
    image: str = "",
    camera_info: str = "",
    points: str = "",
    odometry: str = "",
) -> SensorTopics:
    """The sensors' topics; empty names are found by type.

    Raises:
        BagError: a topic that is not there, or several and no name; lists those that fit.
    """
    image = bag.find_topic(IMAGE_TYPES, image or None)
    info_name = camera_info or camera_info_topic(bag, image)
    candidates = [topic.name for topic in bag.topics_of([ODOMETRY]) if topic.count]
    if odometry or len(candidates) == 1:
        odometry = bag.find_topic([ODOMETRY], odometry or None)
    transforms = [topic.name for topic in bag.topics_of([TRANSFORMS]) if topic.count]
    static = tuple(name for name in transforms if name.endswith("tf_static"))
    return SensorTopics(
        image=image,
        camera_info=bag.find_topic([CAMERA_INFO], info_name or None),
        points=bag.find_topic([POINT_CLOUD], points or None),
        odometry=odometry,
        moving_transforms=tuple(name for name in transforms if name not in static),
        static_transforms=static,
    )


def camera_info_topic(bag: BagReader, image_topic: str) -> str | None:
    """The camera_info beside an image topic, else the only one; None where neither is there."""
    names = [topic.name for topic in bag.topics_of([CAMERA_INFO]) if topic.count]
    sibling = image_topic.removesuffix("/compressed").rpartition("/")[0] + "/camera_info"
    if sibling in names:
        return sibling
    return names[0] if len(names) == 1 else None


def is_rectified(image_topic: str) -> bool:
    """Whether a topic's name says that its pictures are rectified, as image_proc's names do."""
    return "rect" in image_topic.removesuffix("/compressed").rpartition("/")[2]


def frame_warnings(info: Any) -> list[str]:
    """What in a CameraInfo makes it doubtful that its frame is that of its pictures.

    A stereo pair's R turns and P moves the picture against the lens; drivers disagree whether the
    frame in the header goes along.
    """
    trace = float(info.r[0]) + float(info.r[4]) + float(info.r[8])
    turn_deg = math.degrees(math.acos(min(1.0, max(-1.0, (trace - 1.0) / 2.0))))
    move_m = abs(float(info.p[3]) / float(info.p[0])) if info.p[0] else 0.0
    frame = info.header.frame_id
    told = []
    if turn_deg > 0.1 and any(info.r):
        told.append(
            f"camera_info turns the picture by {turn_deg:.2f} degrees (R): the frame {frame!r} is "
            "taken as turned along; look at the overlays"
        )
    if move_m > 1e-3:
        told.append(
            f"camera_info moves the picture by {move_m:.3f} m (P, a stereo pair's right camera?): "
            f"the frame {frame!r} is taken as moved along; look at the overlays"
        )
    return told
