"""depth/camera_info for a listener that wants nothing else, as `ros2 topic echo` does."""

from __future__ import annotations

from typing import Any

import pytest
from ros_peer import camera_info_message, image_message, picture

pytestmark = pytest.mark.node

TOPIC = "/dpt/depth/camera_info"


def test_camera_info_comes_to_one_who_listens_to_nothing_else(node: Any, peer: Any) -> None:
    from sensor_msgs.msg import CameraInfo

    info = camera_info_message()
    peer.publish("/camera/camera_info", info)
    peer.listen(TOPIC, CameraInfo)
    try:
        stamp_ns = peer.node.get_clock().now().nanoseconds
        image = image_message(picture(seed=1), stamp_ns)
        peer.publish("/camera/image_rect", image)
        got = peer.wait_for(TOPIC, lambda message: message.header == image.header)
    finally:
        peer.listen_no_more(TOPIC)
    assert (got.width, got.height) == (info.width, info.height)
    assert list(got.p) == list(info.p)
