from __future__ import annotations

import subprocess
import sys
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


_BUFFERS = """
import os, socket, rclpy
rclpy.init()
node = rclpy.create_node("listens")
first_port = 7400 + 250 * int(os.environ["ROS_DOMAIN_ID"])  # of the RTPS standard
for name in os.listdir("/proc/self/fd"):
    try:
        found = socket.socket(fileno=os.dup(int(name)))
    except OSError:  # no socket
        continue
    if found.type == socket.SOCK_DGRAM and 0 <= found.getsockname()[1] - first_port < 250:
        print("bytes", found.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
"""


@pytest.mark.node
def test_a_burst_of_a_pictures_packets_finds_room_in_the_sockets(ros_environment):
    """Or as much as the kernel allows: it doubles what is asked for, for its own use."""
    assert widen_shared_memory()
    told = subprocess.run(
        [sys.executable, "-c", _BUFFERS], capture_output=True, text=True, check=True
    )
    allowed = int(Path("/proc/sys/net/core/rmem_max").read_text())
    sizes = {int(line.split()[1]) for line in told.stdout.splitlines() if line[:5] == "bytes"}
    assert sizes == {2 * min(4 * 2**20, allowed)}


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
