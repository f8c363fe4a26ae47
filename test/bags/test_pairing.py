from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.bags.pairing import Pairing

MS = 1_000_000


def run(events, max_gap_ms=50):
    """Feed ("picture" | "scan", ms) in this order; pairs as (picture ms, scan ms)."""
    pairing = Pairing(max_gap_ms * MS)
    pairs = []
    for kind, stamp_ms in events:
        add = pairing.add_picture if kind == "picture" else pairing.add_scan
        pairs += list(add(stamp_ms * MS, f"{kind} {stamp_ms}"))
    pairs += list(pairing.finish())
    for pair in pairs:
        assert pair.picture == f"picture {pair.picture_ns // MS}"
        assert pair.scan == f"scan {pair.scan_ns // MS}"
    return [(p.picture_ns // MS, p.scan_ns // MS) for p in pairs], pairing


def by_time(pictures, scans, delay_scan=0):
    events = [("picture", t, t) for t in pictures] + [("scan", t, t + delay_scan) for t in scans]
    return [(kind, t) for kind, t, _ in sorted(events, key=lambda e: e[2])]


def test_each_scan_takes_its_nearest_picture():
    pairs, pairing = run(by_time(range(0, 400, 33), [5, 105, 205, 305]))
    assert pairs == [(0, 5), (99, 105), (198, 205), (297, 305)]
    assert pairing.smallest_gap_ns == 5 * MS
    assert sum(pairing.rejected.values()) == 13 - 4


def test_the_order_of_arrival_does_not_matter():
    pictures, scans = range(0, 1000, 33), range(10, 1000, 100)
    expected, _ = run(by_time(pictures, scans))
    assert len(expected) == 10
    for delay_ms in (-300, -60, 60, 300):
        assert run(by_time(pictures, scans, delay_ms))[0] == expected


def test_a_fast_cameras_other_pictures_are_not_said_to_be_without_a_scan():
    """At 30 Hz, the picture of 199 ms is 19 ms from the scan of 180 ms, that of 331 ms 51."""
    pairs, pairing = run(by_time(range(1, 400, 33), [80, 180, 280]))
    assert pairs == [(67, 80), (166, 180), (265, 280)]
    assert pairing.rejected == {
        "picture not nearest to a scan within 0.05 s": 6,  # 34, 100, 133, 199, 232, 298
        "picture without a scan within 0.05 s": 4,  # 1, 331, 364, 397
    }


@pytest.mark.parametrize("every_ms", [(5, 40), (20, 200), (60, 500)])
@pytest.mark.parametrize("seed", range(5))
def test_pictures_left_over_are_counted_by_their_distance_to_all_scans(seed, every_ms):
    rng = np.random.default_rng(seed)
    pictures = np.cumsum(rng.integers(5, 60, 300))
    scans = np.cumsum(rng.integers(*every_ms, 300))
    pairs, pairing = run(by_time(pictures.tolist(), scans[scans < pictures[-1]].tolist()))
    left_over = set(pictures.tolist()) - {picture for picture, _ in pairs}
    scans = scans[scans < pictures[-1]]
    near = [stamp for stamp in left_over if np.abs(scans - stamp).min() <= 50]
    assert pairing.rejected["picture not nearest to a scan within 0.05 s"] == len(near) > 0
    without = pairing.rejected["picture without a scan within 0.05 s"]
    assert without == len(left_over) - len(near)


def test_beyond_the_largest_gap_nothing_pairs():
    pairs, pairing = run(by_time(range(0, 1000, 100), range(40, 1000, 100)), max_gap_ms=39)
    assert pairs == []
    assert pairing.rejected == {
        "scan without a picture within 0.039 s": 10,
        "picture without a scan within 0.039 s": 10,
    }
    assert pairing.smallest_gap_ns == 40 * MS
    assert len(run(by_time(range(0, 1000, 100), range(40, 1000, 100)), max_gap_ms=40)[0]) == 10


def test_a_picture_belongs_to_one_scan():
    """Scans twice as often as pictures: of two near one picture, the nearer gets it."""
    pairs, pairing = run(by_time([0, 100, 200], [0, 60, 95, 160, 205]))
    assert pairs == [(0, 0), (100, 95), (200, 205)]
    assert pairing.rejected == {"scan whose picture is nearer to another scan within 0.05 s": 2}


def test_clocks_far_apart_tell_the_smallest_gap():
    pairs, pairing = run(by_time([0, 100], [3_600_000, 3_600_100]))
    assert pairs == []
    assert pairing.smallest_gap_ns == 3_599_900 * MS
    assert run([("picture", 1)])[1].smallest_gap_ns is None


def test_stamps_out_of_order_within_a_stream():
    pairs, _ = run([("picture", 0), ("picture", 66), ("picture", 33), ("scan", 30), ("scan", 70)])
    assert pairs == [(33, 30), (66, 70)]


def test_a_stream_that_ends_does_not_pile_up_the_other():
    pairing = Pairing(50 * MS)
    list(pairing.add_scan(0, "scan"))
    for index in range(3000):
        list(pairing.add_picture(index * 33 * MS, "picture"))
        assert len(pairing._pictures) < 30
    assert not pairing._scans


@pytest.mark.parametrize("seed", range(5))
def test_random_streams_pair_by_the_definition(seed):
    """A pair's scan is the nearest to its picture of all scans that are left over or paired."""
    rng = np.random.default_rng(seed)
    pictures = np.cumsum(rng.integers(5, 60, 200))
    scans = np.cumsum(rng.integers(40, 160, 60))
    pairs, pairing = run(by_time(pictures.tolist(), scans.tolist(), 20))
    assert len(pairs) > 30
    assert len({p for p, _ in pairs}) == len({s for _, s in pairs}) == len(pairs)
    assert pairs == sorted(pairs)
    for picture, scan in pairs:
        assert abs(picture - scan) <= 50
        later = [s for s in scans if s > scan]
        assert not later or abs(picture - later[0]) >= abs(picture - scan)
    assert len(pairs) + sum(n for r, n in pairing.rejected.items() if r.startswith("scan")) == 60


@pytest.mark.parametrize(
    ("every_ms", "delay_ms", "paired"),
    [(1000, 20, 60), (300, 310, 60), (500, 510, 60), (100, 700, 58), (1000, 1020, 59)],
    ids=["1 Hz", "3 Hz from the sweep's start", "2 Hz", "slow driver", "1 Hz from the start"],
)
def test_scans_that_are_rare_or_come_late_lose_no_picture(every_ms, delay_ms, paired):
    """Of a delay over half a second the first scans teach, whose pictures are gone by then."""
    scans = range(0, 60 * every_ms, every_ms)
    pictures = range(0, 60 * every_ms, 20)
    pairs, pairing = run(by_time(pictures, scans, delay_ms))
    assert pairs == [(stamp, stamp) for stamp in scans][60 - paired :]
    assert pairing.late_scans == 60 - paired


def test_a_late_scan_waits_for_a_nearer_one_as_well():
    """Scans 0.7 s late, twice as often as pictures: of two near one picture the nearer gets it."""
    pictures = range(0, 4000, 100)
    scans = [stamp for picture in pictures for stamp in (picture + 5, picture + 60)]
    pairs, _ = run(by_time(pictures, scans, 700))
    assert len(pairs) > 30
    assert all(scan == picture + 5 for picture, scan in pairs)


def test_scans_that_come_too_late_are_counted_and_their_gap_is_known():
    pairs, pairing = run(by_time(range(0, 13_000, 33), range(0, 9900, 99), 3000))
    assert pairs == []
    assert pairing.rejected["scan that came too long after its picture within 0.05 s"] == 100
    assert pairing.smallest_gap_ns == 0


@pytest.mark.parametrize("delay_ms", [20, 700, 1900, 5000])
def test_pictures_that_wait_are_bounded(delay_ms):
    """Pictures of 30 Hz, scans of 1 Hz that end after a minute."""
    pairing, most = Pairing(50 * MS), 0
    for kind, stamp_ms in by_time(range(0, 90_000, 33), range(0, 60_000, 1000), delay_ms):
        add = pairing.add_picture if kind == "picture" else pairing.add_scan
        list(add(stamp_ms * MS, kind))
        most = max(most, len(pairing._pictures))
    assert most <= 30 * (3 * 0.05 + 0.5 + 2.0) + 1
    assert len(pairing._pictures) <= 30 * (0.05 + 0.5 + 2.0) + 1


def test_a_late_scan_is_settled_soon_after_it_came():
    """Live, its picture waits for it: scans of 1 Hz, a second late, are paired 0.2 s later."""
    pairing, newest_ms, delays_ms = Pairing(50 * MS), 0, []
    for kind, stamp_ms in by_time(range(0, 10_000, 33), range(0, 9000, 1000), 1020):
        add = pairing.add_picture if kind == "picture" else pairing.add_scan
        newest_ms = stamp_ms if kind == "picture" else newest_ms
        delays_ms += [newest_ms - p.scan_ns // MS for p in add(stamp_ms * MS, kind)]
    assert len(delays_ms) >= 7
    assert max(delays_ms) < 1200
