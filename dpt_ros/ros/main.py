"""Entry of `ros2 run dpt_ros depth_node`: starts the node, spins it, and ends it cleanly."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dpt_ros.inference.freed_memory import keep_freed_memory
from dpt_ros.ros.first_signal import FirstSignal
from dpt_ros.ros.tuning import (
    LOADER_THREAD,
    WORKER_THREAD,
    spin_briefly,
    switch_threads_soon,
)

if TYPE_CHECKING:
    from dpt_ros.ros.node import DepthNode

USAGE = """usage: depth_node [--ros-args [-p NAME:=VALUE] [-r FROM:=TO] [--params-file FILE] ...]

The node `dpt`: depth images and point clouds from a camera.

examples:
  ros2 run dpt_ros depth_node --ros-args -r image_rect:=/camera/image_rect \\
      -r camera_info:=/camera/camera_info -p model:=dpt_hybrid
  ros2 launch dpt_ros depth.launch.py image:=/camera/image_rect

Parameters: config/depth.yaml, or `ros2 param describe /dpt NAME` while it runs.
"""
STOP_S = 4.0
"""`ros2 launch` sends the next signal 5 s after the first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal or a shutdown; the exit code is 0 then.

    Args:
        arguments: the program's name and its arguments; those of the process if None.
    """
    arguments = list(sys.argv if arguments is None else arguments)
    if {"-h", "--help"} & set(arguments[1:]):
        sys.stdout.write(USAGE)
        return 0
    signals = FirstSignal(loading_code=0)
    try:
        code = _run(arguments, signals)
    except KeyboardInterrupt:
        code = 0
    finally:
        signals.ignore()
    if _is_network_busy():  # waiting may take minutes, and ending it by finalising may crash
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _run(arguments: list[str], signals: FirstSignal) -> int:
    from dpt_ros.ros.transport import widen_shared_memory  # takes a while: signals first

    name_prefix()
    keep_freed_memory()
    switch_threads_soon()
    spin_briefly()
    widen_shared_memory()
    try:
        import rclpy
    except ModuleNotFoundError as error:
        return _complain(missing_module_message(error))
    try:
        rclpy.init(args=arguments)
    except RuntimeError as error:  # RCLError: an argument after --ros-args that ROS does not read
        return _complain(f"dpt: {error}")
    node: DepthNode | None = None
    try:
        from dpt_ros.ros.node import DepthNode  # imports torch, which takes seconds

        signals.loaded()
        node = DepthNode()
        rclpy.spin(node)
    except Exception as error:
        if signals.came or not rclpy.ok():
            return 0  # whatever failed because ROS was shut down meanwhile is of no interest
        if isinstance(error, ModuleNotFoundError):
            return _complain(missing_module_message(error))
        if isinstance(error, ValueError):  # a parameter given at the start
            return _complain(f"dpt: {error}")
        raise
    finally:
        signals.came = True  # from here on none must interrupt
        if node is not None:
            node.stop(STOP_S)
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _is_network_busy() -> bool:
    """Whether a network is still loaded or run, by a thread that the node has given up."""
    names = (WORKER_THREAD, LOADER_THREAD)
    return any(thread.name.startswith(names) for thread in threading.enumerate())


def _complain(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 1


def name_prefix() -> None:
    """Let a pip-installed ROS 2 find its share folders: AMENT_PREFIX_PATH is empty there."""
    if os.environ.get("AMENT_PREFIX_PATH"):
        return
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():
        os.environ["AMENT_PREFIX_PATH"] = sys.prefix


def missing_module_message(error: ModuleNotFoundError) -> str:
    """What to do about a module that this Python lacks."""
    name = (error.name or "a module").partition(".")[0]
    if name == "dpt_ros":
        return (
            f"{error.name} is missing: the installation of dpt_ros is incomplete; install it again"
        )
    return (
        f"{error.name} is not installed for {sys.executable}. The node takes the Python of the "
        "environment it is installed in, else the first python3 in PATH: activate the virtual "
        f"environment that has {name}, or install it (`{sys.executable} -m pip install {name}`)."
    )


if __name__ == "__main__":
    sys.exit(main())
