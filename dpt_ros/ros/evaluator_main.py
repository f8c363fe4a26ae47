"""Entry of `ros2 run dpt_ros evaluator_node`: starts the node, spins it, and writes its report."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dpt_ros.ros.main import missing_module_message, name_prefix
from dpt_ros.ros.transport import widen_shared_memory

if TYPE_CHECKING:
    from dpt_ros.ros.evaluator_node import EvaluatorNode

USAGE = """usage: evaluator_node [--ros-args [-p NAME:=VALUE] [-r FROM:=TO] ...]

The node `dpt_evaluator`: scores the depth node `dpt` against a LiDAR while both run.

example:
  ros2 run dpt_ros evaluator_node --ros-args -r image_rect:=/camera/image_rect \\
      -r camera_info:=/camera/camera_info -r points:=/lidar/points -p model:=dpt_hybrid \\
      -p calibration:=calibration.yaml -p output:=evaluation

On Ctrl-C the report is written. Parameters: `ros2 param describe /dpt_evaluator NAME`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal; then write the report. The exit code is 0 then."""
    arguments = list(sys.argv if arguments is None else arguments)
    if {"-h", "--help"} & set(arguments[1:]):
        sys.stdout.write(USAGE)
        return 0
    name_prefix()
    widen_shared_memory()
    try:
        import rclpy
        import torch
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{missing_module_message(error)}\n")
        return 1
    try:
        rclpy.init(args=arguments)
    except RuntimeError as error:
        sys.stderr.write(f"dpt_evaluator: {error}\n")
        return 1
    torch.set_num_threads(1)  # the cores are the depth node's
    node: EvaluatorNode | None = None
    try:
        node = _make_node()
        rclpy.spin(node)
    except (ValueError, OSError) as error:  # a parameter given at the start
        sys.stderr.write(f"dpt_evaluator: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    except Exception:
        if rclpy.ok():
            raise
    finally:
        # From here on a second signal must not interrupt.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    return _write(node)


def _make_node() -> EvaluatorNode:
    """Make the node; what it imports takes seconds, after signals are handled."""
    from dpt_ros.ros.evaluator_node import EvaluatorNode

    return EvaluatorNode()


def _write(node: EvaluatorNode | None) -> int:
    if node is None:
        return 1
    try:
        folder = node.session.write()
    except OSError as error:
        sys.stderr.write(f"dpt_evaluator: {error}\n")
        return 1
    for line in node.session.summary():
        sys.stdout.write(f"{line}\n")
    if node.session.partial:
        sys.stdout.write(f"  partial: {node.session.partial}\n")
    if folder is not None:
        sys.stdout.write(f"-> {Path(folder) / 'report.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
