"""Stamps that cannot be true: which messages pass."""

from __future__ import annotations

from dpt_ros.bags.reader import BagRecord
from dpt_ros.bags.stamp_guard import StampGuard

S = 1_000_000_000


def passing(stamps_s, topic="/points", recorded_s=None) -> tuple[list[float], StampGuard]:
    """Stamps of what passes, of messages recorded one second after the other."""
    guard = StampGuard()
    recorded_s = recorded_s or range(1000, 1000 + len(stamps_s))
    found = []
    for at_s, stamp_s in zip(recorded_s, stamps_s, strict=True):
        found += guard.take(BagRecord(topic, at_s * S, round(stamp_s * S), None, b""))
    found += guard.finish()
    return [record.stamp_ns / S for record in found], guard


def test_stamps_that_keep_pace_pass():
    found, guard = passing([1000, 1001.02, 1001.97, 1003])
    assert found == [1000, 1001.02, 1001.97, 1003] and not guard.damaged


def test_a_stamp_from_the_future_is_left_out():
    found, guard = passing([1000, 1001, 4e9, 1003, 1004])
    assert found == [1000, 1001, 1003, 1004]
    assert guard.damaged == [("/points", 4_000_000_000 * S)]


def test_zero_at_the_beginning_and_at_the_end_is_left_out():
    found, guard = passing([0, 1001, 1002, 0])
    assert found == [1001, 1002] and len(guard.damaged) == 2


def test_damaged_stamps_that_do_not_agree_are_all_left_out():
    found, guard = passing([1000, 5000, 90, 7777, 1004])
    assert found == [1000, 1004] and len(guard.damaged) == 3


def test_simulated_time_passes_whole():
    assert passing([5, 6, 7, 8])[0] == [5, 6, 7, 8]


def test_a_clock_that_was_set_passes_whole():
    assert passing([1000, 1001, 8000, 8001, 8002])[0] == [1000, 1001, 8000, 8001, 8002]


def test_time_that_runs_slower_than_the_recording_passes():
    recorded_s = range(1000, 4000, 30)
    stamps_s = [at_s * 0.25 for at_s in range(100)]
    assert passing(stamps_s, recorded_s=recorded_s)[0] == stamps_s


def test_the_only_message_of_a_topic_passes():
    found, guard = passing([17])
    assert found == [17]
    assert guard.newest_ns == {"/points": 17 * S} and guard.distance_ns == {"/points": -983 * S}


def test_topics_are_judged_each_by_itself():
    guard = StampGuard()
    for index in range(3):
        at_ns = (1000 + index) * S
        assert guard.take(BagRecord("/wall_clock", at_ns, at_ns, None, b""))
        assert bool(guard.take(BagRecord("/since_start", at_ns, index * S, None, b""))) == (
            index > 0
        )
