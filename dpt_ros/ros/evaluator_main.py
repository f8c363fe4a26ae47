"""Entry of `ros2 run dpt_ros evaluator_node`: starts the node, spins it, and writes its report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dpt_ros.ros.first_signal import FirstSignal
from dpt_ros.ros.main import missing_module_message, name_prefix

if TYPE_CHECKING:
    from dpt_ros.ros.evaluator_node import EvaluatorNode

USAGE = """usage: evaluator_node [--ros-args [-p NAME:=VALUE] [-r FROM:=TO] ...]

The node `dpt_evaluator`: scores the depth node `dpt` against a LiDAR while both run.

example:
  ros2 run dpt_ros evaluator_node --ros-args -r image_rect:=/camera/image_rect \\
      -r camera_info:=/camera/camera_info -r points:=/lidar/points -p model:=dpt_hybrid \\
      -p calibration:=calibration.yaml -p output:=evaluation

On Ctrl-C the report is written; the exit code is 3 where nothing was scored.
Parameters: `ros2 param describe /dpt_evaluator NAME`.
"""

NOTHING_SCORED = 3
"""Exit code where the report has no scores."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal; then write the report.

    The exit code is 0 then, or NOTHING_SCORED.
    """
    arguments = list(sys.argv if arguments is None else arguments)
    if {"-h", "--help"} & set(arguments[1:]):
        sys.stdout.write(USAGE)
        return 0
    signals = FirstSignal(loading_code=1)
    try:
        return _run(arguments, signals)
    except KeyboardInterrupt:  # before there was anything to report
        return 1
    finally:
        signals.ignore()


def _run(arguments: list[str], signals: FirstSignal) -> int:
    from dpt_ros.ros.transport import widen_shared_memory  # takes a while: signals first

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
        from dpt_ros.ros.evaluator_node import EvaluatorNode  # takes seconds

        signals.loaded()
        node = EvaluatorNode()
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        if not signals.came and rclpy.ok():
            if not isinstance(error, (ValueError, OSError)):
                raise
            sys.stderr.write(f"dpt_evaluator: {error}\n")  # a parameter given at the start
            return 1
    finally:
        signals.came = True  # from here on none must interrupt
        if node is not None:
            node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    return _write(node)


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
    return 0 if node.session.evaluation.scored else NOTHING_SCORED


if __name__ == "__main__":
    sys.exit(main())
