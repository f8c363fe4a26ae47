"""Publishes pictures to the node one after the other, and gathers what it answers to each."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from dpt_ros.geometry.camera import Camera
from dpt_ros.messages.camera_info import info_from_camera
from dpt_ros.messages.encode import rgb_to_image
from dpt_ros.ros.node_peer import NodePeer

FRAME = "camera_optical_frame"


class Player(NodePeer):
    """A small robot's camera: publishes `image_rect` and `camera_info`, subscribes to the outputs.

    Used as a context manager; starts and ends rclpy.

    Args:
        outputs: the node's outputs to subscribe to (names of `OUTPUTS`).
        node_name: full name of the node that answers.
    """

    def __init__(self, outputs: Collection[str], node_name: str = "/dpt") -> None:
        super().__init__("dpt_player", outputs, self._keep, node_name)
        self._answers: dict[str, Any] = {}
        self._stamp: Any = None
        self.repeated = 0
        """How often a picture had to be published again."""

    def play(
        self,
        rgb: NDArray[np.uint8],
        camera: Camera | None,
        awaited: Collection[str],
        timeout_s: float,
    ) -> dict[str, Any]:
        """Publish one picture and wait for its answers.

        The node listens best effort, as one listens to a camera, so that a picture may be lost:
        it is published again after one second without all answers, then after two more, four ...

        Args:
            rgb: [H,W,3].
            camera: published as camera_info; None publishes none.
            awaited: outputs to wait for.
            timeout_s: how long to wait for all of them.

        Returns:
            Output -> message, of this picture; what did not come in time is missing.
        """
        header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id=FRAME)
        image = rgb_to_image(rgb, header)
        info = None if camera is None else info_from_camera(camera, header)
        self._answers.clear()
        self._stamp = header.stamp
        deadline, pause_s = time.monotonic() + timeout_s, 1.0
        while True:
            if info is not None:
                self.infos.publish(info)
            self.images.publish(image)
            left_s = deadline - time.monotonic()
            answers = self.wait(awaited, min(pause_s, left_s))
            if left_s <= 0.0 or answers.keys() >= set(awaited):
                return answers
            self.repeated += 1
            pause_s *= 2.0

    def wait(self, awaited: Collection[str], timeout_s: float) -> dict[str, Any]:
        """Wait for more answers to the picture last played; see `play`."""
        deadline = time.monotonic() + timeout_s
        while not self._answers.keys() >= set(awaited) and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.1)
        return dict(self._answers)

    def _keep(self, name: str, message: Any) -> None:
        if message.header.stamp == self._stamp:
            self._answers[name] = message
