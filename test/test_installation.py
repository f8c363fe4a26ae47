"""What an installation must hold, whether it came by pip, by colcon, or is a checkout."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dpt_ros
from dpt_ros.config import share_folder


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    """Where the package is installed: the colcon prefix, else one that pip fills here."""
    for folder in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if folder and (Path(folder) / "share" / "dpt_ros").is_dir():
            return Path(folder)
    folder = tmp_path_factory.mktemp("prefix")
    source = tmp_path_factory.mktemp("source") / "dpt_ros"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "demo_output")
    shutil.copytree(Path(__file__).parent.parent, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--ignore-installed", "--no-build-isolation", "--prefix", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=100)
    return folder


@pytest.fixture
def run(prefix, tmp_path) -> Callable[..., str]:
    """Runs a command in which the installed package, not the checkout, is imported."""
    packages = next(prefix.glob("lib/python*/site-packages"))
    search = [str(packages), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, search)),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }

    def run(*command: str | Path) -> str:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.mark.parametrize(
    "name",
    [
        "package.xml",
        "launch/depth.launch.py",
        "launch/replay_evaluation.launch.py",
        "config/depth.yaml",
        "config/dpt_ros.rviz",
        "config/dpt_ros_evaluation.rviz",
        "models/dpt_large.yaml",
        "models/dpt_hybrid.yaml",
    ],
)
def test_the_share_folder_is_complete(prefix, name):
    assert (share_folder() / name).is_file()
    assert (prefix / "share" / "dpt_ros" / name).is_file()


def test_the_installed_package_finds_its_share_folder(prefix, run):
    script = "import dpt_ros.config as c; print(c.__file__, c.share_folder(), sep='\\n')"
    module, share = run(sys.executable, "-c", script).split()
    # `colcon build --symlink-install` leaves the modules where they are.
    is_linked = any(prefix.glob("lib/python*/site-packages/*.egg-link"))
    assert Path(module).is_relative_to(prefix) != is_linked
    source = Path(__file__).resolve().parents[1]
    assert Path(share) == (source if is_linked else prefix / "share" / "dpt_ros")


def test_the_package_is_in_the_ament_index(prefix):
    assert (prefix / "share/ament_index/resource_index/packages/dpt_ros").is_file()


@pytest.mark.parametrize("name", ["depth_node", "evaluator_node"])
def test_ros2_run_finds_an_executable_that_starts(prefix, run, name):
    executable = prefix / "lib" / "dpt_ros" / name
    assert os.access(executable, os.X_OK)
    assert f"usage: {name} [--ros-args" in run(executable, "--help")


def test_the_command_starts_and_names_its_version():
    command = [sys.executable, "-m", "dpt_ros.cli.main", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == f"dpt-ros {dpt_ros.__version__}"


def test_the_version_is_the_same_everywhere():
    package_xml = (share_folder() / "package.xml").read_text(encoding="utf-8")
    assert f"<version>{dpt_ros.__version__}</version>" in package_xml
    assert importlib.metadata.version("dpt_ros") == dpt_ros.__version__


def test_setup_runs_as_a_link_as_with_symlink_install(tmp_path):
    source = Path(__file__).parent.parent
    for name in ("setup.py", "dpt_ros", "resource", "launch", "config", "models"):
        (tmp_path / name).symlink_to(source / name)
    command = [sys.executable, "setup.py", "--name", "--version"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    assert result.stdout.split()[-2:] == ["dpt_ros", dpt_ros.__version__]


def test_the_command_is_installed_where_the_path_finds_it(prefix, run):
    command = prefix / "bin" / "dpt-ros"
    assert os.access(command, os.X_OK)
    assert run(command, "--version").strip() == f"dpt-ros {dpt_ros.__version__}"
