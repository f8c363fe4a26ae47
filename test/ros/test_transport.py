from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest

from dpt_ros.ros import transport
from dpt_ros.ros.transport import PROFILE_VARIABLES, widen_shared_memory


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    others = ("FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION", "ROS_DISTRO")
    for name in (*PROFILE_VARIABLES, *others):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)


def test_the_profile_holds_every_output_of_a_640x480_frame():
    assert widen_shared_memory()
    profile = Path(next(filter(None, map(transport.os.environ.get, PROFILE_VARIABLES))))
    root = ElementTree.parse(profile).getroot()
    size = int(root.find(".//{*}segment_size").text)
    frame_bytes = 640 * 480 * (4 + 4 + 2 + 3 + 16)
    assert size > 3 * frame_bytes
    assert root.find(".//{*}participant").get("is_default_profile") == "true"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (PROFILE_VARIABLES[0], "/my.xml"),
        (PROFILE_VARIABLES[1], "/my.xml"),
        ("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"),
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp"),
    ],
)
def test_what_the_user_chose_stays(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not widen_shared_memory()
    chosen = {key: transport.os.environ.get(key) for key in PROFILE_VARIABLES}
    assert chosen == {key: value if key == name else None for key in PROFILE_VARIABLES}


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [("humble", 1), ("jazzy", 1), ("kilted", 0), ("rolling", 0)],
)
def test_each_distribution_gets_the_variable_it_reads(monkeypatch, distribution, variable):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    assert widen_shared_memory()
    given = [name in transport.os.environ for name in PROFILE_VARIABLES]
    assert given == [variable == 0, variable == 1]


def test_a_container_with_little_shared_memory_keeps_the_default(monkeypatch):
    monkeypatch.setattr(
        transport.shutil, "disk_usage", lambda path: SimpleNamespace(free=60 * 2**20)
    )
    assert not widen_shared_memory()
    assert PROFILE_VARIABLES[0] not in transport.os.environ
