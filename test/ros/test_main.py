"""The node's entry: arguments that ROS refuses, and a signal before the network is there."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


@pytest.mark.usefixtures("ros_environment")
def test_a_wrong_ros_argument_is_one_sentence() -> None:
    command = [sys.executable, "-m", "dpt_ros.ros.main", "--ros-args", "--log-level", "nonsense"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "--log-level nonsense" in result.stderr
    assert "Traceback" not in result.stderr


_SLOW_LOAD = """
import sys, time
from dpt_ros.inference import DepthPredictor
from dpt_ros.ros.main import main

def load(*_, **__):
    print("loading", flush=True)
    time.sleep(60.0)

DepthPredictor.from_model = load
sys.exit(main(["node", "--ros-args", "-p", "model:=dpt_tiny", "-p", "device:=cpu"]))
"""


@pytest.mark.usefixtures("ros_environment")
def test_an_interrupt_does_not_wait_for_a_network_that_loads() -> None:
    """Compiling one takes minutes; `ros2 launch` kills after ten seconds."""
    command = [sys.executable, "-c", _SLOW_LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "loading\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=15.0) == 0
        finally:
            process.kill()
