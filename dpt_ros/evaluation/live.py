"""Scores frames as they come from a running node: nothing of a frame is kept but its scores.

Apart from some frames for pictures, whose number is fixed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Sample, sample_id
from dpt_ros.evaluation.agreement import Agreement, PixelSample
from dpt_ros.evaluation.alignment import ALIGNMENTS, PREFERRED, Known, known_pair
from dpt_ros.evaluation.flicker import Flicker
from dpt_ros.evaluation.protocols import Protocol
from dpt_ros.evaluation.scoring import FrameScore, score_frame
from dpt_ros.evaluation.summary import Summary, summarise
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.messages.decode import image_to_rgb

SPREAD_FRAMES = 6
WORST_FRAMES = 3


_SAME_DEPTH = 1e-3
"""Relative difference that rounding explains, and half precision."""


@dataclass(frozen=True)
class LiveFrame:
    """A picture, what the node said to it, and what is true.

    Args:
        name: the sample's id.
        stamp_ns: of the picture.
        rgb: uint8 [H,W,3].
        inverse_depth: float32 [H,W], as published.
        depth_m: float32 [H,W], as published (REP 117); None where the node gave no metres.
        truth_m: float32 [H,W] metres, NaN where unknown; None where there is none.
        camera: None where it is not known.
    """

    name: str
    stamp_ns: int
    rgb: NDArray[np.uint8]
    inverse_depth: NDArray[np.float32]
    depth_m: NDArray[np.float32] | None = None
    truth_m: NDArray[np.float32] | None = None
    camera: Camera | None = None

    @classmethod
    def of_picture(
        cls,
        source: str,
        stamp_ns: int,
        picture: Any,
        sample: Sample | None,
        inverse_depth: NDArray[np.float32],
        depth_m: NDArray[np.float32] | None,
    ) -> LiveFrame:
        """From a picture's message, and its sample where there is one, of a recording `source`.

        Raises:
            MessageError: the picture can't be read.
        """
        rgb = image_to_rgb(picture) if sample is None else sample.rgb
        return cls(
            name=sample_id(source, stamp_ns),
            stamp_ns=stamp_ns,
            rgb=rgb if rgb.flags.writeable else rgb.copy(),  # a view of the message, mostly
            inverse_depth=inverse_depth,
            depth_m=depth_m,
            truth_m=None if sample is None else sample.depth_m,
            camera=None if sample is None else sample.camera,
        )


@dataclass(frozen=True)
class ChosenFrame:
    """A frame for pictures, with its score (None without truth), and whether it is a worst one."""

    frame: LiveFrame
    score: FrameScore | None
    is_worst: bool = False


@dataclass
class RunningMeans:
    """Means over the frames so far, of the score that stands for each frame."""

    alignment: str = ""
    frames: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def add(self, score: FrameScore) -> None:
        """Take a frame in; metrics of another alignment are not mixed in."""
        if score.alignment != self.alignment:
            self.alignment, self.frames, self.metrics = score.alignment, 0, {}
        self.frames += 1
        for name, value in score.metrics.items():
            before = self.metrics.get(name, 0.0)
            self.metrics[name] = before + (value - before) / self.frames


@dataclass
class PublishedDepth:
    """How the published metres compare with the published inverse depth and the calibration."""

    frames: int = 0
    valid_share: float = 0.0
    max_difference: float = 0.0

    def add(self, frame: LiveFrame, pair: ScaleShift | None) -> None:
        """Look at a frame; `pair` is what should have made it metric."""
        if frame.depth_m is None:
            return
        finite = np.isfinite(frame.depth_m)
        share = float(finite.mean())
        self.frames += 1
        self.valid_share += (share - self.valid_share) / self.frames
        if pair is None or not share:
            return
        metric = frame.inverse_depth[finite].astype(np.float64) * pair.scale + pair.shift
        difference = np.abs(frame.depth_m[finite] * metric - 1.0)
        self.max_difference = max(self.max_difference, float(difference.max()))

    @property
    def doubt(self) -> str:
        """That the published metres are not those that are scored; "" while they are."""
        if self.max_difference <= _SAME_DEPTH:
            return ""
        return (
            f"the node's depth differs from what is scored by up to {self.max_difference:.1%}: "
            "scored is its inverse depth with the calibration given here; does the node have "
            "another one?"
        )


@dataclass
class LiveEvaluation:
    """Everything that is found out about frames while they come.

    Args:
        known_of: scale and shift for a camera, or why there are none.
        protocols: the first one gives the headline.
        alignments: names of `ALIGNMENTS`.
    """

    known_of: Callable[[Camera], Known]
    protocols: Sequence[Protocol]
    alignments: Sequence[str] = tuple(ALIGNMENTS)
    scores: list[FrameScore] = field(default_factory=list)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    flicker: Flicker = field(default_factory=Flicker)
    published: PublishedDepth = field(default_factory=PublishedDepth)
    running: RunningMeans = field(default_factory=RunningMeans)
    frames: int = 0
    scored: int = 0
    _known: tuple[Camera, Known] | None = None
    _summarised: tuple[int, list[Summary]] | None = None
    _spread: list[ChosenFrame] = field(default_factory=list)
    _stride: int = 1
    _worst: list[tuple[float, int, ChosenFrame]] = field(default_factory=list)

    def add(self, frame: LiveFrame) -> list[FrameScore]:
        """Score a frame; its scores, empty without truth."""
        known = self._known_of(frame.camera)
        self.published.add(frame, known_pair(known))
        is_metric = frame.depth_m is not None
        depth = frame.inverse_depth if frame.depth_m is None else frame.depth_m
        self.flicker.add(frame.stamp_ns, frame.rgb, depth, frame.truth_m, is_metric)
        scores = self._score(frame, known)
        self.scores += scores
        headline = self.headline_of(scores)
        if headline is not None:
            self.running.add(headline)
        self._choose(frame, headline)
        self.frames += 1
        self.scored += any(score.values is not None for score in scores)
        return scores

    def headline_of(self, scores: Sequence[FrameScore]) -> FrameScore | None:
        """The score that stands for a frame: of the first protocol, metres before alignment."""
        mine = {
            score.alignment: score
            for score in scores
            if score.protocol == self.protocols[0].name and score.values is not None
        }
        return next((mine[name] for name in PREFERRED if name in mine), None)

    def summaries(self) -> list[Summary]:
        """One for each protocol and alignment."""
        if self._summarised is None or self._summarised[0] != len(self.scores):
            self._summarised = (len(self.scores), summarise(self.scores, self.protocols))
        return self._summarised[1]

    def chosen(self) -> list[ChosenFrame]:
        """Frames for pictures: some spread over the recording, then the worst ones.

        One of the first that is among the worst comes twice, unless the first are all there are.
        """
        places = np.linspace(0, len(self._spread) - 1, min(SPREAD_FRAMES, len(self._spread)))
        spread = [self._spread[place] for place in np.unique(np.rint(places).astype(int))]
        if self.frames <= SPREAD_FRAMES:
            return spread
        return spread + [item for _, _, item in sorted(self._worst, key=lambda entry: -entry[0])]

    def to_json(self) -> dict[str, Any]:
        """What does not depend on when things happened."""
        return {
            "frames": self.frames,
            "frames_scored": self.scored,
            "summaries": [summary.to_json() for summary in self.summaries()],
            "flicker": self.flicker.summary(),
            "published_depth": {
                "frames": self.published.frames,
                "valid_share": self.published.valid_share,
                "max_relative_difference": self.published.max_difference,
            },
        }

    def _known_of(self, camera: Camera | None) -> Known:
        if camera is None:
            return {}
        if self._known is None or self._known[0] != camera:
            self._known = (camera, self.known_of(camera))
        return self._known[1]

    def _score(self, frame: LiveFrame, known: Known) -> list[FrameScore]:
        if frame.truth_m is None:
            return []
        found: list[FrameScore] = []
        for protocol in self.protocols:
            found += score_frame(
                frame.name, frame.inverse_depth, frame.truth_m, protocol, known, self.alignments
            )
        mine = [s for s in found if s.values is not None and s.protocol == self.protocols[0].name]
        if mine:
            pixels = PixelSample.of_frame(frame.inverse_depth, frame.truth_m, self.protocols[0])
        for score in mine:
            empty = Agreement.empty(self.protocols[0].cap_m)
            cells = pixels.cells(score.scale, score.shift)
            self.agreements.setdefault(score.alignment, empty).add(cells)
        return found

    def _choose(self, frame: LiveFrame, score: FrameScore | None) -> None:
        if self.frames % self._stride == 0:
            self._spread.append(ChosenFrame(frame, score))
            if len(self._spread) > 3 * SPREAD_FRAMES:  # keep every other one from now on
                self._spread = self._spread[::2]
                self._stride *= 2
        if score is None:
            return
        error = score.metrics["abs_rel"]
        if not math.isnan(error):
            entry = (error, self.frames, ChosenFrame(frame, score, is_worst=True))
            (heapq.heappush if len(self._worst) < WORST_FRAMES else heapq.heappushpop)(
                self._worst, entry
            )
