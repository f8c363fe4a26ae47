"""The node in this process, fed by hand: what it counts, and what it says is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ros_peer import WAIT_S, camera_info_message, image_message, picture

pytestmark = pytest.mark.node

COLOR, DEPTH, MILLIMETRES = "/dpt/color/image", "/dpt/depth/image_rect", "/dpt/depth/image_raw"


@pytest.fixture(scope="module")
def domain(ros_environment: dict[str, str]) -> int:
    """Not that of the node in its own process: two of one name confuse who calls their services."""
    from dpt_ros.ros.node_process import free_domain

    while (chosen := free_domain()) == int(ros_environment["ROS_DOMAIN_ID"]):
        pass
    return chosen


@pytest.fixture
def peer_node(domain: int) -> Iterator[Any]:
    """Another node, in a context of its own."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("robot", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def make(domain: int, tiny_checkpoint: Path) -> Iterator[Callable[..., Any]]:
    """Make the node with parameters and a remapping; configured and, unless it fails, active."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from dpt_ros.ros.node import DepthNode

    nodes: list[Any] = []

    def make_node(*parameters: str, remap: str = "image_rect:=image_rect") -> Any:
        given = ("autostart:=false", "model:=dpt_tiny", f"checkpoint:={tiny_checkpoint}")
        words = [word for text in (*given, "device:=cpu", *parameters) for word in ("-p", text)]
        rclpy.init(
            args=["node", "--ros-args", *words, "-r", remap],
            domain_id=domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        nodes.append(DepthNode())
        nodes[0].trigger_configure()
        nodes[0].trigger_activate()
        return nodes[0]

    yield make_node
    try:
        for node in nodes:
            node.stop(WAIT_S)
            node.trigger_shutdown()  # gives everything back, from whatever state
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def wait_until(condition: Callable[[], Any], what: str, do: Callable[[], Any] = bool) -> None:
    """Wait for what other threads bring about; `do` is called again and again meanwhile."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        do()
        time.sleep(0.01)


def feed(stream: Any) -> None:
    """A picture, as from the subscription."""
    stream._on_image(image_message(picture(seed=1), time.time_ns()))


def listen(peer_node: Any, stream: Any, topic: str) -> Any:
    """Subscribe to an output, and wait until the node knows."""
    from sensor_msgs.msg import Image

    subscription = peer_node.create_subscription(Image, topic, lambda _: None, 1)
    wait_until(lambda: topic in map(stream.outputs.topic, stream.outputs.subscribed()), topic)
    return subscription


def network_said(node: Any) -> tuple[bytes, str]:
    """Level and message of the network's diagnostics."""
    from dpt_ros.ros.diagnostics import network_status

    status = network_status("dpt", node._state(), node._settings.config, node._network)
    return status.level, status.message


def camera_said(node: Any) -> str:
    """The message of the camera's diagnostics."""
    from dpt_ros.ros.diagnostics import camera_status

    stream, limits = node._streams[0], node._settings.config.depth
    return str(camera_status("dpt", stream, node._metres, node._state(), limits).message)


def ends(stream: Any) -> dict[str, int]:
    """The counts that are not 0, of which received must be the sum of all others."""
    return {name: count for name, count in stream.statistics.counts.items() if count}


def test_a_topic_that_can_not_be_made_refuses_the_parameter(make: Any) -> None:
    from rclpy.parameter import Parameter

    override = f"qos_overrides.{MILLIMETRES}.publisher.reliability"
    node = make(f"{override}:=bogus")
    changes = {"publish_millimetres": True, "points.stride": 3}
    result = node.set_parameters_atomically(
        [Parameter(name, value=value) for name, value in changes.items()]
    )
    assert not result.successful
    assert result.reason.startswith("publish_millimetres: ")
    assert f"is one of these wrong? {override}" in result.reason
    assert "then `cleanup`, set the parameter" in result.reason
    assert not node.get_parameter("publish_millimetres").value
    assert node._network._settings.points.stride == 1  # all or none

    node.trigger_deactivate()
    node.trigger_cleanup()
    (result,) = node.set_parameters([Parameter(override, value="best_effort")])
    assert result.successful
    node.trigger_configure()
    (result,) = node.set_parameters([Parameter("publish_millimetres", value=True)])
    assert result.successful
    assert node._streams[0].outputs.profile_of(MILLIMETRES).reliability.name == "BEST_EFFORT"


