"""What is learned from and what is held out: whole sources, never single pictures of one."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dpt_ros.bags.dataset import Dataset
from dpt_ros.config import ConfigError
from dpt_ros.training.same_recording import same_recordings, sources_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Data sets with the sources learned from, and with those held out."""

    training: list[Dataset]
    validation: list[Dataset] = field(default_factory=list)
    why_no_validation: str = ""


def split_sources(
    datasets: Sequence[Dataset], validation: str, seed: int, *, option: str = "validation"
) -> Split:
    """Divide by source (bag, scene): pictures of one source are too alike.

    Args:
        datasets: what there is.
        validation: "0", a share between 0 and 1, names of sources separated by commas, or the
            folder of another data set; ./NAME where a source has the folder's name.
        seed: decides which sources a share takes.
        option: what `validation` is called where the user gives it, for messages.

    Raises:
        ConfigError: a share out of range, no name at all, an unknown source (those there are,
            are listed), the same recording on both sides, or nothing left to learn from.
        DatasetError: a folder that holds no data set.
    """
    if not names_in(validation):
        raise ConfigError(
            f"{option}: got {validation!r}, expected sources, a share or a data set's folder; 0 "
            "holds out nothing"
        )
    if is_share(validation, datasets):
        split = _split_share(datasets, float(validation), seed, option)
    elif folder := folder_named(validation, datasets):
        split = Split(list(datasets), [Dataset(folder)])
        _refuse_shared(split, option)
    else:
        split = _split_named(datasets, validation, option)
        _refuse_shared(split, option)
    if not sum(map(len, split.training)):
        if sum(map(len, datasets)):
            raise ConfigError(
                f"{option}: got {validation!r}, which is every source: leave some to learn from, "
                "or name another data set"
            )
        raise ConfigError("there are no samples to learn from; name another data set")
    if split.why_no_validation:
        _log.warning("nothing is held out: %s", split.why_no_validation)
    return split


def folder_named(validation: str, datasets: Sequence[Dataset]) -> Path | None:
    """The data set's folder that `split_sources` takes a text for; None: it takes it for others.

    A source's name comes first: what else lies in the working directory does not matter.
    """
    if is_share(validation, datasets) or _has_source(validation, datasets):
        return None
    folder = Path(validation).expanduser()
    return folder if (folder / "manifest.json").exists() else None


def _refuse_shared(split: Split, option: str) -> None:
    """Refuse a recording or rendered scene on both sides, under whatever names."""
    sides = [*split.training, *split.validation]
    both: dict[str, str] = {}
    for group in same_recordings(sides):
        learned = [name for which, name in group if which < len(split.training)]
        held_out = [name for which, name in group if which >= len(split.training)]
        if learned:
            both |= {name: f"{name} (as {learned[0]})" for name in held_out}
            both |= {name: name for name in held_out if name in learned}
    if both:
        listed = ", ".join(both[name] for name in sorted(both)[:5])
        raise ConfigError(
            f"both learned from and held out: {listed}; name each data set once, and with "
            f"--{option} one that shares no recording with them"
        )


def _split_share(datasets: Sequence[Dataset], share: float, seed: int, option: str) -> Split:
    if not 0.0 <= share < 1.0:
        raise ConfigError(f"{option}: got {share:g}, expected a share from 0 to below 1")
    if share == 0.0:
        return Split(list(datasets), why_no_validation=f"--{option} 0 asks for it")
    _refuse_twice(datasets)
    every = same_recordings(datasets)
    if len(every) < 2:
        is_single = sum(map(len, every)) < 2
        reason = (
            f"{'there is a single source' if is_single else 'all sources are of one recording'}, "
            "and its pictures are too alike to judge by; name another data set with "
            f"--{option} FOLDER"
        )
        return Split(list(datasets), why_no_validation=reason)
    count = min(len(every) - 1, max(1, round(share * len(every))))
    order = np.random.default_rng((seed, len(every))).permutation(len(every))
    held_out = {source for place in order[:count] for source in every[place]}
    return _divide(datasets, held_out)


def _refuse_twice(datasets: Sequence[Dataset]) -> None:
    folders = [dataset.folder.resolve() for dataset in datasets]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConfigError(f"{folder} is named twice: name each data set once")


def _split_named(datasets: Sequence[Dataset], names: str, option: str) -> Split:
    wanted = known_names(names, datasets, option)
    every = [(which, name) for which, data in enumerate(datasets) for name in sources_of(data)]
    return _divide(datasets, {(which, name) for which, name in every if name in wanted})


def _divide(datasets: Sequence[Dataset], held_out: set[tuple[int, str]]) -> Split:
    training: list[Dataset] = []
    validation: list[Dataset] = []
    for which, dataset in enumerate(datasets):
        out = [name for name in sources_of(dataset) if (which, name) in held_out]
        kept = [name for name in sources_of(dataset) if (which, name) not in held_out]
        training += [dataset.select(kept)] if kept else []
        validation += [dataset.select(out)] if out else []
    return Split(training, validation)


def evenly_chosen(datasets: Sequence[Dataset], samples: int) -> list[tuple[int, int]]:
    """(data set, number) of at most `samples` samples, spread over all; 0: every one."""
    every = [(which, number) for which, data in enumerate(datasets) for number in range(len(data))]
    return [every[place] for place in evenly(len(every), samples)]


def evenly(count: int, limit: int) -> list[int]:
    """At most `limit` of the numbers below `count`, evenly spread; 0: all of them."""
    if limit == 0 or count <= limit:
        return list(range(count))
    places: list[int] = np.linspace(0, count - 1, limit).round().astype(int).tolist()
    return places


def is_share(text: str, datasets: Sequence[Dataset]) -> bool:
    """A number; but a recording may be called 20240601, or 2024_06_01, which float() takes too."""
    if _has_source(text, datasets):
        return False
    return re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", text, re.I) is not None


def _has_source(text: str, datasets: Sequence[Dataset]) -> bool:
    known = {name for dataset in datasets for name in sources_of(dataset)}
    return not known.isdisjoint(names_in(text))


def known_names(text: str, datasets: Sequence[Dataset], option: str) -> list[str]:
    """The sources that a text names.

    Raises:
        ConfigError: an unknown source; lists those there are.
    """
    names = names_in(text)
    known = sorted({name for dataset in datasets for name in sources_of(dataset)})
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"{option}: {', '.join(map(repr, unknown))} is no source and no data set's folder; "
            f"sources: {', '.join(known[:30])}{' ...' if len(known) > 30 else ''}"
        )
    return names


def names_in(text: str) -> list[str]:
    """The names of sources in a text that separates them by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
