"""A recording's samples, one at a time: picture, camera, and the LiDAR's depth in it.

Streams: what is held is what lies within a second or two, however long the recording is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dpt_ros.bags.assembly import SampleAssembly, SampleError
from dpt_ros.bags.dataset import Sample
from dpt_ros.bags.dataset_format import name_of_recording
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.bags.storage_files import is_later_part
from dpt_ros.bags.tally import Tally
from dpt_ros.bags.transforms import TransformError

__all__ = ["SampleError", "SampleSettings", "SampleStream", "iterate_samples"]


def iterate_samples(
    bag_path: str | Path, settings: SampleSettings | None = None, source: str | None = None
) -> SampleStream:
    """The samples of a recording, in the order of time.

        stream = iterate_samples("my_bag", SampleSettings(max_gap_s=0.02))
        for sample in stream:
            ...
        print(stream.rejected)

    Args:
        bag_path: rosbag2 folder, or an .mcap or .db3 file.
        settings: None is the defaults.
        source: name of the samples' source; None: the recording's own.

    Raises:
        BagError, ConfigError, SampleError: see `SampleStream`.
    """
    return SampleStream(bag_path, settings or SampleSettings(), source)


class SampleStream:
    """Iterates once over a recording's samples; `tally` counts meanwhile.

    Raises:
        BagError: while iterating, at the start: a recording or topic that can't be used.
        ConfigError: masks or a file of transforms that are wrong.
        TransformError: at the first pair, when camera and LiDAR are not connected and can't be.
        SampleError: at the end, when there was not one sample.
    """

    def __init__(self, bag_path: str | Path, settings: SampleSettings, source: str | None) -> None:
        self.path = Path(bag_path)
        self.source = source or name_of_recording(self.path)
        self._assembly = SampleAssembly(self.path, settings, self.source)
        self._samples = self._assembly.run()

    def __iter__(self) -> Iterator[Sample]:
        return self

    def __next__(self) -> Sample:
        try:
            return next(self._samples)
        except (SampleError, TransformError) as error:
            if not is_later_part(self.path):
                raise
            raise type(error)(
                f"{error}. {self.path.name} is one file of a split recording, and what comes once, "
                f"as fixed transforms do, is in its first: give the folder, {self.path.parent}"
            ) from error

    @property
    def tally(self) -> Tally:
        """Counts, warnings, calibration, progress."""
        return self._assembly.tally

    @property
    def rejected(self) -> Counter[str]:
        """Reason -> how many scans or pictures gave no sample; complete once iterated."""
        return self.tally.rejected

    @property
    def warnings(self) -> list[str]:
        """What to know of the samples, each once."""
        return self.tally.warnings

    @property
    def info(self) -> dict[str, Any]:
        """What a manifest says of this source."""
        return {"path": str(self.path.absolute()), **self.tally.info}
