from __future__ import annotations

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


def test_sigterm_ends_a_command_as_an_interrupt_does():
    waits = (
        "import os, signal, sys, time\n"
        "from dpt_ros.cli import main as module\n"
        "class Parser:\n"
        "    def parse_args(self, _):\n"
        "        import argparse\n"
        "        return argparse.Namespace(func=self.run, verbose=False, command='wait')\n"
        "    def run(self, _):\n"
        "        try:\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "            time.sleep(30)\n"
        "        finally:\n"
        "            print('tidied up', flush=True)\n"
        "module._parser = Parser\n"
        "sys.exit(module.main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", waits], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout == "tidied up\n" and "interrupted" in ended.stderr
