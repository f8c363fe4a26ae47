from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from dpt_ros.evaluation.timing import FrameTime, LiveLosses, TimingLog, distribution_ms, losses
from dpt_ros.evaluation.timing_figures import latency_histogram


def test_latency_counts_from_the_stamp_and_response_from_publication():
    log = TimingLog()
    # Pictures every 100 ms, published 10 ms after their stamp; the second is never answered.
    for index, heard in enumerate((0.05, None, 0.27, 0.35)):
        taken = 0.1 * index
        place = log.add(FrameTime(int(taken * 1e9), taken, taken + 0.01))
        if heard is not None:
            log.heard(place, heard)
    summary = log.summary()
    assert (summary["frames"], summary["answered"]) == (4, 3)
    np.testing.assert_allclose(log.latency_s, [0.05, math.nan, 0.07, 0.05])
    np.testing.assert_allclose(log.response_s, [0.04, math.nan, 0.06, 0.04])
    assert summary["latency_ms"]["p50"] == 50.0 and summary["latency_ms"]["max"] == 70.0
    assert summary["response_ms"]["mean"] == pytest.approx(46.667)
    assert summary["rate_in_hz"] == 10.0
    assert summary["rate_out_hz"] == pytest.approx(2 / 0.30, abs=1e-3)
    # Answers 220 and 80 ms apart, stamps 200 and 100: off by 20 each.
    assert summary["jitter_ms"]["p50"] == summary["jitter_ms"]["max"] == 20.0
    assert summary["playback_late_ms"]["p99"] == 10.0
    np.testing.assert_allclose(log.stamps_s, [0.0, 0.1, 0.2, 0.3])


def test_nothing_played_is_nothing_known():
    summary = TimingLog().summary()
    assert summary["frames"] == 0 and summary["latency_ms"] is summary["rate_out_hz"] is None
    assert distribution_ms(np.empty(0)) is None


def test_percentiles_by_hand():
    found = distribution_ms(np.arange(101) / 1000.0)
    assert found == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "mean": 50.0, "max": 100.0}


def test_every_picture_is_accounted_for():
    node = {"received": 8, "published": 4, "overwritten": 2, "stale": 1, "undecodable": 0}
    found = losses(played=10, answered=3, node=node)
    assert found["lost_before_node"] == 2 and found["dropped"] == 2 and found["stale"] == 1
    assert found["lost_after_node"] == 1 and found["in_node"] == 1
    ends = ("answered", "dropped", "stale", "undecodable", "failed")
    lost = ("lost_before_node", "lost_after_node", "in_node")
    assert sum(found[name] for name in (*ends, *lost)) == found["played"] == 10


@pytest.mark.parametrize(
    ("node", "lost"),
    [
        # Three pictures, of which one was published again.
        ({"received": 3, "published": 3}, ""),  # lost on its way to the node
        ({"received": 4, "published": 4}, ""),  # came twice, and was answered twice
        ({"received": 4, "published": 3, "overwritten": 1}, ""),  # the first one was dropped
        ({"received": 4, "published": 3}, ""),  # the second one is still in the node
        ({"received": 4, "published": 3, "failed": 1}, ""),
        ({"received": 2, "published": 2}, "lost_before_node"),
        ({"received": 3, "published": 3}, "lost_after_node"),
        ({"received": 4, "published": 4}, "lost_after_node"),
    ],
)
def test_a_picture_that_was_published_again_counts_once(node, lost):
    found = losses(played=3, answered=2 if lost else 3, node=node, again=1)
    assert found["played"] == 3 and found["published_again"] == 1
    gone = {name: count for name, count in found.items() if count}
    expected = {"played": 3, "published_again": 1, "answered": 2 if lost else 3}
    assert gone == expected | ({lost: 1} if lost else {})


def test_latencies_that_differ_by_rounding_alone_have_a_histogram():
    log = TimingLog()
    for index in range(5):
        taken_s = index * 0.1
        log.add(FrameTime(index * 10**8, taken_s, taken_s, taken_s + 0.2))
    assert 0.0 < np.ptp(log.latency_s) < 1e-12
    (axes,) = latency_histogram(log).axes
    low_ms, high_ms = axes.dataLim.intervalx
    assert low_ms < 200.0 < high_ms and high_ms - low_ms >= 1.0


def counts(received: int, published: int, overwritten: int = 0) -> dict[str, int]:
    return {"received": received, "published": published, "overwritten": overwritten, "stale": 0}


def test_live_losses_are_those_between_the_nodes_reports():
    live = LiveLosses()
    assert live.summary() == {}
    live.look(0, 0, {})  # of another part of the node
    live.look(2, 1, counts(received=100, published=60, overwritten=40))
    live.look(7, 3, counts(received=104, published=62, overwritten=41))
    live.look(12, 6, counts(received=109, published=66, overwritten=43))
    found = live.summary()
    assert found["played"] == 10 and found["answered"] == 5
    assert found["dropped"] == 3 and found["lost_before_node"] == 1
    assert found["lost_after_node"] == 1 and found["in_node"] == 0
    assert live.troubles == []


def test_a_picture_that_the_node_has_at_its_first_report_counts():
    live = LiveLosses()
    live.look(5, 4, counts(received=55, published=54))
    live.look(7, 7, counts(received=57, published=57))
    found = live.summary()
    assert (found["played"], found["answered"]) == (3, 3)
    live.look(7, 8, counts(received=58, published=58))  # one came to the node alone
    found = live.summary()
    assert (found["played"], found["answered"]) == (4, 4)
    assert not any(found[name] for name in ("lost_before_node", "lost_after_node", "in_node"))


def test_a_first_report_after_the_first_pictures_loses_none_of_them():
    live = LiveLosses()
    live.look(2, 1, counts(received=2, published=1))
    live.look(8, 8, counts(received=8, published=8))
    assert (live.summary()["played"], live.summary()["answered"]) == (8, 8)
    late = LiveLosses()
    late.look(1000, 0, counts(received=0, published=0))  # the node was started later
    late.look(1002, 2, counts(received=2, published=2))
    assert late.summary()["played"] == 2 and late.summary()["lost_before_node"] == 0


def test_a_node_that_counts_anew_is_told():
    live = LiveLosses()
    live.look(0, 0, counts(received=0, published=0))
    live.look(9, 9, counts(received=9, published=9))
    live.look(9, 9, counts(received=0, published=0))
    live.look(13, 12, counts(received=4, published=3, overwritten=1))
    assert live.summary()["played"] == 4 and live.summary()["dropped"] == 1
    assert any("count anew" in text for text in live.troubles)


def test_a_recording_that_is_played_again_and_again_has_its_own_rate_and_no_jitter():
    log = TimingLog()
    for _ in range(3):
        for index in range(20):
            taken_s = 5.0 + 0.1 * index
            log.add(FrameTime(int(taken_s * 1e9), taken_s, taken_s + 0.01, taken_s + 0.05))
    summary = log.summary()
    assert summary["frames"] == 60
    assert summary["rate_in_hz"] == summary["rate_out_hz"] == pytest.approx(10.0, abs=0.01)
    assert summary["jitter_ms"]["max"] == pytest.approx(0.0, abs=1e-6)


def test_one_thread_looks_while_another_adds():
    log, failures = TimingLog(), []

    def add() -> None:
        try:
            for index in range(100_000):
                log.heard(log.add(FrameTime(index, 0.1 * index, 0.1 * index)), 0.1 * index)
        except BufferError as error:
            failures.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    while thread.is_alive():
        latency_s = log.latency_s
        assert len(log.stamps_s) >= len(latency_s)
    thread.join()
    assert not failures and len(log) == 100_000
