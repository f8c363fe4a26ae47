"""A live evaluation from its first message to its report. Knows no ROS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset_format import name_of_recording
from dpt_ros.bags.reader import BagReader
from dpt_ros.bags.topics import TRANSFORMS, SensorTopics
from dpt_ros.config import values_of
from dpt_ros.evaluation.error_points import error_points
from dpt_ros.evaluation.joining import Joined, LiveJoin
from dpt_ros.evaluation.known import KnownMetres
from dpt_ros.evaluation.live import LiveEvaluation, LiveFrame
from dpt_ros.evaluation.live_settings import LiveSettings, in_parameters
from dpt_ros.evaluation.output_folder import OutputFolder
from dpt_ros.evaluation.pictures import error_picture
from dpt_ros.evaluation.protocols import choose_protocols
from dpt_ros.evaluation.replay_report import (
    LIVE,
    ReplayFacts,
    shown_depth,
    summary_lines,
    write_results,
)
from dpt_ros.evaluation.scoring import FrameScore
from dpt_ros.evaluation.timing import FrameTime, TimingLog
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.messages.errors import MessageError

_LOSSES_OF = (
    "those that reached the evaluator or the node, up to the node's last report (of a node that "
    "ran before, from its first); what was lost on the way to both is not known live"
)
_PLAUSIBLE_S = 60.0
"""A clock and a stamp that are further apart belong to different times."""


@dataclass(frozen=True)
class ScoredFrame:
    """A frame with its score, for those who show it."""

    header: Any
    frame: LiveFrame
    score: FrameScore | None
    depth_m: NDArray[np.floating] | None

    def error_points(self) -> NDArray[np.float32]:
        """The measured points in the colours of the error, [1,N,4]."""
        if self.depth_m is None or self.frame.truth_m is None or self.frame.camera is None:
            return np.empty((1, 0, 4), np.float32)
        return error_points(self.depth_m, self.frame.truth_m, self.frame.camera)

    def error_rgb(self) -> NDArray[np.uint8]:
        """The error over the camera's picture, [H,W,3]."""
        if self.depth_m is None or self.frame.truth_m is None:
            return self.frame.rgb
        return error_picture(self.frame.rgb, self.depth_m, self.frame.truth_m)


@dataclass(frozen=True)
class NodeFacts:
    """What is known of the depth node beside its depth; see `ReplayFacts`."""

    losses: Mapping[str, int] = field(default_factory=dict)
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    network: Mapping[str, str] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


