"""Single frames in the report: which are shown, and their pictures and cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Sample
from dpt_ros.evaluation import figures
from dpt_ros.evaluation.pictures import (
    color_limits,
    depth_picture,
    error_picture,
    relative_picture,
    truth_picture,
)
from dpt_ros.evaluation.run import Evaluation, ModelResult
from dpt_ros.evaluation.scoring import FrameScore, aligned_depth
from dpt_ros.report import Page


def frames_to_show(evaluation: Evaluation, alignment: str, count: int) -> dict[str, list[str]]:
    """Ids of frames under the titles of their sections: evenly spread ones, and the worst.

    Worst is by AbsRel of the first model; the spread ones are of the others. Where `count` is
    enough for all, or without truth, none is called the worst.
    """
    everything = [r.id for x in evaluation.recordings for r in x.dataset.records]
    scores: list[FrameScore] = []
    if alignment:
        protocol = evaluation.plan.protocols[0].name
        scores = evaluation.results[0].scores_of(protocol, alignment)
        everything = [score.frame for score in scores]
    by_error = sorted(scores, key=lambda score: (-score.metrics["abs_rel"], score.frame))
    worst = [score.frame for score in by_error[:count]] if len(everything) > count else []
    others = [identifier for identifier in everything if identifier not in worst]
    return {"Chosen frames": _evenly(others, count), "Worst frames": worst}


def add_frame(page: Page, evaluation: Evaluation, identifier: str, alignment: str) -> None:
    """Show a frame: camera, depth, measured points, error, of the first model; then the cloud."""
    dataset, index = evaluation.find(identifier)
    sample = dataset[index]
    first, *others = evaluation.results
    predicted = first.model.prediction(dataset, dataset.records[index])
    if predicted is None:
        page.text(f"{identifier}: {first.model.label} failed on it.")
        return
    if not alignment:
        page.images(
            [
                (sample.rgb, f"{identifier}: camera"),
                (relative_picture(predicted), f"{first.model.label}: inverse depth, no metres"),
            ]
        )
        return
    depth_m = _depth(evaluation, first, sample, predicted, alignment)
    if depth_m is None:
        return
    limits = color_limits(sample.depth_m)
    told = f"{first.model.label}: depth, AbsRel {_error(evaluation, first, sample.id, alignment)}"
    pictures = [
        (sample.rgb, f"{identifier}: camera"),
        (depth_picture(depth_m, limits), told),
        (truth_picture(sample.rgb, sample.depth_m, limits), "measured"),
        (error_picture(sample.rgb, depth_m, sample.depth_m), f"{first.model.label}: error"),
    ]
    for result in [other for other in others if not other.model.is_baseline][:2]:
        said = result.model.prediction(dataset, dataset.records[index])
        depth = None if said is None else _depth(evaluation, result, sample, said, alignment)
        if depth is not None:
            told = f"depth, AbsRel {_error(evaluation, result, sample.id, alignment)}"
            error = error_picture(sample.rgb, depth, sample.depth_m)
            pictures.append((depth_picture(depth, limits), f"{result.model.label}: {told}"))
            pictures.append((error, f"{result.model.label}: error"))
    page.images(pictures)
    page.figure(
        figures.cloud_from_outside(sample.rgb, depth_m, sample.depth_m, sample.camera),
        f"{identifier}: the predicted cloud of {first.model.label} in the picture's colours beside "
        "what was measured, coloured by depth.",
        "cloud from above and from the side",
    )


def _depth(
    evaluation: Evaluation,
    result: ModelResult,
    sample: Sample,
    predicted: NDArray[np.float32],
    alignment: str,
) -> NDArray[np.float64] | None:
    """Depth in metres of the whole image, as it was aligned for its score."""
    score = _score(evaluation, result, sample.id, alignment)
    if score is None:
        return None
    return aligned_depth(predicted, score, evaluation.plan.protocols[0])


def _error(evaluation: Evaluation, result: ModelResult, identifier: str, alignment: str) -> str:
    score = _score(evaluation, result, identifier, alignment)
    return "" if score is None else f"{100 * score.metrics['abs_rel']:.1f} %"


def _score(
    evaluation: Evaluation, result: ModelResult, identifier: str, alignment: str
) -> FrameScore | None:
    protocol = evaluation.plan.protocols[0].name
    scores = result.scores_of(protocol, alignment)
    return next((score for score in scores if score.frame == identifier), None)


def _evenly(identifiers: list[str], count: int) -> list[str]:
    if len(identifiers) <= count:
        return identifiers
    places = np.linspace(0, len(identifiers) - 1, max(count, 1)).round().astype(int)
    return [identifiers[place] for place in places[:count]]