def test_an_override_of_a_topic_that_is_off_is_not_called_without_effect(
    make: Any, capfd: Any
) -> None:
    from rclpy.parameter import Parameter

    node = make(f"qos_overrides.{MILLIMETRES}.publisher.depth:=7")
    assert "without effect" not in capfd.readouterr().err
    node.set_parameters([Parameter("publish_millimetres", value=True)])
    assert node._streams[0].outputs.profile_of(MILLIMETRES).depth == 7


def test_an_activate_that_fails_is_an_error_until_it_is_mended(make: Any, capfd: Any) -> None:
    from rclpy.parameter import Parameter

    override = "qos_overrides./image_rect.subscription.reliability"
    node = make(f"{override}:=bogus")
    level, message = network_said(node)
    assert level == b"\x02"  # ERROR
    assert message.startswith("not activated: ") and override in message
    log = capfd.readouterr().err
    assert "ros2 lifecycle set /dpt cleanup; ros2 param set /dpt ...; " in log

    node.trigger_cleanup()
    assert network_said(node)[1].startswith("unconfigured")
    node.set_parameters([Parameter(override, value="reliable")])
    node.trigger_configure()
    node.trigger_activate()
    assert network_said(node) == (b"\x00", "active")


def test_every_picture_has_an_end_when_the_node_is_deactivated_in_mid_work(
    make: Any, peer_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dpt_ros.ros import node as node_module

    monkeypatch.setattr(node_module, "STOP_S", 0.2)
    node = make()
    stream, worker = node._streams[0], node._worker
    listen(peer_node, stream, COLOR)
    entered, leave = threading.Event(), threading.Event()
    process = node._network.process

    def hang(*arguments: Any) -> Any:
        entered.set()
        leave.wait(WAIT_S)
        return process(*arguments)

    node._network.process = hang
    feed(stream)
    assert entered.wait(WAIT_S)
    feed(stream)
    node.trigger_deactivate()
    expected = {"received": 2, "failed": 1, "not wanted": 1}  # given up, and waiting for its turn
    assert ends(stream) == expected
    leave.set()
    assert worker.stop(WAIT_S)
    assert ends(stream) == expected


def test_a_picture_lost_to_an_error_that_nobody_expected_is_counted(
    make: Any, peer_node: Any
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("raised by the test")

    stream = make()._streams[0]
    listen(peer_node, stream, COLOR)
    stream.outputs.publish = fail
    feed(stream)
    wait_until(lambda: ends(stream) == {"received": 1, "failed": 1}, "its end")


def test_why_something_is_not_published_is_told_to_everyone_who_asks(
    make: Any, peer_node: Any, capfd: Any
) -> None:
    node = make()
    stream = node._streams[0]
    lines: list[str] = []

    def tell() -> bool:
        lines.extend(capfd.readouterr().err.splitlines())
        return any(f"not published: {DEPTH}" in line for line in lines)

    def feed_one() -> None:
        feed(stream)

    subscription = listen(peer_node, stream, DEPTH)
    wait_until(tell, "the first line", feed_one)

    peer_node.destroy_subscription(subscription)
    wait_until(lambda: not stream.outputs.subscribed(), "nobody to listen")
    wait_until(lambda: not stream.why_not, "nobody to ask", feed_one)
    lines.clear()
    listen(peer_node, stream, DEPTH)
    wait_until(tell, "the line for who came back", feed_one)

    node.trigger_deactivate()
    assert not stream.why_not
    lines.clear()
    node.trigger_activate()
    wait_until(tell, "the line of another run", feed_one)


def test_frames_that_do_not_fit_are_told_until_they_do(
    make: Any, peer_node: Any, capfd: Any
) -> None:
    node = make()
    stream = node._streams[0]
    listen(peer_node, stream, COLOR)
    info = camera_info_message()
    info.header.frame_id = "right"
    stream.camera.update(info)
    told = "/camera_info is of the frame right, the images are of optical: is it another camera's?"
    wait_until(lambda: told in camera_said(node), "the diagnostics", lambda: feed(stream))
    assert capfd.readouterr().err.count(told) == 1

    stream.camera.update(camera_info_message())
    wait_until(lambda: told not in camera_said(node), "the same", lambda: feed(stream))


@pytest.mark.parametrize(
    ("topic", "added", "names"),
    [("/image_rect", 2, "/robot, /robot"), ("/dpt/inverse_depth/image", 1, "/dpt, /robot")],
)
def test_two_publishers_of_one_topic_are_told_until_one_goes(
    make: Any, peer_node: Any, capfd: Any, topic: str, added: int, names: str
) -> None:
    from sensor_msgs.msg import Image

    node = make()
    stream = node._streams[0]
    *_, other = (peer_node.create_publisher(Image, topic, 1) for _ in range(added))
    told = f"{topic} has 2 publishers, expected 1: {names}"
    wait_until(lambda: told in camera_said(node), "the diagnostics")
    for _ in range(3):
        stream.tell_arrival()
    assert capfd.readouterr().err.count(told) == 1

    peer_node.destroy_publisher(other)
    wait_until(lambda: told not in camera_said(node), "the same")


def test_a_slow_camera_is_not_silent(make: Any) -> None:
    stream = make()._streams[0]
    now_s = time.monotonic()
    stream._subscribed_s = now_s - 60.0
    assert "nobody publishes /image_rect" in stream.silence()
    for ago_s in (9.0, 4.0):
        stream.statistics.arrived(now_s - ago_s, overwritten=False)
    assert stream.silence() == ""


def test_a_mismatch_of_the_image_topic_is_told_once(make: Any, peer_node: Any) -> None:
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    node = make("qos_overrides./image_rect.subscription.reliability:=reliable")
    stream = node._streams[0]
    peer_node.create_publisher(Image, "/image_rect", qos_profile_sensor_data)

    def spin() -> None:
        rclpy.spin_once(node, timeout_sec=0.1)

    wait_until(lambda: stream.qos_trouble, "the mismatch", spin)
    stream._subscribed_s -= 60.0
    wait_until(lambda: "QoS mismatch" in stream.silence(), "the publisher to be known", spin)
    assert camera_said(node).count("QoS mismatch on /image_rect") == 1


def test_camera_info_sent_before_the_node_came_is_asked_for_by_two_parameters(
    make: Any, peer_node: Any, calibration: Path
) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import CameraInfo

    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer_node.create_publisher(CameraInfo, "/camera_info", kept).publish(camera_info_message())
    stream = make(f"calibration:={calibration}")._streams[0]
    listen(peer_node, stream, DEPTH)
    wait_until(
        lambda: stream.why_not.get("depth", "").endswith(
            "start the node with qos_overrides./camera_info.subscription.durability set to "
            "transient_local and qos_overrides./camera_info.subscription.reliability set to "
            "reliable"
        ),
        "the advice",
        lambda: feed(stream),
    )
    assert stream.why_not["depth"].startswith("no camera_info on /camera_info: ")


def test_camera_info_of_another_name_is_pointed_to(
    make: Any, peer_node: Any, calibration: Path
) -> None:
    from sensor_msgs.msg import CameraInfo

    for topic in ("/a/camera_info", "/camera/camera_info"):
        peer_node.create_publisher(CameraInfo, topic, 1)
    stream = make(f"calibration:={calibration}", remap="image_rect:=/camera/image")._streams[0]
    listen(peer_node, stream, DEPTH)
    wait_until(
        lambda: stream.why_not.get("depth", "").endswith(
            "no camera_info on /camera_info: sensor_msgs/msg/CameraInfo is on "
            "/camera/camera_info, /a/camera_info: remap with -r camera_info:=/camera/camera_info "
            "(ros2 launch: camera_info:=/camera/camera_info)"
        ),
        "the advice",
        lambda: feed(stream),
    )


def test_camera_info_sent_before_the_node_came_comes_with_that_advice(
    make: Any, peer_node: Any
) -> None:
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import CameraInfo

    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer_node.create_publisher(CameraInfo, "/camera_info", kept).publish(camera_info_message())
    end = "qos_overrides./camera_info.subscription"
    node = make(f"{end}.durability:=transient_local", f"{end}.reliability:=reliable")
    camera = node._streams[0].camera
    wait_until(
        lambda: camera.has_info, "camera_info", lambda: rclpy.spin_once(node, timeout_sec=0.1)
    )


def test_a_middleware_that_does_not_tell_what_is_lost_is_taken_as_it_is(
    make: Any, peer_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rclpy
    from sensor_msgs.msg import Image

    from dpt_ros.ros.qos import UnsupportedEventTypeError

    node = make()
    node.trigger_deactivate()
    create = node.create_subscription

    def refuse(*arguments: Any, event_callbacks: Any, **options: Any) -> Any:
        if event_callbacks.message_lost is not None:
            raise UnsupportedEventTypeError("message lost")
        return create(*arguments, event_callbacks=event_callbacks, **options)

    monkeypatch.setattr(node, "create_subscription", refuse)
    node.trigger_activate()
    publisher = peer_node.create_publisher(Image, "/image_rect", 1)

    def publish() -> None:
        publisher.publish(image_message(picture(seed=1), time.time_ns()))
        rclpy.spin_once(node, timeout_sec=0.1)

    wait_until(lambda: node._streams[0].statistics.counts["received"], "a picture", publish)
