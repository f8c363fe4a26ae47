"""Keeps messages back whose stamps cannot be true: one of them would mislead all that wait."""

from __future__ import annotations

from collections.abc import Iterator

from dpt_ros.bags.reader import BagMessage, BagRecord
from dpt_ros.messages.stamps import nanoseconds

FAR_NS = 60_000_000_000


class StampGuard:
    """Lets a recording's messages through whose stamps keep pace with when they were recorded.

    Whatever the distance between a stamp and its recording is (simulated time, a clock that is
    off), it hardly changes from one message of a topic to the next. A message for which it changes
    by more than a minute is kept until the next one of its topic: if that agrees, the clock was
    set, and both pass; else the stamp is damaged, and only the next one passes.

    Of what passed last of each topic, `newest_ns` is the stamp, and `distance_ns` how much later
    that is than when it was recorded; `damaged` lists topic and stamp of what was left out.
    """

    def __init__(self) -> None:
        self.newest_ns: dict[str, int] = {}
        self.distance_ns: dict[str, int] = {}
        self._kept: dict[str, BagRecord] = {}
        self.damaged: list[tuple[str, int]] = []

    def take(self, record: BagRecord) -> list[BagRecord]:
        """Take a message; gives those that may pass now, in their order."""
        topic, distance_ns = record.topic, _distance_ns(record)
        kept = self._kept.pop(topic, None)
        # A stamp near the time of recording needs no other one to be believed.
        if abs(distance_ns - self.distance_ns.get(topic, 0)) > FAR_NS:
            if kept is None or abs(distance_ns - _distance_ns(kept)) > FAR_NS:
                self._kept[topic] = record
                self._drop(kept)
                return []
            passing = [kept, record]
        else:
            self._drop(kept)
            passing = [record]
        self._note(record)
        return passing

    def finish(self) -> list[BagRecord]:
        """The recording has ended: what is alone on its topic passes, there is no better one."""
        kept, self._kept = self._kept, {}
        for topic in self.distance_ns:
            self._drop(kept.pop(topic, None))
        for record in kept.values():
            self._note(record)
        return list(kept.values())

    def _note(self, record: BagRecord) -> None:
        self.newest_ns[record.topic] = record.stamp_ns
        self.distance_ns[record.topic] = _distance_ns(record)

    def _drop(self, record: BagRecord | None) -> None:
        if record is not None:
            self.damaged.append((record.topic, record.stamp_ns))


def stamped_transforms(message: BagMessage) -> Iterator[BagRecord]:
    """A TFMessage's transforms, each a record by itself, for a guard: frames are its topics.

    A TFMessage has no stamp but those of its transforms; its own is when it was recorded.
    """
    for item in message.message.transforms:
        stamp_ns = nanoseconds(item.header.stamp)
        name = f"{message.topic} {item.header.frame_id} <- {item.child_frame_id}"
        yield BagRecord(name, message.stamp_ns, stamp_ns, item, b"")


def _distance_ns(record: BagRecord) -> int:
    """From recording to stamp; 0 without a header, whose stamp is the time of recording."""
    return record.stamp_ns - record.recorded_ns
