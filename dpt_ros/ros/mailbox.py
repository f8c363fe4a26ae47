"""One place for the newest item of a stream. Knows no ROS."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Holds at most one item: a newer one takes the place of an older one that nobody took.

    Args:
        ready: the condition that the worker of all mailboxes waits on.
    """

    def __init__(self, ready: threading.Condition) -> None:
        self._ready = ready
        self._item: Item | None = None

    def put(self, item: Item) -> bool:
        """Leave `item` for the worker; True if an item that nobody took was overwritten."""
        with self._ready:
            overwritten = self._item is not None
            self._item = item
            self._ready.notify()
        return overwritten

    def take(self) -> Item | None:
        """Take the item out; None if there is none."""
        with self._ready:
            item, self._item = self._item, None
        return item

    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return self._item is None
