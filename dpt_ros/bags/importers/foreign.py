"""One foreign source into a data set: streamed, counted, with pictures to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset import DatasetWriter, Sample
from dpt_ros.bags.overlay import draw_overlay
from dpt_ros.bags.tally import Tally
from dpt_ros.messages.compressed import is_cut_off_jpeg
from dpt_ros.messages.tiff import without_orientation


class ForeignDataError(ValueError):
    """A folder is not laid out as it was said to be."""


@dataclass(frozen=True)
class ForeignSource:
    """Something that gives samples.

    Args:
        name: of the source in the data set.
        path: where it is.
        total: how many pictures it has.
        read: yields its samples and counts what was rejected.
        options: what it is read with, beside what is one for the whole data set.
    """

    name: str
    path: Path
    total: int
    read: Callable[[Tally], Iterator[Sample]]
    options: Mapping[str, Any] = field(default_factory=dict)


def import_source(
    source: ForeignSource,
    writer: DatasetWriter,
    overlays: int,
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Add a foreign source to a data set.

    Args:
        source: what to read.
        writer: where to.
        overlays: about how many pictures to look at.
        on_progress: called with the pictures read so far and in total.

    Returns:
        What the manifest says of it.

    Raises:
        ForeignDataError: it gave no sample.
        DatasetError, OSError: it can't be read or written.
    """
    tally = Tally(scans_total=source.total)
    every = max(1, source.total // max(1, overlays))
    for index, sample in enumerate(source.read(tally)):
        writer.add(sample)
        tally.samples += 1
        if overlays and index % every == 0:
            writer.add_overlay(sample.id, draw_overlay(sample.rgb, sample.depth_m))
        on_progress(tally.scans_read, source.total)
    if not tally.samples:
        reasons = "; ".join(
            f"{count} x {reason} ({tally.examples.get(reason, '')})"
            for reason, count in tally.rejected.most_common()
        )
        raise ForeignDataError(f"{source.path} gave no sample: {reasons or 'it has no pictures'}")
    told = {"path": str(source.path.absolute()), "options": dict(source.options)}
    info = {**told, **tally.info}
    writer.finish_source(source.name, info)
    on_progress(source.total, source.total)
    return {**info, "samples": tally.samples}


def read_rgb(path: Path) -> NDArray[np.uint8] | None:
    """A picture as uint8 [H, W, 3], as the sensor saw it; None where it can't be read whole.

    An orientation noted in the file is not applied: camera and depth know nothing of it.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError:  # a folder of that name, or one that may not be read
        return None
    if not data.size or is_cut_off_jpeg(data):
        return None
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(without_orientation(data), how)
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
