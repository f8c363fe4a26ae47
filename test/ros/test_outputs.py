"""What is published of a batch's results."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


@pytest.mark.node
def test_a_camera_publishes_what_it_wants_and_not_what_another_in_the_batch_does() -> None:
    pytest.importorskip("rclpy")
    from std_msgs.msg import Header

    from dpt_ros.inference.pipeline import FrameOutputs
    from dpt_ros.ros.outputs import Outputs

    sent: dict[str, Any] = {}
    stub: Any = SimpleNamespace(_send=sent.__setitem__)
    depth = np.ones((3, 4), np.float32)
    results = FrameOutputs(inverse_depth=depth, depth_m=2.0 * depth)
    header = Header(frame_id="camera")

    Outputs.publish(stub, header, results, None, frozenset({"inverse_depth", "color"}))
    assert list(sent) == ["inverse_depth"]
    assert sent["inverse_depth"].header == header

    Outputs.publish(stub, header, results, "the info", frozenset({"depth", "depth_info"}))
    assert sorted(sent) == ["depth", "depth_info", "inverse_depth"]
    assert np.frombuffer(sent["depth"].data, np.float32).tolist() == [2.0] * 12
