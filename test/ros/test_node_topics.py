"""The real node over real DDS: what arrives on every topic, and when nothing should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ros_peer import (
    SLOW,
    at,
    camera_info_message,
    floats,
    image_message,
    picture,
    stamp_ns,
    values_of,
)

pytestmark = pytest.mark.node

IMAGE, CAMERA_INFO = "/camera/image_rect", "/camera/camera_info"
OUTPUTS = {
    "/dpt/inverse_depth/image": "Image",
    "/dpt/depth/image_rect": "Image",
    "/dpt/depth/camera_info": "CameraInfo",
    "/dpt/depth/image_raw": "Image",
    "/dpt/color/image": "Image",
    "/dpt/points": "PointCloud2",
}


class Camera:
    """Publishes pictures as the camera of the node under test would, with stamps of its own."""

    def __init__(self, peer: Any, now_ns: int) -> None:
        self._peer = peer
        self._stamp_ns = now_ns

    def show(self, rgb: np.ndarray, **fields: Any) -> int:
        """Publish a picture; the stamp it got."""
        self._stamp_ns += 33_333_333
        self._peer.publish(IMAGE, image_message(rgb, self._stamp_ns, **fields))
        return self._stamp_ns


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return picture(seed=1)


@pytest.fixture(scope="module")
def scale_shift(calibration: Path) -> tuple[float, float]:
    values = yaml.safe_load(calibration.read_text())
    return values["scale"], values["shift"]


@pytest.fixture
def camera(node: Any, peer: Any) -> Camera:
    return Camera(peer, peer.node.get_clock().now().nanoseconds)


@pytest.fixture
def ears(node: Any, peer: Any) -> Iterator[Callable[..., None]]:
    """Subscribe to topics of the node for one test."""
    import sensor_msgs.msg

    topics: list[str] = []

    def listen(*wanted: str, qos: Any = 10) -> None:
        for topic in wanted:
            peer.listen(topic, getattr(sensor_msgs.msg, OUTPUTS[topic]), qos)
            topics.append(topic)

    yield listen
    peer.listen_no_more(*topics)


@pytest.fixture
def camera_info(peer: Any, camera: Camera) -> Any:
    """The right CameraInfo, published before the test's first picture."""
    info = camera_info_message()
    peer.publish(CAMERA_INFO, info)
    return info


class Answers:
    """What came on every topic for one picture."""

    def __init__(self, peer: Any, expected_ns: int) -> None:
        self.by_topic = {topic: peer.wait_for(topic, at(expected_ns)) for topic in OUTPUTS}

    def __getitem__(self, topic: str) -> Any:
        return self.by_topic[topic]


@pytest.fixture
def answers(peer: Any, ears: Any, camera_info: Any, camera: Camera, rgb: np.ndarray) -> Answers:
    ears(*OUTPUTS)
    return Answers(peer, camera.show(rgb))


def test_every_topic_carries_the_picture(
    answers: Answers, rgb: np.ndarray, predictor: Any, scale_shift: Any, camera_info: Any
) -> None:
    height, width, _ = rgb.shape
    scale, shift = scale_shift
    for topic, message in answers.by_topic.items():
        assert message.header.frame_id == "optical", topic
        assert (message.height, message.width) == (height, width), topic

    inverse_depth = floats(answers["/dpt/inverse_depth/image"])
    np.testing.assert_allclose(inverse_depth, predictor.predict(rgb), rtol=1e-4, atol=1e-5)
    assert inverse_depth.std() > 0.0

    depth_m = floats(answers["/dpt/depth/image_rect"])
    expected_m = 1.0 / (scale * inverse_depth.astype(np.float64) + shift)
    seen = np.isfinite(depth_m)
    assert seen.mean() > 0.8
    np.testing.assert_allclose(depth_m[seen], expected_m[seen], rtol=1e-5)
    assert np.all(np.isposinf(depth_m[~seen]) | np.isneginf(depth_m[~seen]))

    millimetres = answers["/dpt/depth/image_raw"]
    assert millimetres.encoding == "16UC1"
    depth_mm = np.frombuffer(millimetres.data, "<u2").reshape(height, width)
    np.testing.assert_allclose(depth_mm[seen], 1000.0 * depth_m[seen], atol=0.51)
    assert not depth_mm[~seen].any()

    colors = answers["/dpt/color/image"]
    assert colors.encoding == "rgb8" and colors.step == 3 * width
    assert len(np.unique(np.frombuffer(colors.data, np.uint8))) > 10

    info = answers["/dpt/depth/camera_info"]
    np.testing.assert_allclose(info.p, camera_info.p)
    np.testing.assert_allclose(info.k, camera_info.k)


def test_points_project_back_onto_their_pixels(
    answers: Answers, rgb: np.ndarray, camera_info: Any
) -> None:
    cloud = answers["/dpt/points"]
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"]
    assert cloud.row_step == cloud.width * cloud.point_step == 16 * cloud.width
    points = np.frombuffer(cloud.data, "<f4").reshape(cloud.height, cloud.width, 4)
    x, y, z = (points[..., axis].astype(np.float64) for axis in range(3))
    seen = np.isfinite(z)
    assert cloud.is_dense == bool(seen.all())
    np.testing.assert_array_equal(z[seen], floats(answers["/dpt/depth/image_rect"])[seen])
    fx, _, cx, _, _, fy, cy = camera_info.p[:7]
    row, column = np.indices(z.shape)
    assert np.abs(fx * x / z + cx - column)[seen].max() < 0.01
    assert np.abs(fy * y / z + cy - row)[seen].max() < 0.01
    packed = points[..., 3].copy().view(np.uint32)
    colors = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1)
    np.testing.assert_array_equal(colors[seen], rgb[seen])


