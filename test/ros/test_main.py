"""The node's entry: what it says to arguments that ROS refuses."""

from __future__ import annotations

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
