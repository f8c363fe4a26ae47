"""Two ways of playing a recording: lock-step, where pictures wait, and real time, where none do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dpt_ros.evaluation.timing import FAILURES, FrameTime, TimingLog
from dpt_ros.ros.camera_recording import PLAUSIBLE_DELAY_NS, PlayedMessage
from dpt_ros.ros.replay import CLOCK_HZ, Answer, ReplayPeer
from dpt_ros.ros.stamps import NANOSECONDS
from dpt_ros.ros.statistics import ENDS

_SLICE_S = 0.5
_REPORT_AFTER_S = 0.5
"""A report of the node that is so much newer than a picture would count it."""
_DRAIN_S = 15.0
_SILENT_S = 3.0
"""How long a node that has finished with a picture may take until its depth arrives."""
_WATCH_S = 1.0
_INFO_S = 5.0
"""How long the node, which reports every second, may take to say that it has a camera_info."""


@dataclass
class PlaybackLog:
    """What happened while playing.

    Args:
        timing: of every picture.
        pictures: how many were published.
        published: how often, those included that were published again.
        repeated: how many of these were published again as they were lost on their way.
        troubles: what people should know, each once.
    """

    timing: TimingLog = field(default_factory=TimingLog)
    pictures: int = 0
    published: int = 0
    repeated: int = 0
    troubles: list[str] = field(default_factory=list)
    _newest_ns: int | None = None
    _watched_s: float = 0.0
    _has_told_far: bool = False

    def trouble(self, text: str) -> None:
        """Note what people should know."""
        if text not in self.troubles:
            self.troubles.append(text)

    def watch(self, peer: ReplayPeer) -> None:
        """Once a second, look whether somebody else publishes the same topics."""
        now_s = time.monotonic()
        if now_s - self._watched_s >= _WATCH_S:
            self._watched_s = now_s
            for text in peer.others():
                self.trouble(text)

    def taken_ns(self, played: PlayedMessage) -> int:
        """When a picture was taken, on the recording's clock: its stamp, where that can be."""
        apart_ns = played.due_ns - played.stamp_ns
        if abs(apart_ns) <= PLAUSIBLE_DELAY_NS:
            return played.stamp_ns
        if not self._has_told_far:
            self._has_told_far = True
            self.trouble(
                f"the stamp of picture {played.index} is {abs(apart_ns) / NANOSECONDS:.0f} s "
                f"{'before' if apart_ns > 0 else 'after'} its recording: of such pictures, "
                "latency counts from when they are due"
            )
        return played.due_ns

    def look_at_stamp(self, played: PlayedMessage) -> None:
        """Notice stamps that go back."""
        before_ns, self._newest_ns = self._newest_ns, played.stamp_ns
        if before_ns is not None and played.stamp_ns < before_ns:
            back_s = (before_ns - played.stamp_ns) / NANOSECONDS
            self.trouble(f"image stamps went back by {back_s:.3f} s at picture {played.index}")


def play_lockstep(
    peer: ReplayPeer,
    messages: Iterable[PlayedMessage],
    check: Callable[[], None],
    timeout_s: float,
    log: PlaybackLog,
) -> Generator[tuple[PlayedMessage, Answer | None], None, None]:
    """Publish picture after picture, each when the one before was answered.

    A picture that was lost on its way to the node, which listens best effort, is published again.

    Args:
        peer: is listening.
        messages: what to play.
        check: raises if the node has ended.
        timeout_s: a picture that is not answered by then is given up.
        log: filled.

    Yields:
        Every picture, and its answer; None for one that was given up.
    """
    for played in messages:
        peer.set_clock(played.due_ns)
        log.watch(peer)
        if not played.is_image:
            peer.publish(played)
            continue
        log.look_at_stamp(played)
        started_s = time.monotonic()
        answer = _ask(peer, played, check, timeout_s, log)
        published_s = started_s if answer is None else answer.published_s
        taken_s = published_s - (played.due_ns - log.taken_ns(played)) / NANOSECONDS
        place = log.timing.add(FrameTime(played.stamp_ns, taken_s, published_s))
        if answer is None:
            log.trouble(f"no depth came for picture {played.index}: {_why(peer, timeout_s)}")
        else:
            log.timing.heard(place, answer.heard_s)
        yield played, answer


def _ask(
    peer: ReplayPeer,
    played: PlayedMessage,
    check: Callable[[], None],
    timeout_s: float,
    log: PlaybackLog,
) -> Answer | None:
    deadline = time.monotonic() + timeout_s
    log.pictures += 1
    while True:
        published_s = time.monotonic()
        peer.publish(played)
        log.published += 1
        is_lost, silent_since_s = False, None
        while not is_lost:
            answer = peer.wait(played.stamp_ns, _SLICE_S)
            if answer is not None:
                return answer
            check()
            now_s = time.monotonic()
            is_told = peer.diagnosed_s > published_s + _REPORT_AFTER_S
            if is_told and peer.repeat_lost_info(played.stamp_ns):
                break
            counts = peer.node_counts()
            is_lost = is_told and counts.get("received", 0) + log.repeated < log.published
            # The node has finished all it got, and not with depth: it could not read it, say.
            if is_told and not is_lost and _is_idle(counts):
                silent_since_s = silent_since_s or now_s
            is_refused = silent_since_s is not None and now_s > silent_since_s + _SILENT_S
            if is_refused or now_s >= deadline:
                peer.forget(played.stamp_ns)
                return None
        log.repeated += is_lost


