"""The real evaluator beside the real depth node: scores, coloured errors, and the report."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_peer import (
    SECOND_NS,
    START_S,
    camera_info_message,
    image_message,
    picture,
    stamp_ns,
    values_of,
)

from dpt_ros.ros.evaluator_main import NOTHING_SCORED

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]

IMAGE, CAMERA_INFO, POINTS = "/camera/image_rect", "/camera/camera_info", "/lidar/points"
ERROR_POINTS, TRUTH = "/dpt_evaluator/error_points", "/dpt_evaluator/truth/image_rect"
LENS = "/lens/camera_info"
WALL_M = 5.0
PROGRAM = "import sys\nfrom dpt_ros.ros.evaluator_main import main\nsys.exit(main())\n"


def cloud_message(points: np.ndarray, stamp: int) -> Any:
    from sensor_msgs.msg import PointCloud2, PointField

    message = PointCloud2(height=1, width=len(points), point_step=12, row_step=12 * len(points))
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=7, count=1)
        for index, name in enumerate("xyz")
    ]
    message.data.frombytes(np.ascontiguousarray(points, np.float32).tobytes())
    message.header.frame_id = "lidar"
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, SECOND_NS)
    return message


def wall() -> np.ndarray:
    """A wall 5 m ahead as a LiDAR (x forward, y left, z up) in the camera's place sees it."""
    y, z = np.meshgrid(np.linspace(-2.0, 2.0, 40), np.linspace(-1.5, 1.5, 30))
    return np.stack([np.full(y.size, WALL_M), y.ravel(), z.ravel()], axis=1)


def place_of_lidar() -> Any:
    from geometry_msgs.msg import TransformStamped

    message = TransformStamped(child_frame_id="lidar")
    message.header.frame_id = "optical"
    # Takes (x, y, z) of the LiDAR to (-y, -z, x) of the camera.
    rotation = message.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = 0.5, -0.5, 0.5, 0.5
    return message


