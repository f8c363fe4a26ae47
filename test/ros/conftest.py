"""The real node in its own process, and a real peer that publishes to it and hears its answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ros_peer import FAILING, SLOW, WAIT_S, NodeProcess, Peer, picture

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A domain of its own on this machine alone, for this process and those it starts."""
    pytest.importorskip("rclpy")
    from dpt_ros.ros.node_process import free_domain
    from dpt_ros.ros.transport import PROFILE_VARIABLES, widen_shared_memory

    values = {
        "ROS_DOMAIN_ID": str(free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path_factory.mktemp("ros_log")),
        "PYTHONPATH": os.pathsep.join(
            [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "OMP_NUM_THREADS": "1",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    if widen_shared_memory():  # as the node does for itself; pictures are lost less often
        before |= dict.fromkeys(PROFILE_VARIABLES)
    yield values
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def peer(ros_environment: dict[str, str]) -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def start_node(
    ros_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., NodeProcess]]:
    """Start the node with parameters and further ROS arguments; all are stopped at the end."""
    nodes: list[NodeProcess] = []

    def start(
        parameters: dict[str, Any], *ros_arguments: str, program: Path | None = None
    ) -> NodeProcess:
        log = tmp_path_factory.mktemp("node") / "log.txt"
        nodes.append(NodeProcess(log, parameters, ros_arguments, program))
        return nodes[-1]

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait(WAIT_S)


_PROGRAM = f"""
import sys
import time
from dpt_ros.ros import main, network

process = network.Network.process

def process_or_not(self, frames, wanted):
    sizes = [frame.rgb.shape[:2] for frame in frames]
    if {FAILING} in sizes:
        raise MemoryError("injected by the test")
    if {SLOW} in sizes:
        time.sleep(0.3)
    return process(self, frames, wanted)

network.Network.process = process_or_not
sys.exit(main.main())
"""


@pytest.fixture(scope="session")
def calibration(
    write_calibration: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The calibration of `node`, for pictures of 128 x 96."""
    return write_calibration(tmp_path_factory.mktemp("calibration") / "c.yaml", picture(seed=1))


@pytest.fixture(scope="session")
def node(
    start_node: Callable[..., NodeProcess],
    peer: Peer,
    tiny_checkpoint: Path,
    calibration: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> NodeProcess:
    """The node as it is, but that it fails or is slow for pictures of one size."""
    program = tmp_path_factory.mktemp("program") / "node.py"
    program.write_text(_PROGRAM)
    parameters = {
        "model": "dpt_tiny",
        "checkpoint": tiny_checkpoint,
        "calibration": calibration,
        "device": "cpu",
        "precision": "float32",
        "publish_millimetres": True,
        "depth.far_m": 50,  # an integer for a double
        "points.edge_removal": 0,
    }
    remaps = ("image_rect:=/camera/image_rect", "camera_info:=/camera/camera_info")
    arguments = [word for remap in remaps for word in ("-r", remap)]
    process = start_node(parameters, *arguments, program=program)
    peer.wait_for_state("active")
    return process


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights, made for small pictures so that tests are fast."""
    torch = pytest.importorskip("torch")
    from dpt_ros.model import create_model, save_checkpoint
    from dpt_ros.model.cards import InputSpec, load_card

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    card = replace(load_card("dpt_tiny"), input=InputSpec(width=128, height=96))
    model = create_model("dpt_tiny")
    with torch.no_grad():
        model.head.conv3.weight.mul_(30.0)  # as they come, random weights give nearly a constant
    save_checkpoint(model, path, card)
    return path


@pytest.fixture(scope="session")
def predictor(tiny_checkpoint: Path) -> Any:
    """The same network in this process, to compare with."""
    from dpt_ros.inference import DepthPredictor

    return DepthPredictor.from_model(
        "dpt_tiny", checkpoint=tiny_checkpoint, device="cpu", precision="float32"
    )


@pytest.fixture(scope="session")
def write_calibration(predictor: Any) -> Callable[..., Path]:
    """A calibration of the small network for images of a size, whose depths lie in its range."""
    from dpt_ros.geometry.calibration import Calibration, save_calibration
    from dpt_ros.geometry.scale_shift import ScaleShift

    def write(path: Path, rgb: np.ndarray, **changes: Any) -> Path:
        inverse_depth = predictor.predict(rgb)
        low, high = (float(value) for value in np.percentile(inverse_depth, (5, 95)))
        scale = (1 / 2.0 - 1 / 20.0) / (high - low)  # 2 m to 20 m for most pixels
        height, width = predictor.network_size(*rgb.shape[:2])
        values = {
            "scale_shift": ScaleShift(scale, 1 / 20.0 - scale * low),
            "model": "dpt_tiny",
            "checkpoint_sha256": predictor.checkpoint_sha256,
            "network_height": height,
            "network_width": width,
            "camera": None,
            "near_m": 0.5,
            "far_m": 50.0,
            **changes,
        }
        save_calibration(Calibration(**values), path)
        return path

    return write
