"""Quality of service: the profiles the node uses, and what to change when they do not match."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from dpt_ros.ros.parameters import OVERRIDES

try:
    from rclpy.event_handler import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )
except ImportError:  # Humble
    from rclpy.qos_event import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )


def input_profile() -> QoSProfile:
    """Sensor data, newest only: matches every publisher, reliable or not."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=QoSReliabilityPolicy.BEST_EFFORT,
        durability=QoSDurabilityPolicy.VOLATILE,
    )


def output_profile() -> QoSProfile:
    """Reliable, which RViz and depth_image_proc ask for; best-effort subscribers match as well."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=2,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=QoSDurabilityPolicy.VOLATILE,
    )


def overriding_options() -> QoSOverridingOptions:
    """The policies a user may override with `qos_overrides.TOPIC.publisher.reliability`, ..."""
    return QoSOverridingOptions(
        policy_kinds=[getattr(QoSPolicyKind, policy.upper()) for policy in _OVERRIDABLE]
    )


def subscription_mismatch(topic: str, policy: str, profile: QoSProfile) -> str:
    """What to do when a publisher on `topic` offers less than this node's subscription asks."""
    asked = _value_of(profile, policy)
    weakest = _WEAKEST.get(policy, "what the publisher offers")
    return (
        f"QoS mismatch on {topic}: a publisher offers less than the {policy} {asked} that this "
        f"node asks for, so its messages do not arrive; publish with {policy} {asked}"
        f"{_override(f'{topic}.subscription', policy, weakest)}"
    )


def publisher_mismatch(topic: str, policy: str, profile: QoSProfile) -> str:
    """What to do when a subscriber of `topic` asks for more than this node's publisher offers."""
    offered = _value_of(profile, policy)
    strongest = _STRONGEST.get(policy, "what the subscriber asks for")
    return (
        f"QoS mismatch on {topic}: a subscriber asks for more than the {policy} {offered} that "
        f"this node offers, so it receives nothing; subscribe with {policy} {offered}"
        f"{_override(f'{topic}.publisher', policy, strongest)}"
    )


def is_refused(offered: QoSProfile, asked: QoSProfile) -> bool:
    """Whether a publisher offers less than a subscriber asks for."""
    return bool(qos_check_compatible(offered, asked)[0] == QoSCompatibility.ERROR)


def subscribe(
    node: Node,
    message_type: Any,
    topic: str,
    callback: Callable[[Any], None],
    profile: QoSProfile,
    tell: Callable[[str], None],
    lost: Callable[[int], None] | None = None,
) -> Subscription[Any]:
    """Subscribe; what a user overrides changes `profile`.

    Args:
        node: makes the subscription.
        message_type: of the topic.
        topic: its full name.
        callback: takes each message.
        profile: what is asked for.
        tell: takes the sentence about a mismatch.
        lost: takes how many messages were lost since it was last called, if that is asked for; not
            every middleware tells.
    """

    def create(lost: Callable[[int], None] | None) -> Subscription[Any]:
        return node.create_subscription(
            message_type,
            topic,
            callback,
            profile,
            event_callbacks=subscription_callbacks(topic, profile, tell, lost),
            qos_overriding_options=overriding_options(),
        )

    try:
        return create(lost)
    except UnsupportedEventTypeError:
        return create(None)


def subscription_callbacks(
    topic: str,
    profile: QoSProfile,
    tell: Callable[[str], None],
    lost: Callable[[int], None] | None,
) -> SubscriptionEventCallbacks:
    """Callbacks for a mismatch and for lost messages; see `subscribe`."""

    def incompatible(event: Any) -> None:
        tell(subscription_mismatch(topic, _policy_name(event), profile))

    def count(event: Any) -> None:
        if lost is not None:
            lost(event.total_count_change)

    return SubscriptionEventCallbacks(
        incompatible_qos=incompatible, message_lost=None if lost is None else count
    )


def lossless_remedy(topic: str) -> str:
    """What to change where messages of a topic are lost on the way to this node."""
    return (
        "start what publishes them with FASTDDS_DEFAULT_PROFILES_FILE naming config/fastdds.xml "
        "(before Kilted FASTRTPS_DEFAULT_PROFILES_FILE), or, where that publishes reliably, this "
        f"node with the parameter {OVERRIDES}{topic}.subscription.reliability set to reliable"
    )


def publisher_callbacks(
    topic: str, profile: QoSProfile, tell: Callable[[str], None]
) -> PublisherEventCallbacks:
    """Callbacks that hand the sentence about a mismatch to `tell`."""

    def incompatible(event: Any) -> None:
        tell(publisher_mismatch(topic, _policy_name(event), profile))

    return PublisherEventCallbacks(incompatible_qos=incompatible)


def _override(end: str, policy: str, value: str) -> str:
    """What else helps; rclpy reads these parameters when it makes the topics' two ends."""
    if policy not in _OVERRIDABLE:
        return ""
    return f", or start the node with the parameter {OVERRIDES}{end}.{policy} set to {value}"


def unused_overrides(node: Node, given: Iterable[str], optional: Iterable[str] = ()) -> list[str]:
    """Of parameters that are to change a quality of service, those of no topic that the node has.

    To be asked once the node has made its topics.

    Args:
        node: has the topics.
        given: the parameters' names.
        optional: topics that the node may publish later.
    """
    published = {*(end.topic_name for end in node.publishers), *optional}
    subscribed = {end.topic_name for end in node.subscriptions}
    known = {
        f"{OVERRIDES}{topic}.{kind}.{policy}"
        for kind, topics in (("publisher", published), ("subscription", subscribed))
        for topic in topics
        for policy in _OVERRIDABLE
    }
    return sorted(set(given) - known)


def unused_overrides_message(names: list[str]) -> str:
    """What to say of them."""
    return (
        f"without effect: {', '.join(names)}; expected {OVERRIDES}TOPIC.publisher.POLICY or "
        f"...subscription.POLICY, TOPIC in full as the node has it, POLICY one of "
        f"{', '.join(_OVERRIDABLE)}"
    )


_OVERRIDABLE = ("history", "depth", "reliability", "durability")
_WEAKEST = {"reliability": "best_effort", "durability": "volatile"}
_STRONGEST = {"reliability": "reliable", "durability": "transient_local"}


def _policy_name(event: Any) -> str:
    return qos_policy_name_from_kind(event.last_policy_kind).lower().removesuffix("_qos_policy")


def _value_of(profile: QoSProfile, policy: str) -> str:
    value = getattr(profile, policy, "policy")
    return str(getattr(value, "name", value)).lower()
