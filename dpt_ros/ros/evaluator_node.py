"""The node `dpt_evaluator`: scores the depth node against a LiDAR while both run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType, JumpThreshold  # type: ignore[attr-defined]
from rclpy.duration import Duration
from rclpy.node import Node

from dpt_ros.evaluation.live_session import LiveSession, ScoredFrame
from dpt_ros.evaluation.live_settings import LiveSettings
from dpt_ros.messages.encode import float_to_image, points_to_cloud, rgb_to_image
from dpt_ros.ros.evaluator_inputs import STATIC_TRANSFORM, TRANSFORM, EvaluatorInputs
from dpt_ros.ros.evaluator_watch import NodeWatch
from dpt_ros.ros.parameters import NodeParameters
from dpt_ros.ros.qos import (
    output_profile,
    overriding_options,
    unused_overrides,
    unused_overrides_message,
)
from dpt_ros.ros.scoring_thread import ScoringThread
from dpt_ros.ros.tell import Teller
from dpt_ros.ros.topics import SCORES

MOST_WAITING = 200
_STOP_S = 30.0
_GONE_S = 5.0
"""The depth node reports once a second; silent for so long, it has ended."""


class _Received(NamedTuple):
    name: str
    message: Any
    received_s: float


class EvaluatorNode(Node):
    """Subscribes to camera, LiDAR, transforms and depth; publishes scores and coloured errors.

    Raises:
        ConfigError, ValueError: a parameter that is wrong.
    """

    def __init__(self) -> None:
        super().__init__("dpt_evaluator", automatically_declare_parameters_from_overrides=True)
        self._declared = NodeParameters(self, LiveSettings, lambda: True, lambda _: None)
        if self._declared.unknown:
            self.get_logger().warning(self._declared.unknown_message())
        settings = self._declared.config
        self._teller = Teller(self.get_logger().warning)
        self._outputs = {
            name: self.create_publisher(
                kind,
                f"~/{topic}",
                output_profile(),
                qos_overriding_options=overriding_options(),
            )
            for name, (topic, kind) in SCORES.items()
        }
        depth_node = self._full_name(settings.depth_node)
        self._inputs = EvaluatorInputs(self, settings, self._receive, depth_node, self._tell_qos)
        if unused := unused_overrides(self, self._declared.overrides):
            self.get_logger().warning(unused_overrides_message(unused))
        self._watch = NodeWatch(self, depth_node, settings.node_pid)
        self.session = LiveSession(settings, self._inputs.topics)
        self._scoring = ScoringThread(self.session, self._take, self._publish, self._tell_failed)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._report, clock=steady)
        self._clock_watch = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            ),
            post_callback=lambda jump: self._receive("clock", jump),
        )
        self._scoring.start()
        self.get_logger().info(f"listening to {self._inputs.topics.image}")

    def stop(self) -> None:
        """Score what has come, as far as there is time, and take nothing more in."""
        self._note_partial()  # now: while the rest is scored, nobody hears the depth node
        for text in self._inputs.why_missing():
            self.session.trouble(text)
        if left := self._scoring.stop(_STOP_S):
            self.session.partial = f"{self.session.partial} {left}".lstrip()
        self._watch.stop()
        self.session.node = self._watch.facts()

    def _full_name(self, node: str) -> str:
        return node if node.startswith("/") else f"{self.get_namespace().rstrip('/')}/{node}"

    def _tell_qos(self, text: str) -> None:
        self._teller.tell(text, text)
        self.session.trouble(text)

    def _receive(self, name: str, message: Any) -> None:
        self._watch.count(name)
        is_heavy = name in ("image", "points", "depth", "inverse_depth")
        if is_heavy and self._scoring.unread > MOST_WAITING:
            self._teller.tell("slow", "the evaluator is too slow: messages are left out")
            self.session.trouble("the evaluator was too slow: messages were left out")
            return
        self._scoring.put(_Received(name, message, self.get_clock().now().nanoseconds / 1e9))

    def _tell_failed(self, error: Exception, what: str = "a message was left out") -> None:
        text = f"{what}: {type(error).__name__}: {error}"
        self._teller.tell(what, text)
        self.session.trouble(text)

    def _take(self, received: _Received) -> Iterator[ScoredFrame]:
        session, (name, message, received_s) = self.session, received
        if name in (TRANSFORM, STATIC_TRANSFORM):
            session.join.add_transforms(message, is_static=name == STATIC_TRANSFORM)
        elif name == "clock":
            session.forget_clock()
        elif name in ("depth", "inverse_depth"):
            yield from session.add_answer(message, name == "depth", received_s)
        else:
            topic = self._inputs.topics.image if name == "image" else name
            yield from session.add(topic, message, received_s)

    def _publish(self, scored: ScoredFrame) -> None:
        try:
            self._publish_scores(scored)
        except Exception as error:  # what is scored counts all the same
            if self.context.ok():  # after a signal nothing can be published any more
                self._tell_failed(error, "a frame's scores were not published")

    def _publish_scores(self, scored: ScoredFrame) -> None:
        if not self.context.ok() or scored.depth_m is None or scored.frame.truth_m is None:
            return
        header, frame = scored.header, scored.frame
        for name, publisher in self._outputs.items():
            if publisher.get_subscription_count() == 0:
                continue
            if name == "truth" and frame.truth_m is not None:
                publisher.publish(float_to_image(frame.truth_m, header))
            elif name == "error":
                publisher.publish(rgb_to_image(scored.error_rgb(), header))
            elif name == "error_points" and frame.camera is not None:
                publisher.publish(points_to_cloud(scored.error_points(), header))

    def _report(self) -> None:
        for text in self._inputs.others():
            self._teller.tell("publishers", text)
            self.session.trouble(text)
        self._inputs.look()
        values = self.session.status()
        missing = self._inputs.silent()
        self.session.why_no_scan = self._inputs.why_no_scan()
        self._note_partial()
        values["nobody publishes"] = ", ".join(missing) or "none"
        level = DiagnosticStatus.WARN if missing else DiagnosticStatus.OK
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_fully_qualified_name().lstrip('/')}: scores",
            message=f"{values['frames scored']} frames scored",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _note_partial(self) -> None:
        reasons = [self._declared.config.partial]
        if self._watch.silence_s() > _GONE_S:
            reasons.append("The depth node has ended.")
        self.session.partial = " ".join(filter(None, reasons))
