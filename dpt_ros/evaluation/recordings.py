"""The frames of an evaluation: data sets as they are, recordings turned into one and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpt_ros.bags.build import storage_files
from dpt_ros.bags.dataset import Dataset
from dpt_ros.bags.dataset_format import MANIFEST, DatasetError, name_of_recording

_KEY_DIGITS = 16


class RecordingError(ValueError):
    """Inputs that cannot be evaluated together, or hold nothing."""


@dataclass(frozen=True)
class Recording:
    """One input: its frames, and what people should know of it."""

    path: Path
    dataset: Dataset
    warnings: tuple[str, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> dict[str, Any]:
        """The settings that its truth was made with; of a source alone under the source's name."""
        alone = {
            name: dict(info["options"])
            for name, info in self.dataset.sources.items()
            if info.get("options")
        }
        return {**self.dataset.options, **alone}

    @property
    def has_truth(self) -> bool:
        """Whether any frame has depth to compare with."""
        return any(record.points for record in self.dataset.records)


def is_dataset(path: Path) -> bool:
    """Whether the folder holds a data set."""
    return (path / MANIFEST).is_file()


def open_dataset(path: Path) -> Recording:
    """A data set as it is.

    Raises:
        DatasetError: it can't be read.
    """
    dataset = Dataset(path)
    rejected: dict[str, int] = {}
    for info in dataset.sources.values():
        for reason, count in info.get("rejected", {}).items():
            rejected[reason] = rejected.get(reason, 0) + int(count)
    warnings = (text for info in dataset.sources.values() for text in info.get("warnings", ()))
    return Recording(path, dataset, tuple(dict.fromkeys(warnings)), rejected)


def recording_folder(path: Path, options: Mapping[str, Any], keep: Path) -> Path:
    """Where a recording's frames are kept: a folder for these files read with these options."""
    files = [path]
    if path.is_dir():  # other files there, such as an evaluation's own, say nothing of it
        files = [file for file in [path / "metadata.yaml"] if file.is_file()] + storage_files(path)
    state = [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    text = json.dumps([state, dict(options)], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
    return keep / f"{name_of_recording(path)}-{key}"


def names_of(recordings: Sequence[Recording]) -> list[str]:
    """What to call recordings: their folders' names, with the path where two have the same."""
    names = [recording.path.resolve().name for recording in recordings]
    return [
        name if names.count(name) == 1 else str(recording.path)
        for name, recording in zip(names, recordings, strict=True)
    ]


def is_kept(folder: Path, source: str) -> bool:
    """Whether all of a recording's frames are in the folder."""
    try:
        return source in Dataset(folder).sources
    except DatasetError:
        return False


def check_together(recordings: Sequence[Recording]) -> None:
    """Refuse inputs without frames, and frames that are in two of them.

    Raises:
        RecordingError: says which.
    """
    home: dict[str, Path] = {}
    for recording in recordings:
        for record in recording.dataset.records:
            if record.id in home:
                raise RecordingError(
                    f"{record.id} is in {home[record.id]} and in {recording.path}: evaluate them "
                    "one by one, or rename a recording"
                )
            home[record.id] = recording.path
    if not home:
        paths = ", ".join(str(recording.path) for recording in recordings)
        raise RecordingError(f"{paths}: not one frame to evaluate")
