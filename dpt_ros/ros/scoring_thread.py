"""The thread in which the live evaluator scores what has come. Knows no ROS."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from dpt_ros.evaluation.live_session import LiveSession, ScoredFrame

Item = TypeVar("Item")


class ScoringThread(Generic[Item]):
    """Takes messages one by one in the order in which they came, until it is stopped.

    Nothing that taking or scoring raises ends the thread: `report` is told of it.

    Args:
        session: is finished at the end.
        take: hands a message to the session, and yields the frames that it completes.
        show: called with each of these frames; raises nothing.
        report: told of an exception.
    """

    def __init__(
        self,
        session: LiveSession,
        take: Callable[[Item], Iterator[ScoredFrame]],
        show: Callable[[ScoredFrame], None],
        report: Callable[[Exception], None],
    ) -> None:
        self._session = session
        self._take = take
        self._show = show
        self._report = report
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._must_end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evaluator", daemon=True)

    def start(self) -> None:
        """Start taking messages."""
        self._thread.start()

    def put(self, item: Item) -> None:
        """Leave a message for the thread."""
        self._queue.put(item)

    @property
    def unread(self) -> int:
        """How many messages nobody has taken yet."""
        return self._queue.qsize()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self, patience_s: float) -> str:
        """Let it score what has come; once patience is out, only what it has begun.

        Returns:
            What was left unscored then, as a sentence; "" where all is scored.
        """
        self._queue.put(None)
        self._thread.join(patience_s)
        if not self.is_alive():
            return ""
        self._must_end.set()
        self._thread.join(patience_s)
        messages, pictures = max(self.unread - 1, 0), self._session.waiting
        if not messages and not pictures and not self.is_alive():
            return ""
        return (
            f"Within {patience_s:g} s the evaluator could not score all that had come: {messages} "
            f"messages were left unread, and {pictures} pictures that waited unscored."
        )

    def _run(self) -> None:
        while not self._must_end.is_set() and (item := self._queue.get()) is not None:
            self._score(self._take(item), self._show)
        left = self._session.waiting + 1
        while not self._must_end.is_set() and self._session.waiting < left:
            left = self._session.waiting  # a picture that failed is gone, the others still wait
            self._score(self._session.finish(), lambda _: None)

    def _score(self, frames: Iterator[ScoredFrame], show: Callable[[ScoredFrame], None]) -> None:
        try:
            for scored in frames:
                show(scored)
                if self._must_end.is_set():
                    return
        except Exception as error:  # the next frame must be scored
            self._report(error)
