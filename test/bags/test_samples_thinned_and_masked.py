"""Samples are thinned out by time, and the robot's own body is masked."""

from __future__ import annotations

import numpy as np
import pytest
from drive_samples import STAMPS, samples_of

from dpt_ros.config import ConfigError


def test_thinned_out(drive):
    samples, stream = samples_of(drive, interval_s=0.2)
    assert [sample.stamp_ns for sample in samples] == [STAMPS[0], STAMPS[2]]
    assert stream.rejected == {"less than 0.2 s after the sample before": 2}


def test_the_body_is_masked_by_a_box_and_a_polygon(drive):
    whole = samples_of(drive)[0][0].depth_m
    left = "lidar 0 10 0 9 -9 9"  # y >= 0: what is to the left, and the middle
    (sample, *_), stream = samples_of(drive, body_box=left)
    known = np.isfinite(sample.depth_m)
    assert known.any()
    assert not known[:, :15].any()
    np.testing.assert_array_equal(sample.depth_m[:, 17:], whole[:, 17:])
    assert stream.tally.points["body"] > 0
    # The same box in the camera's frame: x right, y down, z forward.
    (other, *_), _ = samples_of(drive, body_box="camera -9 0 -9 9 0 10; camera 90 91 0 1 0 1")
    np.testing.assert_array_equal(other.depth_m, sample.depth_m)
    (polygon, *_), _ = samples_of(drive, body_polygon="0 12, 31 12, 31 23, 0 23")
    assert not np.isfinite(polygon.depth_m[12:]).any()
    np.testing.assert_array_equal(polygon.depth_m[:12], whole[:12])


def test_a_masked_body_hides_what_is_behind_it(tmp_path, recordings):
    """A plate 1 m ahead, before the wall at 5 m: 0.2 m to each side are 5 px of the picture."""
    y, z = (part.ravel() for part in np.meshgrid(*[np.linspace(-0.2, 0.2, 21)] * 2))
    plate = np.stack([np.ones_like(y), y, z], axis=1)
    wall = recordings.wall(5.0, step_rad=0.02)
    messages = [
        (t, ns, recordings.cloud(ns, np.concatenate([wall, plate])) if t == "/points" else m)
        for t, ns, m in recordings.drive(STAMPS)
    ]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    (whole, *_), without_box = samples_of(bag)
    (sample, *_), stream = samples_of(bag, body_box="lidar 0.9 1.1 -0.3 0.3 -0.3 0.3")
    of_plate = whole.depth_m == 1.0
    assert of_plate[7:17, 11:21].all()
    assert not np.isfinite(sample.depth_m[of_plate]).any()
    np.testing.assert_array_equal(sample.depth_m[~of_plate], whole.depth_m[~of_plate])
    points, before = stream.tally.points, without_box.tally.points
    assert points["body"] == 4 * len(plate)
    assert points["in_picture"] == before["in_picture"] - points["body"]
    assert points["hidden"] == before["hidden"] > 0


@pytest.mark.parametrize(
    ("setting", "value", "match"),
    [
        ("body_box", "base_link 0 1 0 1", "expected FRAME X0 X1 Y0 Y1 Z0 Z1"),
        ("body_box", "base_link 1 0 0 1 0 1", "expected X0 < X1"),
        ("body_box", "base_link 0 nan 0 1 0 1", "expected FRAME"),
        ("body_polygon", "0 0 1 1", "three corners or more"),
        ("body_polygon", "a b c", "three corners or more"),
    ],
)
def test_wrong_masks_are_explained(drive, setting, value, match):
    with pytest.raises(ConfigError, match=match):
        samples_of(drive, **{setting: value})
