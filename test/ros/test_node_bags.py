"""Real drives through the real node: each bag is played by a small real publisher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.node

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
IMAGE, CAMERA_INFO = "/camera/image_rect", "/camera/camera_info"
TYPES = {
    "/dpt/inverse_depth/image": "Image",
    "/dpt/depth/image_rect": "Image",
    "/dpt/depth/camera_info": "CameraInfo",
    "/dpt/color/image": "Image",
    "/dpt/points": "PointCloud2",
}


@pytest.fixture
def use_calibration(node: Any, peer: Any, calibration: Path) -> Iterator[Callable[[Path], None]]:
    """Start the node's work anew with another calibration, for one test."""

    def use(path: Path) -> None:
        assert peer.change_state("deactivate", "cleanup")
        assert peer.set_parameter("calibration", str(path)).successful
        assert peer.change_state("configure", "activate"), node.log

    yield use
    use(calibration)


def read_bag(path: Path) -> tuple[Any, Any]:
    """The bag's image and camera_info, as the messages that rclpy publishes."""
    from rclpy.serialization import deserialize_message
    from rosbags.highlevel import AnyReader
    from sensor_msgs.msg import CameraInfo, Image

    found = {}
    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            for topic, message_type in ((IMAGE, Image), (CAMERA_INFO, CameraInfo)):
                if connection.topic == topic:
                    found[topic] = deserialize_message(data, message_type)
    return found[IMAGE], found[CAMERA_INFO]


@pytest.mark.parametrize("name", ["kitti_000000", "kitti_000001"])
def test_a_bag_played_through_the_node(
    node: Any,
    peer: Any,
    predictor: Any,
    write_calibration: Any,
    use_calibration: Any,
    tmp_path: Path,
    name: str,
) -> None:
    import sensor_msgs.msg
    import yaml

    if not (DATA / name).is_dir():
        pytest.skip(f"the bag {name} is not on this machine: {DATA / name}")
    image, info = read_bag(DATA / name)
    rgb = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
    if image.encoding == "bgr8":
        rgb = rgb[..., ::-1]
    rgb = np.ascontiguousarray(rgb)
    calibration = write_calibration(tmp_path / "calibration.yaml", rgb)
    values = yaml.safe_load(calibration.read_text())

    use_calibration(calibration)
    for topic, type_name in TYPES.items():
        peer.listen(topic, getattr(sensor_msgs.msg, type_name))
    peer.publish(CAMERA_INFO, info)
    peer.publish(IMAGE, image)
    messages = {topic: peer.wait_for(topic, lambda message: True) for topic in TYPES}
    for topic, message in messages.items():
        assert message.header == image.header, topic
        assert (message.height, message.width) == (image.height, image.width), topic

    def floats(topic: str) -> np.ndarray:
        return np.frombuffer(messages[topic].data, "<f4").reshape(image.height, image.width, -1)

    inverse_depth = floats("/dpt/inverse_depth/image")[..., 0].astype(np.float64)
    np.testing.assert_allclose(inverse_depth, predictor.predict(rgb), rtol=1e-4, atol=1e-5)
    depth_m = floats("/dpt/depth/image_rect")[..., 0]
    seen = np.isfinite(depth_m)
    assert seen.mean() > 0.8
    expected_m = 1.0 / (values["scale"] * inverse_depth + values["shift"])
    np.testing.assert_allclose(depth_m[seen], expected_m[seen], rtol=1e-5)
    np.testing.assert_allclose(messages["/dpt/depth/camera_info"].p, info.p)

    x, y, z = np.moveaxis(floats("/dpt/points")[..., :3].astype(np.float64), -1, 0)
    kept = np.isfinite(z)
    assert kept.mean() > 0.5
    np.testing.assert_array_equal(z[kept], depth_m[kept])
    row, column = np.indices(z.shape)
    assert np.abs(info.p[0] * x / z + info.p[2] - column)[kept].max() < 0.01
    assert np.abs(info.p[5] * y / z + info.p[6] - row)[kept].max() < 0.01

    peer.listen_no_more(*TYPES)
