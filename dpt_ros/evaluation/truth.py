"""The truth of a recording's pictures, asked for by stamp while the recording is played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dpt_ros.bags.dataset import Sample
from dpt_ros.bags.reader import BagReader
from dpt_ros.bags.samples import SampleSettings, SampleStream, iterate_samples
from dpt_ros.bags.topics import (
    CAMERA_INFO,
    ODOMETRY,
    POINT_CLOUD,
    image_topic,
    is_info_unclear,
)
from dpt_ros.bags.transforms_file import read_transforms

_KEPT = 32
"""Samples that wait for their picture; pictures may have been recorded out of order."""


class Truth:
    """Samples of a recording by the stamp of their picture; reads on as far as it is asked.

    To be asked for every picture, in their order: samples that nobody asks for fill it up.

    Without LiDAR, camera_info or transforms there are none, and `missing` says why.

    Args:
        path: the recording.
        settings: which topics, and how they become samples.
    """

    def __init__(self, path: str | Path, settings: SampleSettings) -> None:
        self.missing = ""
        self.found = 0
        self._stream: SampleStream = iterate_samples(path, settings)
        self._samples: Iterator[Sample] | None = iter(self._stream)
        self._waiting: dict[int, Sample] = {}
        self._newest_ns = -1
        self._asked_ns = -1

    @property
    def source(self) -> str:
        """What the samples' source is called."""
        return self._stream.source

    @property
    def warnings(self) -> list[str]:
        """What to know of the samples, each once."""
        return self._stream.warnings

    @property
    def rejected(self) -> dict[str, int]:
        """Reason -> how many scans or pictures gave no sample so far."""
        return dict(self._stream.rejected)

    def of(self, stamp_ns: int) -> Sample | None:
        """The sample of the picture with that stamp, or None if there is none."""
        while self._newest_ns < stamp_ns and len(self._waiting) < _KEPT:
            sample = self._next()
            if sample is None:
                break
            self._waiting[sample.stamp_ns] = sample
            self._newest_ns = max(self._newest_ns, sample.stamp_ns)
        found = self._waiting.pop(stamp_ns, None)
        self.found += found is not None
        # One stamp may be far off, two are not: what is older than both will not be asked for.
        passed_ns, self._asked_ns = min(self._asked_ns, stamp_ns), stamp_ns
        for other_ns in [other for other in self._waiting if other < passed_ns]:
            if len(self._waiting) > _KEPT // 2:
                del self._waiting[other_ns]
        return found

    def finish(self) -> None:
        """Read to the end, so that the counts are complete."""
        self._waiting.clear()
        while self._next() is not None:
            pass

    def _next(self) -> Sample | None:
        if self._samples is None:
            return None
        try:
            return next(self._samples, None)
        except ValueError as error:  # BagError, TransformError, SampleError, ConfigError ...
            self._samples = None
            self.missing = str(error)
            return None


def check_choices(path: str | Path, settings: SampleSettings) -> None:
    """Refuse choices of the truth that cannot be, before a long replay: it would go on without.

    What is simply not there, and was not asked for by name, is none of them.

    Raises:
        BagError: a topic that was named is not there, or several fit and none was named.
        ConfigError: the file of transforms cannot be read, or holds something else.
    """
    if settings.transforms:
        list(read_transforms(settings.transforms))
    named = (
        (CAMERA_INFO, settings.camera_info_topic),
        (POINT_CLOUD, settings.points_topic),
        (ODOMETRY, settings.odometry_topic),
    )
    with BagReader(path) as bag:
        for kind, name in named:
            fitting = [topic for topic in bag.topics_of([kind]) if topic.count]
            if name or (kind == POINT_CLOUD and len(fitting) > 1):
                bag.find_topic([kind], name or None)
        image = image_topic(bag, settings.image_topic)
        if not settings.camera_info_topic and is_info_unclear(bag, image):
            bag.find_topic([CAMERA_INFO])
