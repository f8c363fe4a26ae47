"""The page of a training run: the result beside the untouched model, curves, pictures."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.bags.dataset import DatasetError
from dpt_ros.inference import DepthPredictor, InferenceError
from dpt_ros.inference.colormap import ColormapSettings, color_range, colorize
from dpt_ros.metrics import METRICS
from dpt_ros.model.cards import ModelCard
from dpt_ros.model.dpt import DPT
from dpt_ros.report import Page
from dpt_ros.report.figures import plot_style
from dpt_ros.training.compare import CARD, DATA_SET
from dpt_ros.training.split import Split, evenly_chosen
from dpt_ros.training.start import Start

_log = logging.getLogger(__name__)

Picture = tuple[NDArray[np.uint8], str]

_EXAMPLES = 4


def make_report(result: Mapping[str, Any], pictures: Sequence[Picture] = ()) -> Page:
    """The page of a run.

    Args:
        result: what result.json holds.
        pictures: from `example_pictures`.
    """
    page = Page(f"Training of {result['name']}", f"{result['steps']} steps from {result['init']}")
    page.headlines(_headlines(result))
    if reason := result["why_no_validation"]:
        page.warning(f"Nothing is held out: {reason}. The figures are on what was learned from.")
    page.section("Beside the untouched model")
    page.text(
        "Held-out pictures are of sources that were not learned from. Alignments: per frame, least "
        "squares in inverse depth, which forgives most; one scale and shift for the whole data "
        "set, the mean of robust fits to pictures learned from; or those on the card."
    )
    columns = ["data", "alignment", "model", "pictures", *METRICS]
    for data, alignment in _groups(result):
        rows = [
            [row["data"], row["alignment"], row["model"], row["samples"]]
            + [row["metrics"][name] for name in METRICS]
            for row in result["rows"]
            if (row["data"], row["alignment"]) == (data, alignment)
        ]
        page.table(columns, rows, highlight={"abs_rel": "min", "delta1": "max"})
    _tell_metres(page, result)
    page.section("Curves")
    page.figure(_curves(result["progress"]), "Loss over the steps; held out: averaged weights.")
    _tell_gradient_matching(page, result["gradient_matching"])
    _tell_skipped(page, result["progress"])
    if pictures:
        page.section("Pictures")
        page.text("Near is bright; each picture's own range of colours.")
        page.images(pictures)
    page.section("How")
    page.text(f"`{result['command']}`")
    minutes = f"{result['progress']['seconds'] / 60.0:.1f}"
    page.settings({"hardware": result["hardware"], "minutes": minutes, "metres": result["metres"]})
    named = {k: v for k, v in result["settings"].items() if not k.startswith("loss.")}
    page.settings({**named, "loss": result["loss"]})
    page.section("Data")
    for part in ("training", "validation"):
        for data in result[part]:
            page.settings({part: {**data, "sources": ", ".join(data["sources"])}})
    return page


def example_pictures(
    start: Start, trained: tuple[DPT, ModelCard], split: Split, device: str
) -> list[Picture]:
    """A few pictures, held out where there are any, as both models see them."""
    datasets = split.validation or split.training
    samples = []
    for which, number in evenly_chosen(datasets, _EXAMPLES):
        try:
            samples.append(datasets[which][number])
        except DatasetError:
            continue  # counted by the comparison
    seen: list[list[NDArray[np.uint8]]] = []
    for model, card in ((start.model, start.card), trained):
        predictor = DepthPredictor(copy.deepcopy(model), card, device=device, precision="float32")
        try:
            seen.append([_colored(predictor.predict(sample.rgb)) for sample in samples])
        except InferenceError as error:
            _log.warning("no example pictures in the report: %s", error)
            return []
    pictures: list[Picture] = []
    for number, sample in enumerate(samples):
        pictures += [
            (sample.rgb, sample.id),
            (seen[0][number], "untouched"),
            (seen[1][number], "trained"),
        ]
    return pictures


def _headlines(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """AbsRel and delta1 before and after, on the part and alignment that say most."""
    by_key = {(row["data"], row["alignment"], row["model"]): row for row in result["rows"]}
    groups = _groups(result)
    data = groups[-1][0]
    for alignment in (CARD, DATA_SET, groups[0][1]):
        after = by_key.get((data, alignment, "trained"))
        if after is None:
            continue
        before = by_key.get((data, alignment, "untouched"))
        note = f"{data}, {alignment}"
        return [
            (
                name,
                f"{after['metrics'][name]:.3f}",
                f"{note}; untouched: {before['metrics'][name]:.3f}" if before else note,
            )
            for name in ("abs_rel", "delta1")
        ]
    return []


def _tell_metres(page: Page, result: Mapping[str, Any]) -> None:
    """How the output becomes metres."""
    page.section("Metres")
    if metres := result["metres"]:
        page.text(
            f"The card says: 1/m = {metres['scale']:.6g} x output + {metres['shift']:.6g}. Both "
            "were fitted before the first step and stayed."
        )
        return
    page.text(
        "The losses of this mode leave scale and shift open; they were fitted to the trained "
        "network. The node publishes metres with the calibration."
    )
    columns = ["data set", "file", "scale", "shift (1/m)", "AbsRel", "AbsRel, held out"]
    names = ("file", "scale", "shift", "abs_rel", "held_out_abs_rel")
    fitted = result.get("calibrations", {})
    page.table(columns, [[name, *(fit.get(n) for n in names)] for name, fit in fitted.items()])
    for name, fit in fitted.items():
        if "why_not" in fit:
            page.warning(f"No calibration from {name}: {fit['why_not']}")
        elif why := fit.get("why_not_held_out"):
            page.text(f"Nothing held out judges the calibration of {name}: {why}.")


def _groups(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["data"], row["alignment"]) for row in result["rows"]))


def _curves(progress: Mapping[str, Any]) -> Any:
    from matplotlib.figure import Figure

    with plot_style():
        figure = Figure()
        axes = figure.subplots()
        for name, entries in (
            ("learned from", progress["history"]),
            ("held out", progress["validations"]),
        ):
            if entries:
                steps = [entry["step"] for entry in entries]
                axes.plot(steps, [entry["loss"] for entry in entries], label=name)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.set_yscale("log")
        axes.legend()
    return figure


def _tell_gradient_matching(page: Page, told: Mapping[str, Any]) -> None:
    for name in told["wrongly_dense"]:
        page.warning(f"The manifest of {name} says that its truth is dense; measured, it is not.")
    if told["weight"] and told["why_off"]:
        page.warning(f"Gradient matching was off: {told['why_off']}.")
    elif (share := told["share_of_pictures"]) is not None:
        page.text(f"Gradient matching was on for {share:.0%} of the pictures.")
        page.settings({"pairs of neighbours per pixel with truth": told["pair_density"]})


def _tell_skipped(page: Page, progress: Mapping[str, Any]) -> None:
    for count, reason in (
        (progress["without_truth"], "no picture of the batch had truth enough"),
        (progress["not_finite"], "the loss or its gradient was not finite"),
        (progress["overflowed"], "the gradient overflowed float16, whose factor was then lowered"),
    ):
        if count:
            page.warning(f"{count} steps were skipped: {reason}.")
    if count := progress["validations_without_loss"]:
        page.warning(
            f"{count} of {len(progress['validations'])} validations gave no loss and count for "
            f"nothing; the last: {progress['why_no_validation_loss']}."
        )
    for problem, count in progress["unreadable"].items():
        page.warning(f"A sample was left out {count} times: {problem}")
    if progress["is_stopped"]:
        page.text(f"Stopped early at step {progress['step']}; step {progress['best_step']} is it.")


def _colored(inverse_depth: NDArray[Any]) -> NDArray[np.uint8]:
    planes, settings = torch.from_numpy(inverse_depth)[None], ColormapSettings()
    picture = colorize(planes, settings, color_range(planes, settings))
    return np.asarray(picture[0].numpy(), dtype=np.uint8)
