"""A peer of the node waits until both of them know that they are connected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

NAME = "/slow_to_learn"
TOPIC = f"{NAME}/color/image"
KNOWN = {
    "image publishers": "1",
    "camera_info publishers": "1",
    "subscribed outputs": "color, points",
}


@pytest.fixture
def player(ros_environment: Any) -> Iterator[Any]:
    from dpt_ros.ros.player import Player

    with Player(["color"], NAME) as player:
        yield player


@pytest.mark.node
def test_who_is_not_there_is_named(player: Any) -> None:
    expected = f"^{NAME} is not connected after 0.2 s: nobody (listens to|publishes) /"
    with pytest.raises(TimeoutError, match=expected):
        player.wait_for_node(lambda: None, 0.2)


@pytest.mark.node
@pytest.mark.parametrize(
    ("early", "complaint"),
    [
        ({}, "its diagnostics have not come"),
        (
            {**KNOWN, "image publishers": "0"},
            "it does not know of the publisher of /image_rect",
        ),
        (
            {**KNOWN, "camera_info publishers": "0"},
            "it does not know of the publisher of /camera_info",
        ),
        (
            {**KNOWN, "subscribed outputs": "points"},
            "it does not know that somebody listens to color",
        ),
    ],
)
def test_the_node_has_to_know_who_listens(
    player: Any, peer: Any, early: dict[str, str], complaint: str
) -> None:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    from sensor_msgs.msg import CameraInfo, Image

    node = peer.node
    subscriptions = [
        node.create_subscription(kind, topic, lambda message: None, 1)
        for kind, topic in ((Image, "image_rect"), (CameraInfo, "camera_info"))
    ]
    publishers = [
        node.create_publisher(Image, TOPIC, 1),
        node.create_publisher(DiagnosticArray, "/diagnostics", 1),
    ]

    def say(values: dict[str, str]) -> None:
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        status = DiagnosticStatus(name=f"{NAME[1:]}: camera", values=pairs)
        publishers[1].publish(DiagnosticArray(status=[status] if values else []))

    with pytest.raises(TimeoutError, match=complaint):
        player.wait_for_node(lambda: say(early), 5.0)
    player.wait_for_node(lambda: say(KNOWN), 30.0)

    for publisher in publishers:
        node.destroy_publisher(publisher)
    for subscription in subscriptions:
        node.destroy_subscription(subscription)