def _why(peer: ReplayPeer, timeout_s: float) -> str:
    """What the node says of pictures without depth."""
    counts = {
        name: count for name, count in peer.node_counts().items() if name in FAILURES and count
    }
    if not counts:
        return f"no answer within {timeout_s:g} s"
    return "the node counts " + ", ".join(f"{count} {name}" for name, count in counts.items())


def _is_idle(counts: Mapping[str, int]) -> bool:
    """Whether the node has said of every picture what became of it."""
    return counts.get("received", 0) <= sum(counts.get(name, 0) for name in ENDS)


def play_in_real_time(
    peer: ReplayPeer,
    messages: Iterable[PlayedMessage],
    check: Callable[[], None],
    rate: float,
    log: PlaybackLog,
    keep: Callable[[int, Answer], None],
) -> Generator[PlayedMessage, None, None]:
    """Publish pictures when they are due, whether the node has time or not.

    The recording's clock starts once the node has its first camera_info.

    Args:
        peer: not yet listening.
        messages: what to play.
        check: raises if the node has ended.
        rate: of playback; 2 is twice as fast as recorded.
        log: filled.
        keep: called with a picture's index and its answer, in another thread.

    Yields:
        Every picture, once it is published; afterwards the last answers are waited for.
    """
    playing = _Playing(log, keep)
    timeline: _Timeline | None = None
    with peer.listening(playing.finished), contextlib.ExitStack() as stack:
        for played in messages:
            if timeline is None:
                if not played.is_image:
                    _give_first_info(peer, played, check)
                timeline = _Timeline(played.due_ns, rate)
                stack.enter_context(_ticking(peer, timeline))
            _sleep_until(timeline.wall_s(played.due_ns))
            if not played.is_image:
                peer.publish(played)
                continue
            check()
            log.watch(peer)
            log.look_at_stamp(played)
            if playing.begin(played, timeline.wall_s(log.taken_ns(played))):
                peer.publish(played)
                log.pictures += 1
                log.published += 1
                yield played
        _drain(peer, check)


def _give_first_info(peer: ReplayPeer, info: PlayedMessage, check: Callable[[], None]) -> None:
    """Publish a camera_info until the node says that it came, lest the first picture overtake it.

    A robot's camera has published its own for long. A node that says nothing goes without.
    """
    deadline = time.monotonic() + _INFO_S
    while not peer.node_has_info() and time.monotonic() < deadline:
        check()
        peer.publish(info)
        time.sleep(0.2)


class _Playing:
    """The pictures that were published and not yet answered."""

    def __init__(self, log: PlaybackLog, keep: Callable[[int, Answer], None]) -> None:
        self._log = log
        self._keep = keep
        self._places: dict[int, tuple[int, int]] = {}  # stamp -> index, place in the log

    def begin(self, played: PlayedMessage, taken_s: float) -> bool:
        """Note a picture that is published now; False if one of its stamp still waits."""
        if played.stamp_ns in self._places:
            stamp = f"{played.stamp_ns} ns"
            self._log.trouble(f"pictures with one stamp ({stamp}): the later is left out")
            return False
        time_of_it = FrameTime(played.stamp_ns, taken_s, time.monotonic())
        self._places[played.stamp_ns] = (played.index, self._log.timing.add(time_of_it))
        return True

    def finished(self, stamp_ns: int, answer: Answer | None) -> None:
        """Note an answer, or that none comes; in another thread."""
        index, place = self._places.pop(stamp_ns)
        if answer is not None:
            self._log.timing.heard(place, answer.heard_s)
            self._keep(index, answer)


@dataclass(frozen=True)
class _Timeline:
    """The playback's clock: simulated time over that of this machine."""

    first_ns: int
    rate: float
    started_s: float = field(default_factory=lambda: time.monotonic() + 0.1)

    def wall_s(self, simulated_ns: int) -> float:
        return self.started_s + (simulated_ns - self.first_ns) / NANOSECONDS / self.rate

    def now_ns(self) -> int:
        passed_s = max(time.monotonic() - self.started_s, 0.0)
        return self.first_ns + int(passed_s * self.rate * NANOSECONDS)


@contextlib.contextmanager
def _ticking(peer: ReplayPeer, timeline: _Timeline) -> Iterator[None]:
    """Publish `/clock` in a thread."""
    stopping = threading.Event()

    def tick() -> None:
        while not stopping.wait(1.0 / CLOCK_HZ):
            peer.set_clock(timeline.now_ns())

    thread = threading.Thread(target=tick, name="clock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _sleep_until(moment_s: float) -> None:
    left_s = moment_s - time.monotonic()
    if left_s > 0.0:
        time.sleep(left_s)


def _drain(peer: ReplayPeer, check: Callable[[], None]) -> None:
    """Wait for the last answers: until all are here, or the node says that it has no more."""
    ended_s = time.monotonic()
    while peer.outstanding() and time.monotonic() - ended_s < _DRAIN_S:
        check()
        time.sleep(0.05)
        is_told = peer.diagnosed_s > ended_s + _REPORT_AFTER_S
        if is_told and _is_idle(peer.node_counts()) and time.monotonic() - peer.diagnosed_s > 0.2:
            return
