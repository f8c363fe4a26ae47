"""Plays the camera of a recording through the running node, over DDS, and keeps its answers."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from dpt_ros.messages.depth_image import image_to_float
from dpt_ros.messages.stamps import nanoseconds
from dpt_ros.ros.camera_recording import PlayedMessage
from dpt_ros.ros.diagnostics import CAMERA_INFO, RECEIVED
from dpt_ros.ros.latest_camera import NO_INFO
from dpt_ros.ros.node_peer import NodePeer
from dpt_ros.ros.node_reports import camera_report, frame_counts, network_report
from dpt_ros.ros.stamps import NANOSECONDS

CLOCK_HZ = 50.0
OPTIONAL_S = 3.0
"""How long to wait for depth in metres after inverse depth has come: they come together."""

_ALWAYS, _METRES = "inverse_depth", "depth"
_INFO_REPEATS = 3
"""How often a camera_info that the node lacks is published again, in a whole replay."""


class AnswerError(RuntimeError):
    """An answer of the node came, and could not be taken in: the disk is full, say."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the node published for one picture, and when (seconds of a clock that never jumps).

    Args:
        inverse_depth: [H,W] float32, what the network says.
        depth_m: [H,W] float32, REP 117; None where the node published no metres.
        published_s: the picture was handed to the middleware.
        heard_s: the last of the answers was received.
    """

    inverse_depth: NDArray[np.float32]
    depth_m: NDArray[np.float32] | None
    published_s: float
    heard_s: float


@dataclasses.dataclass
class _Awaited:
    published_s: float
    messages: dict[str, Any] = dataclasses.field(default_factory=dict)
    heard_s: float = 0.0


class ReplayPeer(NodePeer):
    """Publishes `/clock`, pictures and camera_info as recorded; gathers the answers by stamp.

    Used as a context manager. After `wait_for_node`, `listening()` receives in a thread of its own.

    Args:
        is_compressed: the pictures are CompressedImage messages.
        with_metres: whether depth in metres is expected beside inverse depth.
    """

    def __init__(self, is_compressed: bool, with_metres: bool = True) -> None:
        super().__init__(
            "dpt_replay",
            (_ALWAYS, _METRES) if with_metres else (_ALWAYS,),
            self._keep,
            image_type=CompressedImage if is_compressed else Image,
            image_topic="image_rect/compressed" if is_compressed else "image_rect",
        )
        self._with_metres = with_metres
        self._expected = {_ALWAYS, _METRES} if with_metres else {_ALWAYS}
        self._arrived = threading.Condition()
        self._awaited: dict[int, _Awaited] = {}
        self._finished: Callable[[int, Answer | None], None] | None = None
        self._failure: Exception | None = None
        self._last_info: Any = None
        self._info_repeats = 0
        self.without_metres = 0
        """How many answers had none, though they were expected."""
        self.cut_off = 0
        """How many of these came so late that, on leaving `listening`, theirs may have followed."""
        self.why_no_metres = ""
        """Why not, of the first of them."""

    def __enter__(self) -> ReplayPeer:
        super().__enter__()
        self._clock = self.node.create_publisher(Clock, "/clock", QoSProfile(depth=1))
        return self

    @contextlib.contextmanager
    def listening(
        self, finished: Callable[[int, Answer | None], None] | None = None
    ) -> Iterator[None]:
        """Receive in a thread while this is entered.

        Args:
            finished: called with the stamp and the answer of every picture that has one, in that
                thread, and on leaving for those whose depth in metres had not come until then;
                with None for a picture that the node passed over. Without it, answers are for
                `wait`. After an error of it, nothing more is received.

        Raises:
            AnswerError: on leaving, or from `publish` or `wait`: `finished` raised something.
        """
        self._finished = finished
        stopping = threading.Event()

        def spin() -> None:
            while not stopping.is_set():
                try:
                    self.executor.spin_once(timeout_sec=0.1)
                except Exception as error:  # to be told by the thread that plays
                    self._failure = error
                    return

        thread = threading.Thread(target=spin, name="replay", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
            self._hand_out_rest()
            self._awaited.clear()  # what comes later has nowhere to go
        self._check()

    def set_clock(self, now_ns: int) -> None:
        """Tell the node the simulated time."""
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(max(now_ns, 0), NANOSECONDS)
        self._clock.publish(message)

    def publish(self, played: PlayedMessage) -> None:
        """Publish a picture or camera_info; answers to the picture are gathered from now on.

        Raises:
            AnswerError: see `listening`.
        """
        self._check()
        if not played.is_image:
            self._last_info = played.data
            self.infos.publish(played.data)
            return
        with self._arrived:
            self._awaited[played.stamp_ns] = _Awaited(time.monotonic())
        self.images.publish(played.data)

    def wait(self, stamp_ns: int, timeout_s: float) -> Answer | None:
        """The answer to the picture of that stamp; None if it does not come in time.

        Depth in metres is not waited for for ever, unless it waits for a camera_info that was lost
        on its way: see `repeat_lost_info`.

        Raises:
            AnswerError: see `listening`.
        """
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            awaited = self._awaited[stamp_ns]
            while not self._is_complete(awaited):
                self._check()
                now_s = time.monotonic()
                has_waited = now_s - awaited.heard_s > OPTIONAL_S
                if _ALWAYS in awaited.messages and has_waited and not self._is_info_lost():
                    self._give_up_metres()
                    break
                if now_s >= deadline:
                    return None
                self._arrived.wait(min(deadline - now_s, 0.2))
            del self._awaited[stamp_ns]
        return self._answer(awaited)

    def repeat_lost_info(self, stamp_ns: int) -> bool:
        """Publish the last camera_info again if, of one picture, only metres are missing for it.

        Returns:
            Whether it was; the picture is to be published again too.
        """
        with self._arrived:
            awaited = self._awaited[stamp_ns]
            waits = _ALWAYS in awaited.messages and not self._is_complete(awaited)
        if not (waits and self._is_info_lost()):
            return False
        self._info_repeats += 1
        self.infos.publish(self._last_info)
        return True

    def forget(self, stamp_ns: int) -> None:
        """Gather no more answers to the picture of that stamp."""
        with self._arrived:
            self._awaited.pop(stamp_ns, None)

    def outstanding(self) -> int:
        """How many pictures wait for their answer."""
        with self._arrived:
            return len(self._awaited)

    def node_counts(self) -> dict[str, int]:
        """The node's own counts of frames, as it last reported them."""
        return frame_counts(self.camera_report())

    def camera_report(self) -> dict[str, str]:
        """The newest diagnostics about the camera."""
        return camera_report(self.diagnostics)

    def node_has_info(self) -> bool:
        """Whether the node has said that a camera_info has come."""
        return self.camera_report().get(CAMERA_INFO) == RECEIVED

    def network_report(self) -> dict[str, str]:
        """The newest diagnostics about the network."""
        return network_report(self.diagnostics)

    def _check(self) -> None:
        if self._failure is not None:
            error = self._failure
            raise AnswerError(f"an answer could not be kept: {error}") from error

    def _is_complete(self, awaited: _Awaited) -> bool:
        return awaited.messages.keys() >= self._expected

    def _is_info_lost(self) -> bool:
        """Whether the node had no camera_info for a picture, though one was published before it.

        It was lost on its way, or overtaken by the picture. Where a few more do not help, none of
        them reaches the node.
        """
        may_come = self._last_info is not None and self._info_repeats < _INFO_REPEATS
        return may_come and self._why_no_metres().startswith(NO_INFO)

    def _why_no_metres(self) -> str:
        why = self.camera_report().get(f"not published: {_METRES}")
        return why or "the node publishes no depth in metres"

    def _give_up_metres(self) -> None:
        """Wait for them no more, and take none: which came in time would be chance."""
        self._expected = {_ALWAYS}

    def _keep(self, name: str, message: Any) -> None:
        now_s = time.monotonic()
        stamp_ns = nanoseconds(message.header.stamp)
        with self._arrived:
            awaited = self._awaited.get(stamp_ns)
            if awaited is None:
                return
            awaited.messages.setdefault(name, message)
            awaited.heard_s = now_s
            if self._finished is None:
                self._arrived.notify_all()
                return
            ended = self._take_ended(stamp_ns, now_s)
        for other_ns, other in ended:
            self._finished(other_ns, None if other is None else self._answer(other))

    def _take_ended(self, newest_ns: int, now_s: float) -> list[tuple[int, _Awaited | None]]:
        """Take out what has an answer, and what was passed over: the node answers in order.

        A picture whose depth in metres does not come is answered without it after a while.
        """
        ended: list[tuple[int, _Awaited | None]] = []
        is_passed = _ALWAYS in self._awaited[newest_ns].messages
        for stamp_ns, awaited in list(self._awaited.items()):
            is_passed = is_passed and stamp_ns != newest_ns
            if _ALWAYS not in awaited.messages:
                if is_passed:
                    ended.append((stamp_ns, None))
            elif self._is_complete(awaited) or now_s - awaited.heard_s > OPTIONAL_S:
                ended.append((stamp_ns, awaited))
        for stamp_ns, _ in ended:
            del self._awaited[stamp_ns]
        return ended

    def _hand_out_rest(self) -> None:
        """Hand out answers that have waited for depth in metres until the end."""
        if self._finished is None or self._failure is not None:
            return
        now_s = time.monotonic()
        try:
            for stamp_ns, awaited in self._awaited.items():
                if _ALWAYS in awaited.messages:
                    is_late = now_s - awaited.heard_s > OPTIONAL_S
                    self.cut_off += not (is_late or self._is_complete(awaited))
                    self._finished(stamp_ns, self._answer(awaited))
        except Exception as error:  # told like those of the thread
            self._failure = error

    def _answer(self, awaited: _Awaited) -> Answer:
        depth = awaited.messages.get(_METRES) if _METRES in self._expected else None
        if depth is None and self._with_metres:
            self.without_metres += 1
            self.why_no_metres = self.why_no_metres or self._why_no_metres()
        return Answer(
            inverse_depth=image_to_float(awaited.messages[_ALWAYS]),
            depth_m=None if depth is None else image_to_float(depth),
            published_s=awaited.published_s,
            heard_s=awaited.heard_s,
        )
