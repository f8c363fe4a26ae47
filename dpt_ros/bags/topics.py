"""Which topics of a recording are the camera's and the LiDAR's, found by type and by name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dpt_ros.bags.reader import IMAGE_TYPES, BagError, BagReader

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = "tf2_msgs/msg/TFMessage"


@dataclass(frozen=True)
class SensorTopics:
    """The topics that samples are made of.

    `odometry` is empty where there is none, or several to choose from, `odometry_choices`;
    `warnings` say what is doubtful about the choice.
    """

    image: str
    camera_info: str
    points: str
    odometry: str = ""
    moving_transforms: tuple[str, ...] = ()
    static_transforms: tuple[str, ...] = ()
    odometry_choices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def streamed(self) -> tuple[str, ...]:
        """What is read in the order of time; fixed transforms are read before."""
        optional = (self.odometry,) if self.odometry else ()
        return (self.image, self.camera_info, self.points, *optional, *self.moving_transforms)

    def without_motion(self, moved: str | None, sensors: Sequence[str]) -> str:
        """What to tell where nothing says how the robot's sensors move.

        Args:
            moved: the frame that the odometry moves, which is not connected to the sensors'; None
                where no odometry came.
            sensors: the frames of LiDAR and camera.
        """
        if_moved = "if the robot moved, its scans are smeared and its depth is off"
        if moved is not None:
            frames = " and ".join(repr(frame) for frame in sensors)
            return (
                f"{self.odometry} moves {moved!r}, which no transform connects to {frames}: give "
                f"it in a file of transforms (--transforms); {if_moved}"
            )
        odometry = f"no odometry from {self.odometry} in time" if self.odometry else "no odometry"
        if several := ", ".join(self.odometry_choices):
            odometry = f"several odometry topics ({several}), none chosen by --odometry-topic,"
        return f"{odometry} and no /tf to a frame that stands still (--fixed-frame): {if_moved}"


def find_topics(
    bag: BagReader,
    image: str = "",
    camera_info: str = "",
    points: str = "",
    odometry: str = "",
) -> SensorTopics:
    """The sensors' topics; empty names are found by type.

    Raises:
        BagError: a topic that is not there, or several and no name; lists those that fit. Or no
            name, and the only camera_info is of another camera.
    """
    image = image_topic(bag, image)
    info_name = camera_info or camera_info_topic(bag, image)
    info = bag.find_topic([CAMERA_INFO], info_name or None)
    beside = camera_info_beside(image)
    doubt = "" if info == beside else _frames_that_differ(bag, image, info)
    if doubt and not camera_info:
        raise BagError(
            f"{bag.path} has no {beside}, and {doubt}: expected the camera_info of the "
            "same camera; record it, or name the topic to take with --camera-info-topic"
        )
    candidates = [topic.name for topic in bag.topics_of([ODOMETRY]) if topic.count]
    if odometry or len(candidates) == 1:
        odometry = bag.find_topic([ODOMETRY], odometry or None)
    transforms = [topic.name for topic in bag.topics_of([TRANSFORMS]) if topic.count]
    static = tuple(name for name in transforms if name.endswith("tf_static"))
    return SensorTopics(
        image=image,
        camera_info=info,
        points=bag.find_topic([POINT_CLOUD], points or None),
        odometry=odometry,
        moving_transforms=tuple(name for name in transforms if name not in static),
        static_transforms=static,
        odometry_choices=() if odometry else tuple(candidates),
        warnings=(f"{doubt}: is it the same camera?",) if doubt else (),
    )


def image_topic(bag: BagReader, name: str = "") -> str:
    """The topic of the camera's pictures: `name`, or the only one whose images are no depth.

    Where all of them were also recorded compressed, those are no other ones.

    Raises:
        BagError: no such topic, or several and no name; lists those that fit.
    """
    counts = {topic.name: topic.count for topic in bag.topics_of(IMAGE_TYPES) if topic.count}
    if not name and len(counts) > 1:
        # `ros2 bag record -a` takes the same pictures twice: as they are, and compressed.
        twice = {f"{each}/compressed": count for each, count in counts.items()}
        once = [each for each, count in counts.items() if twice.get(each, 0) < count]
        colored = [each for each in once if not _is_depth(bag, each)]
        name = colored[0] if len(colored) == 1 else ""
    return bag.find_topic(IMAGE_TYPES, name or None)


def _is_depth(bag: BagReader, image: str) -> bool:
    """Whether images have depth in place of colours: of an RGB-D camera, or another network's."""
    first = _first(bag, image)
    encoding = str(getattr(first, "encoding", "") or getattr(first, "format", ""))
    return encoding.startswith(("16UC1", "32FC1"))  # compressed: "16UC1; compressedDepth png"


def camera_info_topic(bag: BagReader, image_topic: str) -> str | None:
    """The camera_info beside an image topic, else the only one, unless it is of another frame."""
    names = [topic.name for topic in bag.topics_of([CAMERA_INFO]) if topic.count]
    beside = camera_info_beside(image_topic)
    if beside in names:
        return beside
    is_choice = len(names) == 1 and not _frames_that_differ(bag, image_topic, names[0])
    return names[0] if is_choice else None


def is_info_unclear(bag: BagReader, image_topic: str) -> bool:
    """Whether none lies beside the images, but several elsewhere of which one may be theirs."""
    names = [topic.name for topic in bag.topics_of([CAMERA_INFO]) if topic.count]
    if len(names) < 2 or camera_info_beside(image_topic) in names:
        return False
    return not all(_frames_that_differ(bag, image_topic, name) for name in names)


def camera_info_beside(image_topic: str) -> str:
    """The topic camera_info beside an image topic, compressed or not, as image_transport has it.

    Beside a relative name it is relative too: image_rect has camera_info, in whatever namespace.
    """
    base, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{base}{slash}camera_info"


def _frames_that_differ(bag: BagReader, image: str, camera_info: str) -> str:
    """In words, the frames of a picture and a camera_info; "" while they agree or do not say."""
    frames = [_first_frame(bag, topic) for topic in (image, camera_info)]
    if not all(frames) or frames[0] == frames[1]:
        return ""
    return f"{camera_info} has the frame {frames[1]!r}, {image} the frame {frames[0]!r}"


def _first_frame(bag: BagReader, topic: str) -> str:
    first = _first(bag, topic)
    return "" if first is None else str(first.header.frame_id).lstrip("/")


def _first(bag: BagReader, topic: str) -> Any:
    """The first message of a topic; None where there is none that can be read."""
    try:
        first = next(bag.messages(topic), None)
    except BagError:  # told when the topic is read
        return None
    return None if first is None else first.message


def is_rectified(image_topic: str) -> bool:
    """Whether a topic's name says that its pictures are rectified.

    The last two parts of the name count: /left/image_rect_color, as image_proc says, and
    /left/rectified/image; but not /direct/image, nor /left/image_unrectified.
    """
    parts = image_topic.removesuffix("/compressed").split("/")[-2:]
    return not {"rect", "rectified"}.isdisjoint(re.split("[/_]", "/".join(parts).lower()))


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
