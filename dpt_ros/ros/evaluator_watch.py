"""What the live evaluator knows of the depth node beside its depth: counts, times and load."""

from __future__ import annotations

import contextlib
import math
import time

import psutil
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy

from dpt_ros.evaluation.live_session import NodeFacts
from dpt_ros.evaluation.load import LoadMonitor
from dpt_ros.evaluation.timing import LiveLosses
from dpt_ros.ros.node_reports import (
    StageTimes,
    camera_report,
    frame_counts,
    network_report,
    reports_of,
)

_NO_PID = (
    "CPU and memory of the node: its process is not known; set the parameter node_pid of the "
    "evaluator"
)
_NO_REPORT = "counts and times of the node: its /diagnostics did not come"


class NodeWatch:
    """Hears the node's diagnostics, and looks at its process from the first picture on.

    Args:
        node: makes the subscription.
        depth_node: full name of the depth node.
        pid: of its process on this machine; 0: not known.
    """

    def __init__(self, node: Node, depth_node: str, pid: int) -> None:
        self._prefix = f"{depth_node.lstrip('/')}: "
        self._pid = pid
        self._heard_s = math.inf
        self._reports: dict[str, dict[str, str]] = {}
        self._stages = StageTimes()
        self._losses = LiveLosses()
        self._pictures = self._answers = 0
        self._load: LoadMonitor | None = None
        self._loading = contextlib.ExitStack()
        self._no_load = "" if pid else _NO_PID
        profile = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, profile)

    def count(self, name: str) -> None:
        """Note that a message of that name came; what is no picture and no depth is not counted."""
        self._pictures += name == "image"
        self._answers += name == "inverse_depth"
        if name == "image" and self._load is None and not self._no_load:
            try:
                self._load = self._loading.enter_context(LoadMonitor(self._pid))
            except psutil.Error as error:
                self._no_load = f"CPU and memory of the node: {error}"

    def silence_s(self) -> float:
        """Since when the depth node, which reports once a second, has not; 0 before it began.

        It tells sooner than discovery, which takes a node that was killed for alive for a while.
        """
        return max(time.monotonic() - self._heard_s, 0.0)

    def stop(self) -> None:
        """Look at the process no more."""
        self._loading.close()

    def facts(self) -> NodeFacts:
        """What is known, and what is not."""
        reasons = (self._no_load, "" if self._reports else _NO_REPORT)
        return NodeFacts(
            losses=self._losses.summary(),
            stages_ms=self._stages.medians(),
            network=network_report(self._reports),
            load={} if self._load is None else self._load.summary(),
            missing=[reason for reason in reasons if reason],
            troubles=self._losses.troubles,
        )

    def _hear(self, message: DiagnosticArray) -> None:
        mine = {n: r for n, r in reports_of(message).items() if n.startswith(self._prefix)}
        if not mine:
            return
        self._heard_s = time.monotonic()
        self._reports |= mine
        camera = camera_report(mine)
        self._stages.look(camera)
        self._losses.look(self._pictures, self._answers, frame_counts(camera))
