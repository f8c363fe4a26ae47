"""The camera's part of a recording: its pictures and camera_info, as they are to be played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from dpt_ros.bags.reader import IMAGE_TYPES, BagReader, BagRecord
from dpt_ros.bags.topics import CAMERA_INFO, camera_info_topic, image_topic, is_rectified

PLAUSIBLE_DELAY_NS = 5_000_000_000
"""A picture recorded so much later or earlier than its stamp was not recorded as it was taken."""


@dataclass(frozen=True)
class PlayedMessage:
    """A picture or camera_info of the recording.

    Args:
        is_image: a picture, else a camera_info.
        index: of the picture, counted from 0; of a camera_info that of the next picture.
        due_ns: when it is to be played, on the recording's clock.
        stamp_ns: of its header.
        data: its bytes, to be published as they are.
        message: the same, read.
    """

    is_image: bool
    index: int
    due_ns: int
    stamp_ns: int
    data: bytes
    message: Any


class CameraRecording:
    """Pictures and camera_info of a bag, open while used as a context manager.

    Args:
        path: the recording.
        image_topic: "" takes the only image topic there is.
        camera_info_topic: "" takes the one beside the images, else the only one of their frame.

    Raises:
        BagError: on entering, when the bag can't be read or has no such topic.
    """

    def __init__(
        self, path: str | Path, image_topic: str = "", camera_info_topic: str = ""
    ) -> None:
        self._bag = BagReader(path)
        self.image_topic = image_topic
        self.camera_info_topic = camera_info_topic
        self.image_count = 0
        self.is_compressed = False
        self.counts_on_stamps = False
        """Whether pictures are due at their stamps: they were not recorded as they were taken."""

    def __enter__(self) -> CameraRecording:
        bag = self._bag.__enter__()
        try:
            self.image_topic = image_topic(bag, self.image_topic)
            if self.camera_info_topic:
                bag.find_topic([CAMERA_INFO], self.camera_info_topic)
            else:
                self.camera_info_topic = camera_info_topic(bag, self.image_topic) or ""
        except BaseException:
            bag.__exit__(None, None, None)
            raise
        topic = next(topic for topic in bag.topics if topic.name == self.image_topic)
        self.image_count = topic.count
        self.is_compressed = topic.type == IMAGE_TYPES[1]
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bag.__exit__(exception_type, exception, traceback)

    @property
    def is_cut_off(self) -> bool:
        """Whether the recording ends before its end: what is whole of it is played."""
        return self._bag.is_cut_off

    @property
    def is_rectified(self) -> bool:
        """Whether the image topic's name says that the pictures are rectified."""
        return is_rectified(self.image_topic)

    def messages(self) -> Iterator[PlayedMessage]:
        """Pictures and camera_info in the order of recording; the first camera_info comes first.

        Raises:
            BagError: damaged data, when it is reached.
        """
        # Only pictures tell how stamps and recording go together: a camera_info may have been sent
        # once, long before, or without a stamp.
        picture = next(self._bag.records(self.image_topic), None)
        delay_ns = 0 if picture is None else picture.recorded_ns - picture.stamp_ns
        self.counts_on_stamps = abs(delay_ns) > PLAUSIBLE_DELAY_NS
        shift_ns = delay_ns if self.counts_on_stamps else 0
        topics = [self.image_topic]
        if self.camera_info_topic:
            # A picture that was recorded before its camera_info is to have one nevertheless.
            first = next(self._bag.records(self.camera_info_topic), None)
            topics.append(self.camera_info_topic)
        else:
            first = None
        index = 0
        for record in self._bag.records(*topics):
            if first is not None:
                yield _played(first, False, index, record.recorded_ns - shift_ns)
                first = None
            is_image = record.topic == self.image_topic
            yield _played(record, is_image, index, record.recorded_ns - shift_ns)
            index += is_image


def _played(record: BagRecord, is_image: bool, index: int, due_ns: int) -> PlayedMessage:
    return PlayedMessage(is_image, index, due_ns, record.stamp_ns, record.data, record.message)
