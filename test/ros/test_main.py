"""The node's entry: arguments that ROS refuses, and a signal before the network is there."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("ros_environment")
def test_a_signal_does_not_wait_for_a_network_that_loads(number: signal.Signals) -> None:
    """Compiling one takes minutes; `ros2 launch` kills after ten seconds."""
    command = [sys.executable, "-c", _SLOW_LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "loading\n"
            process.send_signal(number)
            assert process.wait(timeout=30.0) == 0
        finally:
            process.kill()


def test_a_loading_that_is_no_longer_wanted_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the signal came before the wait began, which then does not notice it."""
    from dpt_ros.inference import DepthPredictor
    from dpt_ros.ros.network import Network
    from dpt_ros.ros.settings import NodeSettings

    end = threading.Event()
    monkeypatch.setattr(DepthPredictor, "from_model", lambda *_, **__: end.wait(60.0))
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Network.load(NodeSettings(), is_wanted=lambda: False)
    end.set()
    assert time.monotonic() - began_s < 30.0


_SIGNALS = """
import os, signal, sys
from dpt_ros.inference import DepthPredictor
from dpt_ros.ros.main import main

set_handler = signal.signal
is_ending = False

def load(*_, **__):
    global is_ending
    is_ending = True
    os.kill(os.getpid(), {number})

def set_late(number, handler):
    if is_ending:
        os.kill(os.getpid(), {number})
    return set_handler(number, handler)

DepthPredictor.from_model = load
signal.signal = set_late
sys.exit(main(["node", "--ros-args", "-p", "model:=dpt_tiny", "-p", "device:=cpu"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("ros_environment")
def test_signals_after_the_first_do_not_interrupt_how_the_node_ends(number: signal.Signals) -> None:
    """Ctrl-C reaches the node, and `ros2 launch` sends another at the same time."""
    program = _SIGNALS.format(number=int(number))
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


_INTERRUPTED_START = """
import os, signal, sys
import dpt_ros.ros.main as entry

def interrupt():  # ROS is not there yet
    os.kill(os.getpid(), signal.SIGINT)

entry.name_prefix = interrupt
sys.exit(entry.main(["node", "--ros-args", "-p", "model:=dpt_tiny", "-p", "device:=cpu"]))
"""


@pytest.mark.usefixtures("ros_environment")
def test_a_signal_before_ros_is_there_ends_the_node_as_well() -> None:
    command = [sys.executable, "-c", _INTERRUPTED_START]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
