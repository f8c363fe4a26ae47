"""What the tests of the node share: its process, a peer that talks to it, and its messages."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SECOND_NS = 10**9
WAIT_S = 30.0
"""How long an answer may take on a busy machine; nothing sleeps so long."""

START_S = 100.0
"""How long the node may take to start: it imports torch."""

AGAIN_S = 10.0
"""After how long a service is asked again."""


FAILING = (7, 11)
"""Height and width of the picture for which the network of `node` runs out of memory."""
SLOW = (9, 13)
"""Height and width of the picture for which it takes a while, as a large network does."""


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
        self._last: dict[str, Any] = {}
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
        self._last.pop(topic, None)
        self._last[topic] = message

    def forget_publisher(self, topic: str) -> None:
        self.node.destroy_publisher(self._publishers.pop(topic))
        self._last.pop(topic, None)

    def _publish_again(self) -> None:
        """What was published last, after the camera_info that it may need."""
        newest = next(reversed(self._last), None)
        for topic, message in self._last.items():
            if topic == newest or "camera_info" in topic:
                self._publishers[topic].publish(message)

    def publish_until(
        self, topic: str, message: Any, condition: Callable[[], bool], what: str
    ) -> None:
        """Publish, again once a second as `wait_for` does, until something else than a topic tells.

        A publisher may know of the node before the node knows of it, and its first message is lost.
        """
        for _ in range(int(WAIT_S)):
            self.publish(topic, message)
            end_s = time.monotonic() + 1.0
            while time.monotonic() < end_s:
                if condition():
                    return
                time.sleep(0.01)
        raise AssertionError(f"waited in vain for {what}")

    def received(self, topic: str) -> list[Any]:
        with self._arrived:
            return list(self._messages[topic])

    def wait_for(
        self, topic: str, fits: Callable[[Any], bool], what: str = "", repeat: bool = True
    ) -> Any:
        """The first message on `topic` that fits.

        The node listens with best effort, as to any camera: what was published last, and the last
        camera_info, are published again once a second unless `repeat` is false.
        """
        found: list[Any] = []

        def look() -> bool:
            found[:] = [message for message in self._messages[topic] if fits(message)]
            return bool(found)

        for _ in range(int(WAIT_S)):
            with self._arrived:
                if self._arrived.wait_for(look, 1.0):
                    return found[0]
            if repeat:
                self._publish_again()
        raise AssertionError(f"nothing came on {topic}: {what}")

    @staticmethod
    def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
        """Wait for something that no callback tells of, such as discovery."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain for {what}"
            time.sleep(0.01)

    # Services

    def call(self, service_type: Any, name: str, request: Any, asks_again: bool = True) -> Any:
        """The answer of a service; asked again where it may, as the first answer can be lost.

        A server may answer before it knows of who asked, and then nobody hears it.
        """
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, name)
        client = self._clients[name]
        self.wait_until(client.service_is_ready, f"the service {name}", START_S)
        futures = [client.call_async(request)]

        def is_answered() -> bool:
            if asks_again and time.monotonic() > began_s + AGAIN_S * len(futures):
                futures.append(client.call_async(request))
            return any(future.done() for future in futures)

        began_s = time.monotonic()
        self.wait_until(is_answered, f"an answer of {name}", START_S)
        return next(future for future in futures if future.done()).result()

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
            name = f"{self.node_name}/change_state"
            if not self.call(ChangeState, name, request, asks_again=False).success:
                return False
        return True

    def wait_for_state(self, label: str) -> None:
        self.wait_until(lambda: self.state() == label, f"the state {label}", START_S)

    def status(
        self, name: str, fits: Callable[[Any], bool] = lambda status: True, repeat: bool = False
    ) -> Any:
        """The next status of that name on /diagnostics that fits; `repeat` as in `wait_for`."""
        from diagnostic_msgs.msg import DiagnosticArray

        if "/diagnostics" not in self._subscriptions:
            self.listen("/diagnostics", DiagnosticArray)
        with self._arrived:
            self._messages["/diagnostics"].clear()

        def pick(message: Any) -> list[Any]:
            return [item for item in message.status if item.name == name and fits(item)]

        return pick(self.wait_for("/diagnostics", lambda item: bool(pick(item)), name, repeat))[0]


def values_of(status: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def picture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A picture with some structure, uint8 [H,W,3]."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width])


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


def stamp_ns(message: Any) -> int:
    """The stamp of a message's header."""
    return int(message.header.stamp.sec * SECOND_NS + message.header.stamp.nanosec)


def at(expected_ns: int) -> Callable[[Any], bool]:
    """Whether a message has that stamp."""
    return lambda message: stamp_ns(message) == expected_ns


def floats(message: Any) -> np.ndarray:
    """The pixels of a 32FC1 image."""
    assert message.encoding == "32FC1" and not message.is_bigendian
    assert message.step == 4 * message.width
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


def camera_info_message(width: int = 128, height: int = 96, focal_px: float = 100.0) -> Any:
    """The CameraInfo of a rectified camera; uncalibrated for a focal length of 0."""
    from sensor_msgs.msg import CameraInfo

    cx, cy = width / 2 + 3.25, height / 2 - 2.5
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob")
    info.d = [0.0] * 5
    info.k = [focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, float(focal_px > 0)]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.header.frame_id = "optical"
    return info
