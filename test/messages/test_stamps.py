"""A header's stamp as one number, of rclpy's messages and of rosbags'."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dpt_ros.messages.stamps import nanoseconds


@pytest.mark.parametrize(
    ("sec", "nanosec", "expected"),
    [
        (0, 0, 0),
        (0, 999_999_999, 999_999_999),
        (1_600_000_000, 123_456_789, 1_600_000_000_123_456_789),
        (-1, 999_999_999, -1),  # nanosec counts up from a negative second, too
        (2_147_483_647, 1, 2_147_483_647_000_000_001),
    ],
)
def test_a_stamp_in_nanoseconds(family, sec, nanosec, expected):
    assert nanoseconds(family.Time(sec=sec, nanosec=nanosec)) == expected


def test_numbers_of_numpy_do_not_overflow():
    stamp = SimpleNamespace(sec=np.int32(1_600_000_000), nanosec=np.uint32(1))
    assert nanoseconds(stamp) == 1_600_000_000_000_000_001
    assert type(nanoseconds(stamp)) is int
