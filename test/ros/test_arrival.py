"""What a user is told whose node receives nothing, of real topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

WAIT_S = 20.0
IMAGE = "sensor_msgs/msg/Image"


@pytest.fixture
def nodes(ros_environment: dict[str, str]) -> Iterator[tuple[Any, Any]]:
    """One that listens and one that publishes."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    made = tuple(rclpy.create_node(name, context=context) for name in ("listener", "driver"))
    yield made
    for node in made:
        node.destroy_node()
    rclpy.shutdown(context=context)


def _told(listener: Any, topic: str, is_known: Callable[[str], bool]) -> str:
    """The sentence for a best-effort camera subscription, once discovery has got that far."""
    from rclpy.qos import qos_profile_sensor_data

    from dpt_ros.ros.arrival import why_nothing_arrives

    deadline = time.monotonic() + WAIT_S
    text = ""
    while time.monotonic() < deadline:
        text = why_nothing_arrives(listener, "image_rect", topic, IMAGE, qos_profile_sensor_data)
        if is_known(text):
            break
        time.sleep(0.05)
    return text


@pytest.mark.node
def test_a_publisher_from_which_nothing_comes_gets_both_remedies(nodes: tuple[Any, Any]) -> None:
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    listener, driver = nodes
    driver.create_publisher(Image, "/arrival/silent", qos_profile_sensor_data)
    text = _told(listener, "/arrival/silent", lambda text: "nobody" not in text)
    assert "/arrival/silent has 1 publisher(s), but nothing comes from them" in text
    assert "FASTDDS_DEFAULT_PROFILES_FILE naming config/fastdds.xml" in text
    assert "qos_overrides./arrival/silent.subscription.reliability set to reliable" in text


@pytest.mark.node
def test_another_type_names_the_transport_and_another_topic_the_remapping(
    nodes: tuple[Any, Any],
) -> None:
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image

    listener, driver = nodes
    driver.create_publisher(CompressedImage, "/arrival/jpeg", qos_profile_sensor_data)
    text = _told(listener, "/arrival/jpeg", lambda text: "nobody" not in text)
    assert text == (
        f"/arrival/jpeg carries sensor_msgs/msg/CompressedImage, expected {IMAGE}: "
        "set the parameter image_transport to compressed"
    )

    driver.create_publisher(Image, "/arrival/elsewhere", qos_profile_sensor_data)
    text = _told(listener, "/arrival/typo", lambda text: "/arrival/elsewhere" in text)
    assert text.startswith("nobody publishes /arrival/typo; ")
    assert "remap with -r image_rect:=/" in text
