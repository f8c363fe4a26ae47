"""The one thread that runs the network: takes what is ready from all mailboxes as one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from dpt_ros.ros.mailbox import Mailbox
from dpt_ros.ros.tuning import WORKER_THREAD

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls `process` with a batch (the newest item of each mailbox that has one), until stopped.

    Nothing that `process` raises ends the thread: it is handed to `report` and the next batch is
    taken.

    Args:
        ready: the condition the mailboxes were made with.
        mailboxes: where the items arrive.
        process: what to do with a batch; runs in the worker's thread.
        report: told of an exception that `process` let out.
    """

    def __init__(
        self,
        ready: threading.Condition,
        mailboxes: Sequence[Mailbox[Item]],
        process: Callable[[list[Item]], None],
        report: Callable[[Exception], None],
    ) -> None:
        self._ready = ready
        self._mailboxes = mailboxes
        self._process = process
        self._report = report
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=WORKER_THREAD, daemon=True)

    def start(self) -> None:
        """Start taking items."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Take no more batches and wait for the one in work; False if it did not end in time."""
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        if self._thread.ident is not None:  # or a signal came before it was started
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(self._has_work)
                if self._stopping:
                    return
            batch = [item for box in self._mailboxes if (item := box.take()) is not None]
            try:
                self._process(batch)
            except Exception as error:  # whatever it is, the next frame must be served
                self._report(error)

    def _has_work(self) -> bool:
        return self._stopping or not all(box.is_empty() for box in self._mailboxes)
