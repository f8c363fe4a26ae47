"""What `dpt-ros evaluate` is given: data sets, and recordings with or without LiDAR."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpt_ros.bags.dataset import DatasetWriter, Sample, sample_id
from dpt_ros.bags.dataset_format import name_of_recording
from dpt_ros.bags.reader import BagReader
from dpt_ros.bags.samples import SampleSettings, iterate_samples
from dpt_ros.bags.topics import POINT_CLOUD
from dpt_ros.cli.sources import Source
from dpt_ros.evaluation.recordings import (
    Recording,
    RecordingError,
    is_dataset,
    is_kept,
    open_dataset,
    recording_folder,
)

if TYPE_CHECKING:
    from dpt_ros.evaluation.models import Progress

_NO_LIDAR = "the recording has no LiDAR (no PointCloud2 topic with messages)"


def open_input(path: Path, settings: SampleSettings, keep: Path, progress: Progress) -> Recording:
    """A data set as it is; a recording's frames from where they are kept, or kept now.

    Raises:
        FileNotFoundError: there is no such path.
        BagError, DatasetError, RecordingError, SampleError: it can't be used; says why.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such data set or recording")
    if is_dataset(path):
        return open_dataset(path)
    options = dataclasses.asdict(settings)
    if settings.transforms:
        options["transforms"] = Path(settings.transforms).read_text(encoding="utf-8")
    folder = recording_folder(path, options, keep)
    source = name_of_recording(path)
    if not is_kept(folder, source):
        _keep(path, source, settings, folder, progress)
    return dataclasses.replace(open_dataset(folder), path=path)


def _keep(
    path: Path, name: str, settings: SampleSettings, folder: Path, progress: Progress
) -> None:
    """Write a recording's frames; what is half-written by a killed process is begun anew."""
    what = f"read {path.resolve().name}"
    with BagReader(path) as bag:
        has_lidar = any(topic.count for topic in bag.topics_of([POINT_CLOUD]))
    options = dataclasses.asdict(settings)
    with DatasetWriter(folder, dense=False, options=options) as writer:
        if has_lidar:
            stream = iterate_samples(path, settings, name)
            for sample in progress(stream, what):
                writer.add(sample)
            info = stream.info
        else:
            info = {"path": str(path), "warnings": [_NO_LIDAR], "rejected": {}}
            for sample in progress(_pictures(path, name, settings, info), what):
                writer.add(sample)
        writer.finish_source(name, info)


def _pictures(
    path: Path, name: str, settings: SampleSettings, info: dict[str, Any]
) -> Iterator[Sample]:
    """The pictures of a recording without LiDAR, as samples without truth."""
    rectified = {"auto": None, "rectified": True, "raw": False}[settings.pictures]
    pictures = Source(path, None, settings.image_topic or None, rectified)
    newest_ns = None
    for picture in pictures:
        reason = ""
        if picture.camera is None:
            reason = "picture without a camera_info that can be used"
        elif newest_ns is not None and picture.stamp_ns <= newest_ns:
            reason = "picture that is not newer than the one before"
        if reason or picture.camera is None:
            info["rejected"][reason] = info["rejected"].get(reason, 0) + 1
            continue
        newest_ns = picture.stamp_ns
        yield Sample(
            id=sample_id(name, picture.stamp_ns),
            source=name,
            stamp_ns=picture.stamp_ns,
            rgb=picture.rgb,
            depth_m=np.full(picture.rgb.shape[:2], np.nan, np.float32),
            camera=picture.camera,
        )
    info["warnings"] += [*pictures.camera_troubles[:3], *pictures.skipped[:3]]
    if newest_ns is None:
        reasons = [*pictures.camera_troubles, *pictures.skipped][:3] or ["it has no camera_info"]
        raise RecordingError(
            f"{path}: {_NO_LIDAR}, and no picture can be used: {'; '.join(reasons)}. Record "
            "camera_info and LiDAR beside the pictures; `dpt-ros predict` runs on pictures alone"
        )
