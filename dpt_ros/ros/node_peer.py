"""A ROS node beside the depth node: gives it pictures, hears its outputs and diagnostics."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image

from dpt_ros.ros.arrival import crowded
from dpt_ros.ros.diagnostics import IMAGE_PUBLISHERS, INFO_PUBLISHERS, SUBSCRIBED
from dpt_ros.ros.node_reports import reports_of
from dpt_ros.ros.topics import OUTPUTS

Peer = TypeVar("Peer", bound="NodePeer")

RELIABLE = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)


class NodePeer:
    """Publishes a camera, and hears what the node makes of it.

    Used as a context manager; starts and ends rclpy.

    Args:
        name: of this node.
        outputs: the node's outputs to subscribe to (names of `OUTPUTS`).
        heard: called with an output's name and every message of it.
        node_name: full name of the node that answers.
        image_type: what is published as images.
        image_topic: where.
    """

    def __init__(
        self,
        name: str,
        outputs: Collection[str],
        heard: Callable[[str, Any], None],
        node_name: str = "/dpt",
        image_type: Any = Image,
        image_topic: str = "image_rect",
    ) -> None:
        self._name = name
        self._outputs = tuple(outputs)
        self._heard = heard
        self._node_name = node_name
        self._image_type = image_type
        self._image_topic = image_topic
        self.diagnostics: dict[str, dict[str, str]] = {}
        """The newest diagnostics of the node: status -> key -> value."""
        self.diagnosed_s = 0.0
        """When they came, in seconds of a clock that never jumps."""

    def __enter__(self: Peer) -> Peer:
        # A signal is Python's: KeyboardInterrupt, after which what was heard is still there.
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(self._name)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.images: Publisher[Any] = self.node.create_publisher(
            self._image_type, self._image_topic, RELIABLE
        )
        self.infos: Publisher[Any] = self.node.create_publisher(CameraInfo, "camera_info", RELIABLE)
        for name in self._outputs:
            topic, message_type = OUTPUTS[name]
            self.node.create_subscription(
                message_type, f"{self._node_name}/{topic}", self._hear(name), RELIABLE
            )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, RELIABLE)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.executor.shutdown(timeout_sec=0.0)
        self.node.destroy_node()
        rclpy.try_shutdown()

    def wait_for_node(self, check: Callable[[], None], timeout_s: float) -> None:
        """Spin until camera and outputs are connected, and the node has said so in its diagnostics.

        Each end learns of the other by itself: what is published before both know may be lost, and
        what nobody is known to listen to is not computed.

        Args:
            check: called in between; raises if the node has ended.
            timeout_s: how long to wait.

        Raises:
            TimeoutError: it does not in time.
        """
        deadline = time.monotonic() + timeout_s
        while missing := self._not_connected():
            check()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self._node_name} is not connected after {timeout_s:g} s: {missing}"
                )
            self.executor.spin_once(timeout_sec=0.1)

    def spin(self, seconds: float) -> None:
        """Receive for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0.0:
            self.executor.spin_once(timeout_sec=left)

    def others(self) -> list[str]:
        """Who else publishes what this node publishes, or what the node answers, for people."""
        topics = [self.images.topic_name, self.infos.topic_name]
        topics += [f"{self._node_name}/{OUTPUTS[name][0]}" for name in self._outputs]
        found = []
        for topic in topics:
            publishers = self.node.get_publishers_info_by_topic(topic)
            if len(publishers) > 1:
                found.append(crowded(topic, publishers))
        return found

    def _hear(self, name: str) -> Callable[[Any], None]:
        return lambda message: self._heard(name, message)

    def _diagnose(self, message: DiagnosticArray) -> None:
        self.diagnosed_s = time.monotonic()
        self.diagnostics.update(reports_of(message))

    def _not_connected(self) -> str:
        """What is not connected yet, for people; "" when all is."""
        for publisher in (self.images, self.infos):
            if not publisher.get_subscription_count():
                return f"nobody listens to {publisher.topic_name}"
        for name in self._outputs:
            topic = f"{self._node_name}/{OUTPUTS[name][0]}"
            if not self.node.count_publishers(topic):
                return f"nobody publishes {topic}"
        prefix = f"{self._node_name.lstrip('/')}: "
        reports = (values for name, values in self.diagnostics.items() if name.startswith(prefix))
        report = next((values for values in reports if SUBSCRIBED in values), None)
        if report is None:
            return "its diagnostics have not come"
        for key, publisher in ((IMAGE_PUBLISHERS, self.images), (INFO_PUBLISHERS, self.infos)):
            if report[key] == "0":
                return f"it does not know of the publisher of {publisher.topic_name}"
        unknown = set(self._outputs) - set(report[SUBSCRIBED].split(", "))
        if unknown:
            return f"it does not know that somebody listens to {', '.join(sorted(unknown))}"
        return ""
