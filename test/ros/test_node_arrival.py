"""The real node and a camera that is not there, that vanishes, or whose pictures are lost."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ros_peer import START_S, image_message, picture, values_of

pytestmark = pytest.mark.node

IMAGE = "/arrival/image_rect"
STATUS = "arrival/dpt: camera"

_CAMERA = f"""
import time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

rclpy.init()
publisher = rclpy.create_node("camera").create_publisher(Image, "{IMAGE}", qos_profile_sensor_data)
message = Image(width=1280, height=960, encoding="rgb8", step=3 * 1280, data=bytes(3 * 1280 * 960))
while True:
    publisher.publish(message)
    time.sleep(0.1)
"""


@pytest.fixture
def arrival_node(start_node: Callable[..., Any], tiny_checkpoint: Path) -> Iterator[Any]:
    """The node in a namespace of its own."""
    parameters = {"model": "dpt_tiny", "checkpoint": tiny_checkpoint, "device": "cpu"}
    node = start_node(parameters, "-r", "__ns:=/arrival")
    yield node
    node.stop()


@pytest.fixture
def stock_camera(ros_environment: dict[str, str]) -> Iterator[None]:
    """A camera in its own process: Fast DDS as it comes, and pictures too large for that."""
    from dpt_ros.ros.transport import PROFILE_VARIABLES

    environment = {n: v for n, v in os.environ.items() if n not in PROFILE_VARIABLES}
    with subprocess.Popen([sys.executable, "-c", _CAMERA], env=environment) as process:
        yield
        process.kill()


def lines_with(node: Any, text: str) -> list[str]:
    return [line for line in node.log.splitlines() if text in line]


@pytest.mark.timeout(200)
@pytest.mark.usefixtures("stock_camera")
def test_pictures_that_are_lost_on_their_way_are_told(arrival_node: Any, peer: Any) -> None:
    peer.wait_until(lambda: "listening to" in arrival_node.log, "the node", START_S)
    lost = "images on /arrival/image_rect were lost on the way: start what publishes them with "
    status = peer.status(STATUS, lambda status: lost in status.message)
    assert status.level == b"\x01"  # WARN
    assert "FASTDDS_DEFAULT_PROFILES_FILE naming config/fastdds.xml" in status.message
    override = f"qos_overrides.{IMAGE}.subscription.reliability set to reliable"
    assert override in status.message
    values = values_of(status)
    assert int(values["images lost on the way"]) > 2
    # What was lost is none of the frames: those received are still the sum of what they became.
    frames = {name: int(n) for name, n in values.items() if name.endswith(" frames")}
    assert abs(2 * frames["received frames"] - sum(frames.values())) <= 1  # one is in work
    peer.wait_until(lambda: lines_with(arrival_node, lost), "the line")
    peer.status(STATUS)
    peer.status(STATUS)
    (line,) = lines_with(arrival_node, lost)
    assert "[WARN]" in line


@pytest.mark.timeout(200)
def test_a_camera_that_is_not_there_is_told_once_and_so_is_its_coming(
    arrival_node: Any, peer: Any
) -> None:
    peer.wait_until(lambda: "listening to" in arrival_node.log, "the node", START_S)
    nobody, again = f"nobody publishes {IMAGE}", f"images arrive on {IMAGE}"
    status = peer.status(STATUS, lambda status: nobody in status.message)
    assert not lines_with(arrival_node, nobody), "a camera may come later than the node"
    peer.wait_until(lambda: lines_with(arrival_node, nobody), "the line")
    assert "[WARN]" in lines_with(arrival_node, nobody)[0]
    for _ in range(3):
        peer.status(STATUS)
    # Cameras of other tests come and go, with which the advice changes.
    told = [line.partition(nobody)[2] for line in lines_with(arrival_node, nobody)]
    assert all(one != other for one, other in itertools.pairwise(told))
    assert not lines_with(arrival_node, again)

    def show(_: Any = None) -> bool:
        peer.publish(IMAGE, image_message(picture(seed=1), 1))
        return bool(lines_with(arrival_node, again))

    status = peer.status(STATUS, show, repeat=True)
    assert "were lost on the way" not in status.message
    assert "[INFO]" in lines_with(arrival_node, again)[0]
    peer.forget_publisher(IMAGE)
    before = len(told)
    peer.wait_until(lambda: len(lines_with(arrival_node, nobody)) > before, "the line anew")
