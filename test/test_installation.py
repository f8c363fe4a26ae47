"""What an installation must hold, whether it came by pip, by colcon, or is a checkout."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dpt_ros
from dpt_ros.config import share_folder


def installed_prefix() -> Path:
    """The folder above share/dpt_ros: the colcon prefix, else the virtual environment."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix and (Path(prefix) / "share" / "dpt_ros").is_dir():
            return Path(prefix)
    return Path(sys.prefix)


@pytest.mark.parametrize(
    "name",
    [
        "package.xml",
        "launch/depth.launch.py",
        "config/depth.yaml",
        "config/dpt_ros.rviz",
        "models/dpt_large.yaml",
        "models/dpt_hybrid.yaml",
    ],
)
def test_the_share_folder_is_complete(name):
    assert (share_folder() / name).is_file()
    assert (installed_prefix() / "share" / "dpt_ros" / name).is_file()


def test_the_package_is_in_the_ament_index():
    marker = "share/ament_index/resource_index/packages/dpt_ros"
    assert (installed_prefix() / marker).is_file()


def test_ros2_run_finds_an_executable_that_starts():
    executable = installed_prefix() / "lib" / "dpt_ros" / "depth_node"
    assert os.access(executable, os.X_OK)
    result = subprocess.run(
        [executable, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "--ros-args" in result.stdout


def test_the_command_starts_and_names_its_version():
    command = [sys.executable, "-m", "dpt_ros.cli.main", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == f"dpt-ros {dpt_ros.__version__}"


def test_the_version_is_the_same_everywhere():
    package_xml = (share_folder() / "package.xml").read_text(encoding="utf-8")
    assert f"<version>{dpt_ros.__version__}</version>" in package_xml
    assert importlib.metadata.version("dpt_ros") == dpt_ros.__version__
