"""What a user is told whose node receives nothing, of real topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

WAIT_S = 20.0
IMAGE, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


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


def _told(
    listener: Any, topic: str, is_known: Callable[[str], bool], type_name: str = IMAGE
) -> str:
    """The sentence for a best-effort camera subscription, once discovery has got that far."""
    from rclpy.qos import qos_profile_sensor_data

    from dpt_ros.ros.arrival import why_nothing_arrives

    deadline = time.monotonic() + WAIT_S
    text = ""
    while time.monotonic() < deadline:
        text = why_nothing_arrives(
            listener, "image_rect", topic, type_name, qos_profile_sensor_data
        )
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
    assert "remap with -r image_rect:=/" in text and "(ros2 launch: image:=/" in text


@pytest.mark.node
@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_stream_that_comes_by_the_other_transport_names_it(
    nodes: tuple[Any, Any], transport: str
) -> None:
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image

    listener, driver = nodes
    raw, compressed = f"/arrival/asks_{transport}", f"/arrival/asks_{transport}/compressed"
    other, message_type = (compressed, CompressedImage) if transport == "raw" else (raw, Image)
    driver.create_publisher(message_type, other, qos_profile_sensor_data)
    topic, type_name = (raw, IMAGE) if transport == "raw" else (compressed, JPEG)
    text = _told(listener, topic, lambda text: f"{other} is" in text, type_name)
    set_to = "compressed" if transport == "raw" else "raw"
    assert text == (
        f"nobody publishes {topic}: {other} is published: "
        f"set the parameter image_transport to {set_to}"
    )


@pytest.mark.node
def test_a_node_is_not_advised_to_listen_to_itself(nodes: tuple[Any, Any]) -> None:
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    listener, driver = nodes
    listener.create_publisher(Image, "/arrival/a_result", qos_profile_sensor_data)
    driver.create_publisher(Image, "/arrival/a_source", qos_profile_sensor_data)
    text = _told(listener, "/arrival/none", lambda text: "/arrival/a_source" in text)
    assert "/arrival/a_source" in text
    assert "/arrival/a_result" not in text


@pytest.mark.node
def test_a_node_is_not_advised_to_listen_to_results(nodes: tuple[Any, Any]) -> None:
    """Neither of depth nodes nor of their evaluators, of whatever name."""
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image

    listener, driver = nodes
    results = ["inverse_depth/image", "depth/image_rect", "depth/image_raw", "color/image"]
    results = [f"/arrival/rob/my_depth/{name}" for name in results]
    results += [f"/arrival/rob/scores/{name}" for name in ("truth/image_rect", "error/image")]
    camera = "/arrival/driver/color/image"  # of a name like theirs
    for topic in (*results, camera):
        driver.create_publisher(Image, topic, qos_profile_sensor_data)
    jpeg = f"{results[3]}/compressed"
    driver.create_publisher(CompressedImage, jpeg, qos_profile_sensor_data)

    def are_known(_: str) -> bool:
        return all(listener.count_publishers(topic) for topic in (*results, camera, jpeg))

    _told(listener, "/arrival/none", are_known)
    text = _told(listener, "/arrival/none", lambda _: True)
    assert camera in text
    assert not [topic for topic in results if topic in text]
    text = _told(listener, "/arrival/none/compressed", lambda _: True, JPEG)
    assert text == (
        f"nobody publishes /arrival/none/compressed, and no camera's topic carries {JPEG}: "
        "is the camera's driver running?"
    )
