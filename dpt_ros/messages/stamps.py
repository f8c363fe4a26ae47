"""The stamp of a header as one number."""

from __future__ import annotations

from typing import Any


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces Time of rclpy or rosbags in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
