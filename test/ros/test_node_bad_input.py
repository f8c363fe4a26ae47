"""The real node and input that is wrong: it is told once a second, and good pictures still come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from ros_peer import (
    FAILING,
    SECOND_NS,
    at,
    camera_info_message,
    image_message,
    picture,
    values_of,
)

pytestmark = pytest.mark.node

INVERSE, DEPTH, POINTS = "/dpt/inverse_depth/image", "/dpt/depth/image_rect", "/dpt/points"
IMAGE, CAMERA_INFO = "/camera/image_rect", "/camera/camera_info"


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return picture(seed=2)


@pytest.fixture
def show(node: Any, peer: Any) -> Callable[..., int]:
    """Publish a picture, the stamp newer each time; `stamp_ns` and message fields can be given."""
    newest_ns = [peer.node.get_clock().now().nanoseconds]

    def publish(rgb: np.ndarray, stamp_ns: int | None = None, **fields: Any) -> int:
        newest_ns[0] += SECOND_NS // 100
        stamp_ns = newest_ns[0] if stamp_ns is None else stamp_ns
        peer.publish(IMAGE, image_message(rgb, stamp_ns, **fields))
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


def test_images_that_cannot_be_read_are_dropped_and_the_next_ones_served(
    node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray
) -> None:
    height, width, _ = rgb.shape
    spoiled = (
        (rgb[:0, :0], {"height": 0, "width": 0, "step": 0}),
        (rgb[:-1], {"height": height}),  # data shorter than step x height
        (rgb, {"step": width}),
        (rgb, {"encoding": "martian8"}),
        (rgb, {"encoding": ""}),
    )
    ears(INVERSE)
    peer.wait_for(INVERSE, at(show(rgb)))  # from here on the node knows of this publisher
    before = int(values_of(peer.status("dpt: camera"))["undecodable frames"])
    for count, (pixels, fields) in enumerate(spoiled, start=before + 1):
        show(pixels, **fields)

        def is_counted(status: Any, count: int = count) -> bool:
            return int(values_of(status)["undecodable frames"]) == count

        assert peer.status("dpt: camera", is_counted).level == b"\x01"  # WARN
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


def test_values_of_12_bits_in_16_are_told_until_they_are_scaled(
    node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray
) -> None:
    ears(INVERSE)
    told = "the mono16 images have no value of 4096 or more, of 65535: if the camera has 12 bits"
    grey = rgb[..., 0].astype(np.uint16)
    peer.wait_for(INVERSE, at(show(grey << 4, encoding="mono16")))
    assert peer.status("dpt: camera", lambda s: told in s.message).level == b"\x01"  # WARN
    assert node.log.count(told) == 1
    peer.wait_for(INVERSE, at(show(grey << 8, encoding="mono16")))
    peer.status("dpt: camera", lambda s: told not in s.message)


def test_the_size_may_change_in_mid_stream(node: Any, peer: Any, ears: Any, show: Any) -> None:
    ears(INVERSE)
    for height, width in ((96, 128), (60, 100), (97, 131), (96, 128)):
        message = peer.wait_for(INVERSE, at(show(picture(4, height, width))))
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
) -> None:
    def why_no_points(text: str) -> Any:
        def fits(status: Any) -> bool:
            return text in values_of(status).get("not published: points", "")

        return fits

    # The node is shared by all tests: let it forget the cameras that others showed it.
    assert peer.change_state("deactivate", "cleanup", "configure", "activate")
    peer.wait_for_state("active")
    ears(INVERSE, DEPTH, POINTS)
    peer.wait_for(INVERSE, at(show(rgb)))  # late: inverse depth needs no camera
    # Shown again until the node knows of the ear for points as well.
    peer.status("dpt: camera", why_no_points("no camera_info"), repeat=True)

    for info, told in (
        (camera_info_message(focal_px=0.0), "uncalibrated"),
        (camera_info_message(width=640, height=300), "640x300"),
    ):
        # Best effort, and topics have no order among them: until the node has seen it.
        def is_told(info: Any = info, text: str = told) -> bool:
            peer.publish(CAMERA_INFO, info)
            return bool(show(rgb)) and text in node.log

        peer.wait_until(is_told, f"the log of {told}")
        peer.status("dpt: camera", why_no_points(told))
        peer.wait_for(INVERSE, at(show(rgb)))
    assert not peer.received(POINTS) and not peer.received(DEPTH)

    for focal_px in (100.0, 150.0):  # right, and changing
        peer.publish(CAMERA_INFO, camera_info_message(focal_px=focal_px))
        expected = pytest.approx((rgb.shape[1] - 1) / focal_px, rel=0.1)
        is_at = at(show(rgb))
        peer.wait_for(POINTS, lambda cloud: is_at(cloud) and across(cloud) == expected)  # noqa: B023


def across(cloud: Any) -> float:
    """The largest x/z of a cloud less the smallest."""
    points = np.frombuffer(cloud.data, "<f4").reshape(cloud.height, cloud.width, 4)
    slopes = points[..., 0] / points[..., 2]
    return float(np.nanmax(slopes) - np.nanmin(slopes))


def test_a_calibration_is_not_used_for_another_network_size(
    node: Any, peer: Any, ears: Any, show: Any
) -> None:
    ears(INVERSE, DEPTH)
    peer.wait_for(INVERSE, at(show(picture(5, height=64, width=256))))
    peer.status(
        "dpt: camera",
        lambda status: "network size" in values_of(status).get("not published: depth", ""),
    )
    assert not peer.received(DEPTH)


def test_pictures_that_nothing_can_be_published_for_are_counted(
    node: Any, peer: Any, ears: Any, show: Any
) -> None:
    """Of depth alone somebody listens, and no calibration fits: every picture has an end."""

    def counts(status: Any) -> dict[str, int]:
        ends = ("published", "overwritten", "stale", "undecodable", "failed", "not wanted")
        values = values_of(status)
        return {name: int(values[f"{name} frames"]) for name in ("received", *ends)}

    ears(DEPTH)
    before = counts(peer.status("dpt: camera"))

    def is_counted(status: Any) -> bool:
        show(picture(5, height=64, width=256))
        now = counts(status)
        is_explained = "not published: depth" in values_of(status)
        return is_explained and now["not wanted"] > before["not wanted"]

    def is_balanced(status: Any) -> bool:
        new = {name: count - before[name] for name, count in counts(status).items()}
        return new.pop("received") == sum(new.values())

    peer.status("dpt: camera", is_counted)
    peer.status("dpt: camera", is_balanced)


def test_a_failed_inference_is_an_error_and_the_next_picture_is_served(
    node: Any,
    peer: Any,
    ears: Any,
    show: Any,
    rgb: np.ndarray,
) -> None:
    ears(INVERSE)
    show(picture(6, *FAILING))
    status = peer.status("dpt: network", lambda status: status.level == b"\x02")
    assert "MemoryError: injected by the test" in status.message
    peer.wait_for(INVERSE, at(show(rgb)))
    peer.status("dpt: network", lambda status: status.level == b"\x00")
    assert int(values_of(peer.status("dpt: camera"))["failed frames"]) == 1


def test_a_best_effort_publisher_is_heard(node: Any, peer: Any, ears: Any, rgb: np.ndarray) -> None:
    from rclpy.qos import qos_profile_sensor_data

    ears(INVERSE)
    peer.forget_publisher(IMAGE)
    stamp_ns = peer.node.get_clock().now().nanoseconds
    peer.publish(IMAGE, image_message(rgb, stamp_ns), qos_profile_sensor_data)
    peer.wait_for(INVERSE, at(stamp_ns))
    peer.forget_publisher(IMAGE)


def test_a_subscriber_with_other_quality_of_service_is_told_of(node: Any, peer: Any) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import Image

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.listen("/dpt/color/image", Image, latched)
    try:
        peer.wait_until(lambda: "QoS mismatch on /dpt/color/image" in node.log, "the warning")
        status = peer.status("dpt: camera")
        assert "durability volatile" in values_of(status)["QoS mismatch"]
        # DDS tells of it once; publishers stay, and so does what does not fit them.
        peer.change_state("deactivate")
        peer.change_state("activate")
        status = peer.status("dpt: camera")
        assert "durability volatile" in values_of(status)["QoS mismatch"]
    finally:
        peer.listen_no_more("/dpt/color/image")
    # Once that one has gone, nothing is wrong any more.
    peer.status("dpt: camera", lambda status: values_of(status)["QoS mismatch"] == "none")


def test_a_stale_picture_is_dropped_where_an_age_is_set(
    node: Any, peer: Any, ears: Any, show: Any, rgb: np.ndarray
) -> None:
    ears(INVERSE)
    before = int(values_of(peer.status("dpt: camera"))["stale frames"])
    assert peer.set_parameter("max_age_s", 2).successful

    def dropped_one(status: Any) -> bool:
        return int(values_of(status)["stale frames"]) > before

    try:
        now_ns = peer.node.get_clock().now().nanoseconds
        show(rgb, stamp_ns=now_ns - 5 * SECOND_NS)
        peer.status("dpt: camera", dropped_one, repeat=True)
        fresh_ns = peer.node.get_clock().now().nanoseconds
        peer.wait_for(INVERSE, at(show(rgb, stamp_ns=fresh_ns)))
    finally:
        assert peer.set_parameter("max_age_s", 0.0).successful
    assert "max_age_s is 2" in node.log
