"""What a replay tells of every picture; the whole is tested with `dpt-ros replay`."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dpt_ros.evaluation.timing import FrameTime
from dpt_ros.ros import replay_session
from dpt_ros.ros.camera_recording import PlayedMessage
from dpt_ros.ros.replay import Answer
from dpt_ros.ros.replay_session import ReplayOptions, ReplayResult

PICTURES, ANSWERED = 40, 33


def messages() -> Any:
    for index in range(PICTURES):
        yield PlayedMessage(False, index, index, index, b"", None)
        yield PlayedMessage(True, index, index, index, b"", None)


def answer() -> Answer:
    return Answer(np.full((2, 3), 0.5, np.float32), None, heard_s=1.0, published_s=0.5)


@pytest.mark.parametrize("rate", [0.0, 1.0], ids=["lock-step", "real time"])
def test_every_picture_is_concluded_in_order_with_its_answer_or_none(
    monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    """Truth is read on as far as it is asked for, so that none may be left out."""

    def lockstep(_peer: Any, played: Any, *_: Any) -> Any:
        for one in played:
            if one.is_image:
                yield one, answer() if one.index == ANSWERED else None

    def real_time(_peer: Any, played: Any, _check: Any, _rate: Any, _log: Any, keep: Any) -> Any:
        for one in played:
            if one.is_image:
                if one.index == ANSWERED:
                    keep(one.index, answer())
                yield one

    monkeypatch.setattr(replay_session, "play_lockstep", lockstep)
    monkeypatch.setattr(replay_session, "play_in_real_time", real_time)
    recording = SimpleNamespace(messages=messages)
    peer = SimpleNamespace(listening=contextlib.nullcontext)
    node, result = SimpleNamespace(check=None), ReplayResult()
    concluded: list[tuple[int, bool]] = []
    told: list[int] = []
    play = replay_session._real_time if rate else replay_session._lockstep
    play(
        recording,
        peer,
        node,
        ReplayOptions(rate=rate),
        result,
        lambda played, said: concluded.append((played.index, said is not None)),
        lambda played: told.append(played.index),
    )
    assert concluded == [(index, index == ANSWERED) for index in range(PICTURES)]
    assert told == list(range(PICTURES)) and not result.partial


def concluded_peer(**more: Any) -> Any:
    """A peer whose replay is over."""
    known: dict[str, Any] = {
        "spin": lambda _: None,
        "node_counts": lambda: {"received": 4, "published": 4},
        "why_no_metres": "",
        "without_metres": 0,
        "cut_off": 0,
        "network_report": dict,
    }
    return SimpleNamespace(**{**known, **more})


@pytest.mark.parametrize(
    ("without", "cut_off", "partial", "told"),
    [
        (1, 1, "interrupted", ""),
        (3, 3, "interrupted", ""),
        (2, 1, "interrupted", "1 of 2 pictures have none: why"),
        (3, 1, "interrupted", "why"),
        (1, 1, "", "1 of 3 pictures have none: why"),
    ],
)
def test_metres_that_an_interrupt_cut_off_are_not_missed(
    without: int, cut_off: int, partial: str, told: str
) -> None:
    result = ReplayResult(partial=partial)
    for index in range(3):
        seconds = float(index)
        result.log.timing.add(FrameTime(index, seconds, seconds, seconds + 0.1))
    peer = concluded_peer(without_metres=without, cut_off=cut_off, why_no_metres="why")
    replay_session._conclude(peer, SimpleNamespace(check=lambda: None), result)
    assert result.why_no_metres == told


def test_what_was_published_again_is_neither_played_nor_lost() -> None:
    """The node had no camera_info for the first picture, and answered it twice."""
    result = ReplayResult()
    result.log.pictures, result.log.published = 3, 4
    for index in range(3):
        seconds = float(index)
        result.log.timing.add(FrameTime(index, seconds, seconds, seconds + 0.1))
    peer = concluded_peer()
    replay_session._conclude(peer, SimpleNamespace(check=lambda: None), result)
    told = {name: count for name, count in result.losses.items() if count}
    assert told == {"played": 3, "published_again": 1, "answered": 3}
    assert result.log.timing.summary()["frames"] == 3
