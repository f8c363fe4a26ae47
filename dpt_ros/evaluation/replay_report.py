"""What a replay or a live evaluation comes to: JSON, a few lines of text, and the report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.evaluation import figures
from dpt_ros.evaluation.alignment import PREFERRED
from dpt_ros.evaluation.live import ChosenFrame, LiveEvaluation
from dpt_ros.evaluation.pictures import (
    color_limits,
    depth_picture,
    error_picture,
    relative_picture,
    truth_picture,
)
from dpt_ros.evaluation.protocols import Protocol
from dpt_ros.evaluation.scoring import FrameScore, aligned_depth
from dpt_ros.evaluation.summary import Summary
from dpt_ros.evaluation.tables import versions
from dpt_ros.evaluation.timing import TimingLog
from dpt_ros.evaluation.timing_figures import latency_histogram, latency_timeline
from dpt_ros.report import Page
from dpt_ros.whole_file import write_json

FORMAT = "dpt_ros/replay/1"
LIVE = "live"
_COLUMNS = ("AbsRel", "RMSE [m]", "SILog", "δ < 1.25")
_METRICS = ("abs_rel", "rmse", "si_log", "delta1")


@dataclasses.dataclass
class ReplayFacts:
    """What is to be told beside the scores.

    Args:
        title: of the report.
        mode: "lock-step", "real time at rate 1" or `LIVE`.
        recording: what was played; plain values that do not depend on when.
        model: what ran.
        samples: the settings that truth was made with, by their names.
        timing: of every picture.
        losses: pictures by what became of them.
        losses_of: which pictures these are.
        load: CPU, memory and GPU of the node.
        stages_ms: the node's own times.
        network: what the node says of its network.
        missing: what is not there, and so could not be told.
        troubles: what people should know.
        rejected: scans and pictures that gave no truth: reason -> count.
        partial: why it is not complete; "" if it is.
    """

    title: str
    mode: str
    recording: dict[str, Any]
    model: dict[str, Any]
    samples: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    timing: TimingLog = dataclasses.field(default_factory=TimingLog)
    losses: Mapping[str, int] = dataclasses.field(default_factory=dict)
    losses_of: str = "all pictures that were played"
    load: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stages_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    network: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: list[str] = dataclasses.field(default_factory=list)
    troubles: list[str] = dataclasses.field(default_factory=list)
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict)
    partial: str = ""


def metrics_json(evaluation: LiveEvaluation, facts: ReplayFacts) -> dict[str, Any]:
    """How good depth is: nothing in it depends on when things happened, or how long they took."""
    found = evaluation.to_json()
    summaries = found.pop("summaries")
    return {
        "format": FORMAT,
        "versions": versions(),
        "mode": facts.mode,
        "recording": facts.recording,
        "model": facts.model,
        "samples": dict(facts.samples),
        "partial": facts.partial,
        "missing": facts.missing,
        "rejected": dict(sorted(facts.rejected.items())),
        **found,
        "results": [{"model": facts.model.get("model", ""), **item} for item in summaries],
    }


def timing_json(facts: ReplayFacts) -> dict[str, Any]:
    """Rate, latency, losses and load."""
    summary = facts.timing.summary()
    is_live = facts.mode == LIVE  # when pictures were published is not known then
    outside_ms = None if is_live else _outside_node_ms(summary, facts.stages_ms)
    return {
        "format": FORMAT,
        "mode": facts.mode,
        **summary,
        "losses": dict(facts.losses),
        "losses_of": facts.losses_of,
        "node_stages_ms": dict(facts.stages_ms),
        "outside_node_p50_ms": outside_ms,
        "load": dict(facts.load),
        "network": dict(facts.network),
        "troubles": facts.troubles,
    }


def write_results(
    folder: Path, evaluation: LiveEvaluation, facts: ReplayFacts
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write report.html, metrics.json and timing.json; returns what the last two hold."""
    metrics, timing = metrics_json(evaluation, facts), timing_json(facts)
    build_replay_report(evaluation, facts).save(folder / "report.html")
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "timing.json", timing)
    return metrics, timing


def summary_lines(evaluation: LiveEvaluation, facts: ReplayFacts) -> Iterator[str]:
    """What a terminal shows."""
    timing = facts.timing.summary()
    played, answered = timing["frames"], timing["answered"]
    yield f"{facts.mode}: {played} pictures, {answered} answered, {evaluation.scored} scored"
    for summary in evaluation.summaries():
        if summary.frames:
            values = (summary.metrics[name] for name in _METRICS)
            shown = "  ".join(f"{n} {v:.4f}" for n, v in zip(_METRICS, values, strict=True))
            yield f"  {summary.protocol}, {summary.alignment}: {shown}"
    if timing["latency_ms"]:
        latency, rate = timing["latency_ms"], timing["rate_out_hz"]
        shown = ", ".join(f"{name} {latency[name]:.1f}" for name in ("p50", "p95", "p99"))
        yield f"  latency from stamp [ms]: {shown}" + (f"; {rate:.2f} Hz" if rate else "")
    gone = {name: count for name, count in facts.losses.items() if count}
    gone = {name: count for name, count in gone.items() if name not in ("played", "answered")}
    if gone:
        yield "  " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in gone.items())
    flicker = evaluation.flicker.summary()
    if flicker["median"] is not None:
        yield f"  flicker of static parts: {100 * flicker['median']:.2f} % ({flicker['of']})"
    for text in facts.missing:
        yield f"  missing: {text}"
    for text in _troubles(evaluation, facts):
        yield f"  note: {text}"


