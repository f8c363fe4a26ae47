"""The real node and input that is wrong: it is told once a second, and good pictures still come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.node

INVERSE, DEPTH, POINTS = "/dpt/inverse_depth/image", "/dpt/depth/image_rect", "/dpt/points"
IMAGE, CAMERA_INFO = "/camera/image_rect", "/camera/camera_info"
SECOND_NS = 10**9
FAILING = (7, 11)
"""The node fails for pictures of this height and width: see conftest."""


def at(expected_ns: int) -> Callable[[Any], bool]:
    def fits(message: Any) -> bool:
        stamp = message.header.stamp
        return bool(stamp.sec * SECOND_NS + stamp.nanosec == expected_ns)

    return fits


@pytest.fixture(scope="module")
def rgb(make_picture: Any) -> np.ndarray:
    return make_picture(seed=2)


@pytest.fixture
def show(node: Any, peer: Any, make_image: Any) -> Callable[..., int]:
    """Publish a picture, the stamp newer each time; `stamp_ns` and message fields can be given."""
    newest_ns = [peer.node.get_clock().now().nanoseconds]

    def publish(rgb: np.ndarray, stamp_ns: int | None = None, **fields: Any) -> int:
        newest_ns[0] += SECOND_NS // 100
        stamp_ns = newest_ns[0] if stamp_ns is None else stamp_ns
        peer.publish(IMAGE, make_image(rgb, stamp_ns, **fields))
        return stamp_ns

    return publish


@pytest.fixture
def ears(node: Any, peer: Any) -> Iterator[Callable[..., None]]:
    from sensor_msgs.msg import Image, PointCloud2

    topics: list[str] = []

    def listen(*wanted: str) -> None:
        for topic in wanted:
            peer.listen(topic, PointCloud2 if topic == POINTS else Image)
            topics.append(topic)

    yield listen
    peer.listen_no_more(*topics)


def spoiled(rgb: np.ndarray, kind: str) -> tuple[np.ndarray, dict[str, Any]]:
    height, width, _ = rgb.shape
    return {
        "zero size": (rgb[:0, :0], {"height": 0, "width": 0, "step": 0}),
        "short data": (rgb[:-1], {"height": height}),
        "short step": (rgb, {"step": width}),
        "unknown encoding": (rgb, {"encoding": "martian8"}),
        "empty encoding": (rgb, {"encoding": ""}),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["zero size", "short data", "short step", "unknown encoding", "empty encoding"]
)
def test_an_image_that_cannot_be_read_is_dropped_and_the_next_one_served(
    node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray, status_values: Any, kind: str
) -> None:
    ears(INVERSE)
    before = int(status_values(peer.status("dpt: camera"))["undecodable frames"])
    pixels, fields = spoiled(rgb, kind)
    show(pixels, **fields)

    def counted(status: Any) -> bool:
        return int(status_values(status)["undecodable frames"]) == before + 1

    status = peer.status("dpt: camera", counted)
    assert status.level == b"\x01"  # WARN
    peer.wait_for(INVERSE, at(show(rgb)))
    assert node.process.poll() is None


def test_a_flood_of_bad_images_is_told_at_most_once_a_second(
    node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray
) -> None:
    import time

    ears(INVERSE)
    lines_before = node.log.count("image dropped")
    start_s = time.monotonic()
    for _ in range(40):
        show(rgb, encoding="martian8")
        time.sleep(0.03)
    peer.wait_for(INVERSE, at(show(rgb)))
    lines = node.log.count("image dropped") - lines_before
    assert 1 <= lines <= 1 + (time.monotonic() - start_s)


def test_nan_in_a_float_image(node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray) -> None:
    ears(INVERSE)
    grey = rgb[..., 0].astype(np.float32) / 255.0
    grey[10:20] = np.nan
    grey[30, 30] = np.inf
    stamp = show(grey, encoding="32FC1")
    inverse_depth = peer.wait_for(INVERSE, at(stamp))
    assert np.isfinite(np.frombuffer(inverse_depth.data, "<f4")).all()


def test_the_size_may_change_in_mid_stream(
    node: Any, peer: Any, ears: Any, show: Any, make_picture: Any
) -> None:
    ears(INVERSE)
    for height, width in ((96, 128), (60, 100), (97, 131), (96, 128)):
        message = peer.wait_for(INVERSE, at(show(make_picture(4, height, width))))
        assert (message.height, message.width) == (height, width)


def test_stamps_of_zero_and_going_back_are_served(
    node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray
) -> None:
    ears(INVERSE)
    for stamp_ns in (0, 5 * SECOND_NS, 4 * SECOND_NS):
        peer.wait_for(INVERSE, at(show(rgb, stamp_ns=stamp_ns)))
    peer.wait_for(INVERSE, at(show(rgb)))
    assert "image stamps are zero" in node.log


def test_camera_info_late_uncalibrated_of_another_shape_and_right(
    node: Any,
    peer: Any,
    ears: Any,
    show: Any,
    rgb: np.ndarray,
    make_camera_info: Any,
    status_values: Any,
) -> None:
    def why_no_points(text: str) -> Any:
        def fits(status: Any) -> bool:
            return text in status_values(status).get("not published: points", "")

        return fits

    ears(DEPTH, POINTS)
    peer.wait_for(DEPTH, at(show(rgb)))  # late: depth needs no camera
    peer.status("dpt: camera", why_no_points("no camera_info"))

    for info, told in (
        (make_camera_info(focal_px=0.0), "uncalibrated"),
        (make_camera_info(width=640, height=300), "640x300"),
    ):
        peer.publish(CAMERA_INFO, info)
        peer.wait_for(DEPTH, at(show(rgb)))
        peer.status("dpt: camera", why_no_points(told))
        assert told in node.log
    assert not peer.received(POINTS)

    for focal_px in (100.0, 150.0):  # right, and changing
        peer.publish(CAMERA_INFO, make_camera_info(focal_px=focal_px))
        cloud = peer.wait_for(POINTS, at(show(rgb)))
        points = np.frombuffer(cloud.data, "<f4").reshape(cloud.height, cloud.width, 4)
        slopes = points[..., 0] / points[..., 2]
        across = np.nanmax(slopes) - np.nanmin(slopes)
        assert across == pytest.approx((rgb.shape[1] - 1) / focal_px, rel=0.1)


def test_a_calibration_is_not_used_for_another_network_size(
    node: Any, peer: Any, ears: Any, show: Any, make_picture: Any, status_values: Any
) -> None:
    ears(INVERSE, DEPTH)
    peer.wait_for(INVERSE, at(show(make_picture(5, height=64, width=256))))
    peer.status(
        "dpt: camera",
        lambda status: "network size" in status_values(status).get("not published: depth", ""),
    )
    assert not peer.received(DEPTH)


def test_a_failed_inference_is_an_error_and_the_next_picture_is_served(
    node: Any,
    peer: Any,
    ears: Any,
    show: Any,
    rgb: np.ndarray,
    make_picture: Any,
    status_values: Any,
) -> None:
    ears(INVERSE)
    show(make_picture(6, *FAILING))
    status = peer.status("dpt: network", lambda status: status.level == b"\x02")
    assert "MemoryError: injected by the test" in status.message
    peer.wait_for(INVERSE, at(show(rgb)))
    peer.status("dpt: network", lambda status: status.level == b"\x00")
    assert int(status_values(peer.status("dpt: camera"))["failed frames"]) == 1


def test_a_best_effort_publisher_is_heard(
    node: Any, peer: Any, ears: Any, make_image: Any, rgb: np.ndarray
) -> None:
    from rclpy.qos import qos_profile_sensor_data

    ears(INVERSE)
    peer.forget_publisher(IMAGE)
    stamp_ns = peer.node.get_clock().now().nanoseconds
    peer.publish(IMAGE, make_image(rgb, stamp_ns), qos_profile_sensor_data)
    peer.wait_for(INVERSE, at(stamp_ns))
    peer.forget_publisher(IMAGE)


def test_a_subscriber_with_other_quality_of_service_is_told_of(
    node: Any, peer: Any, status_values: Any
) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import Image

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.listen("/dpt/color/image", Image, latched)
    try:
        peer.wait_until(lambda: "QoS mismatch on /dpt/color/image" in node.log, "the warning")
        status = peer.status("dpt: camera")
        assert "durability volatile" in status_values(status)["QoS mismatch"]
    finally:
        peer.listen_no_more("/dpt/color/image")


def test_a_stale_picture_is_dropped_where_an_age_is_set(
    node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray, status_values: Any
) -> None:
    ears(INVERSE)
    assert peer.set_parameter("max_age_s", 2).successful
    try:
        now_ns = peer.node.get_clock().now().nanoseconds
        show(rgb, stamp_ns=now_ns - 5 * SECOND_NS)
        peer.status("dpt: camera", lambda status: status_values(status)["stale frames"] == "1")
        fresh_ns = peer.node.get_clock().now().nanoseconds
        peer.wait_for(INVERSE, at(show(rgb, stamp_ns=fresh_ns)))
    finally:
        assert peer.set_parameter("max_age_s", 0.0).successful
    assert "max_age_s is 2" in node.log
