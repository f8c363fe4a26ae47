"""A frame that hangs in the network: the node can be deactivated, and serves again once it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_peer import at, image_message, picture

pytestmark = pytest.mark.node

IMAGE, COLOR = "/stuck/image_rect", "/stuck/dpt/color/image"
PROGRAM = """
import pathlib
import sys
import time
from dpt_ros.ros import main, network, node

process = network.Network.process
node.STOP_S = 0.5

def process_once_free(self, frames, wanted):
    pathlib.Path({entered!r}).touch()
    while not pathlib.Path({free!r}).exists():
        time.sleep(0.02)
    return process(self, frames, wanted)

network.Network.process = process_once_free
sys.exit(main.main())
"""


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is missing, the network hangs."""
    return tmp_path_factory.mktemp("stuck") / "free"


@pytest.fixture(scope="module")
def node(start_node: Any, peer: Any, tiny_checkpoint: Path, free: Path) -> Any:
    program = free.with_name("node.py")
    program.write_text(PROGRAM.format(free=str(free), entered=str(free.with_name("entered"))))
    peer.node_name = "/stuck/dpt"
    parameters = {"model": "dpt_tiny", "checkpoint": tiny_checkpoint, "device": "cpu"}
    yield start_node(parameters, "-r", "__ns:=/stuck", program=program)
    peer.node_name = "/dpt"


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return picture(seed=11)


# The tests below are one story, told in this order.


def test_it_is_deactivated_while_a_frame_hangs(
    node: Any, peer: Any, rgb: np.ndarray, free: Path
) -> None:
    from sensor_msgs.msg import Image

    peer.wait_for_state("active")
    peer.listen(COLOR, Image)
    entered = free.with_name("entered")
    peer.publish_until(IMAGE, image_message(rgb, 1), entered.exists, "the frame to be in work")
    assert peer.change_state("deactivate")
    assert peer.state() == "inactive"
    assert "the frame in work did not end within 0.5 s" in node.log
    assert peer.node.count_subscribers(IMAGE) == 0


@pytest.mark.parametrize("transition", ["activate", "cleanup"])
def test_what_needs_the_network_waits_for_it(node: Any, peer: Any, transition: str) -> None:
    assert not peer.change_state(transition)
    assert peer.state() == "inactive"
    assert f"{transition} failed: TimeoutError" in node.log


def test_it_serves_again_once_the_frame_has_ended(
    node: Any, peer: Any, rgb: np.ndarray, free: Path
) -> None:
    free.touch()
    assert peer.change_state("activate")
    peer.publish(IMAGE, image_message(rgb, 2))
    peer.wait_for(COLOR, at(2))
    assert not any(at(1)(message) for message in peer.received(COLOR))  # it was given up
    assert peer.change_state("deactivate", "cleanup")
    assert peer.state() == "unconfigured"
