"""A fixed frame that is not there, and odometry that does not reach the pictures."""

from __future__ import annotations

import pytest
from drive_samples import SECOND, START, samples_of
from test_samples_motion import no_occlusion, turning_robot

from dpt_ros.bags.samples import SampleError
from dpt_ros.bags.transforms import TransformError


@pytest.mark.parametrize("how", ["tf", "none"])
def test_a_fixed_frame_that_is_not_there_is_refused_with_those_that_are(tmp_path, recordings, how):
    messages, _, _ = turning_robot(recordings, True, how)
    bag = recordings.write_bag(tmp_path / "bag", messages)
    known = "base_link, camera, lidar" + (", odom" if how == "tf" else "")
    error = SampleError if how == "tf" else TransformError
    match = rf"'nope'.*frames known: {known}\..*--fixed-frame"
    with pytest.raises(error, match=match):
        samples_of(bag, max_gap_s=0.2, fixed_frame="nope")
    samples, _ = samples_of(bag, max_gap_s=0.2, fixed_frame="nope", motion_compensation=False)
    assert len(samples) == 1


def test_a_fixed_frame_that_moves_along_is_told(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "tf")
    bag = recordings.write_bag(tmp_path / "bag", messages)
    samples, stream = samples_of(bag, max_gap_s=0.2, fixed_frame="base_link", lidar=no_occlusion())
    assert len(samples) == 1
    assert "does not move in the frame 'base_link' (--fixed-frame)" in stream.warnings[0]


def test_odometry_of_another_clock_names_the_way_without_it(tmp_path, recordings):
    messages, _, _ = turning_robot(recordings, True, "odometry")
    for topic, _, message in messages:
        if topic == "/odom":
            message.header.stamp.sec -= START // SECOND
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(SampleError, match="--no-motion-compensation"):
        samples_of(bag, max_gap_s=0.2)
