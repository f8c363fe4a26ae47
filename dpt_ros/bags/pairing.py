"""Pictures and scans matched by their stamps as they stream by. Knows stamps only, no messages."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Picture = TypeVar("Picture")
Scan = TypeVar("Scan")

# A stream that stands still is not waited for longer than this, and its delay.
_PATIENCE_NS = 500_000_000
# No stream is taken to be later than this behind the other: pictures that wait are large.
_LONGEST_DELAY_NS = 2_000_000_000
# So many stamps of dropped pictures are kept, to tell what a late scan would have found, and of
# scans that are settled, to tell whether a dropped picture was near to one.
_KEPT_STAMPS = 300


@dataclass(frozen=True)
class Pair(Generic[Picture, Scan]):
    """A picture, the scan nearest to it in time, and their stamps."""

    picture_ns: int
    scan_ns: int
    picture: Picture
    scan: Scan


class Pairing(Generic[Picture, Scan]):
    """Matches each scan with the picture nearest to it in time, and that picture with no other.

    Holds, however long a recording is, the pictures from the oldest scan that waits on, or since
    the last one: no more than three largest gaps, half a second, and the delay with which one
    stream has come after the other so far, of which two seconds count.

    Args:
        max_gap_ns: the largest difference of the two stamps.

    `rejected` counts the pictures and scans that were left over, and why; `late_scans` are those of
    them that came when their picture had been dropped; `smallest_gap_ns` is the smallest difference
    seen, dropped pictures included, None before there was one of each.
    """

    def __init__(self, max_gap_ns: int) -> None:
        self.max_gap_ns = max_gap_ns
        self.rejected: Counter[str] = Counter()
        self.late_scans = 0
        self.smallest_gap_ns: int | None = None
        self._pictures: deque[tuple[int, Picture]] = deque()
        self._scans: deque[tuple[int, Scan]] = deque()
        self._newest_picture_ns: int | None = None
        self._newest_scan_ns: int | None = None
        self._dropped_ns: deque[int] = deque(maxlen=_KEPT_STAMPS)
        self._settled_ns: deque[int] = deque(maxlen=_KEPT_STAMPS)
        self._delay_ns = 0

    def add_picture(self, stamp_ns: int, picture: Picture) -> Iterator[Pair[Picture, Scan]]:
        """Take a picture; yields the pairs that are now certain, in the order of time."""
        _insert(self._pictures, stamp_ns, picture)
        self._newest_picture_ns = _latest(self._newest_picture_ns, stamp_ns)
        self._measure(stamp_ns, self._newest_scan_ns, (scan[0] for scan in self._scans))
        return self._settle(is_end=False)

    def add_scan(self, stamp_ns: int, scan: Scan) -> Iterator[Pair[Picture, Scan]]:
        """Take a scan; yields the pairs that are now certain, in the order of time."""
        _insert(self._scans, stamp_ns, scan)
        self._newest_scan_ns = _latest(self._newest_scan_ns, stamp_ns)
        held_ns = (picture[0] for picture in self._pictures)
        self._measure(stamp_ns, self._newest_picture_ns, (*held_ns, *self._dropped_ns))
        return self._settle(is_end=False)

    def finish(self) -> Iterator[Pair[Picture, Scan]]:
        """Yield the last pairs; whatever is left over then is counted."""
        yield from self._settle(is_end=True)

    def _settle(self, is_end: bool) -> Iterator[Pair[Picture, Scan]]:
        """Decide about the oldest scan as long as no later message can change the answer."""
        while self._scans and self._is_certain(self._scans[0][0], is_end):
            stamp_ns, scan = self._scans[0]
            self._scans.popleft()
            self._settled_ns.append(stamp_ns)
            nearest = min(self._pictures, key=lambda p: abs(p[0] - stamp_ns), default=None)
            if nearest is None or abs(nearest[0] - stamp_ns) > self.max_gap_ns:
                self._reject_scan(stamp_ns)
                continue
            if self._scans and abs(self._scans[0][0] - nearest[0]) < abs(stamp_ns - nearest[0]):
                self._reject("scan whose picture is nearer to another scan")
            else:
                yield self._take(nearest, (stamp_ns, scan))
        self._drop_pictures(is_end)

    def _take(self, picture: tuple[int, Picture], scan: tuple[int, Scan]) -> Pair[Picture, Scan]:
        """Pair the two; pictures older than this one will find no scan any more."""
        while self._pictures[0] is not picture:
            self._reject_picture(self._pictures.popleft()[0])
        self._pictures.popleft()
        return Pair(picture[0], scan[0], picture[1], scan[1])

    def _is_certain(self, scan_ns: int, is_end: bool) -> bool:
        """Whether pictures and scans have gone on past what could still be nearest."""
        if is_end:
            return True
        pictures = self._newest_picture_ns if self._newest_picture_ns is not None else scan_ns
        scans = self._newest_scan_ns if self._newest_scan_ns is not None else scan_ns
        # The next scan is needed too: the picture may be nearer to that one.
        is_past = pictures >= scan_ns + self.max_gap_ns and len(self._scans) > 1
        patience_ns = 2 * self.max_gap_ns + max(_PATIENCE_NS, self._delay_ns)
        return is_past or max(pictures, scans) > scan_ns + patience_ns

    def _drop_pictures(self, is_end: bool) -> None:
        """Drop pictures that no scan, waiting or to come, can be near to."""
        oldest_ns = 0
        if self._scans:
            oldest_ns = self._scans[0][0] - self.max_gap_ns
        else:
            if self._newest_scan_ns is not None:
                oldest_ns = self._newest_scan_ns - self.max_gap_ns
            if self._newest_picture_ns is not None:
                patience_ns = self.max_gap_ns + _PATIENCE_NS + self._delay_ns
                oldest_ns = max(oldest_ns, self._newest_picture_ns - patience_ns)
        while self._pictures and (is_end or self._pictures[0][0] < oldest_ns):
            stamp_ns = self._pictures.popleft()[0]
            self._dropped_ns.append(stamp_ns)
            self._reject_picture(stamp_ns)

    def _reject_picture(self, stamp_ns: int) -> None:
        """Count a picture that is in no pair; the scans that wait are too late for it."""
        is_near = any(abs(scan_ns - stamp_ns) <= self.max_gap_ns for scan_ns in self._settled_ns)
        self._reject("picture not nearest to a scan" if is_near else "picture without a scan")

    def _reject_scan(self, stamp_ns: int) -> None:
        """Count a scan without a picture, and whether there was one, before the scan came."""
        if any(abs(dropped_ns - stamp_ns) <= self.max_gap_ns for dropped_ns in self._dropped_ns):
            self.late_scans += 1
            self._reject("scan that came too long after its picture")
        else:
            self._reject("scan without a picture")

    def _reject(self, reason: str) -> None:
        self.rejected[f"{reason} within {self.max_gap_ns / 1e9:g} s"] += 1

    def _measure(self, stamp_ns: int, newest_ns: int | None, others_ns: Iterable[int]) -> None:
        """Learn the smallest gap, and how late a stream comes after the other one."""
        if newest_ns is None:
            return
        if newest_ns - stamp_ns <= _LONGEST_DELAY_NS:
            self._delay_ns = max(self._delay_ns, newest_ns - stamp_ns)
        gaps_ns = [abs(other_ns - stamp_ns) for other_ns in (newest_ns, *others_ns)]
        known_ns = [] if self.smallest_gap_ns is None else [self.smallest_gap_ns]
        self.smallest_gap_ns = min(gaps_ns + known_ns)


def _insert(queue: deque[Any], stamp_ns: int, item: Any) -> None:
    """Append in the order of time; messages come nearly in order."""
    place = len(queue)
    while place and queue[place - 1][0] > stamp_ns:
        place -= 1
    queue.insert(place, (stamp_ns, item))


def _latest(known_ns: int | None, stamp_ns: int) -> int:
    return stamp_ns if known_ns is None else max(known_ns, stamp_ns)
