from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dpt_ros.cli.main import main


def resize_to_nothing(*_: object) -> None:
    cv2.resize(np.zeros((2, 2)), (0, 0))


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("transformers", ": pip install transformers"),
        ("cv2", ": pip install opencv-python"),
        ("rclpy", ": make setup, or source a ROS 2 installation"),
        ("sensor_msgs.msg", ": make setup, or source a ROS 2 installation"),
        ("dpt_ros.nothing", "install it again"),
    ],
)
def test_a_missing_module_is_named_with_its_remedy(monkeypatch, capsys, module, remedy):
    def fail(*_: object) -> None:
        raise missing(module)

    monkeypatch.setattr("dpt_ros.cli.bench_network.run", fail)
    assert main(["bench", "network"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dpt-ros bench: {module} is not installed")
    assert line.endswith(remedy)
    with pytest.raises(ModuleNotFoundError):
        main(["--verbose", "bench", "network"])


def test_the_demo_without_ros_says_what_to_do(tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("dpt_ros.ros.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rclpy", None)  # import then fails as if it were missing
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    assert main(["demo", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "rclpy" in line and "make setup, or source a ROS 2 installation" in line


def test_a_library_that_opencv_misses_is_told_with_its_remedy(monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file", name="cv2")

    monkeypatch.setattr("dpt_ros.cli.bench_network.run", fail)
    assert main(["bench", "network"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "libGL.so.1" in line and line.endswith("apt install libgl1 libglib2.0-0")


def test_an_import_that_fails_otherwise_is_told_in_a_line(monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr("dpt_ros.cli.bench_network.run", fail)
    assert main(["bench", "network"]) == 1
    error = capsys.readouterr().err
    assert error == "dpt-ros bench: libGL.so.1: cannot open shared object file\n"


def test_an_error_of_opencv_is_told_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr("dpt_ros.cli.bench_network.run", resize_to_nothing)
    assert main(["bench", "network"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dpt-ros bench: OpenCV") and "resize" in line


def test_a_defect_keeps_its_traceback(monkeypatch):
    def fail(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("dpt_ros.cli.bench_network.run", fail)
    with pytest.raises(KeyError):
        main(["bench", "network"])


WAITS = """
import os, signal, sys, time
from dpt_ros.cli import main as module

class Parser:
    def parse_args(self, _):
        import argparse
        return argparse.Namespace(func=self.run, verbose=False, command="wait")

    def run(self, _):
        try:
            os.kill(os.getpid(), signal.NAME)
            time.sleep(30)
        AFTER

module._parser = Parser
sys.exit(module.main())
"""


def signalled(name: str, after: str) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal while it waits, and what it does after that."""
    program = WAITS.replace("NAME", name).replace("AFTER", after)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_sigterm_ends_a_command_as_an_interrupt_does():
    ended = signalled("SIGTERM", "finally: print('tidied up', flush=True)")
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout == "tidied up\n" and "interrupted" in ended.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_an_interrupt_that_a_binding_turned_into_its_own_error_is_one(name):
    why = "Unable to convert call argument '0' to Python object"
    ended = signalled(name, f"except KeyboardInterrupt: raise RuntimeError({why!r}) from None")
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


def test_an_error_after_an_interrupt_is_told():
    """Of a command that writes what it has: its result is not there."""
    ended = signalled("SIGTERM", "except KeyboardInterrupt: raise OSError('the disk is full')")
    assert (ended.returncode, ended.stderr) == (1, "dpt-ros wait: the disk is full\n")


def test_a_name_that_is_not_utf_8_is_printed():
    lines = (
        "import sys; from dpt_ros.cli.main import main; "
        "sys.argv = ['dpt-ros', 'models', 'list']; main(); print('caf\\udce9')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    ran = subprocess.run(
        [sys.executable, "-c", lines], env=environment, capture_output=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.endswith(rb"caf\udce9" + b"\n")
