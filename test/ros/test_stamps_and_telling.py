"""Stamps that make no sense, and trouble told at most once a second."""

from __future__ import annotations

import pytest

from dpt_ros.ros.stamps import NANOSECONDS, StampWatch
from dpt_ros.ros.tell import Teller

NOW_NS = 1000 * NANOSECONDS


@pytest.mark.parametrize(
    ("stamp_ns", "now_ns", "age_s", "oddity"),
    [
        (NOW_NS - NANOSECONDS // 4, NOW_NS, 0.25, ""),
        (0, NOW_NS, None, "zero"),
        (NOW_NS + 2 * NANOSECONDS, NOW_NS, None, "2.0 s ahead"),
        (NOW_NS, 0, None, "/clock"),
        (NOW_NS - 90 * NANOSECONDS, NOW_NS, 90.0, "use_sim_time"),
    ],
)
def test_age_and_oddity(stamp_ns: int, now_ns: int, age_s: float | None, oddity: str) -> None:
    verdict = StampWatch().look(stamp_ns, now_ns)
    assert verdict.age_s == age_s
    assert (oddity in verdict.oddity) if oddity else not verdict.oddity


def test_a_stamp_that_goes_back_is_told_once_and_is_the_new_measure() -> None:
    watch = StampWatch()
    stamps_ns = [NOW_NS, NOW_NS - 3 * NANOSECONDS, NOW_NS - 2 * NANOSECONDS]
    oddities = [watch.look(stamp_ns, NOW_NS).oddity for stamp_ns in stamps_ns]
    assert oddities == ["", "image stamps went back by 3.000 s", ""]


def test_after_forgetting_an_earlier_stamp_is_no_step_back() -> None:
    watch = StampWatch()
    watch.look(NOW_NS, NOW_NS)
    watch.forget()
    assert watch.look(NOW_NS // 2, NOW_NS // 2).oddity == ""


class Log:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.lines: list[str] = []
        self.teller = Teller(self.lines.append, lambda: self.now_s)


def test_each_kind_is_told_once_a_second_with_the_number_held_back() -> None:
    log = Log()
    for _ in range(5):
        log.teller.tell("undecodable", "bad image")
    log.teller.tell("stale", "old image")
    log.now_s += 1.0
    log.teller.tell("undecodable", "bad image")
    assert log.lines == [
        "bad image",
        "old image",
        "bad image (4 more of this kind not shown)",
    ]


def test_a_state_is_told_when_it_changes() -> None:
    log = Log()
    for text in ("no camera_info", "no camera_info", "", "no camera_info", "", "other"):
        log.teller.tell_change("camera", text)
        log.now_s += 2.0
    assert log.lines == ["no camera_info", "no camera_info", "other"]


def test_a_state_that_flips_with_every_frame_is_told_once_a_second() -> None:
    log = Log()
    for index in range(20):
        log.teller.tell_change("camera", "no camera_info" if index % 2 else "")
        log.now_s += 0.1
    assert len(log.lines) == 2


def test_a_state_that_was_forgotten_is_told_anew_and_others_are_not() -> None:
    log = Log()
    for _ in range(2):
        for kind in ("left metres", "right metres"):
            log.teller.tell_change(kind, f"none for {kind}")
        log.teller.forget("left ")
        log.now_s += 2.0
    assert log.lines == ["none for left metres", "none for right metres", "none for left metres"]


def test_what_is_told_once_is_told_again_after_it_was_forgotten() -> None:
    log = Log()
    for text in ("3 of 10 lost", "4 of 10 lost"):
        log.teller.tell_once("loss of left", text)
    log.teller.forget("loss of left")
    log.teller.tell_once("loss of left", "5 of 10 lost")
    assert log.lines == ["3 of 10 lost", "5 of 10 lost"]
