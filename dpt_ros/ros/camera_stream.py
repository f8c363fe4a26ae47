"""One camera: its subscriptions, mailbox and statistics. What is computed for it is elsewhere."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dpt_ros.ros.arrival import crowded, why_no_camera_info, why_nothing_arrives
from dpt_ros.ros.latest_camera import CameraOfImage, LatestCamera
from dpt_ros.ros.mailbox import Mailbox
from dpt_ros.ros.outputs import Outputs
from dpt_ros.ros.qos import (
    input_profile,
    is_refused,
    lossless_remedy,
    subscribe,
)
from dpt_ros.ros.stamps import StampWatch
from dpt_ros.ros.statistics import FrameStatistics
from dpt_ros.ros.tell import Teller
from dpt_ros.ros.topics import CameraTopics

SILENCE_S = 3.0
"""After so long without an image the diagnostics look for the reason, ..."""
TOLD_AFTER_S = 5.0
"""... and after so long the log has it: a camera may start a little later than the node."""


@dataclasses.dataclass(frozen=True, eq=False)
class ReceivedImage:
    """An image message, the stream it came from and when (seconds of a clock that never jumps)."""

    stream: CameraStream
    message: Any
    received_s: float
    _end: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    def ends(self) -> bool:
        """True once: who asks first counts what became of the image. For any thread."""
        return self._end.acquire(blocking=False)

    def count(self, name: str) -> None:
        """Count what became of the image, one of `COUNTS`, unless that was counted before."""
        if self.ends():
            self.stream.statistics.count(name)


class CameraStream:
    """Receives one camera's messages; every callback only puts them where the worker finds them.

    Args:
        node: makes the subscriptions and publishers.
        topics: names of the camera's topics.
        ready: the condition of the worker that serves all cameras.
        teller: says what is wrong, at most once a second.
    """

    def __init__(
        self,
        node: LifecycleNode,
        topics: CameraTopics,
        ready: threading.Condition,
        teller: Teller,
    ) -> None:
        self._node = node
        self._topics = topics
        self._teller = teller
        self._subscriptions: list[Subscription[Any]] = []
        self._subscribed_s = 0.0
        self._type: Any = Image
        self._profile = input_profile()
        self._info_profile = input_profile()
        self.name = topics.name
        self.image_topic = node.resolve_topic_name(topics.image)
        self.camera_info_topic = node.resolve_topic_name(topics.camera_info)
        self.mailbox: Mailbox[ReceivedImage] = Mailbox(ready)
        self.camera = LatestCamera(self.camera_info_topic)
        self.statistics = FrameStatistics()
        self.stamps = StampWatch()
        self.outputs = Outputs(node, topics.output_prefix, self._tell_qos)
        self.qos_trouble: dict[str, str] = {}
        self.frame_oddity = ""
        """What is odd about the frames of images and camera_info; "" if nothing is."""
        self.picture_oddity = ""
        """Likewise about the values of their pixels."""
        self.why_not: dict[str, str] = {}
        """Output that somebody listens to -> why it is not published."""
        self.reported_counts: dict[str, int] = {}
        self.lost_infos = 0
        """How many camera_info were lost on the way."""
        self._is_silence_told = False

    def subscribe(self, transport: str) -> None:
        """Start to listen; `transport` is "raw" or "compressed"."""
        self._type = CompressedImage if transport == "compressed" else Image
        self.image_topic = transport_topic(self._node, self._topics.image, transport)
        self._profile = self._subscribe(
            self._type, self.image_topic, self._on_image, self._on_images_lost
        )
        self._info_profile = self._subscribe(
            CameraInfo, self.camera_info_topic, self.camera.update, self._on_infos_lost
        )
        self._subscribed_s = time.monotonic()

    def unsubscribe(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            # Publishers, and what does not fit them, stay.
            self.qos_trouble.pop(subscription.topic_name, None)
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._is_silence_told = False
        for kind in self._kinds_of_arrival():
            self._teller.forget(kind)

    def forget(self) -> None:
        """Drop what was not taken, and what was known of the images; after the worker's end."""
        dropped = self.mailbox.take()
        if dropped is not None:
            dropped.count("not wanted")
        self.camera.forget()
        self.stamps.forget()
        self.forget_reasons()

    def forget_reasons(self) -> None:
        """Nobody asks any more why an output is not published; who asks later is told anew."""
        self.why_not = {}
        self.frame_oddity = self.picture_oddity = ""
        self._teller.forget(f"{self.name} ")

    def forget_clock(self) -> None:
        """The node's clock jumped: what was measured against it says nothing any more."""
        self.statistics.forget_latencies()
        self.stamps.forget()

    def forget_mended(self) -> None:
        """Forget mismatches of quality of service whose other side has gone or changed."""
        for topic in tuple(self.qos_trouble):
            if not self._is_mismatched(topic):
                self.qos_trouble.pop(topic, None)

    def _is_mismatched(self, topic: str) -> bool:
        for subscription in self._subscriptions:
            if subscription.topic_name == topic:
                offers = self._node.get_publishers_info_by_topic(topic)
                return any(is_refused(o.qos_profile, subscription.qos_profile) for o in offers)
        offered = self.outputs.profile_of(topic)
        asks = self._node.get_subscriptions_info_by_topic(topic)
        return offered is not None and any(is_refused(offered, ask.qos_profile) for ask in asks)

    def publishers(self) -> tuple[int, int]:
        """How many publish its images, and how many its camera_info."""
        topics = (self.image_topic, self.camera_info_topic)
        images, infos = (self._node.count_publishers(topic) for topic in topics)
        return images, infos

    def camera_of_image(self, width: int, height: int, rectified: bool) -> CameraOfImage:
        """The camera of an image, or why none is known; see `LatestCamera.of_image`."""
        found = self.camera.of_image(width, height, rectified)
        if self.camera.has_info:
            return found
        more = why_no_camera_info(
            self._node,
            self._topics.camera_info,
            self.camera_info_topic,
            self._info_profile,
            self.image_topic,
        )
        return dataclasses.replace(found, why_not=f"{found.why_not}{more}")

    def crowds(self) -> list[str]:
        """Of its topics, those on which the messages of several publishers are mixed up.

        Those of results too: a second node of this name, say one that was left running.
        """
        found = []
        results = self.outputs.topic("inverse_depth")
        for topic in (self.image_topic, self.camera_info_topic, results):
            publishers = self._node.get_publishers_info_by_topic(topic)
            if self._subscriptions and len(publishers) > 1:
                found.append(crowded(topic, publishers))
        return found

    def silence(self, after_s: float = SILENCE_S) -> str:
        """Why no image comes; "" while images come or the stream is not old enough to tell."""
        now_s = time.monotonic()
        if not self._subscriptions or now_s - self._subscribed_s < after_s:
            return ""
        if not self.statistics.is_silent(now_s, after_s):
            return ""
        type_name = f"sensor_msgs/msg/{self._type.__name__}"
        return why_nothing_arrives(
            self._node, self._topics.image, self.image_topic, type_name, self._profile
        )

    def loss(self) -> str:
        """What to do against the loss of images on their way; "" while none or few are lost."""
        losses = self.statistics.losses(time.monotonic())
        if losses is None or not self._subscriptions:
            return ""
        lost, sent = losses
        return (
            f"{lost} of the last {sent} images on {self.image_topic} were lost on the way: "
            f"{lossless_remedy(self.image_topic)}"
        )

    def tell_arrival(self) -> None:
        """Tell in the log, once each, that no image comes and why, that they come, or get lost.

        Also that several publish them.
        """
        silence, loss, crowd = self._kinds_of_arrival()
        if text := self.loss():
            self._teller.tell_once(loss, text)
        if crowds := self.crowds():
            self._teller.tell_once(crowd, "; ".join(crowds))
        else:
            self._teller.forget(crowd)
        why = self.silence(TOLD_AFTER_S)
        if why and why not in self.qos_trouble.values():  # which was told when it was noticed
            self._teller.tell_change(silence, why)
            self._is_silence_told = True
        elif self._is_silence_told and not why:
            self._is_silence_told = False
            self._teller.forget(silence)
            self._node.get_logger().info(f"images arrive on {self.image_topic}")

    def _kinds_of_arrival(self) -> tuple[str, str, str]:
        return f"silence of {self.name}", f"loss of {self.name}", f"publishers of {self.name}"

    def _subscribe(self, message_type: Any, topic: str, callback: Any, lost: Any) -> Any:
        profile, tell = input_profile(), self._tell_qos_of(topic)
        self._subscriptions.append(
            subscribe(self._node, message_type, topic, callback, profile, tell, lost)
        )
        return profile

    def _on_image(self, message: Any) -> None:
        now_s = time.monotonic()
        overwritten = self.mailbox.put(ReceivedImage(self, message, now_s))
        self.statistics.arrived(now_s, overwritten)

    def _on_images_lost(self, number: int) -> None:
        self.statistics.lost(time.monotonic(), number)

    def _on_infos_lost(self, number: int) -> None:
        self.lost_infos += number

    def _tell_qos_of(self, topic: str) -> Any:
        return lambda text: self._tell_qos(topic, text)

    def _tell_qos(self, topic: str, text: str) -> None:
        self.qos_trouble[topic] = text
        self._teller.tell(f"qos {topic}", text)


def transport_topic(node: Node, name: str, transport: str) -> str:
    """Full name of the topic on which pictures of a topic arrive, as image_transport names it.

    Args:
        node: whose remappings count; that of `name` does too, unless `name/transport` has its own.
        name: of the pictures' topic.
        transport: raw or compressed.
    """
    topic = str(node.resolve_topic_name(name))
    if transport == "raw" or topic.endswith(f"/{transport}"):
        return topic
    remapped = str(node.resolve_topic_name(f"{name}/{transport}"))
    if remapped != node.resolve_topic_name(f"{name}/{transport}", only_expand=True):
        return remapped
    return f"{topic}/{transport}"
