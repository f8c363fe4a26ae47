"""Entry of `ros2 run dpt_ros depth_node`: starts the node, spins it, and ends it cleanly."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpt_ros.ros.node import DepthNode

STOP_S = 4.0
"""`ros2 launch` sends the next signal 5 s after the first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal or a shutdown; the exit code is 0 then."""
    name_prefix()
    try:
        import rclpy
    except ModuleNotFoundError as error:
        return _complain(missing_module_message(error))
    rclpy.init(args=list(sys.argv if arguments is None else arguments))
    node: DepthNode | None = None
    has_stopped = True
    try:
        node = _make_node()
        rclpy.spin(node)
    except ModuleNotFoundError as error:
        return _complain(missing_module_message(error))
    except ValueError as error:  # a parameter given at the start
        return _complain(f"dpt: {error}")
    except KeyboardInterrupt:
        pass
    except Exception:
        if rclpy.ok():
            raise
        # A signal shut ROS down meanwhile: whatever failed then is of no interest.
    finally:
        # From here on a second signal must not interrupt.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            has_stopped = node.stop(STOP_S)
            node.destroy_node()
        rclpy.try_shutdown()
    if not has_stopped:  # the network holds the worker's thread: ending it by finalising may crash
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _make_node() -> DepthNode:
    """Make the node; imports torch, which takes seconds, after signals are handled."""
    from dpt_ros.ros.node import DepthNode

    return DepthNode()


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
    return (
        f"{error.name} is not installed for {sys.executable}. "
        "`ros2 run` takes the Python that dpt_ros was built with: install it there "
        f"(`{sys.executable} -m pip install {error.name}`), or build the workspace with the "
        "virtual environment active: `python -m colcon build`."
    )


if __name__ == "__main__":
    sys.exit(main())
