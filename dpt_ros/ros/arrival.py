"""Why nothing arrives on a topic: looks at who publishes what, and says what to change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from dpt_ros.ros.parameters import OVERRIDES
from dpt_ros.ros.qos import lossless_remedy, subscription_mismatch
from dpt_ros.ros.topics import OUTPUTS, SCORES

_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_LAUNCH_ARGUMENTS = {"image_rect": "image", "camera_info": "camera_info"}
"""A topic's name in the node -> the launch file's argument for it."""
_UNKNOWN = "_NODE_NAME_UNKNOWN_"
"""What ROS calls a node whose topics were discovered before it."""


def why_nothing_arrives(
    node: Node, name: str, topic: str, type_name: str, profile: QoSProfile
) -> str:
    """One sentence for a user whose node receives nothing.

    Args:
        node: the node that subscribed.
        name: the topic's name in the node, to remap.
        topic: the topic's full name, after remapping.
        type_name: what the node subscribed to, such as "sensor_msgs/msg/Image".
        profile: the subscription's quality of service.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        elsewhere = _other_transport(node, topic, type_name)
        return f"nobody publishes {topic}{elsewhere or _others(node, name, topic, type_name)}"
    types = sorted({publisher.topic_type for publisher in publishers})
    if type_name not in types:
        return f"{topic} carries {', '.join(types)}, expected {type_name}{_transport(types)}"
    for publisher in publishers:
        policy = _stricter_policy(profile, publisher.qos_profile)
        if policy:
            return subscription_mismatch(topic, policy, profile)
    return (
        f"{topic} has {len(publishers)} publisher(s), but nothing comes from them. If they do "
        f"publish, pictures are lost on the way: {lossless_remedy(topic)}"
    )


def why_no_camera_info(
    node: Node, name: str, topic: str, profile: QoSProfile, image_topic: str
) -> str:
    """What to add where no camera_info came.

    "" unless it is published elsewhere, or was before this node asked.

    Args:
        node: the node that subscribed.
        name: the topic's name in the node, to remap.
        topic: the topic's full name, after remapping.
        profile: the subscription's quality of service.
        image_topic: full name of the topic on which the camera's images come.
    """
    kept = QoSDurabilityPolicy.TRANSIENT_LOCAL
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers and (others := _carriers(node, topic, _CAMERA_INFO)):
        namespace = image_topic.removesuffix("/compressed").rpartition("/")[0]
        others.sort(key=lambda other: other.rpartition("/")[0] != namespace)
        return f": {_remapped(name, others, _CAMERA_INFO)}"
    if not any(publisher.qos_profile.durability == kept for publisher in publishers):
        return ""
    asked = {
        "durability": ("transient_local", profile.durability == kept),
        # A best-effort subscription is not given what was sent before it.
        "reliability": ("reliable", profile.reliability == QoSReliabilityPolicy.RELIABLE),
    }
    lacking = [
        f"{OVERRIDES}{topic}.subscription.{policy} set to {value}"
        for policy, (value, is_asked) in asked.items()
        if not is_asked
    ]
    if not lacking:
        return ""
    return (
        ": its publisher keeps its last message for those who come later, and this node does not "
        f"ask for it; start the node with {' and '.join(lacking)}"
    )


def crowded(topic: str, publishers: Iterable[Any]) -> str:
    """That a topic has several publishers, and which."""
    names = sorted(f"{p.node_namespace}/{p.node_name}".replace("//", "/") for p in publishers)
    known = [name if _UNKNOWN not in name else "one not known yet" for name in names]
    return f"{topic} has {len(names)} publishers, expected 1: {', '.join(known)}"


def _other_transport(node: Node, topic: str, type_name: str) -> str:
    """What to say where the pictures are published, but by the other transport."""
    if type_name == _RAW:
        other, wanted, transport = f"{topic}/compressed", _COMPRESSED, "compressed"
    elif type_name == _COMPRESSED and topic.endswith("/compressed"):
        other, wanted, transport = topic.removesuffix("/compressed"), _RAW, "raw"
    else:
        return ""
    publishers = node.get_publishers_info_by_topic(other)
    if wanted not in {publisher.topic_type for publisher in publishers}:
        return ""
    return f": {other} is published: set the parameter image_transport to {transport}"


def _others(node: Node, name: str, topic: str, type_name: str) -> str:
    if others := _carriers(node, topic, type_name):
        return f"; {_remapped(name, others, type_name)}"
    return f", and no camera's topic carries {type_name}: is the camera's driver running?"


def _carriers(node: Node, topic: str, type_name: str) -> list[str]:
    """The other topics of that type that may be a camera's: no depth node publishes them."""
    own = {publisher.topic_name for publisher in node.publishers}
    topics = dict(node.get_topic_names_and_types())
    results = _results(topics)
    return sorted(
        other
        for other, types in topics.items()
        if type_name in types
        and other != topic
        and other not in own
        and not {other, other.rpartition("/")[0]} & results  # itself, or by another transport
        and node.count_publishers(other) > 0
    )


def _results(topics: Iterable[str]) -> set[str]:
    """The topics, among others, on which depth nodes and their evaluators publish.

    Known by name, since a topic may be discovered before the name of the node that publishes it:
    they stand beside the output that such a node always has.
    """
    found = set()
    for outputs, always in ((OUTPUTS, "inverse_depth"), (SCORES, "truth")):
        mark = f"/{outputs[always][0]}"
        nodes = [topic.removesuffix(mark) for topic in topics if topic.endswith(mark)]
        found |= {f"{node}/{name}" for node in nodes for name, _ in outputs.values()}
    return found


def _remapped(name: str, others: list[str], type_name: str) -> str:
    return (
        f"{type_name} is on {', '.join(others)}: remap with -r {name}:={others[0]} "
        f"(ros2 launch: {_LAUNCH_ARGUMENTS.get(name, name)}:={others[0]})"
    )


def _transport(types: list[str]) -> str:
    if _COMPRESSED in types:
        return ": set the parameter image_transport to compressed"
    if _RAW in types:
        return ": set the parameter image_transport to raw"
    return ""


def _stricter_policy(asked: QoSProfile, offered: QoSProfile) -> str:
    if (
        asked.reliability == QoSReliabilityPolicy.RELIABLE
        and offered.reliability == QoSReliabilityPolicy.BEST_EFFORT
    ):
        return "reliability"
    if (
        asked.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        and offered.durability == QoSDurabilityPolicy.VOLATILE
    ):
        return "durability"
    return ""
