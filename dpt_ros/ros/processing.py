"""A batch of images, one a camera at most, through the network and out. Runs in the worker."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.inference.metres import Metres, MetresOfImage
from dpt_ros.inference.pipeline import Frame, FrameOutputs
from dpt_ros.messages.camera_info import scaled_camera_info
from dpt_ros.messages.decode import image_to_rgb, low_bits_doubt
from dpt_ros.messages.errors import MessageError
from dpt_ros.messages.stamps import nanoseconds
from dpt_ros.ros.camera_stream import CameraStream, ReceivedImage
from dpt_ros.ros.latest_camera import CameraOfImage
from dpt_ros.ros.stamps import NANOSECONDS, PLAUSIBLE_AGE_S
from dpt_ros.ros.statistics import FrameTimes
from dpt_ros.ros.tell import Teller
from dpt_ros.ros.topics import FROM_NETWORK, NEEDS_CAMERA, NEEDS_METRES

if TYPE_CHECKING:
    from dpt_ros.ros.network import Network
    from dpt_ros.ros.settings import NodeSettings


@dataclasses.dataclass(frozen=True)
class PreparedImage:
    """An image ready for the network, with what is known of its camera and its metres."""

    received: ReceivedImage
    rgb: NDArray[np.uint8]
    camera: CameraOfImage
    metres: MetresOfImage
    wanted: frozenset[str]
    taken_s: float
    decoded_s: float

    @property
    def stream(self) -> CameraStream:
        """The stream the image came from."""
        return self.received.stream

    @property
    def frame(self) -> Frame:
        """What the pipeline takes."""
        return Frame(self.rgb, self.camera.camera, self.metres.scale_shift, self.stream.name)


class Processor:
    """Takes a batch of images to published messages.

    Args:
        network: the one network that serves all cameras.
        metres: tells which images have metres.
        settings: gives the settings in force.
        now_ns: the node's clock.
        teller: says what is wrong, at most once a second.
    """

    def __init__(
        self,
        network: Network,
        metres: Metres,
        settings: Callable[[], NodeSettings],
        now_ns: Callable[[], int],
        teller: Teller,
    ) -> None:
        self._network = network
        self._metres = metres
        self._settings = settings
        self._now_ns = now_ns
        self._teller = teller
        self._idle_since_s = time.monotonic()
        self._failure = ""
        self._recovered = True
        self._given_up = False
        self._batch: Sequence[ReceivedImage] = ()

    def process(self, batch: Sequence[ReceivedImage]) -> None:
        """Decode, run the network and publish; a bad image costs no more than itself."""
        taken_s = time.monotonic()
        self._batch = batch
        try:
            prepared = [
                image for item in batch if (image := self._prepare(item, taken_s)) is not None
            ]
            self._infer(prepared)
        except Exception:  # nobody expected it; what it left has an end as well
            self._count_lost()
            raise
        finally:
            self._batch = ()
            self._idle_since_s = time.monotonic()

    def give_up(self) -> None:
        """Publish nothing more, not even the batch in work."""
        self._given_up = True
        self._count_lost()

    def _count_lost(self) -> None:
        for received in self._batch:
            received.count("failed")

    def report(self, error: Exception) -> None:
        """Note an error that nobody expected, so that the diagnostics show it."""
        self._fail(f"{type(error).__name__}: {error}")

    def failure(self) -> str:
        """What failed since this was asked the last time, or fails still; "" if nothing does."""
        text = self._failure
        if self._recovered:
            self._failure = ""
        return text

    def _prepare(self, received: ReceivedImage, taken_s: float) -> PreparedImage | None:
        stream, message = received.stream, received.message
        if self._is_stale(stream, message):
            received.count("stale")
            return None
        subscribed = stream.outputs.subscribed()
        if not subscribed:
            received.count("not wanted")
            stream.forget_reasons()
            return None
        try:
            rgb = image_to_rgb(message)
        except MessageError as error:
            received.count("undecodable")
            self._teller.tell("undecodable", f"{stream.image_topic}: image dropped: {error}")
            return None
        height, width = rgb.shape[:2]
        camera = stream.camera_of_image(width, height, self._settings().rectified)
        metres = self._metres.of_image(width, height, camera.camera)
        stream.why_not = self._explain(stream, subscribed, camera, metres)
        self._teller.tell_change(f"{stream.name} rectified", self._doubt(stream, camera))
        stream.frame_oddity = stream.camera.frame_oddity(message.header.frame_id)
        self._teller.tell_change(f"{stream.name} frames", stream.frame_oddity)
        stream.picture_oddity = low_bits_doubt(message, rgb)
        self._teller.tell_change(f"{stream.name} bits", stream.picture_oddity)
        return PreparedImage(
            received=received,
            rgb=rgb,
            camera=camera,
            metres=metres,
            wanted=subscribed - stream.why_not.keys(),
            taken_s=taken_s,
            decoded_s=time.monotonic(),
        )

    def _is_stale(self, stream: CameraStream, message: Any) -> bool:
        verdict = stream.stamps.look(nanoseconds(message.header.stamp), self._now_ns())
        if verdict.oddity:
            self._teller.tell("stamp", f"{stream.image_topic}: {verdict.oddity}")
        limit_s = self._settings().max_age_s
        if limit_s == 0.0 or verdict.age_s is None or verdict.age_s <= limit_s:
            return False
        shown = f"{verdict.age_s:.3g}" if verdict.age_s < 100.0 else f"{verdict.age_s:.0f}"
        self._teller.tell(
            "stale",
            f"{stream.image_topic}: image dropped: {shown} s old, max_age_s is {limit_s:g}",
        )
        return True

    def _explain(
        self,
        stream: CameraStream,
        subscribed: frozenset[str],
        camera: CameraOfImage,
        metres: MetresOfImage,
    ) -> dict[str, str]:
        """Why outputs that somebody listens to are not published."""
        why_not: dict[str, str] = {}
        lacks_camera = camera.camera is None and self._metres.needs_camera
        for name in sorted(subscribed):
            if name in NEEDS_METRES and metres.scale_shift is None and not lacks_camera:
                why_not[name] = metres.why_not
            elif name in NEEDS_CAMERA and camera.camera is None:
                why_not[name] = camera.why_not
            elif name == "depth_info" and camera.info is None:
                why_not[name] = camera.why_no_info
        reasons = {
            "metres": metres.why_not,
            "camera_info": camera.why_not,
            "rectification": camera.why_no_info,
        }
        for kind, reason in reasons.items():
            affected = [stream.outputs.topic(name) for name in why_not if why_not[name] == reason]
            text = f"not published: {', '.join(affected)}: {reason}" if reason and affected else ""
            self._teller.tell_change(f"{stream.name} {kind}", text)
        return why_not

    def _doubt(self, stream: CameraStream, camera: CameraOfImage) -> str:
        """Why the images may not be the rectified ones that they are taken for; "" if no doubt."""
        name = stream.image_topic.removesuffix("/compressed").rpartition("/")[2]
        if not self._settings().rectified or camera.info is None or "rect" in name:
            return ""
        if not any(camera.info.d):
            return ""
        return (
            f"{stream.image_topic} does not look rectified, and its camera has distortion; if it "
            "is raw, set the parameter rectified to false, so that the points are undistorted"
        )

    def _infer(self, prepared: list[PreparedImage]) -> None:
        """Run those that want the network as one batch; if it fails, each for itself."""
        images = [image for image in prepared if image.wanted & FROM_NETWORK]
        for image in prepared:
            if not image.wanted:  # nothing of what is listened to can be published: see why_not
                image.received.count("not wanted")
            elif not image.wanted & FROM_NETWORK:  # depth/camera_info alone
                self._publish(image, FrameOutputs(), image.decoded_s)
        if not images:
            return
        try:
            results = self._network.process(
                [image.frame for image in images],
                frozenset().union(*(image.wanted for image in images)) & FROM_NETWORK,
            )
        except Exception as error:  # out of memory, a device that is gone, ...
            self._network.recover()
            if len(images) > 1:
                for image in images:
                    self._infer([image])
            else:
                self._drop(images[0], error)
            return
        processed_s = time.monotonic()
        for image, result in zip(images, results, strict=True):
            self._publish(image, result, processed_s)
        self._recovered = True

    def _publish_messages(self, image: PreparedImage, result: FrameOutputs) -> None:
        header = image.received.message.header
        info = None
        if "depth_info" in image.wanted:
            height, width = image.rgb.shape[:2]
            info = scaled_camera_info(image.camera.info, width, height, header)
        image.stream.outputs.publish(header, result, info, image.wanted)

    def _publish(self, image: PreparedImage, result: FrameOutputs, processed_s: float) -> None:
        if self._given_up:
            image.received.count("failed")
            return
        self._publish_messages(image, result)
        published_s = time.monotonic()
        times = FrameTimes(
            received=image.received.received_s,
            idle_since=self._idle_since_s,
            taken=image.taken_s,
            decoded=image.decoded_s,
            processed=processed_s,
            network_s=result.network_s,
            published=published_s,
        )
        if image.received.ends():
            image.stream.statistics.finished(
                times, self._latency_s(image.received.message.header.stamp)
            )

    def _latency_s(self, stamp: Any) -> float | None:
        stamp_ns = nanoseconds(stamp)
        latency_s = (self._now_ns() - stamp_ns) / NANOSECONDS
        return latency_s if stamp_ns and 0.0 <= latency_s <= PLAUSIBLE_AGE_S else None

    def _drop(self, image: PreparedImage, error: Exception) -> None:
        image.received.count("failed")
        self._fail(f"frame dropped: {type(error).__name__}: {error}")

    def _fail(self, text: str) -> None:
        self._recovered = False
        self._failure = text
        self._teller.tell("failed", text)
