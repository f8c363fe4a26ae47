"""The real node's life: nothing by itself, a configure that fails and is mended, time, the end."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_peer import SECOND_NS, START_S, at, image_message, picture, values_of

pytestmark = pytest.mark.node

_OVERRIDE = "qos_overrides./camera/image_color/compressed.subscription.reliability"
COLOR, DEPTH = "/front/dpt/color/image", "/front/dpt/depth/image_rect"


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return picture(seed=7)


@pytest.fixture(scope="module")
def node(start_node: Any, peer: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """In a namespace, with weights that are not there, and waiting to be told what to do."""
    peer.node_name = "/front/dpt"
    parameters = {
        "autostart": False,
        "model": "dpt_tiny",
        "checkpoint": "/no/such/weights.safetensors",
        "image_transport": "compressed",
        "device": "cpu",
        "precision": "float32",
        "dept.far_m": 3.0,
        _OVERRIDE: "reliable",
        "qos_overrides./front/dpt/pointz.publisher.reliability": "best_effort",
    }
    yield start_node(parameters, "-r", "__ns:=/front", "-r", "image_rect:=/camera/image_color")
    peer.node_name = "/dpt"


def jpeg_message(rgb: np.ndarray, stamp_ns: int) -> Any:
    import cv2
    from sensor_msgs.msg import CompressedImage

    _, encoded = cv2.imencode(".png", rgb[..., ::-1])
    message = CompressedImage(format="png", data=encoded.tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND_NS)
    message.header.frame_id = "optical"
    return message


# The tests below are one story, told in this order.


def test_without_autostart_it_waits(node: Any, peer: Any) -> None:
    assert peer.state() == "unconfigured"
    assert "dept.far_m (did you mean depth.far_m?)" in node.log


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("checkpoint", "/no/such/weights.safetensors", "checkpoint /no/such/weights.safetensors: "),
        ("model", "dpt_enormous", "dpt_enormous"),
        ("device", "cuda:99", "cuda"),
        ("calibration", "/no/such/calibration.yaml", "calibration /no/such/calibration.yaml: "),
    ],
)
def test_a_configure_that_fails_says_why_and_leaves_it_unconfigured(
    node: Any, peer: Any, tiny_checkpoint: Path, name: str, value: str, told: str
) -> None:
    right = {"checkpoint": str(tiny_checkpoint), "model": "dpt_tiny", "device": "cpu"}
    for other, right_value in right.items():
        assert peer.set_parameter(other, right_value).successful
    assert peer.set_parameter(name, value).successful
    assert not peer.change_state("configure")
    assert peer.state() == "unconfigured"
    assert "configure failed" in node.log
    assert told in node.log
    status = peer.status("front/dpt: network", lambda status: told in status.message)
    assert status.level == b"\x02"  # ERROR
    assert node.process.poll() is None
    assert peer.set_parameter(name, right.get(name, "")).successful


def test_mended_it_configures_and_listens_once_active(
    node: Any, peer: Any, tiny_checkpoint: Path
) -> None:
    assert peer.set_parameter("checkpoint", str(tiny_checkpoint)).successful
    assert peer.change_state("configure")
    assert peer.state() == "inactive"
    peer.wait_until(lambda: peer.node.count_publishers(COLOR) == 1, "the publishers")
    assert peer.node.count_subscribers("/camera/image_color/compressed") == 0
    assert peer.change_state("activate")
    peer.wait_until(
        lambda: peer.node.count_subscribers("/camera/image_color/compressed") == 1,
        "a subscription to the compressed images",
    )
    assert peer.node.count_subscribers("/camera/image_color") == 0


def test_a_quality_of_service_is_taken_at_the_start_and_not_while_it_runs(
    node: Any, peer: Any
) -> None:
    (subscription,) = peer.node.get_subscriptions_info_by_topic("/camera/image_color/compressed")
    assert subscription.qos_profile.reliability.name == "RELIABLE"
    refused = peer.set_parameter(_OVERRIDE, "best_effort")
    assert not refused.successful
    assert f"{_OVERRIDE} is fixed while the node is configured" in refused.reason
    told = "without effect: qos_overrides./front/dpt/pointz.publisher.reliability; expected"
    assert told in node.log


def test_compressed_images_are_served_without_metres(
    node: Any, peer: Any, rgb: np.ndarray, predictor: Any
) -> None:
    from sensor_msgs.msg import Image

    inverse = "/front/dpt/inverse_depth/image"
    peer.listen(inverse, Image)
    peer.listen(DEPTH, Image)
    stamp_ns = peer.node.get_clock().now().nanoseconds
    peer.publish("/camera/image_color/compressed", jpeg_message(rgb, stamp_ns))
    message = peer.wait_for(inverse, at(stamp_ns))
    inverse_depth = np.frombuffer(message.data, "<f4").reshape(message.height, message.width)
    np.testing.assert_allclose(inverse_depth, predictor.predict(rgb), rtol=1e-4, atol=1e-5)

    def says_why(status: Any) -> bool:
        why = values_of(status).get("not published: depth", "")
        return "relative" in why and "calibration" in why

    peer.status("front/dpt: camera", says_why)
    assert not peer.received(DEPTH)
    peer.listen_no_more(inverse, DEPTH)


def test_simulated_time_that_jumps_back_starts_the_ages_anew(
    node: Any, peer: Any, rgb: np.ndarray
) -> None:
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import Image

    def tick(now_s: float) -> None:
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(int(now_s * SECOND_NS), SECOND_NS)
        peer.publish("/clock", clock)
        # Nothing says in which order two topics arrive.
        peer.wait_for("/diagnostics", lambda array: array.header.stamp == clock.clock, "the time")

    def serve(stamp_s: float, now_s: float) -> None:
        tick(now_s)
        stamp_ns = int(stamp_s * SECOND_NS)
        peer.publish("/camera/image_color/compressed", jpeg_message(rgb, stamp_ns))
        peer.wait_for(COLOR, at(stamp_ns))

    assert peer.set_parameter("use_sim_time", True).successful
    assert peer.set_parameter("max_age_s", 1.0).successful
    peer.listen(COLOR, Image)
    peer.status("front/dpt: camera")  # listens to /diagnostics from here on
    try:
        serve(stamp_s=1000.0, now_s=1000.25)
        status = peer.status(
            "front/dpt: camera", lambda s: values_of(s)["latency p50 ms"] == "250.00"
        )
        assert "went back" not in status.message
        # The bag begins again: 900 s earlier, which no limit of age may take for anything.
        serve(stamp_s=100.0, now_s=100.5)
        peer.status("front/dpt: camera", lambda s: values_of(s)["latency p95 ms"] == "500.00")
        assert "went back" not in node.log
    finally:
        peer.listen_no_more(COLOR)
        assert peer.set_parameter("max_age_s", 0.0).successful
        assert peer.set_parameter("use_sim_time", False).successful


def test_deactivated_and_cleaned_up_it_takes_another_start(
    node: Any, peer: Any, rgb: np.ndarray
) -> None:
    from sensor_msgs.msg import Image

    assert not peer.set_parameter("image_transport", "raw").successful
    assert peer.change_state("deactivate")
    assert peer.state() == "inactive"
    assert not peer.set_parameter("image_transport", "raw").successful
    assert peer.change_state("cleanup")
    peer.wait_until(lambda: peer.node.count_publishers(COLOR) == 0, "the publishers to go")
    assert peer.set_parameter("image_transport", "raw").successful
    assert peer.change_state("configure", "activate")
    peer.listen(COLOR, Image)
    stamp_ns = peer.node.get_clock().now().nanoseconds
    peer.publish("/camera/image_color", image_message(rgb, stamp_ns))
    peer.wait_for(COLOR, at(stamp_ns))
    peer.listen_no_more(COLOR)


def test_silence_is_explained_by_what_is_published_elsewhere(node: Any, peer: Any) -> None:
    from sensor_msgs.msg import CompressedImage, Image

    peer.forget_publisher("/camera/image_color")
    status = peer.status(
        "front/dpt: camera",
        lambda status: "image_transport to compressed" in values_of(status).get("no images", ""),
    )
    assert "/camera/image_color/compressed is published" in status.message
    peer.forget_publisher("/camera/image_color/compressed")
    elsewhere = peer.node.create_publisher(Image, "/kitchen/image", 1)
    status = peer.status(
        "front/dpt: camera",
        lambda status: "/kitchen/image" in values_of(status).get("no images", ""),
    )
    assert "nobody publishes /camera/image_color" in status.message
    assert "remap with -r image_rect:=/" in status.message
    peer.node.destroy_publisher(elsewhere)
    wrong_type = peer.node.create_publisher(CompressedImage, "/camera/image_color", 1)
    peer.status(
        "front/dpt: camera",
        lambda status: "set the parameter image_transport to compressed" in status.message,
    )
    peer.node.destroy_publisher(wrong_type)


def test_shut_down_it_says_so(node: Any, peer: Any) -> None:
    assert peer.change_state("shutdown")
    peer.status("front/dpt: network", lambda status: values_of(status)["state"] == "finalized")
    (line,) = [line for line in node.log.splitlines() if "finalized" in line]
    assert "[INFO]" in line
    assert "end this process (Ctrl-C) and start it anew" in line


def test_it_ends_cleanly_when_interrupted(node: Any) -> None:
    assert node.stop(signal.SIGINT) == 0
    assert "Traceback" not in node.log


def test_a_parameter_out_of_range_at_the_start_is_one_clear_line(start_node: Any) -> None:
    node = start_node({"depth.near_m": -2.0})
    assert node.process.wait(100) == 1
    assert "depth.near_m: got -2.0, expected 0.001 to" in node.log
    assert "Traceback" not in node.log


def test_it_ends_cleanly_while_it_starts(start_node: Any, peer: Any) -> None:
    node = start_node({"model": "dpt_tiny"}, "-r", "__ns:=/brief")

    def has_appeared() -> bool:
        assert node.process.poll() is None, node.log
        return bool(peer.node.count_publishers("/brief/dpt/transition_event") > 0)

    peer.wait_until(has_appeared, "a node", START_S)
    assert node.stop(signal.SIGTERM) == 0
    assert "Traceback" not in node.log
