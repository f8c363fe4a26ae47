"""The newest item wins, one batch serves all mailboxes, and no error ends the worker."""

from __future__ import annotations

import threading

from dpt_ros.ros.mailbox import Mailbox
from dpt_ros.ros.worker import Worker


def test_a_newer_item_takes_the_place_of_an_older_one() -> None:
    box: Mailbox[int] = Mailbox(threading.Condition())
    assert [box.put(1), box.put(2), box.put(3)] == [False, True, True]
    assert box.take() == 3
    assert box.take() is None
    assert not box.put(4)


class Recorder:
    """Takes batches; can be made to wait before it returns, and to fail."""

    def __init__(self) -> None:
        self.ready = threading.Condition()
        self.boxes: list[Mailbox[str]] = [Mailbox(self.ready), Mailbox(self.ready)]
        self.batches: list[list[str]] = []
        self.errors: list[Exception] = []
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.worker = Worker(self.ready, self.boxes, self.process, self.errors.append)

    def process(self, batch: list[str]) -> None:
        self.batches.append(batch)
        self.entered.release()
        assert self.leave.acquire(timeout=5)
        if "bad" in batch:
            raise MemoryError("too large")


def test_what_is_ready_from_all_mailboxes_is_one_batch() -> None:
    recorder = Recorder()
    left, right = recorder.boxes
    recorder.worker.start()
    left.put("left 1")
    assert recorder.entered.acquire(timeout=5)
    for item in ("left 2", "left 3"):
        left.put(item)
    right.put("right 1")
    recorder.leave.release()
    assert recorder.entered.acquire(timeout=5)
    recorder.leave.release()
    assert recorder.worker.stop(timeout_s=5)
    assert recorder.batches == [["left 1"], ["left 3", "right 1"]]


def test_an_error_is_reported_and_the_next_item_served() -> None:
    recorder = Recorder()
    recorder.worker.start()
    for item in ("bad", "good"):
        recorder.boxes[0].put(item)
        recorder.leave.release()
        assert recorder.entered.acquire(timeout=5)
    assert recorder.worker.stop(timeout_s=5)
    assert recorder.batches == [["bad"], ["good"]]
    assert [type(error) for error in recorder.errors] == [MemoryError]


def test_stop_tells_when_the_item_in_work_takes_too_long() -> None:
    recorder = Recorder()
    recorder.worker.start()
    recorder.boxes[0].put("slow")
    assert recorder.entered.acquire(timeout=5)
    assert not recorder.worker.stop(timeout_s=0.01)
    assert recorder.worker.is_alive()
    recorder.leave.release()
    assert recorder.worker.stop(timeout_s=5)
    assert not recorder.worker.is_alive()


def test_one_that_was_not_started_has_ended() -> None:
    assert Recorder().worker.stop(timeout_s=5)  # a signal came in between
