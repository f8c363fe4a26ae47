"""Rates, percentiles and stage times, worked by hand."""

from __future__ import annotations

import pytest

from dpt_ros.ros.statistics import FrameStatistics, FrameTimes, percentile, rate_hz


def frame(published: float = 10.100, idle_since: float = 9.0) -> FrameTimes:
    """Received at 10.000, taken 2 ms later, decoded in 1 ms, 50 ms in the network."""
    return FrameTimes(
        received=10.000,
        idle_since=idle_since,
        taken=10.002,
        decoded=10.003,
        processed=10.060,
        network_s=0.050,
        published=published,
    )


def test_stages_add_up_to_what_lies_between_received_and_published() -> None:
    stages_s = frame().stages_s
    expected = {
        "receive": 0.002,
        "decode": 0.001,
        "network": 0.050,
        "post": 0.007,
        "publish": 0.040,
        "overhead": 0.050,
    }
    assert stages_s == pytest.approx(expected)


def test_waiting_for_the_frame_before_is_no_overhead() -> None:
    stages_s = frame(idle_since=10.0015).stages_s
    assert stages_s["receive"] == pytest.approx(0.0005)
    assert stages_s["overhead"] == pytest.approx(0.0485)


def test_rate_counts_the_intervals_within_the_window() -> None:
    assert rate_hz([0.0, 94.0, 98.0, 98.5, 99.0], now_s=99.5) == pytest.approx(2.0)
    assert rate_hz([99.0], now_s=99.5) == 0.0
    assert rate_hz([10.0, 11.0], now_s=99.5) == 0.0


def test_the_rate_of_a_slow_stream_is_that_of_its_last_two_until_it_is_overdue() -> None:
    five_seconds_apart = [85.0, 90.0, 95.0]
    for now_s in (95.0, 97.0, 99.9, 107.4):
        assert rate_hz(five_seconds_apart, now_s) == pytest.approx(0.2)
    assert rate_hz(five_seconds_apart, now_s=107.6) == 0.0
    assert rate_hz([0.0, 50.0], now_s=79.0) == pytest.approx(0.02)
    assert rate_hz([0.0, 50.0], now_s=81.0) == 0.0


def test_a_camera_is_silent_once_its_next_image_is_overdue() -> None:
    statistics = FrameStatistics()
    assert statistics.is_silent(0.0, after_s=3.0)
    statistics.arrived(10.0, overwritten=False)
    assert not statistics.is_silent(12.9, after_s=3.0)
    assert statistics.is_silent(13.0, after_s=3.0)
    for at_s, silent_from_s in ((10.1, 13.1), (15.1, 27.6), (75.1, 105.1)):
        statistics.arrived(at_s, overwritten=False)
        assert not statistics.is_silent(silent_from_s - 0.1, after_s=3.0)
        assert statistics.is_silent(silent_from_s + 0.1, after_s=3.0)


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(20, 0, -1)]
    assert percentile(values, 50) == 10.0
    assert percentile(values, 95) == 19.0
    assert percentile([3.0], 50) == 3.0
    assert percentile([], 50) is None


def test_counts_and_latencies() -> None:
    statistics = FrameStatistics()
    statistics.arrived(10.0, overwritten=False)
    statistics.arrived(10.1, overwritten=True)
    statistics.count("stale")
    statistics.finished(frame(), latency_s=0.3)
    statistics.finished(frame(published=10.2), latency_s=None)
    assert statistics.counts == {
        "received": 2,
        "published": 2,
        "overwritten": 1,
        "stale": 1,
        "undecodable": 0,
        "failed": 0,
        "not wanted": 0,
    }
    assert statistics.latencies_s(10.5) == [0.3]
    assert statistics.latencies_s(99.0) == []
    assert statistics.rates_hz(10.5) == pytest.approx((10.0, 10.0))
    statistics.forget_latencies()
    assert statistics.latencies_s(10.5) == []


def test_losses_are_spoken_of_above_a_few_and_above_a_share() -> None:
    statistics = FrameStatistics()
    for index in range(100):
        statistics.arrived(10.0 + index / 100.0, overwritten=False)
    statistics.lost(11.0, 5)
    assert statistics.losses(11.0) is None  # 5 of 105: less than 5 %
    statistics.lost(11.0, 1)
    assert statistics.losses(11.0) == (6, 106)
    assert statistics.losses(17.0) is None  # long ago
    statistics.lost(30.0, 2)
    assert statistics.losses(30.0) is None  # all that was sent, but only two
    statistics.lost(31.0, 1)
    assert statistics.losses(31.0) == (3, 3)
    assert statistics.lost_frames == 9
    assert sum(statistics.counts.values()) == statistics.counts["received"] == 100
