"""What `dpt-ros evaluate` leaves behind: its folder's files, and its words on the terminal."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpt_ros.bags.dataset_format import told_if_full
from dpt_ros.cli.result_files import Kind, json_of
from dpt_ros.evaluation.evaluation_report import build_report
from dpt_ros.evaluation.models import EvaluatedModel
from dpt_ros.evaluation.recordings import Recording
from dpt_ros.evaluation.run import Evaluation
from dpt_ros.evaluation.tables import frames_csv, identity, summary_csv, to_json
from dpt_ros.whole_file import json_text

RESULTS = "evaluation.json"

_OURS = {RESULTS, "report.html", "summary.csv", "frames.csv", "kept"}
# Not that of a fit, a training or a replay.
_TITLE = rb"<title>(?!Scale and shift of |Training of )[^<]* on [^<]*(?<!played through the node)"
FILES = {
    "json": json_of("evaluation"),
    "csv": Kind("summary of an evaluation", rb"\Amodel,protocol,alignment,range,frames,pixels,"),
    "html": Kind("report of an evaluation", _TITLE + rb"</title>\s*<link rel=.icon"),
}
"""What may be asked for besides the folder, by option."""
_COLUMNS = (("abs_rel", "AbsRel"), ("rmse", "RMSE [m]"), ("si_log", "SILog"), ("delta1", "delta1"))


def check_folder(out: Path, force: bool) -> None:
    """Refuse a folder that holds something else than an evaluation.

    Raises:
        FileExistsError: says what is there and what to do.
    """
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out}: is a file; name a folder with --out")
    others = sorted(p.name for p in out.glob("*") if p.name not in _OURS) if out.exists() else []
    others = [name for name in others if not name.startswith(".")]
    if others and not (out / RESULTS).exists() and not force:
        raise FileExistsError(
            f"{out}: holds {', '.join(others[:3])} and no evaluation; name an empty or a new "
            "folder with --out, or write into it with --force"
        )


def check_same(
    out: Path, recordings: Sequence[Recording], models: Sequence[EvaluatedModel]
) -> None:
    """Refuse a folder with results of other inputs or models.

    Raises:
        FileExistsError: says what to do.
    """
    if not (out / RESULTS).exists():
        return
    try:
        there = json.loads((out / RESULTS).read_text(encoding="utf-8"))
        # As it is after having been written and read.
        wanted = json.loads(json.dumps(identity(recordings, models)))
        same = all(there[key] == value for key, value in wanted.items())
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise FileExistsError(
            f"{out}: holds the evaluation of other inputs or models; name another folder with "
            "--out, or replace it with --force (predictions are kept apart, and stay)"
        )


def write_results(evaluation: Evaluation, out: Path, options: argparse.Namespace) -> None:
    """Write the folder's files, all of them or none: what fails leaves the earlier ones."""
    page = build_report(evaluation, options.show)
    texts = {
        "report.html": (page.html(), options.html),
        "summary.csv": (summary_csv(evaluation), options.csv),
        "frames.csv": (frames_csv(evaluation), None),
        RESULTS: (json_text(to_json(evaluation)), options.json),
    }
    files = {}
    for name, (text, another) in texts.items():
        for path in [out / name, *([Path(another)] if another else [])]:
            files[path.expanduser().resolve()] = text
    parts = {path: _beside(path, "part") for path in files}
    with told_if_full(out):
        try:
            for path, text in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                parts[path].write_text(text, encoding="utf-8")
            _replace(parts)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


def _replace(parts: Mapping[Path, Path]) -> None:
    """Put new files in the place of earlier ones; where one cannot be, all earlier ones return.

    The JSON says that the others belong together: an earlier one goes first, and the new one comes
    last, so that a process killed in between leaves none.
    """
    backwards = list(parts)[::-1]
    earlier = {path: _beside(path, "earlier") for path in backwards if path.is_file()}
    try:
        for path, kept in earlier.items():
            path.replace(kept)
        for path, part in parts.items():
            part.replace(path)
    except BaseException:
        for path in backwards:
            if not parts[path].exists():
                path.unlink(missing_ok=True)
        for path, kept in reversed(earlier.items()):
            if kept.exists():
                kept.replace(path)
        raise
    for kept in earlier.values():
        kept.unlink()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


def warnings(evaluation: Evaluation) -> list[str]:
    """What to know of the inputs and models before believing the figures."""
    listed: list[str] = []
    for recording in evaluation.recordings:
        listed += [
            text if str(recording.path) in text else f"{recording.path}: {text}"
            for text in recording.warnings
        ]
        listed += [
            f"{recording.path}: left out {count} x {reason}"
            for reason, count in recording.rejected.items()
        ]
    listed += evaluation.troubles()
    for result in evaluation.results:
        listed += [
            f"{result.model.label}, {s.alignment} ({s.protocol}): {s.flat} of {s.frames} frames "
            "taken as flat, as no positive scale fits them"
            for s in result.summaries
            if s.flat
        ]
    return listed


def told(evaluation: Evaluation) -> str:
    """The results as text: a table for every protocol, then what is missing."""
    if not evaluation.has_truth:
        return "no depth was measured in these frames: the report has pictures and no figures"
    lines: list[str] = []
    networks = [result for result in evaluation.results if not result.model.is_baseline]
    of_models = {s.alignment for result in networks for s in result.summaries if s.frames}
    width = max(len(result.model.label) for result in evaluation.results)
    for protocol in evaluation.plan.protocols:
        rows: list[str] = []
        for result in evaluation.results:
            for summary in result.summaries:
                alone = result.model.is_baseline and summary.alignment not in of_models
                if summary.protocol != protocol.name or alone or not summary.frames:
                    continue
                name = f"  {result.model.label:{width}}  {summary.alignment:13}"
                values = "".join(f"{summary.metrics[key]:10.4f}" for key, _ in _COLUMNS)
                rows.append(f"{name} {summary.frames:6}{values}")
        if rows:
            head = "".join(f"{name:>10}" for _, name in _COLUMNS)
            lines += [protocol.meaning, f"  {'':{width}}  {'alignment':13} frames{head}", *rows]
    lines += [
        f"no figures for {label}, {', '.join(alignments)}: {why}"
        for (label, why), alignments in evaluation.without_figures().items()
    ]
    return "\n".join(lines)