def set_parameter(peer: Any, name: str, value: Any) -> Any:
    """Set one of the evaluator's."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return peer.call(SetParameters, "/dpt_evaluator/set_parameters", request).results[0]


@pytest.fixture
def start_evaluator(
    start_node: Any, tiny_checkpoint: Path, calibration: Path, tmp_path: Path
) -> Callable[..., Any]:
    def start(*more: str, **parameters: Any) -> Any:
        program = tmp_path / "evaluator.py"
        program.write_text(PROGRAM)
        remaps = (f"image_rect:={IMAGE}", f"camera_info:={CAMERA_INFO}", f"points:={POINTS}")
        arguments = [word for remap in (*remaps, *more) for word in ("-r", remap)]
        values = {
            "model": "dpt_tiny",
            "checkpoint": tiny_checkpoint,
            "calibration": calibration,
            "samples.min_points": 10,
            **parameters,
        }
        return start_node(values, *arguments, program=program)

    return start


def test_depth_is_scored_live_and_reported(
    node: Any, peer: Any, start_evaluator: Any, predictor: Any, calibration: Path, tmp_path: Path
) -> None:
    import yaml
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile
    from sensor_msgs.msg import Image, PointCloud2

    out = tmp_path / "out"
    evaluator = start_evaluator(output=out, node_pid=node.process.pid)
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    peer.wait_until(lambda: peer.node.count_publishers(TRUTH) > 0, "the evaluator", START_S)
    peer.listen(ERROR_POINTS, PointCloud2)
    peer.listen(TRUTH, Image)
    peer.publish("/transform_static", place_of_lidar(), latched)
    rgb = picture(seed=4)
    _drive(peer, rgb)
    status = peer.status("dpt_evaluator: scores", _is_told)
    assert _has_scored(status), (values_of(status), evaluator.log)
    errors = peer.wait_for(ERROR_POINTS, lambda _: True, repeat=False)

    points = np.frombuffer(errors.data, np.float32).reshape(-1, 4)
    assert errors.header.frame_id == "optical" and len(points) > 100
    np.testing.assert_allclose(points[:, 2], WALL_M, rtol=1e-6)
    truth = np.frombuffer(peer.received(TRUTH)[0].data, np.float32)
    assert np.nanmax(truth) == np.nanmin(truth) == np.float32(WALL_M)
    assert any(stamp_ns(message) == stamp_ns(errors) for message in peer.received(TRUTH))

    values = yaml.safe_load(calibration.read_text())
    inverse = predictor.predict(rgb).ravel()[np.isfinite(truth)].astype(np.float64)
    depth = 1.0 / np.clip(inverse * values["scale"] + values["shift"], 1 / 80.0, 1e3)
    expected = float(np.mean(np.abs(depth - WALL_M) / WALL_M))
    assert float(values_of(status)["AbsRel"]) == pytest.approx(expected, abs=1e-4)
    assert values_of(status)["alignment"] == "calibration"

    peer.status("dpt: camera", repeat=False)  # counts what was scored
    why = "The player ended with exit code 1."
    assert set_parameter(peer, "partial", why).successful
    assert not set_parameter(peer, "protocol", "kitti").successful
    assert evaluator.stop() == 0, evaluator.log
    assert "full, calibration" in evaluator.log and "report.html" in evaluator.log
    assert f"partial: {why}" in evaluator.log
    metrics = json.loads((out / "metrics.json").read_text())
    found = next(item for item in metrics["results"] if item["alignment"] == "calibration")
    assert found["metrics"]["abs_rel"] == pytest.approx(expected, rel=1e-5)
    assert metrics["partial"] == why and f"Partial: {why}" in (out / "report.html").read_text()
    timing = json.loads((out / "timing.json").read_text())
    assert timing["latency_ms"]["p50"] > 0.0
    _check_node(timing, metrics)
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "report.html",
        "timing.json",
    ]
    peer.listen_no_more(ERROR_POINTS, TRUTH)


def test_topics_given_as_parameters_are_listened_to(peer: Any, start_evaluator: Any) -> None:
    given = {"image": "/front/image", "points": "/ouster/points"}
    parameters = {f"samples.{name}_topic": topic for name, topic in given.items()}
    evaluator = start_evaluator(image_transport="compressed", **parameters)
    expected = ("/front/image/compressed", "/front/camera_info", "/ouster/points")

    def is_listening() -> bool:
        return all(peer.node.count_subscribers(topic) == 1 for topic in expected)

    peer.wait_until(is_listening, f"who hears {expected}", START_S)
    told = "listening to /front/image/compressed"
    peer.wait_until(lambda: told in evaluator.log, told, START_S)
    assert evaluator.stop() == NOTHING_SCORED, evaluator.log


def test_a_quality_of_service_that_is_given_is_asked_for(peer: Any, start_evaluator: Any) -> None:
    """As of a camera_info that was sent once, before the evaluator came."""
    from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy
    from sensor_msgs.msg import CameraInfo

    given = {"durability": "transient_local", "reliability": "reliable"}
    parameters = {f"qos_overrides.{LENS}.subscription.{k}": v for k, v in given.items()}
    parameters["qos_overrides./nowhere.subscription.depth"] = 3
    evaluator = start_evaluator(**{"samples.camera_info_topic": LENS, **parameters})

    def asked() -> list[tuple[Any, Any]]:
        found = peer.node.get_subscriptions_info_by_topic(LENS)
        return [(end.qos_profile.durability, end.qos_profile.reliability) for end in found]

    expected = (QoSDurabilityPolicy.TRANSIENT_LOCAL, QoSReliabilityPolicy.RELIABLE)
    peer.wait_until(lambda: asked() == [expected], f"who asks for {LENS}", START_S)
    told = "without effect: qos_overrides./nowhere.subscription.depth;"
    peer.wait_until(lambda: told in evaluator.log, told, START_S)

    driver = peer.node.create_publisher(CameraInfo, LENS, 1)  # volatile
    told = f"QoS mismatch on {LENS}: a publisher offers less than the durability transient_local"
    peer.wait_until(lambda: told in evaluator.log, told, START_S)
    peer.node.destroy_publisher(driver)
    assert evaluator.stop() == NOTHING_SCORED, evaluator.log
    assert told in evaluator.log.partition("live: 0 pictures")[2]


def test_it_follows_the_depth_node_into_its_namespace_and_to_its_transport(
    peer: Any, start_evaluator: Any
) -> None:
    evaluator = start_evaluator("__ns:=/robot1", image_transport="compressed", depth_node="front")
    answers = ("/robot1/front/inverse_depth/image", "/robot1/front/depth/image_rect")
    expected = (f"{IMAGE}/compressed", *answers)

    def is_listening() -> bool:
        return all(peer.node.count_subscribers(topic) == 1 for topic in expected)

    peer.wait_until(is_listening, f"who hears {expected}", START_S)
    told = f"listening to {IMAGE}/compressed"
    peer.wait_until(lambda: told in evaluator.log, told, START_S)
    assert evaluator.stop() == NOTHING_SCORED, evaluator.log


def test_settings_that_are_wrong_end_it_with_a_sentence(
    start_evaluator: Any, tmp_path: Path
) -> None:
    evaluator = start_evaluator(protocol="kity")
    assert evaluator.process.wait(START_S) == 1
    assert "got 'kity', expected some of all, full, kitti" in evaluator.log
    assert "Traceback" not in evaluator.log


def _drive(peer: Any, rgb: np.ndarray) -> None:
    """Camera and LiDAR before a wall, until two frames are scored."""
    newest = peer.node.get_clock().now().nanoseconds
    for index in range(30):
        stamp = newest + index * SECOND_NS // 10
        peer.publish(CAMERA_INFO, camera_info_message())
        peer.publish(POINTS, cloud_message(wall(), stamp))
        peer.publish(IMAGE, image_message(rgb, stamp))
        if len(peer.received(ERROR_POINTS)) >= 2:
            break
        _pause()


def _check_node(timing: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Counts, times and load of the depth node are told as `dpt-ros replay` tells them."""
    from dpt_ros.evaluation.timing import losses as losses_of

    losses = timing["losses"]
    assert set(losses) == set(losses_of(0, 0, {}))
    assert 1 <= losses["answered"] <= losses["played"]
    assert losses["lost_before_node"] == losses["undecodable"] == 0
    assert timing["load"]["memory_mib"]["max"] > 50.0 and timing["load"]["cpu_percent"]
    assert timing["node_stages_ms"]["network p50"] > 0.0
    assert timing["network"]["state"] == "active" and "cpu" in timing["network"]["device"]
    assert metrics["missing"] == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_process_that_is_not_here_is_told(
    peer: Any, start_evaluator: Any, tmp_path: Path, is_known: bool
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    out = tmp_path / "out"
    evaluator = start_evaluator(output=out, node_pid=gone.pid if is_known else 0)
    peer.wait_until(lambda: peer.node.count_publishers(TRUTH) > 0, "the evaluator", START_S)
    stamp = peer.node.get_clock().now().nanoseconds
    for index in range(30):
        peer.publish(IMAGE, image_message(picture(seed=4), stamp + index * SECOND_NS // 10))
        status = peer.status("dpt_evaluator: scores")
        if values_of(status)["frames"] != "0":
            break
    assert evaluator.stop() == NOTHING_SCORED, evaluator.log
    reasons = [text for text in _read(out, "metrics")["missing"] if text.startswith("CPU")]
    expected = str(gone.pid) if is_known else "set the parameter node_pid"
    assert len(reasons) == 1 and expected in reasons[0]
    assert _read(out, "timing")["load"] == {}


def _read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def _is_told(status: Any) -> bool:
    """At least one frame, or the reasons why there is none."""
    values = values_of(status)
    return _has_scored(status) or values["no truth"] != "none"


def _has_scored(status: Any) -> bool:
    return int(values_of(status)["frames scored"]) >= 1


def _pause() -> None:
    import time

    time.sleep(0.3)