class LiveSession:
    """Takes messages in, scores what is complete, and tells how it goes.

    Args:
        settings: what runs, and how truth is made.
        topics: names under which messages are handed in.

    Raises:
        ConfigError, CalibrationError, CheckpointError, BagError: settings that are wrong.
        FileExistsError: the output folder holds something.
    """

    def __init__(self, settings: LiveSettings, topics: SensorTopics) -> None:
        self._settings = settings
        self._topics = topics
        self._folder: OutputFolder | None = None
        if settings.output:
            self._folder = OutputFolder(
                settings.output, settings.overwrite, "output:=FOLDER", "overwrite:=true"
            )
        self._model = ModelIdentity.of(settings.model, settings.checkpoint or None)
        self._metres = KnownMetres(self._model, settings.calibration)
        self.evaluation = LiveEvaluation(
            self._metres.of_camera, choose_protocols([settings.protocol])
        )
        self.join = LiveJoin(settings.samples, topics, self._metres.has_any)
        self._timing = TimingLog()
        self._troubles: list[str] = []
        self.partial = ""
        """Why what is scored is only a part; "" while it is not."""
        self.why_no_scan = "no scan of a LiDAR came"
        """To be told where none came; filled by who knows the topic."""
        self.node = NodeFacts()
        """What is known of the depth node; filled by who hears it."""
        self._recorded = 0
        self._is_stamp_far = False
        if settings.bag:
            self._read_recording(Path(settings.bag))
            if doubt := self._metres.doubt([name_of_recording(Path(settings.bag))]):
                self.trouble(doubt)

    def add(self, topic: str, message: Any, received_s: float) -> Iterator[ScoredFrame]:
        """Take in a picture, camera_info or scan; yields the frames that are complete now."""
        yield from self._score(self.join.add(topic, message, received_s))

    def add_answer(self, message: Any, is_metric: bool, received_s: float) -> Iterator[ScoredFrame]:
        """Take in depth or inverse depth; yields the frames that are complete now."""
        yield from self._score(self.join.add_answer(message, is_metric, received_s))

    @property
    def waiting(self) -> int:
        """How many pictures wait for what belongs to them."""
        return self.join.waiting

    def finish(self) -> Iterator[ScoredFrame]:
        """Score what is left; to be called again where a picture's failure ends it."""
        yield from self._score(self.join.finish())

    def forget_clock(self) -> None:
        """The clock jumped: what waits belongs to another time."""
        if self._timing:
            self.trouble("the clock jumped back: what waited was left out")
        self.join.forget()

    def trouble(self, text: str) -> None:
        """Note what people should know, once."""
        if text not in self._troubles:
            self._troubles.append(text)

    def status(self) -> dict[str, str]:
        """How it goes, for diagnostics."""
        evaluation, timing = self.evaluation, self._timing.summary()
        running = evaluation.running
        latency, rate = timing["latency_ms"], timing["rate_out_hz"]
        values = {
            "frames": str(evaluation.frames),
            "frames scored": str(evaluation.scored),
            "alignment": running.alignment or "none yet",
            "AbsRel": _text(running.metrics.get("abs_rel")),
            "delta1": _text(running.metrics.get("delta1")),
            "latency p50 ms": "none" if latency is None else f"{latency['p50']:.1f}",
            "latency p95 ms": "none" if latency is None else f"{latency['p95']:.1f}",
            "rate Hz": "none" if rate is None else f"{rate:.2f}",
        }
        rejected = [f"{count} x {reason}" for reason, count in self.join.rejected.items()]
        values["no truth"] = "; ".join(rejected) or "none"
        return values

    def facts(self) -> ReplayFacts:
        """What is to be told beside the scores."""
        missing = []
        if not self._timing:
            missing.append(f"pictures: none came on {self._topics.image}")
        elif not self.evaluation.frames:
            missing.append("depth: the node answered no picture")
        elif not self.evaluation.scored:
            has_scans = self.join.scans > 0
            missing.append(f"truth: {self.join.why_no_truth() if has_scans else self.why_no_scan}")
        if not self._metres.has_any:
            missing.append("metres: this model's depth is relative; set the parameter calibration")
        node = self.node
        troubles = [*self._not_all(), *self._troubles, *node.troubles, *self.join.warnings]
        return ReplayFacts(
            title=f"{self._settings.model}, scored live",
            mode=LIVE,
            partial=self.partial,
            recording=self._recording(),
            model={
                "model": self._settings.model,
                "checkpoint_sha256": self._model.checkpoint_sha256,
                "metres": self._metres.source,
            },
            samples=values_of(self._settings.samples),
            timing=self._timing,
            losses=node.losses,
            losses_of=_LOSSES_OF,
            load=node.load,
            stages_ms=node.stages_ms,
            network=node.network,
            missing=[in_parameters(text) for text in (*missing, *node.missing)],
            troubles=[in_parameters(text) for text in troubles],
            rejected=self.join.rejected,
        )

    def summary(self) -> Iterator[str]:
        """What a terminal shows at the end."""
        return summary_lines(self.evaluation, self.facts())

    def write(self) -> Path | None:
        """Write report and figures into the output folder; None without one.

        Raises:
            OSError: they can't be written.
        """
        if self._folder is None:
            return None
        facts = self.facts()
        with self._folder as folder:
            write_results(folder.work, self.evaluation, facts)
        return self._folder.path

    def _score(self, complete: Iterator[Joined]) -> Iterator[ScoredFrame]:
        for joined in complete:
            self._look_at_stamp(joined)
            self._timing.add(_time_of(joined, self._settings.rate))
            if joined.inverse_depth is None:
                continue
            try:
                frame = joined.frame("live")
            except MessageError as error:
                self.trouble(f"a picture could not be read: {error}")
                continue
            score = self.evaluation.headline_of(self.evaluation.add(frame))
            depth_m = shown_depth(frame, score, self.evaluation.protocols[0])
            yield ScoredFrame(joined.header, frame, score, depth_m)

    def _look_at_stamp(self, joined: Joined) -> None:
        apart_s = joined.received_s - joined.stamp_ns / 1e9
        if abs(apart_s) > _PLAUSIBLE_S and joined.received_s > 0.0 and not self._is_stamp_far:
            self._is_stamp_far = True
            side = "before" if apart_s > 0.0 else "after"
            self.trouble(
                f"a picture's stamp is {abs(apart_s):.0f} s {side} the clock at which it came: of "
                "such pictures, latency counts from then (is use_sim_time set as the recording "
                "needs it, and the camera's clock right?)"
            )

    def _recording(self) -> dict[str, Any]:
        found: dict[str, Any] = {"image_topic": self._topics.image}
        if self._recorded:
            found |= {"path": self._settings.bag, "pictures": self._recorded}
        return found

    def _not_all(self) -> list[str]:
        """That pictures of the recording did not come, as far as is known."""
        came, losses = len(self._timing), self.node.losses
        if came >= self._recorded:
            return []
        told = f"{came} of the {self._recorded} pictures of the recording reached the evaluator"
        in_node = losses.get("played", 0) - losses.get("lost_before_node", 0)
        if in_node > came:
            return [
                f"{told}, and {in_node} the node, of which depth came for {losses['answered']}: "
                "those that the evaluator missed are not scored"
            ]
        return [f"{told}: the others were not played, or were lost on their way"]

    def _read_recording(self, path: Path) -> None:
        """Its fixed transforms, and how many pictures it has."""
        with BagReader(path) as bag:
            self._recorded = sum(t.count for t in bag.topics if t.name == self._topics.image)
            static = [t.name for t in bag.topics_of([TRANSFORMS]) if t.name.endswith("tf_static")]
            if static:
                for message in bag.messages(*static):
                    self.join.add_transforms(message.message, is_static=True)


def _time_of(joined: Joined, rate: float) -> FrameTime:
    """In seconds that passed: those of a recording's clock, played at a rate, are others.

    Before that clock begins it stands at 0, which is no time at which anything came.
    """
    taken_s, received_s = joined.stamp_ns / 1e9, joined.received_s
    heard_s = math.nan if joined.heard_s is None else joined.heard_s
    if received_s <= 0.0:
        received_s = taken_s
        heard_s = taken_s if heard_s <= 0.0 else heard_s
    elif abs(received_s - taken_s) > _PLAUSIBLE_S:
        taken_s = received_s
    return FrameTime(joined.stamp_ns, taken_s / rate, received_s / rate, heard_s / rate)


def _text(value: float | None) -> str:
    return "none" if value is None or math.isnan(value) else f"{value:.4f}"
