"""Publishes pictures to the node one after the other, and gathers what it answers to each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dpt_ros.geometry.camera import Camera
from dpt_ros.messages.camera_info import info_from_camera
from dpt_ros.messages.encode import rgb_to_image
from dpt_ros.ros.topics import OUTPUTS

FRAME = "camera_optical_frame"


class Player:
    """A small robot's camera: publishes `image_rect` and `camera_info`, subscribes to the outputs.

    Used as a context manager; starts and ends rclpy.

    Args:
        outputs: the node's outputs to subscribe to (names of `OUTPUTS`).
        node_name: full name of the node that answers.
    """

    def __init__(self, outputs: Collection[str], node_name: str = "/dpt") -> None:
        self._outputs = tuple(outputs)
        self._node_name = node_name
        self._answers: dict[str, Any] = {}
        self._stamp: Any = None
        self.diagnostics: dict[str, dict[str, str]] = {}
        """The newest diagnostics of the node: status -> key -> value."""
        self.repeated = 0
        """How often a picture had to be published again."""

    def __enter__(self) -> Player:
        rclpy.init(args=[])
        self._node = Node("dpt_player")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        reliable = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
        self._images = self._node.create_publisher(Image, "image_rect", reliable)
        self._infos = self._node.create_publisher(CameraInfo, "camera_info", reliable)
        for name in self._outputs:
            topic, message_type = OUTPUTS[name]
            self._node.create_subscription(
                message_type, f"{self._node_name}/{topic}", self._keep(name), reliable
            )
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, reliable)
        return self

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(timeout_sec=0.0)
        self._node.destroy_node()
        rclpy.try_shutdown()

    def wait_for_node(self, check: Callable[[], None], timeout_s: float) -> None:
        """Spin until the node listens and its outputs are connected.

        Args:
            check: called in between; raises if the node has ended.
            timeout_s: how long to wait.

        Raises:
            TimeoutError: it does not listen in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._is_connected():
            check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._node_name} did not become active in {timeout_s:g} s")
            self._executor.spin_once(timeout_sec=0.1)

    def play(
        self,
        rgb: NDArray[np.uint8],
        camera: Camera | None,
        awaited: Collection[str],
        timeout_s: float,
    ) -> dict[str, Any]:
        """Publish one picture and wait for its answers.

        The node listens best effort, as one listens to a camera, so that a picture may be lost:
        it is published again after one second without any answer, then after two more, four ...

        Args:
            rgb: [H,W,3].
            camera: published as camera_info; None publishes none.
            awaited: outputs to wait for.
            timeout_s: how long to wait for all of them.

        Returns:
            Output -> message, of this picture; what did not come in time is missing.
        """
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=FRAME)
        image = rgb_to_image(rgb, header)
        info = None if camera is None else info_from_camera(camera, header)
        self._answers.clear()
        self._stamp = header.stamp
        deadline, pause_s = time.monotonic() + timeout_s, 1.0
        while True:
            if info is not None:
                self._infos.publish(info)
            self._images.publish(image)
            left_s = deadline - time.monotonic()
            answers = self.wait(awaited, min(pause_s, left_s))
            if answers:
                return self.wait(awaited, deadline - time.monotonic())
            if left_s <= 0.0:
                return answers
            self.repeated += 1
            pause_s *= 2.0

    def wait(self, awaited: Collection[str], timeout_s: float) -> dict[str, Any]:
        """Wait for more answers to the picture last played; see `play`."""
        deadline = time.monotonic() + timeout_s
        while not self._answers.keys() >= set(awaited) and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.1)
        return dict(self._answers)

    def spin(self, seconds: float) -> None:
        """Receive for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left)

    def _keep(self, name: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            if message.header.stamp == self._stamp:
                self._answers[name] = message

        return keep

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self.diagnostics[status.name] = {"message": status.message, **values}

    def _is_connected(self) -> bool:
        topics = [f"{self._node_name}/{OUTPUTS[name][0]}" for name in self._outputs]
        return (
            self._images.get_subscription_count() > 0
            and self._infos.get_subscription_count() > 0
            and all(self._node.count_publishers(topic) > 0 for topic in topics)
        )
