"""Recordings into a data set: names, what is finished already, and one source at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpt_ros.bags.dataset import DatasetWriter, refuse_other_options
from dpt_ros.bags.dataset_format import DatasetError, name_of_recording
from dpt_ros.bags.overlay import draw_overlay
from dpt_ros.bags.reader import BagError
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.bags.samples import iterate_samples
from dpt_ros.config import load_yaml, values_of

# What may differ from bag to bag of one data set: names, not choices.
_OF_A_BAG = (
    "image_topic",
    "camera_info_topic",
    "points_topic",
    "odometry_topic",
    "pictures",
    "camera_frame",
    "lidar_frame",
    "fixed_frame",
    "transforms",
    "body_box",
    "body_polygon",
)
_ENDS_READ = 1 << 16
_STORAGE_ENDINGS = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")


@dataclass(frozen=True)
class Recording:
    """A bag, the name of its source, and what tells it from other bags."""

    path: Path
    name: str
    sha256: str


def dataset_options(settings: SampleSettings) -> dict[str, Any]:
    """The settings that are one for all sources of a data set."""
    values = values_of(settings)
    return {"kind": "bags"} | {k: v for k, v in values.items() if k not in _OF_A_BAG}


def name_recordings(
    paths: Iterable[str | Path],
    sources: Mapping[str, Mapping[str, Any]],
    settings: SampleSettings,
) -> tuple[list[Recording], list[str]]:
    """Name bags after their folders, and tell which of them a data set has already.

    Args:
        paths: the bags.
        sources: the finished sources of the data set.
        settings: what is asked for.

    Returns:
        Those to build, and the names of those that are finished.

    Raises:
        BagError: there is no such path, or the same recording twice.
        DatasetError: one is finished already, with other options; or it can't be told whether.
    """
    taken, known = set(sources), set[str]()
    recordings, done = [], []
    for path in map(Path, paths):
        sha256 = recording_sha256(path)
        if sha256 in known:
            raise BagError(f"{path} is given twice, or is a copy of another one: give it once")
        known.add(sha256)
        name = _finished_source(path, sha256, sources)
        if name:
            refuse_other_options(name, sources[name], _options_of_bag(settings))
            done.append(name)
            continue
        base, number = name_of_recording(path), 2
        name = base
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        recordings.append(Recording(path, name, sha256))
    return recordings, done


def _finished_source(path: Path, sha256: str, sources: Mapping[str, Mapping[str, Any]]) -> str:
    """The source that a recording was made into; "" where it was not.

    Earlier versions hashed every file of the folder, as "recording_sha256".
    """
    earlier = {n: info for n, info in sources.items() if "recording_sha256" in info}
    folder = _folder(path) if earlier else None
    known = {sha256} | ({_sha256(sorted(folder.iterdir()))} if folder else set())
    for name, info in sources.items():
        if info.get("storage_sha256") == sha256 or info.get("recording_sha256") in known:
            return name
    for name, info in earlier.items():
        if folder and info.get("path") == str(folder.absolute()):
            raise DatasetError(
                f"{folder} is not as it was when {name} was made of it by an earlier version, to "
                "which notes and metadata.yaml counted too: build the data set anew in another "
                "folder, or put those files back as they were"
            )
    return ""


def _folder(path: Path) -> Path | None:
    """The folder of a recording; None of a file that is not all there is of a recording."""
    if path.is_dir():
        return path
    is_whole = (path.parent / "metadata.yaml").exists() and storage_files(path.parent) == [path]
    return path.parent if is_whole else None


def recording_sha256(path: Path) -> str:
    """Names, sizes and both ends of a recording's storage files.

    Quick, and the same after a move, beside other files, with new metadata, and for a single file
    given in place of its folder.

    Raises:
        BagError: there is no such path.
    """
    if not path.exists():
        raise BagError(
            f"there is no recording at {path}: give a rosbag2 folder, .mcap or .db3 file"
        )
    return _sha256(_files(path))


def _files(path: Path) -> list[Path]:
    """What of a recording is hashed; of a folder without storage files, all there is."""
    if path.is_file():
        return [path]
    return storage_files(path) or sorted(path.iterdir())


def storage_files(folder: Path) -> list[Path]:
    """A recording's storage files, without its metadata.yaml."""
    return sorted(file for file in folder.iterdir() if file.name.endswith(_STORAGE_ENDINGS))


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            continue
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            digest.update(content.read(_ENDS_READ))
            content.seek(max(0, size - _ENDS_READ))
            digest.update(content.read(_ENDS_READ))
    return digest.hexdigest()


def build_source(
    recording: Recording,
    writer: DatasetWriter,
    settings: SampleSettings,
    overlays: int,
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Add one recording to a data set, streaming.

    Args:
        recording: what to read.
        writer: where to.
        settings: how.
        overlays: about how many pictures to look at, spread over the recording.
        on_progress: called with the scans read so far and in total.

    Returns:
        What the manifest says of the source.

    Raises:
        BagError, ConfigError, TransformError, SampleError: see `samples.SampleStream`.
        DatasetError, OSError: it can't be written.
    """
    options = {"transforms": settings.transforms, **_options_of_bag(settings)}
    stream = iterate_samples(recording.path, settings, recording.name)
    drawn = 0
    for sample in stream:
        writer.add(sample)
        # By what is read: how many samples there will be is not known.
        is_due = stream.tally.scans_read * overlays >= drawn * stream.tally.scans_total
        if drawn < overlays and is_due:
            writer.add_overlay(sample.id, draw_overlay(sample.rgb, sample.depth_m))
            drawn += 1
        on_progress(stream.tally.scans_read, stream.tally.scans_total)
    info = {**stream.info, "storage_sha256": recording.sha256, "options": options}
    writer.finish_source(recording.name, info)
    on_progress(stream.tally.scans_total, stream.tally.scans_total)
    return {**info, "samples": stream.tally.samples}


def _options_of_bag(settings: SampleSettings) -> dict[str, Any]:
    """The settings that may differ from bag to bag; of a file of transforms, what is in it.

    Raises:
        ConfigError: that file can't be read.
    """
    options = {k: v for k, v in values_of(settings).items() if k in _OF_A_BAG}
    file = options.pop("transforms")
    content = json.dumps(load_yaml(file), sort_keys=True, default=str) if file else ""
    return options | {"transforms_sha256": hashlib.sha256(content.encode()).hexdigest()}