def _troubles(evaluation: LiveEvaluation, facts: ReplayFacts) -> list[str]:
    doubt = evaluation.published.doubt
    return [*([doubt] if doubt else []), *facts.troubles]


def build_replay_report(evaluation: LiveEvaluation, facts: ReplayFacts) -> Page:
    """The report as a page."""
    page = Page(facts.title, f"{facts.mode} · {evaluation.protocols[0].meaning}")
    summary = headline(evaluation)
    _add_headlines(page, facts, evaluation, summary)
    if facts.partial:
        page.warning(f"Partial: {facts.partial.rstrip('.')}. What came before is below.")
    for text in facts.missing:
        page.warning(f"Missing: {text}")
    for text in _troubles(evaluation, facts):
        page.warning(text)
    if summary is not None:
        _add_scores(page, evaluation, summary)
    if facts.timing.summary()["answered"]:
        _add_timing(page, evaluation, facts)
    _add_frames(page, evaluation)
    page.section("Settings and versions")
    page.settings(
        {
            "mode": facts.mode,
            "recording": facts.recording,
            "model": facts.model,
            "network": dict(facts.network),
            "samples": dict(facts.samples),
            "left out": dict(facts.rejected),
            **versions(),
        }
    )
    return page


def headline(evaluation: LiveEvaluation) -> Summary | None:
    """The summary that stands for all: the first protocol's, metres before alignment."""
    mine = {
        summary.alignment: summary
        for summary in evaluation.summaries()
        if summary.protocol == evaluation.protocols[0].name and summary.frames
    }
    return next((mine[name] for name in PREFERRED if name in mine), None)


def _add_headlines(
    page: Page, facts: ReplayFacts, evaluation: LiveEvaluation, summary: Summary | None
) -> None:
    timing = facts.timing.summary()
    cards = []
    if summary is not None:
        spoken = summary.alignment.replace("_", " ")
        error, share = summary.metrics["abs_rel"], summary.metrics["delta1"]
        cards.append(("Relative error (AbsRel)", f"{100 * error:.1f} %", f"alignment: {spoken}"))
        cards.append(("Within 25 % (δ < 1.25)", f"{100 * share:.1f} %", "of the pixels"))
    if timing["latency_ms"]:
        latency = timing["latency_ms"]
        note = f"p95 {latency['p95']:.0f} ms, p99 {latency['p99']:.0f} ms"
        cards.append(("Latency from stamp", f"{latency['p50']:.0f} ms", note))
    if timing["rate_out_hz"]:
        note = f"of {timing['rate_in_hz']:.1f} Hz pictures"
        cards.append(("Depth rate", f"{timing['rate_out_hz']:.1f} Hz", note))
    if timing["frames"]:
        missing = timing["frames"] - timing["answered"]
        cards.append(("Without depth", f"{missing}", f"of {timing['frames']} pictures"))
    flicker = evaluation.flicker.summary()["median"]
    if flicker is not None:
        cards.append(("Flicker", f"{100 * flicker:.1f} %", "of depth, where nothing moves"))
    page.headlines(cards)


def _add_scores(page: Page, evaluation: LiveEvaluation, main: Summary) -> None:
    page.section("Figures")
    columns = ["alignment", "frames", *_COLUMNS]
    for protocol in evaluation.protocols:
        rows = [
            [s.alignment.replace("_", " "), s.frames, *(s.metrics[m] for m in _METRICS)]
            for s in evaluation.summaries()
            if s.protocol == protocol.name and s.frames
        ]
        if rows:
            page.table(columns, rows, f"{protocol.name}: {protocol.meaning}")
    page.section("Error against range")
    name = main.alignment.replace("_", " ")
    caption = f"AbsRel by true depth; alignment: {name}."
    page.figure(figures.error_by_range({name: main}), caption, "bars of relative error by range")
    agreement = evaluation.agreements.get(main.alignment)
    if agreement is not None:
        caption = "Median and middle half of the relative error: above 0 is predicted too far."
        page.figure(figures.bias_by_range({name: agreement}), caption, "error against true depth")
        page.section("Prediction against truth")
        page.figure(
            figures.prediction_against_truth({name: agreement}),
            "Density of the pixels; between the dashed lines they differ by less than 1.25.",
            "predicted against true depth",
        )
    errors = [
        score.metrics["abs_rel"]
        for score in evaluation.scores
        if (score.protocol, score.alignment) == (main.protocol, main.alignment)
        and score.values is not None
    ]
    if len(errors) > 1:
        caption = "AbsRel of every frame, in the order of the recording."
        page.figure(figures.error_over_frames({name: errors}), caption, "error over the frames")


