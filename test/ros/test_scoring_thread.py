"""What is left when the evaluator has to end, and what one bad picture must not take along."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from dpt_ros.ros.scoring_thread import ScoringThread


class Session:
    """Of a session what the thread asks for: numbers that wait, of which negative ones fail."""

    def __init__(self, *waiting: int) -> None:
        self._waiting = list(waiting)
        self.scored: list[int] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def finish(self) -> Iterator[int]:
        while self._waiting:
            number = self._waiting.pop(0)
            if number < 0:
                raise ValueError(f"no picture: {number}")
            self.scored.append(number)
            yield number


def start(session: Any, take: Any) -> tuple[ScoringThread[int], list[int], list[str]]:
    shown: list[int] = []
    told: list[str] = []
    thread = ScoringThread(session, take, shown.append, lambda error: told.append(str(error)))
    thread.start()
    return thread, shown, told


def test_what_had_come_is_scored_before_it_ends() -> None:
    session = Session(7, 8)
    thread, shown, told = start(session, lambda number: iter([number]))
    for number in (1, 2):
        thread.put(number)
    assert thread.stop(5.0) == ""
    assert (shown, session.scored, told) == ([1, 2], [7, 8], [])


def test_where_it_takes_too_long_what_is_left_is_counted_and_nothing_more_is_scored() -> None:
    session = Session(7, 8)
    begun, go_on, taken = threading.Event(), threading.Event(), []

    def take(number: int) -> Iterator[int]:
        taken.append(number)
        begun.set()
        assert go_on.wait(5.0)
        yield number

    thread, shown, _ = start(session, take)
    for number in (1, 2, 3):
        thread.put(number)
    assert begun.wait(5.0)
    threading.Timer(1.0, go_on.set).start()
    left = thread.stop(0.6)
    assert "2 messages were left unread, and 2 pictures that waited unscored" in left
    assert (taken, shown, session.scored) == ([1], [1], [])
    assert not thread.is_alive()


def test_a_picture_that_fails_at_the_end_is_told_and_those_after_it_are_scored() -> None:
    session = Session(7, -1, 8, -2)
    thread, _, told = start(session, lambda number: iter([number]))
    assert thread.stop(5.0) == ""
    assert session.scored == [7, 8]
    assert told == ["no picture: -1", "no picture: -2"]
