"""Keeps messages back whose stamps cannot be true: one of them would mislead all that wait."""

from __future__ import annotations

from dpt_ros.bags.reader import BagRecord

FAR_NS = 60_000_000_000


class StampGuard:
    """Lets a recording's messages through whose stamps keep pace with when they were recorded.

    Whatever the distance between a stamp and its recording is (simulated time, a clock that is
    off), it hardly changes from one message of a topic to the next. A message for which it changes
    by more than a minute is kept until the next one of its topic: if that agrees, the clock was
    set, and both pass; else the stamp is damaged, and only the next one passes.
    """

    def __init__(self) -> None:
        self._distance_ns: dict[str, int] = {}
        self._kept: dict[str, BagRecord] = {}
        self.damaged: list[tuple[str, int]] = []

    def take(self, record: BagRecord) -> list[BagRecord]:
        """Take a message; gives those that may pass now, in their order."""
        topic, distance_ns = record.topic, _distance_ns(record)
        kept = self._kept.pop(topic, None)
        # A stamp near the time of recording needs no other one to be believed.
        if abs(distance_ns - self._distance_ns.get(topic, 0)) > FAR_NS:
            if kept is None or abs(distance_ns - _distance_ns(kept)) > FAR_NS:
                self._kept[topic] = record
                self._drop(kept)
                return []
            passing = [kept, record]
        else:
            self._drop(kept)
            passing = [record]
        self._distance_ns[topic] = distance_ns
        return passing

    def finish(self) -> list[BagRecord]:
        """The recording has ended: what is alone on its topic passes, there is no better one."""
        kept, self._kept = self._kept, {}
        for topic in self._distance_ns:
            self._drop(kept.pop(topic, None))
        return list(kept.values())

    def _drop(self, record: BagRecord | None) -> None:
        if record is not None:
            self.damaged.append((record.topic, record.stamp_ns))


def _distance_ns(record: BagRecord) -> int:
    """From recording to stamp; 0 without a header, whose stamp is the time of recording."""
    return record.stamp_ns - record.recorded_ns