def test_nothing_is_computed_while_nobody_listens(
    peer: Any, ears: Any, camera: Camera, rgb: np.ndarray
) -> None:
    before = values_of(peer.status("dpt: camera"))
    for _ in range(3):
        camera.show(rgb)

        def skipped(status: Any, before: dict[str, str] = before) -> bool:
            after = values_of(status)
            return int(after["not wanted frames"]) > int(before["not wanted frames"])

        before = values_of(peer.status("dpt: camera", skipped, repeat=True))
    published = before["published frames"]
    ears("/dpt/color/image")
    peer.wait_for("/dpt/color/image", at(camera.show(rgb)))
    status = peer.status("dpt: camera", lambda s: values_of(s)["published frames"] != published)
    assert int(values_of(status)["published frames"]) > int(published)
    assert values_of(status)["subscribed outputs"] == "color"


def test_diagnostics_tell_rates_latencies_and_where_it_runs(
    node: Any, peer: Any, ears: Any, camera: Camera, rgb: np.ndarray, calibration: Path
) -> None:
    ears("/dpt/inverse_depth/image")
    for _ in range(4):
        peer.wait_for("/dpt/inverse_depth/image", at(camera.show(rgb)))
    status = peer.status("dpt: camera", lambda s: values_of(s)["latency p50 ms"] != "none")
    values = values_of(status)
    assert float(values["rate out Hz"]) > 0.0
    for stage in ("receive", "decode", "network", "post", "publish", "overhead"):
        assert 0.0 <= float(values[f"{stage} p50 ms"]) <= float(values[f"{stage} p95 ms"])
    assert float(values["latency p95 ms"]) >= float(values["latency p50 ms"])
    assert str(calibration) in values["calibration"]
    limits = values["depth limits in force"]
    assert limits == "0.5 to 50 m (near: calibration)"  # 0.1 m is set
    assert f"depth limits in force: {limits}; what is nearer" in node.log
    network = values_of(peer.status("dpt: network"))
    assert network["state"] == "active"
    assert network["model"] == "dpt_tiny"
    assert network["device"].startswith("cpu")
    assert network["precision"].startswith("float32")


def test_the_newest_picture_wins(peer: Any, ears: Any, camera: Camera) -> None:
    before = values_of(peer.status("dpt: camera"))
    ears("/dpt/inverse_depth/image")
    stamps = []
    for _ in range(10):
        stamps.append(camera.show(picture(3, *SLOW)))
        time.sleep(0.02)
    peer.wait_for("/dpt/inverse_depth/image", at(stamps[-1]))
    came = [stamp_ns(message) for message in peer.received("/dpt/inverse_depth/image")]
    assert came == sorted(came)
    assert len(came) < len(stamps)

    def overwrote(status: Any) -> bool:
        values = values_of(status)
        return int(values["overwritten frames"]) > int(before["overwritten frames"])

    peer.status("dpt: camera", overwrote)


def test_parameters_change_while_it_runs(
    node: Any, peer: Any, ears: Any, camera: Camera, camera_info: Any, rgb: np.ndarray
) -> None:
    ears("/dpt/points", "/dpt/depth/image_rect")
    assert peer.set_parameter("points.stride", 2).successful
    assert peer.set_parameter("depth.far_m", 5).successful  # an integer for a double
    try:
        stamp = camera.show(rgb)
        cloud = peer.wait_for("/dpt/points", at(stamp))
        assert (cloud.height, cloud.width) == (rgb.shape[0] // 2, rgb.shape[1] // 2)
        depth_m = floats(peer.wait_for("/dpt/depth/image_rect", at(stamp)))
        assert depth_m[np.isfinite(depth_m)].max() <= 5.0
        assert np.isposinf(depth_m).any()
        assert "depth limits in force: 0.5 to 5 m (near: calibration)" in node.log
        told = values_of(peer.status("dpt: camera"))["depth limits in force"]
        assert told == "0.5 to 5 m (near: calibration)"
    finally:
        peer.set_parameter("points.stride", 1)
        peer.set_parameter("depth.far_m", 50.0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("model", "dpt_large", "cleanup"),
        ("checkpoint", "/other.pt", "cleanup"),
        ("calibration", "", "cleanup"),
        ("device", "cuda", "cleanup"),
        ("precision", "float16", "cleanup"),
        ("image_transport", "compressed", "cleanup"),
        ("depth.near_m", -1.0, "range"),
        ("depth.near_m", 60.0, "near_m"),
        ("points.stride", 0, "range"),
        ("points.stride", 1.5, "type"),
    ],
)
def test_parameters_that_are_refused(
    node: Any, peer: Any, name: str, value: Any, reason: str
) -> None:
    result = peer.set_parameter(name, value)
    assert not result.successful
    assert reason in result.reason


def test_millimetres_can_be_switched_off_and_on(node: Any, peer: Any) -> None:
    topic = "/dpt/depth/image_raw"
    assert peer.set_parameter("publish_millimetres", False).successful
    peer.wait_until(lambda: peer.node.count_publishers(topic) == 0, "the topic to go")
    assert peer.set_parameter("publish_millimetres", True).successful
    peer.wait_until(lambda: peer.node.count_publishers(topic) == 1, "the topic to come")
