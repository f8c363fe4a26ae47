"""The report of an evaluation: what a person wants to see, in the order in which they ask."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from dpt_ros.evaluation import figures
from dpt_ros.evaluation.agreement import Agreement
from dpt_ros.evaluation.alignment import ALIGNMENTS, FROM_TRUTH, PREFERRED
from dpt_ros.evaluation.frame_pictures import add_frame, frames_to_show
from dpt_ros.evaluation.intervals import CONFIDENCE
from dpt_ros.evaluation.recordings import names_of
from dpt_ros.evaluation.run import Evaluation, ModelResult
from dpt_ros.evaluation.summary import Summary
from dpt_ros.evaluation.tables import versions
from dpt_ros.report import Page

_BEST = {
    "AbsRel": "min",
    "SqRel [m]": "min",
    "RMSE [m]": "min",
    "RMSE log": "min",
    "SILog": "min",
    "log10": "min",
    "δ < 1.25": "max",
    "δ < 1.25²": "max",
    "δ < 1.25³": "max",
}


def build_report(evaluation: Evaluation, pictures: int = 3) -> Page:
    """The report as a page.

    Args:
        evaluation: what was found out.
        pictures: how many worst frames, and how many evenly spread ones, are shown.
    """
    evaluation, alignment = _headline_first(evaluation)
    page = Page(_title(evaluation), _subtitle(evaluation))
    if alignment:
        _add_headlines(page, evaluation, alignment)
    _add_warnings(page, evaluation)
    if alignment:
        _add_tables(page, evaluation)
        _add_ranges(page, evaluation, alignment)
        _add_agreement(page, evaluation, alignment)
    elif evaluation.has_truth:
        _add_missing(page, evaluation)
    _add_frames(page, evaluation, alignment, pictures)
    _add_settings(page, evaluation)
    return page


def _headline_first(evaluation: Evaluation) -> tuple[Evaluation, str]:
    """What figures and pictures are shown for; the alignment is "" if nothing was scored.

    The first protocol under which a network was scored, put first, and of its alignments that which
    asks least of the truth; models with figures under both come before those that have none.
    """
    protocols = evaluation.plan.protocols
    for protocol in protocols:
        for result in evaluation.results:
            found = {s.alignment for s in result.summaries if _counts(s, protocol.name)}
            if result.model.is_baseline or not found:
                continue
            alignment = next(name for name in PREFERRED if name in found)
            others = [other for other in protocols if other is not protocol]
            plan = dataclasses.replace(evaluation.plan, protocols=[protocol, *others])

            def has_none(one: ModelResult, name: str = protocol.name, of: str = alignment) -> bool:
                return not any(_counts(s, name) and s.alignment == of for s in one.summaries)

            results = sorted(evaluation.results, key=has_none)
            return dataclasses.replace(evaluation, plan=plan, results=results), alignment
    return evaluation, ""


def _counts(summary: Summary, protocol: str) -> bool:
    return summary.protocol == protocol and summary.frames > 0


def _title(evaluation: Evaluation) -> str:
    models = [r.model.label for r in evaluation.results if not r.model.is_baseline]
    return f"{_listed(models)} on {_listed(names_of(evaluation.recordings))}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= 3:
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"{names[0]}, {names[1]} and {len(names) - 2} others"


def _subtitle(evaluation: Evaluation) -> str:
    points = sum(r.points for x in evaluation.recordings for r in x.dataset.records)
    protocol = evaluation.plan.protocols[0]
    truth = f"{points:,} measured points" if evaluation.has_truth else "no measured depth"
    return f"{evaluation.frames:,} frames · {truth} · {protocol.meaning}"


def _add_headlines(page: Page, evaluation: Evaluation, alignment: str) -> None:
    protocol = evaluation.plan.protocols[0].name
    first = evaluation.results[0]
    summary = first.summary(protocol, alignment)
    if summary is None:
        return
    low, high = summary.intervals["abs_rel"]
    ends = f"{100 * low:.1f} to {100 * high:.1f} % in {100 * CONFIDENCE:.0f} of 100 resamples"
    between = "" if math.isnan(low) else ends
    is_alone = len(evaluation.results) == 1
    name = "Relative error (AbsRel)" if is_alone else f"AbsRel of {first.model.label}"
    cards = [
        (name, f"{100 * summary.metrics['abs_rel']:.1f} %", between),
        ("Within 25 % (δ < 1.25)", f"{100 * summary.metrics['delta1']:.1f} %", "of the pixels"),
        ("RMSE", f"{summary.metrics['rmse']:.2f} m", f"alignment: {_spoken(alignment)}"),
    ]
    cards += [
        (
            f"AbsRel of {result.model.label}",
            f"{100 * other.metrics['abs_rel']:.1f} %",
            "the same frames and alignment",
        )
        for result in evaluation.results[1:3]
        if (other := result.summary(protocol, alignment)) is not None and other.frames
    ]
    page.headlines(cards)


def _spoken(alignment: str) -> str:
    return alignment.replace("_", " ")


def _add_warnings(page: Page, evaluation: Evaluation) -> None:
    if not evaluation.has_truth:
        page.warning(
            "No depth was measured in these frames (no LiDAR, or no point of it in the picture): "
            "there is nothing to compare with, so there are pictures and no figures."
        )
    warned: dict[str, list[str]] = {}
    named = list(zip(names_of(evaluation.recordings), evaluation.recordings, strict=True))
    for name, recording in named:
        for text in recording.warnings:
            warned.setdefault(text, []).append(name)
    for text, names in warned.items():
        page.warning(f"{_listed(names)}: {text}")
    for name, recording in named:
        if recording.rejected:
            counts = (f"{count} x {reason}" for reason, count in recording.rejected.items())
            page.text(f"Left out of {name}: {'; '.join(counts)}.")
    for text in evaluation.troubles():
        page.warning(text)


def _add_tables(page: Page, evaluation: Evaluation) -> None:
    page.section("Figures")
    named = evaluation.plan.alignments
    from_truth = " and ".join(f"`{name}`" for name in named if name in FROM_TRUTH)
    page.text(
        "Each figure is measured frame by frame and then averaged over the frames. "
        + " ".join(f"`{name}`: {ALIGNMENTS[name]}." for name in named)
    )
    if from_truth:
        page.text(
            f"Scale, and shift, of {from_truth} are from the truth of the frame that is scored: "
            "that rates the shape of depth, not its metres."
        )
    if any(result.model.is_baseline for result in evaluation.results):
        page.text(
            "`baseline` looks at no picture: it says the mean inverse depth of its training set at "
            "every pixel. A model that does no better has learnt where the ground is."
        )
    for protocol in evaluation.plan.protocols:
        scored = [
            (result, summary)
            for result in evaluation.results
            for summary in result.summaries
            if summary.protocol == protocol.name and summary.frames
        ]
        if len(evaluation.results) == 1:
            _add_table(page, scored, protocol.meaning)
            continue
        for alignment in evaluation.plan.alignments:
            # Only under one alignment can models be compared.
            rows = [(result, s) for result, s in scored if s.alignment == alignment]
            if any(not result.model.is_baseline for result, _ in rows):
                _add_table(page, rows, protocol.meaning, _BEST)
    _add_missing(page, evaluation)


def _add_table(
    page: Page,
    rows: Sequence[tuple[ModelResult, Summary]],
    caption: str,
    highlight: Mapping[str, str] | None = None,
) -> None:
    columns = ["model", "alignment", "frames", "AbsRel", "95 %", *list(_BEST)[1:]]
    values = [_row(*row) for row in rows]
    alignments = {summary.alignment for _, summary in rows}
    if len(alignments) == 1:
        caption += f"; alignment: {_spoken(alignments.pop())}"
        columns, values = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in values]
    if rows:
        page.table(columns, values, caption, highlight)


def _row(result: ModelResult, summary: Summary) -> list[object]:
    low, high = summary.intervals["abs_rel"]
    values = list(summary.metrics.values())
    between = None if math.isnan(low) else f"{low:.3f} to {high:.3f}"
    return [
        result.model.label,
        _spoken(summary.alignment),
        summary.frames,
        values[0],
        between,
        *values[1:],
    ]


def _add_missing(page: Page, evaluation: Evaluation) -> None:
    """What has no figures or needs a remark, and why; each once."""
    missing = [
        f"No figures for {label}, {', '.join(f'`{name}`' for name in alignments)}: {why}."
        for (label, why), alignments in evaluation.without_figures().items()
    ]
    for result in evaluation.results:
        for summary in result.summaries:
            if summary.flat:
                page.warning(
                    f"{result.model.label}, `{summary.alignment}`, protocol {summary.protocol}: in "
                    f"{summary.flat} of {summary.frames} frames no positive scale fits; they count "
                    "as flat, at the mean of the truth."
                )
    if missing:
        page.text("\n\n".join(missing))


def _add_ranges(page: Page, evaluation: Evaluation, alignment: str) -> None:
    protocol = evaluation.plan.protocols[0]
    found = {
        result.model.label: summary
        for result in evaluation.results
        if (summary := result.summary(protocol.name, alignment)) is not None and summary.frames
    }
    page.section("Error against range")
    caption = f"AbsRel by true depth; alignment: {_spoken(alignment)}; protocol: {protocol.name}."
    page.figure(figures.error_by_range(found), caption, "bars of the relative error by range")
    columns = ["model", "range", "frames", "pixels", "AbsRel", "RMSE [m]", "δ < 1.25"]
    rows = [
        [name, r.name, r.frames, r.pixels, *(r.metrics[m] for m in ("abs_rel", "rmse", "delta1"))]
        for name, summary in found.items()
        for r in summary.ranges
    ]
    page.table(columns, rows)


def _add_agreement(page: Page, evaluation: Evaluation, alignment: str) -> None:
    agreements = {
        result.model.label: result.agreements[alignment]
        for result in evaluation.results
        if alignment in result.agreements
    }
    if agreements:  # gathered under the plan's first protocol, which may have scored nothing
        _add_pixels(page, agreements)
    protocol = evaluation.plan.protocols[0].name
    errors = {
        result.model.label: [s.metrics["abs_rel"] for s in result.scores_of(protocol, alignment)]
        for result in evaluation.results
    }
    if max(map(len, errors.values())) > 1:
        page.figure(
            figures.error_over_frames({name: e for name, e in errors.items() if e}),
            "AbsRel of every frame, in the order of the recordings.",
            "relative error over the frames",
        )


def _add_pixels(page: Page, agreements: Mapping[str, Agreement]) -> None:
    page.figure(
        figures.bias_by_range(agreements),
        "Median and middle half of the relative error: above 0 is predicted too far.",
        "relative error against true depth",
    )
    page.section("Prediction against truth")
    page.figure(
        figures.prediction_against_truth(dict(list(agreements.items())[:3])),
        "Density of the pixels; on the line prediction and truth agree, between the dashed lines "
        "they differ by less than a factor of 1.25.",
        "predicted against true depth",
    )


def _add_frames(page: Page, evaluation: Evaluation, alignment: str, pictures: int) -> None:
    shown = frames_to_show(evaluation, alignment, pictures)
    for title, identifiers in shown.items():
        if not identifiers:
            continue
        page.section(title)
        if title == next(iter(shown)) and alignment:
            page.text(
                "Depth from near (red) to far (blue), prediction and measurement in the same "
                "colours. In the error picture red is predicted too far, blue too near; the colour "
                "is full at half as far again."
            )
        for identifier in identifiers:
            add_frame(page, evaluation, identifier, alignment)


def _add_settings(page: Page, evaluation: Evaluation) -> None:
    page.section("Settings and versions")
    named = list(zip(names_of(evaluation.recordings), evaluation.recordings, strict=True))
    plan = evaluation.plan
    edges = plan.protocols[0].edges_m
    page.settings(
        {
            "protocols": [protocol.name for protocol in plan.protocols],
            "alignments": [_spoken(name) for name in plan.alignments],
            "range edges [m]": [f"{edge:g}" for edge in edges],
            "inputs": {
                name: f"fingerprint {r.dataset.fingerprint[:16]}, frames: {len(r.dataset)}"
                for name, r in named
            },
            "samples": {name: r.samples for name, r in named},
            **{result.model.label: result.model.description for result in evaluation.results},
            **versions(),
        }
    )
