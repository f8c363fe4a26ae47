"""What the live evaluator listens to: camera, LiDAR, transforms, and the depth node's answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from dpt_ros.bags.topics import SensorTopics, camera_info_beside
from dpt_ros.evaluation.live_settings import LiveSettings
from dpt_ros.ros.arrival import crowded, why_no_camera_info
from dpt_ros.ros.camera_stream import transport_topic
from dpt_ros.ros.latest_camera import NO_INFO
from dpt_ros.ros.qos import subscribe

SENSOR = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=100,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
MOVING = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)

TRANSFORM, STATIC_TRANSFORM = "transform", "transform_static"
"""Topics of single transforms, for machines without tf2_msgs (it is on no package index)."""

Receive = Callable[[str, Any], None]
"""Called with what a message is (image, camera_info, points, ...) and the message."""


class EvaluatorInputs:
    """Subscribes, as `qos_overrides` say, and hands everything that comes to `receive`.

    Args:
        node: makes the subscriptions.
        settings: how pictures arrive (CompressedImage on `image_rect/compressed`), and the topics
            of `samples`, where they are given, in place of those that can be remapped.
        receive: called in the executor's thread.
        depth_node: full name of the depth node.
        tell: takes a sentence about a publisher whose quality of service does not match.
    """

    def __init__(
        self,
        node: Node,
        settings: LiveSettings,
        receive: Receive,
        depth_node: str,
        tell: Callable[[str], None],
    ) -> None:
        self._node = node
        self._receive = receive
        self._depth_node = depth_node
        self._tell = tell
        self._came: set[str] = set()
        self._profiles: dict[str, QoSProfile] = {}
        self._camera_info_advice = ""
        self._most_depth_nodes = -1
        is_compressed, samples = settings.image_transport == "compressed", settings.samples
        image = (samples.image_topic or "image_rect").removesuffix("/compressed")
        camera_info = samples.camera_info_topic or camera_info_beside(image)
        image = transport_topic(node, image, settings.image_transport)
        image_type = CompressedImage if is_compressed else Image
        self._points = self._listen("points", PointCloud2, samples.points_topic or "points", SENSOR)
        self._has_lidar = False
        self._image = self._listen("image", image_type, image, SENSOR)
        self._depth = self._listen(
            "inverse_depth", Image, f"{depth_node}/inverse_depth/image", MOVING
        )
        metres = self._listen("depth", Image, f"{depth_node}/depth/image_rect", MOVING)
        self._camera_info = self._listen("camera_info", CameraInfo, camera_info, SENSOR)
        self._watched = [self._image, self._points, self._depth, metres, self._camera_info]
        self._listen_to_transforms()
        self._listen_to_odometry(samples.odometry_topic or "odometry")
        self.topics = SensorTopics(
            image=image,
            camera_info="camera_info",
            points="points",
            odometry="odometry",
        )
        """Names under which `LiveJoin` is handed the messages; the image's tells of `rect`."""

    def others(self) -> list[str]:
        """Topics with more than one publisher, for people: messages of two would be mixed up."""
        found = []
        for topic in self._watched:
            publishers = self._node.get_publishers_info_by_topic(topic)
            if len(publishers) > 1:
                found.append(crowded(topic, publishers))
        return found

    def silent(self) -> list[str]:
        """Topics that nobody publishes."""
        return [topic for topic in self._watched if self._node.count_publishers(topic) == 0]

    def why_no_scan(self) -> str:
        """For people, where none came. To be asked meanwhile: a LiDAR ends with its recording."""
        self._has_lidar |= self._node.count_publishers(self._points) > 0
        reason = "no scan came on" if self._has_lidar else "nobody publishes"
        return f"{reason} {self._points}"

    def look(self) -> None:
        """See who publishes what, for `why_missing`. To be called now and then."""
        depth_nodes = self._node.count_publishers(self._depth)
        self._most_depth_nodes = max(depth_nodes, self._most_depth_nodes)
        advice = why_no_camera_info(
            self._node,
            "camera_info",
            self._camera_info,
            self._profiles["camera_info"],
            self._image,
        )
        self._camera_info_advice = advice or self._camera_info_advice

    def why_missing(self) -> list[str]:
        """For people: why no camera_info or no depth came beside the pictures."""
        reasons = []
        if "image" in self._came and "camera_info" not in self._came:
            reasons.append(f"{NO_INFO} on {self._camera_info}{self._camera_info_advice}")
        if "image" in self._came and self._most_depth_nodes == 0:
            reasons.append(
                f"nobody published {self._depth}: is {self._depth_node} the depth node, with its "
                "namespace? If not, set the parameter depth_node"
            )
        return reasons

    def _listen(
        self,
        name: str,
        kind: Any,
        topic: str,
        profile: QoSProfile,
        whole: Callable[[Any], Any] = lambda message: message,
    ) -> str:
        """The topic's full name; `whole` makes what is handed on of a message."""

        def receive(message: Any) -> None:
            self._came.add(name)
            self._receive(name, whole(message))

        topic = str(self._node.resolve_topic_name(topic))
        self._profiles[name] = profile = copy.copy(profile)  # overrides change it
        subscribe(self._node, kind, topic, receive, profile, self._tell)
        return topic

    def _listen_to_transforms(self) -> None:
        """/tf and /tf_static where tf2_msgs is installed, and single transforms everywhere."""
        for topic, profile in ((TRANSFORM, MOVING), (STATIC_TRANSFORM, LATCHED)):
            self._listen(topic, TransformStamped, topic, profile, _whole)
        try:
            from tf2_msgs.msg import TFMessage
        except ModuleNotFoundError:
            self._node.get_logger().info(
                "tf2_msgs is not installed: transforms are taken from the topics "
                f"{TRANSFORM} and {STATIC_TRANSFORM} (TransformStamped), not from /tf"
            )
            return
        for topic, name, profile in (
            ("/tf", TRANSFORM, MOVING),
            ("/tf_static", STATIC_TRANSFORM, LATCHED),
        ):
            self._listen(name, TFMessage, topic, profile)

    def _listen_to_odometry(self, topic: str) -> None:
        """By which scans are compensated for the robot's movement, where no /tf tells of it."""
        try:
            from nav_msgs.msg import Odometry
        except ModuleNotFoundError:
            self._node.get_logger().info("nav_msgs is not installed: odometry is not listened to")
            return
        self._listen("odometry", Odometry, topic, MOVING)


def _whole(transform: Any) -> Any:
    """A single transform as a TFMessage has it."""
    return SimpleNamespace(transforms=[transform])
