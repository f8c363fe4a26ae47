"""What the evaluator says of topics from which nothing came."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.evaluation.live_settings import LiveSettings

pytest.importorskip("rclpy")
from rclpy.qos import QoSDurabilityPolicy

from dpt_ros.ros.evaluator_inputs import EvaluatorInputs


class Node:
    """As much of a node as the inputs ask for.

    `published` are topics that have a publisher; `callbacks` take what comes on a topic.
    """

    publishers = ()
    namespace = ""

    def __init__(self) -> None:
        self.published: set[str] = set()
        self.callbacks: dict[str, Callable[[Any], None]] = {}

    def create_subscription(
        self, _kind: Any, topic: str, callback: Callable[[Any], None], *_: Any, **__: Any
    ) -> None:
        self.callbacks[topic] = callback

    def count_publishers(self, topic: str) -> int:
        return int(topic in self.published)

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
        profile = SimpleNamespace(durability=durability)
        return [SimpleNamespace(qos_profile=profile)] * (topic in self.published)

    def get_topic_names_and_types(self) -> list[Any]:
        return []

    def resolve_topic_name(self, topic: str) -> str:
        remapped = {"points": "/lidar/points"}
        full = topic if topic.startswith("/") else f"{self.namespace}/{topic}"
        return remapped.get(topic, full)

    def get_logger(self) -> Any:
        return SimpleNamespace(info=lambda _: None)


def make(node: Any) -> EvaluatorInputs:
    return EvaluatorInputs(node, LiveSettings(), lambda *_: None, "/dpt", lambda _: None)


def test_a_lidar_that_ended_with_its_recording_was_there() -> None:
    node = Node()
    inputs = make(node)
    assert inputs.why_no_scan() == "nobody publishes /lidar/points"
    node.published = {"/lidar/points"}
    assert inputs.why_no_scan() == "no scan came on /lidar/points"
    node.published = set()
    assert inputs.why_no_scan() == "no scan came on /lidar/points"


def test_why_no_camera_info_and_no_depth_came_is_told_beside_pictures() -> None:
    node = Node()
    inputs = make(node)
    assert inputs.why_missing() == []
    inputs.look()
    assert inputs.why_missing() == []  # no picture, of which the report tells
    node.callbacks["/image_rect"](None)
    info, depth = inputs.why_missing()
    assert info == "no camera_info on /camera_info"
    assert "nobody published /dpt/inverse_depth/image" in depth and "depth_node" in depth


def test_what_was_there_or_came_is_not_called_missing() -> None:
    node = Node()
    inputs = make(node)
    node.callbacks["/image_rect"](None)
    node.published = {"/dpt/inverse_depth/image", "/camera_info"}
    inputs.look()
    node.published = set()  # with their recording
    inputs.look()
    (info,) = inputs.why_missing()
    assert "qos_overrides./camera_info.subscription.durability set to transient_local" in info
    node.callbacks["/camera_info"](None)
    assert inputs.why_missing() == []


def test_who_publishes_no_camera_info_is_silent_too() -> None:
    node = Node()
    inputs = make(node)
    node.published = {"/image_rect", "/lidar/points", "/dpt/inverse_depth/image"}
    assert inputs.silent() == ["/dpt/depth/image_rect", "/camera_info"]


@pytest.mark.parametrize(
    ("image", "camera_info"),
    [("", "camera_info"), ("image", "camera_info"), ("front/image", "front/camera_info")],
)
def test_a_relative_camera_info_stays_in_the_namespace(image: str, camera_info: str) -> None:
    node = Node()
    node.namespace = "/robot"
    settings = LiveSettings(samples=SampleSettings(image_topic=image))
    EvaluatorInputs(node, settings, lambda *_: None, "/dpt", lambda _: None)
    assert f"/robot/{camera_info}" in node.callbacks
