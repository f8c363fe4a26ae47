"""Log lines about a stream that repeats itself: at most one a second for each kind of trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PERIOD_S = 1.0


class Teller:
    """Tells each kind of trouble at most once a second, and how often it was kept quiet.

    Args:
        log: writes one line, such as a ROS logger's `warning`.
        now_s: seconds of a clock that never jumps.
    """

    def __init__(
        self, log: Callable[[str], object], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._now_s = now_s
        self._lock = threading.Lock()
        self._last_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}
        self._told: dict[str, str] = {}

    def tell(self, kind: str, text: str) -> None:
        """Log `text` unless this kind was told within the last second."""
        now_s = self._now_s()
        with self._lock:
            last_s = self._last_s.get(kind)
            if last_s is not None and now_s - last_s < PERIOD_S:
                self._held_back[kind] = self._held_back.get(kind, 0) + 1
                return
            self._last_s[kind] = now_s
            count = self._held_back.pop(kind, 0)
        self._log(f"{text} ({count} more of this kind not shown)" if count else text)

    def tell_change(self, kind: str, text: str) -> None:
        """Log `text` when it is not what was told of this kind the last time; "" means all well.

        A state that flips with every frame is still told at most once a second.
        """
        with self._lock:
            if self._told.get(kind, "") == text:
                return
            now_s = self._now_s()
            if text and now_s - self._last_s.get(kind, -PERIOD_S) < PERIOD_S:
                return
            self._told[kind] = text
            if text:
                self._last_s[kind] = now_s
        if text:
            self._log(text)

    def tell_once(self, kind: str, text: str) -> None:
        """Log `text` unless this kind was told by `tell_once` before, in whatever words."""
        with self._lock:
            if self._told.get(kind):
                return
            self._told[kind] = text
        self._log(text)

    def forget(self, about: str) -> None:
        """Let `tell_change` and `tell_once` tell anew of every kind that begins with `about`."""
        with self._lock:
            self._told = {
                kind: text for kind, text in self._told.items() if not kind.startswith(about)
            }
