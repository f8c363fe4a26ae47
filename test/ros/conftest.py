"""The real node in its own process, and a real peer that publishes to it and hears its answers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_S = 30.0
"""How long an answer may take on a busy machine; nothing sleeps so long."""

START_S = 100.0
"""How long the node may take to start: it imports torch."""


def _free_domain() -> int:
    """A ROS domain whose discovery port nobody on this machine uses."""
    for domain in random.sample(range(1, 100), 99):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7400 + 250 * domain))
            except OSError:
                continue
            return domain
    raise RuntimeError("no free ROS domain")


@pytest.fixture(scope="session")
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A domain of its own on this machine alone, for this process and those it starts."""
    pytest.importorskip("rclpy")
    values = {
        "ROS_DOMAIN_ID": str(_free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path_factory.mktemp("ros_log")),
        "PYTHONPATH": os.pathsep.join(
            [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "OMP_NUM_THREADS": "1",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    yield values
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class NodeProcess:
    """`dpt` in a process of its own, with its log."""

    def __init__(
        self,
        log: Path,
        parameters: dict[str, Any],
        ros_arguments: tuple[str, ...],
        program: Path | None,
    ) -> None:
        self._log = log
        arguments = [f"{name}:={_text(value)}" for name, value in parameters.items()]
        start = ["-m", "dpt_ros.ros.main"] if program is None else [str(program)]
        command = [sys.executable, *start, "--ros-args", *ros_arguments]
        command += [word for argument in arguments for word in ("-p", argument)]
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, cwd=log.parent
            )

    @property
    def log(self) -> str:
        """All that the node wrote so far."""
        return self._log.read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Peer:
    """A node of the test process: publishes images, keeps what arrives, calls the services."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.node_name = "/dpt"
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("test_peer", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._closing = False
        self._arrived = threading.Condition()
        self._messages: dict[str, list[Any]] = {}
        self._subscriptions: dict[str, Any] = {}
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._closing:
            self._executor.spin_once(timeout_sec=0.2)

    def close(self) -> None:
        self._closing = True
        self._thread.join(WAIT_S)
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    # Messages

    def listen(self, topic: str, message_type: Any, qos: Any = 10) -> None:
        """Subscribe (reliably unless `qos` says otherwise) and wait until the node knows."""
        self._messages[topic] = []

        def keep(message: Any) -> None:
            with self._arrived:
                self._messages[topic].append(message)
                self._arrived.notify_all()

        self._subscriptions[topic] = self.node.create_subscription(message_type, topic, keep, qos)
        self.wait_until(lambda: self.node.count_publishers(topic) > 0, f"a publisher of {topic}")

    def listen_no_more(self, *topics: str) -> None:
        for topic in topics or tuple(self._subscriptions):
            self.node.destroy_subscription(self._subscriptions.pop(topic))

    def publish(self, topic: str, message: Any, qos: Any = 10) -> None:
        """Publish, the first time after the node's subscription is there."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(type(message), topic, qos)
        publisher = self._publishers[topic]
        self.wait_until(lambda: publisher.get_subscription_count() > 0, f"who hears {topic}")
        publisher.publish(message)

    def forget_publisher(self, topic: str) -> None:
        self.node.destroy_publisher(self._publishers.pop(topic))

    def received(self, topic: str) -> list[Any]:
        with self._arrived:
            return list(self._messages[topic])

    def wait_for(self, topic: str, fits: Callable[[Any], bool], what: str = "") -> Any:
        """The first message on `topic` that fits."""
        with self._arrived:
            found: list[Any] = []

            def look() -> bool:
                found[:] = [message for message in self._messages[topic] if fits(message)]
                return bool(found)

            assert self._arrived.wait_for(look, WAIT_S), f"nothing came on {topic}: {what}"
            return found[0]

    @staticmethod
    def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
        """Wait for something that no callback tells of, such as discovery."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain for {what}"
            time.sleep(0.01)

    # Services

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, name)
        client = self._clients[name]
        self.wait_until(client.service_is_ready, f"the service {name}", START_S)
        future = client.call_async(request)
        self.wait_until(future.done, f"an answer of {name}", START_S)
        return future.result()

    def set_parameter(self, name: str, value: Any) -> Any:
        """Set a parameter; the answer has `successful` and `reason`."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, f"{self.node_name}/set_parameters", request).results[0]

    def state(self) -> str:
        from lifecycle_msgs.srv import GetState

        answer = self.call(GetState, f"{self.node_name}/get_state", GetState.Request())
        return str(answer.current_state.label)

    def change_state(self, *transitions: str) -> bool:
        """Go through transitions such as "configure"; False if one fails."""
        from lifecycle_msgs.srv import ChangeState

        for transition in transitions:
            request = ChangeState.Request()
            request.transition.label = transition
            if not self.call(ChangeState, f"{self.node_name}/change_state", request).success:
                return False
        return True

    def wait_for_state(self, label: str) -> None:
        self.wait_until(lambda: self.state() == label, f"the state {label}", START_S)

    def status(self, name: str, fits: Callable[[Any], bool] = lambda status: True) -> Any:
        """The next status of that name on /diagnostics that fits."""
        from diagnostic_msgs.msg import DiagnosticArray

        if "/diagnostics" not in self._subscriptions:
            self.listen("/diagnostics", DiagnosticArray)
        with self._arrived:
            self._messages["/diagnostics"].clear()

        def pick(message: Any) -> list[Any]:
            return [item for item in message.status if item.name == name and fits(item)]

        return pick(self.wait_for("/diagnostics", lambda message: bool(pick(message)), name))[0]


def values_of(status: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


@pytest.fixture(scope="session")
def status_values() -> Callable[[Any], dict[str, str]]:
    """Key -> value of a diagnostic status."""
    return values_of


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


FAILING = (7, 11)
"""Height and width of the picture for which the network of `node` runs out of memory."""

_PROGRAM = f"""
import sys
from dpt_ros.ros import main, network

process = network.Network.process

def run_out_of_memory(self, frames, wanted):
    if any(frame.rgb.shape[:2] == {FAILING} for frame in frames):
        raise MemoryError("injected by the test")
    return process(self, frames, wanted)

network.Network.process = run_out_of_memory
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
    """The node as it is, but that it fails for pictures of the size FAILING."""
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


def picture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A picture with some structure, uint8 [H,W,3]."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width])


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., np.ndarray]:
    return picture


def image_message(rgb: np.ndarray, stamp_ns: int, encoding: str = "rgb8", **fields: Any) -> Any:
    """An Image of the pixels, in the frame `optical` unless `fields` say otherwise."""
    from sensor_msgs.msg import Image

    message = Image(
        height=rgb.shape[0],
        width=rgb.shape[1],
        encoding=encoding,
        step=rgb.strides[0],
    )
    message.header.frame_id = "optical"
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.data.frombytes(np.ascontiguousarray(rgb).view(np.uint8).reshape(-1))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.fixture(scope="session")
def make_image(ros_environment: dict[str, str]) -> Callable[..., Any]:
    return image_message


@pytest.fixture(scope="session")
def make_camera_info(ros_environment: dict[str, str]) -> Callable[..., Any]:
    """A CameraInfo of a rectified camera of that size."""

    def make(width: int = 128, height: int = 96, focal_px: float = 100.0) -> Any:
        from sensor_msgs.msg import CameraInfo

        cx, cy = width / 2 + 3.25, height / 2 - 2.5
        info = CameraInfo(width=width, height=height, distortion_model="plumb_bob")
        info.d = [0.0] * 5
        info.k = [focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, float(focal_px > 0)]
        info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        info.p = [focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        info.header.frame_id = "optical"
        return info

    return make


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
