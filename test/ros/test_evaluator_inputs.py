"""What the evaluator says of a LiDAR from which nothing came."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dpt_ros.evaluation.live_settings import LiveSettings
from dpt_ros.ros.evaluator_inputs import EvaluatorInputs


class Node:
    """As much of a node as the inputs ask for; `published` are topics that have a publisher."""

    def __init__(self) -> None:
        self.published: set[str] = set()

    def create_subscription(self, _kind: Any, topic: str, *_: Any) -> Any:
        remapped = {"points": "/lidar/points"}
        return SimpleNamespace(topic_name=remapped.get(topic, f"/{topic.lstrip('/')}"))

    def count_publishers(self, topic: str) -> int:
        return int(topic in self.published)

    def resolve_topic_name(self, topic: str) -> str:
        return f"/{topic.lstrip('/')}"

    def get_logger(self) -> Any:
        return SimpleNamespace(info=lambda _: None)


def test_a_lidar_that_ended_with_its_recording_was_there() -> None:
    node: Any = Node()
    inputs = EvaluatorInputs(node, LiveSettings(), lambda *_: None, "/dpt")
    assert inputs.why_no_scan() == "nobody publishes /lidar/points"
    node.published = {"/lidar/points"}
    assert inputs.why_no_scan() == "no scan came on /lidar/points"
    node.published = set()
    assert inputs.why_no_scan() == "no scan came on /lidar/points"
