"""A camera's publishers: who listens to what, and results as messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from dpt_ros.messages.encode import (
    float_to_image,
    millimetres_to_image,
    points_to_cloud,
    rgb_to_image,
)
from dpt_ros.ros.qos import output_profile, overriding_options, publisher_callbacks
from dpt_ros.ros.topics import OUTPUTS

if TYPE_CHECKING:
    from dpt_ros.inference.pipeline import FrameOutputs

_OPTIONAL = "depth_mm"


class Outputs:
    """Publishes on the topics of `OUTPUTS` below a prefix; only what somebody listens to.

    Args:
        node: makes the publishers.
        prefix: stands before the topics' names.
        tell_qos: told of a topic and of a sentence about a subscriber that does not match.
    """

    def __init__(
        self, node: LifecycleNode, prefix: str, tell_qos: Callable[[str, str], None]
    ) -> None:
        self._node = node
        self._prefix = prefix
        self._tell_qos = tell_qos
        self._lock = threading.Lock()
        self._publishers: dict[str, Publisher[Any]] = {}

    def open(self, millimetres: bool) -> None:
        """Make the publishers; `millimetres` for depth/image_raw as well."""
        with self._lock:
            for name in OUTPUTS:
                if name != _OPTIONAL or millimetres:
                    self._open(name)

    def close(self) -> None:
        """Take the publishers away."""
        with self._lock:
            for publisher in self._publishers.values():
                self._node.destroy_publisher(publisher)
            self._publishers.clear()

    def set_millimetres(self, wanted: bool) -> None:
        """Make or take away the publisher of depth/image_raw while the node runs."""
        with self._lock:
            if wanted and self._publishers and _OPTIONAL not in self._publishers:
                self._open(_OPTIONAL)
            elif not wanted and _OPTIONAL in self._publishers:
                self._node.destroy_publisher(self._publishers.pop(_OPTIONAL))

    def subscribed(self) -> frozenset[str]:
        """The outputs that somebody listens to."""
        with self._lock:
            return frozenset(
                name
                for name, publisher in self._publishers.items()
                if publisher.get_subscription_count() > 0
            )

    def profile_of(self, topic: str) -> QoSProfile | None:
        """The quality of service offered on a topic; None if nothing is published there."""
        with self._lock:
            publishers = [p for p in self._publishers.values() if p.topic_name == topic]
        return publishers[0].qos_profile if publishers else None

    def topic(self, output: str) -> str:
        """The full name of an output's topic."""
        return self._node.resolve_topic_name(self._prefix + OUTPUTS[output][0])

    @property
    def optional_topic(self) -> str:
        """The full name of the topic that a parameter makes or takes away while the node runs."""
        return self.topic(_OPTIONAL)

    def publish(
        self, header: Any, results: FrameOutputs, info: Any | None, wanted: frozenset[str]
    ) -> None:
        """Publish what was computed, with the input's `header` unchanged.

        Args:
            header: of the input image.
            results: arrays; None for what was not asked for.
            info: the CameraInfo that fits the depth image; None without.
            wanted: of this camera; one in the same batch may have wanted more.
        """

        def cloud(points: Any, header: Any) -> Any:
            return points_to_cloud(points, header, is_dense=results.points_are_dense)

        made: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
            "inverse_depth": (results.inverse_depth, float_to_image),
            "depth": (results.depth_m, float_to_image),
            "depth_mm": (results.depth_mm, millimetres_to_image),
            "depth_info": (info, lambda info, _: info),
            "color": (results.color, rgb_to_image),
            "points": (results.points, cloud),
        }
        for name, (values, encode) in made.items():
            if values is not None and name in wanted:
                self._send(name, encode(values, header))

    def _send(self, name: str, message: Any) -> None:
        with self._lock:
            publisher = self._publishers.get(name)
            if publisher is not None:
                publisher.publish(message)

    def _open(self, name: str) -> None:
        topic, message_type = OUTPUTS[name]
        full_name = self._node.resolve_topic_name(self._prefix + topic)
        profile = output_profile()

        def tell(text: str) -> None:
            self._tell_qos(full_name, text)

        self._publishers[name] = self._node.create_publisher(
            message_type,
            self._prefix + topic,
            profile,
            event_callbacks=publisher_callbacks(full_name, profile, tell),
            qos_overriding_options=overriding_options(),
        )
