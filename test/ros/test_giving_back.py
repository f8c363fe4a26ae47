"""What a node lets go of when it is cleaned up, or when a transition fails."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from dpt_ros.geometry.depth import DepthLimits
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.metres import Metres
from dpt_ros.ros.network import Network
from dpt_ros.ros.settings import NodeSettings

_FAILED_ACTIVATE = """
import sys, threading
import rclpy
from dpt_ros.ros.node import DepthNode

rclpy.init(args=["node", "--ros-args", "-p", "autostart:=false", "-p", "model:=dpt_tiny",
                 "-p", "checkpoint:=" + sys.argv[1], "-p", "device:=cpu",
                 "-p", "qos_overrides./image_rect.subscription.reliability:=nonsense"])
node = DepthNode()
print(node.trigger_configure(), node.trigger_activate(), node.trigger_activate())
print([thread.name for thread in threading.enumerate()].count("dpt_worker"))
node.destroy_node()
rclpy.shutdown()
"""


def test_a_freed_network_holds_no_model_although_metres_know_it(tiny_checkpoint: Path) -> None:
    predictor = DepthPredictor.from_model("dpt_tiny", checkpoint=tiny_checkpoint, device="cpu")
    network = Network(predictor, NodeSettings())
    network.narrow_limits = Metres(predictor, "").limits
    alive = weakref.ref(predictor)
    del predictor
    gc.collect()
    assert alive() is not None
    network.free()
    assert alive() is None


def test_what_the_pipeline_keeps_outlives_settings_that_are_not_its_own(
    tiny_checkpoint: Path,
) -> None:
    predictor = DepthPredictor.from_model("dpt_tiny", checkpoint=tiny_checkpoint, device="cpu")
    network = Network(predictor, NodeSettings())
    before = network._pipeline
    network.apply(NodeSettings(max_age_s=1.0, rectified=False))
    assert network._pipeline is before
    network.apply(NodeSettings(depth=DepthLimits(0.5, 9.0)))
    assert network._pipeline is not before


@pytest.mark.node
def test_a_failed_activate_leaves_no_worker(
    tiny_checkpoint: Path, ros_environment: dict[str, str]
) -> None:
    result: Any = subprocess.run(
        [sys.executable, "-c", _FAILED_ACTIVATE, str(tiny_checkpoint)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    transitions, workers = result.stdout.strip().splitlines()[-2:]
    assert "SUCCESS" in transitions and transitions.count("FAILURE") == 2, result.stderr
    assert workers == "0"
    assert (
        "is one of these wrong? qos_overrides./image_rect.subscription.reliability" in result.stderr
    )
