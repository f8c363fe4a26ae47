"""Publishes messages of a rosbags type store as a robot would: serialized, on live topics."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from dpt_ros.ros.evaluator_inputs import LATCHED, MOVING, STATIC_TRANSFORM, TRANSFORM
from dpt_ros.ros.node_peer import RELIABLE
from dpt_ros.ros.stamps import NANOSECONDS

_TYPES = {"image_rect": Image, "camera_info": CameraInfo, "points": PointCloud2}


class RobotPublisher:
    """A robot's topics: `image_rect`, `camera_info`, `points`, and its transforms.

    Transforms go to /tf and /tf_static where tf2_msgs is installed, and one by one to `transform`
    and `transform_static`, which need geometry_msgs only. Used as a context manager.

    Args:
        types: the rosbags type store of the messages.
    """

    def __init__(self, types: Any) -> None:
        self._types = types

    def __enter__(self) -> RobotPublisher:
        rclpy.init(args=[])
        self._node = Node("synthetic_robot")
        self._publishers: dict[str, Publisher[Any]] = {
            topic: self._node.create_publisher(kind, topic, RELIABLE)
            for topic, kind in _TYPES.items()
        }
        self._add("/clock", Clock, QoSProfile(depth=1))
        self._add(TRANSFORM, TransformStamped, MOVING)
        self._add(STATIC_TRANSFORM, TransformStamped, LATCHED)
        try:
            from tf2_msgs.msg import TFMessage
        except ModuleNotFoundError:
            pass
        else:
            self._add("/tf", TFMessage, MOVING)
            self._add("/tf_static", TFMessage, LATCHED)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()

    def publish(self, topic: str, message: Any) -> None:
        """Publish a message of the type store on one of the robot's topics."""
        self._publishers[topic].publish(self._serialized(message))

    def publish_transforms(self, message: Any, is_static: bool) -> None:
        """Publish a TFMessage of the type store, whole and in parts."""
        whole = "/tf_static" if is_static else "/tf"
        if whole in self._publishers:
            self.publish(whole, message)
        for transform in message.transforms:
            self.publish(STATIC_TRANSFORM if is_static else TRANSFORM, transform)

    def set_clock(self, now_ns: int) -> None:
        """Tell everybody the simulated time."""
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, NANOSECONDS)
        self._publishers["/clock"].publish(message)

    def is_heard(self, listeners: int) -> bool:
        """Whether so many listen to pictures, and somebody to points."""
        pictures = self._publishers["image_rect"].get_subscription_count()
        return pictures >= listeners and self._publishers["points"].get_subscription_count() > 0

    def _serialized(self, message: Any) -> bytes:
        return bytes(self._types.serialize_cdr(message, message.__msgtype__))

    def _add(self, topic: str, kind: Any, profile: QoSProfile) -> None:
        self._publishers[topic] = self._node.create_publisher(kind, topic, profile)
