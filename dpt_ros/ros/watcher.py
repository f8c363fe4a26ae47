"""Watches topics of a running robot: gathers the messages of one stamp, and the diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, PointCloud2

from dpt_ros.messages.stamps import nanoseconds
from dpt_ros.ros.node_peer import RELIABLE
from dpt_ros.ros.node_reports import reports_of

IMAGE, CLOUD = Image, PointCloud2
_KEPT = 30


class Watcher:
    """Used as a context manager.

    Args:
        topics: name -> (topic, message type) of what is gathered.
        complete: called with name -> message once all of one stamp have come.
    """

    def __init__(
        self,
        topics: Mapping[str, tuple[str, Any]],
        complete: Callable[[dict[str, Any]], None],
    ) -> None:
        self._topics = dict(topics)
        self._complete = complete
        self._gathered: dict[int, dict[str, Any]] = {}
        self.diagnostics: dict[str, dict[str, str]] = {}
        """The newest diagnostics: status -> key -> value."""

    def __enter__(self) -> Watcher:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("dpt_watcher")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        for name, (topic, kind) in self._topics.items():
            self._node.create_subscription(kind, topic, self._gather(name), RELIABLE)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, RELIABLE)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown(timeout_sec=0.0)
        self._node.destroy_node()
        rclpy.try_shutdown()

    def spin_once(self, timeout_s: float) -> None:
        """Wait for one message, and take it in."""
        self._executor.spin_once(timeout_sec=timeout_s)

    def _gather(self, name: str) -> Callable[[Any], None]:
        def gather(message: Any) -> None:
            key = nanoseconds(message.header.stamp)
            found = self._gathered.setdefault(key, {})
            found[name] = message
            if len(found) == len(self._topics):
                self._complete(self._gathered.pop(key))
            while len(self._gathered) > _KEPT:
                del self._gathered[min(self._gathered)]

        return gather

    def _diagnose(self, message: DiagnosticArray) -> None:
        self.diagnostics.update(reports_of(message))
