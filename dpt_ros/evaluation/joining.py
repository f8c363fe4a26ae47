"""Brings picture, depth and truth of one stamp together, as they come one by one. No ROS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.assembly import SampleAssembly
from dpt_ros.bags.dataset import Sample
from dpt_ros.bags.reader import BagMessage
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.bags.topics import SensorTopics
from dpt_ros.evaluation.live import LiveFrame
from dpt_ros.messages.depth_image import image_to_float
from dpt_ros.messages.errors import MessageError
from dpt_ros.messages.stamps import nanoseconds

PATIENCE_NS = 1_500_000_000
"""Truth that comes later than this after its picture is not waited for."""

LATE_SCAN = f"scan that came more than {PATIENCE_NS / 1e9:g} s after its picture"

ANSWER_PATIENCE_NS = 30_000_000_000
"""The same of depth: a large network on a CPU takes seconds."""

METRES_LATE = 3
"""Answers by which depth in metres may come after inverse depth, which is published with it."""

BACK_NS = 1_000_000_000
"""Pictures are not mixed up by so much: a recording or a simulation began anew."""

MOST_BYTES = 512 << 20
"""Of pictures that wait for their depth: 18 s of 640x480 at 30 Hz; with depth, four times that."""


@dataclass
class Joined:
    """A picture with what came for it; `heard_s` is None where no depth came."""

    stamp_ns: int
    received_s: float
    picture: Any
    header: Any
    inverse_depth: NDArray[np.float32] | None = None
    depth_m: NDArray[np.float32] | None = None
    heard_s: float | None = None
    sample: Sample | None = None
    answer: int = 0
    """Which answer its inverse depth was, counted from 1."""

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        held = len(self.picture.data)
        if self.sample is not None:
            held += self.sample.rgb.nbytes + self.sample.depth_m.nbytes
        answers = (self.inverse_depth, self.depth_m)
        return held + sum(answer.nbytes for answer in answers if answer is not None)

    def frame(self, source: str) -> LiveFrame:
        """To be scored.

        Raises:
            MessageError: the picture can't be read.
            ValueError: there is no depth.
        """
        if self.inverse_depth is None:
            raise ValueError("no depth came for this picture")
        return LiveFrame.of_picture(
            source, self.stamp_ns, self.picture, self.sample, self.inverse_depth, self.depth_m
        )


class LiveJoin:
    """Takes messages in, and gives pictures out once all that belongs to them has come.

    Samples are made with the code that makes them of recordings.

    Args:
        settings: how samples are made.
        topics: names under which messages are handed in.
        with_depth: whether depth in metres is expected beside inverse depth.
    """

    def __init__(self, settings: SampleSettings, topics: SensorTopics, with_depth: bool) -> None:
        self._settings = settings
        self._topics = topics
        self._with_depth = with_depth
        self._static: list[Any] = []
        self._assembly = self._new_assembly()
        self._waiting: dict[int, Joined] = {}
        self._newest_ns = self._sampled_ns = self._answered_ns = -1
        self._answers = 0

    @property
    def rejected(self) -> dict[str, int]:
        """Reason -> how many scans or pictures gave no truth."""
        return dict(self._assembly.tally.rejected)

    @property
    def scans(self) -> int:
        """How many scans came."""
        return self._assembly.tally.scans_read

    @property
    def waiting(self) -> int:
        """How many pictures wait for what belongs to them."""
        return len(self._waiting)

    @property
    def warnings(self) -> list[str]:
        """What to know of the truth, each once."""
        return self._assembly.tally.warnings

    def why_no_truth(self) -> str:
        """Why the scans that came gave none that could be scored, the most frequent first."""
        tally = self._assembly.tally
        reasons = []
        for reason, count in tally.rejected.most_common():
            example = tally.examples.get(reason)
            reasons.append(f"{count} x {reason}{f' ({example})' if example else ''}")
        if tally.samples:
            reasons.append(f"{tally.samples} scans gave truth, but no depth of theirs was scored")
        elif 2 * tally.rejected.total() < self.scans:
            reasons.append(
                f"most of the {self.scans} scans were within {self._settings.max_gap_s:g} s of no "
                "picture: are the clocks of camera and LiDAR synchronised?"
            )
        return "; ".join(reasons)

    def forget(self) -> None:
        """Start anew, after a clock that jumped; fixed transforms are kept."""
        self._waiting.clear()
        self._newest_ns = self._sampled_ns = self._answered_ns = -1
        tally, self._assembly = self._assembly.tally, self._new_assembly()
        self._assembly.tally = tally
        for message in self._static:
            self._assembly.add_transforms(message, is_static=True)

    def add(self, topic: str, message: Any, received_s: float) -> Iterator[Joined]:
        """Take in a picture, camera_info or scan; yields the pictures that are complete now."""
        stamp_ns = nanoseconds(message.header.stamp)
        if topic == self._topics.image:
            yield from self._begin_anew(stamp_ns)
            joined = Joined(stamp_ns, received_s, message, message.header)
            self._waiting[stamp_ns] = joined
            self._newest_ns = max(self._newest_ns, stamp_ns)
        elif topic == self._topics.points and self._is_late(stamp_ns):
            self._assembly.tally.reject(LATE_SCAN)
        for sample in self._assembly.feed(BagMessage(topic, stamp_ns, message), self._topics):
            self._sampled_ns = max(self._sampled_ns, sample.stamp_ns)
            if sample.stamp_ns in self._waiting:
                self._waiting[sample.stamp_ns].sample = sample
        yield from self._complete()

    def add_transforms(self, message: Any, is_static: bool) -> None:
        """Take in transforms: a TFMessage, or what has `transforms` as one has."""
        if is_static:
            self._static.append(message)
        self._assembly.add_transforms(message, is_static)

    def add_answer(self, message: Any, is_metric: bool, received_s: float) -> Iterator[Joined]:
        """Take in the node's depth or inverse depth; yields the pictures that are complete now."""
        joined = self._waiting.get(nanoseconds(message.header.stamp))
        if joined is None:
            return
        try:
            values = image_to_float(message)
        except MessageError as error:
            what = "depth" if is_metric else "inverse depth"
            self._assembly.tally.warn(
                f"the node's {what} could not be read, so pictures are without it: {error}"
            )
            return
        if is_metric:
            joined.depth_m = values
        else:
            self._answers += 1
            joined.inverse_depth, joined.answer = values, self._answers
        joined.heard_s = received_s
        if self._is_answered(joined):
            self._answered_ns = max(self._answered_ns, joined.stamp_ns)
        yield from self._complete()

    def finish(self) -> Iterator[Joined]:
        """Yield what is left."""
        while self._waiting:
            yield self._waiting.pop(next(iter(self._waiting)))

    def _new_assembly(self) -> SampleAssembly:
        assembly = SampleAssembly(Path("live"), self._settings, "live")
        assembly.begin_live(self._topics)
        return assembly

    def _begin_anew(self, stamp_ns: int) -> Iterator[Joined]:
        """Where stamps go back without a clock that does: yield what waits, and forget it."""
        back_ns = self._newest_ns - stamp_ns
        if self._newest_ns < 0 or back_ns <= BACK_NS:
            return
        yield from self.finish()
        self.forget()
        self._assembly.tally.warn(
            f"the pictures' stamps went back by {back_ns / 1e9:.1f} s: it was begun anew there"
        )

    def _is_late(self, scan_ns: int) -> bool:
        """Whether a scan comes when no picture of its time is waited for any more."""
        gap_ns = round(self._settings.max_gap_s * 1e9)
        if self._newest_ns - scan_ns <= PATIENCE_NS + gap_ns:
            return False
        return not any(abs(stamp_ns - scan_ns) <= gap_ns for stamp_ns in self._waiting)

    def _is_answered(self, joined: Joined) -> bool:
        if joined.inverse_depth is None:
            return False
        is_late = self._answers - joined.answer >= METRES_LATE
        return joined.depth_m is not None or not self._with_depth or is_late

    def _complete(self) -> Iterator[Joined]:
        """Pictures in the order of time, as long as nothing more can come for them."""
        while self._waiting:
            stamp_ns = min(self._waiting)
            joined = self._waiting[stamp_ns]
            age_ns = self._newest_ns - stamp_ns
            # Depth and samples come in the order of time: later ones leave this one without.
            is_answered = self._is_answered(joined) or self._answered_ns > stamp_ns
            is_sampled = joined.sample is not None or self._sampled_ns > stamp_ns
            is_answered |= age_ns > ANSWER_PATIENCE_NS
            is_sampled |= age_ns > PATIENCE_NS
            if not (is_answered and is_sampled) and not self._is_crowded(is_answered):
                return
            del self._waiting[stamp_ns]
            yield joined

    def _is_crowded(self, is_answered: bool) -> bool:
        """Whether what waits takes too much memory for the oldest to go on waiting."""
        limit = MOST_BYTES * (4 if is_answered else 1)
        if sum(one.size for one in self._waiting.values()) <= limit:
            return False
        self._assembly.tally.warn(
            f"{'truth' if is_answered else 'depth'} comes so late that the pictures waiting for it "
            f"took {limit >> 20} MiB: the oldest went without; play more slowly"
        )
        return True