def _add_timing(page: Page, evaluation: LiveEvaluation, facts: ReplayFacts) -> None:
    page.section("Time")
    timing = facts.timing.summary()
    published, late = "publication", "playback late"
    if facts.mode == LIVE:  # somebody else publishes, when is not known
        published, late = "the picture's arrival", "stamp to the picture's arrival"
    rows = [
        [label, *(values[name] for name in ("p50", "p95", "p99", "mean", "max"))]
        for label, key in (
            ("latency from stamp [ms]", "latency_ms"),
            (f"from {published} to depth [ms]", "response_ms"),
            ("jitter between answers [ms]", "jitter_ms"),
            (f"{late} [ms]", "playback_late_ms"),
        )
        if (values := timing[key]) is not None
    ]
    page.table(["", "p50", "p95", "p99", "mean", "max"], rows)
    page.figure(latency_histogram(facts.timing), "Latency from the stamp.", "latency histogram")
    page.figure(latency_timeline(facts.timing), "Latency over the recording.", "latency over time")
    if facts.losses:
        lost = [[name.replace("_", " "), count] for name, count in facts.losses.items()]
        caption = f"What became of the pictures ({facts.losses_of})."
        page.table(["pictures", "count"], lost, caption)
    if facts.stages_ms:
        stages = [[name, value] for name, value in sorted(facts.stages_ms.items())]
        page.table(
            ["node's own time [ms]", ""], stages, "The node's own times, as it reports them."
        )
    if facts.load:
        page.settings({"load of the node": dict(facts.load)})
    flicker = evaluation.flicker.summary()
    if flicker["median"] is not None:
        page.text(
            f"Flicker: where the picture does not change from one frame to the next, depth changes "
            f"by {100 * flicker['median']:.2f} % (median over {flicker['pairs']} pairs of frames; "
            f"p95 {100 * flicker['p95']:.2f} %); {100 * flicker['static_share']:.0f} % of the "
            f"pixels count as static. Measured on {flicker['of']}."
        )


def _add_frames(page: Page, evaluation: LiveEvaluation) -> None:
    chosen = evaluation.chosen()
    groups = {
        "Chosen frames": [item for item in chosen if not item.is_worst],
        "Worst frames": [item for item in chosen if item.is_worst],
    }
    for title, items in groups.items():
        if not items:
            continue
        page.section(title)
        for item in items:
            page.images(frame_pictures(item, evaluation.protocols[0]))
            depth_m = shown_depth(item.frame, item.score, evaluation.protocols[0])
            frame = item.frame
            if frame.truth_m is None or frame.camera is None or depth_m is None:
                continue
            page.figure(
                figures.cloud_from_outside(frame.rgb, depth_m, frame.truth_m, frame.camera),
                f"{frame.name}: the node's cloud beside what was measured.",
                "cloud from above and from the side",
            )


def frame_pictures(item: ChosenFrame, protocol: Protocol) -> list[tuple[NDArray[np.uint8], str]]:
    """Camera, depth, measured points and error of a frame, with captions."""
    frame, score = item.frame, item.score
    pictures = [(frame.rgb, f"{frame.name}: camera")]
    depth_m = shown_depth(frame, score, protocol)
    if depth_m is None:
        return [*pictures, (relative_picture(frame.inverse_depth), "inverse depth, no metres")]
    limits = color_limits(depth_m if frame.truth_m is None else frame.truth_m)
    told = f"depth, AbsRel {100 * score.metrics['abs_rel']:.1f} %" if score else "depth"
    pictures.append((depth_picture(depth_m, limits), told))
    if frame.truth_m is not None:
        pictures.append((truth_picture(frame.rgb, frame.truth_m, limits), "measured"))
        error = error_picture(frame.rgb, depth_m, frame.truth_m)
        pictures.append((error, "error: red too far, blue too near"))
    return pictures


def shown_depth(
    frame: Any, score: FrameScore | None, protocol: Protocol
) -> NDArray[np.floating] | None:
    """Depth in metres for a picture: as published, else as it was aligned for its score."""
    if frame.depth_m is not None:
        published: NDArray[np.floating] = frame.depth_m
        return published
    if score is None or math.isnan(score.scale):
        return None
    return aligned_depth(frame.inverse_depth, score, protocol)


def _outside_node_ms(summary: Mapping[str, Any], stages_ms: Mapping[str, float]) -> float | None:
    """Median time outside the node: publication, middleware and receipt."""
    known = [stages_ms.get(name) for name in ("network p50", "overhead p50")]
    if summary["response_ms"] is None or any(value is None for value in known):
        return None
    inside = sum(value for value in known if value is not None)
    return round(float(summary["response_ms"]["p50"]) - inside, 3)
