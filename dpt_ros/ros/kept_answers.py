"""The answers of a real-time replay on disk until they are scored, without filling the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from dpt_ros.messages.decode import image_to_rgb
from dpt_ros.messages.errors import MessageError
from dpt_ros.ros.camera_recording import CameraRecording
from dpt_ros.ros.replay import Answer

RESERVE_BYTES = 50 * 2**20
"""What is left free: for the report, which is a few MiB, and for others."""
_BYTES_A_PIXEL = 8
"""Inverse depth and depth in metres, float32 each."""
_MIB = 2**20
_INSTEAD = (
    "make room, name a folder on another disk with --out, play fewer with --frames, or use "
    "--lockstep, which keeps none"
)


class KeptAnswers:
    """Answers on disk, until they are taken.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._times: dict[int, tuple[float, float]] = {}

    def keep(self, index: int, answer: Answer) -> None:
        """Write an answer to disk.

        Raises:
            OSError: it can't be written, or the disk would be full with it.
        """
        one, room = _BYTES_A_PIXEL * answer.inverse_depth.size, _room_bytes(self._folder)
        if room < one:
            raise OSError(
                f"the disk is nearly full: an answer needs {_mib(one)}, and it has "
                f"{_found(room)}. What was answered is scored; to have more, {_INSTEAD}"
            )
        np.save(self._path(index, "inverse"), answer.inverse_depth)
        if answer.depth_m is not None:
            np.save(self._path(index, "depth"), answer.depth_m)
        self._times[index] = (answer.published_s, answer.heard_s)

    def take(self, index: int) -> Answer | None:
        """Read an answer and remove it from disk; None if there was none."""
        times = self._times.pop(index, None)
        if times is None:
            return None
        inverse, depth = self._path(index, "inverse"), self._path(index, "depth")
        answer = Answer(np.load(inverse), np.load(depth) if depth.exists() else None, *times)
        inverse.unlink()
        depth.unlink(missing_ok=True)
        return answer

    def _path(self, index: int, name: str) -> Path:
        return self._folder / f"{index}_{name}.npy"


def check_room(recording: CameraRecording, most_pictures: int, folder: Path) -> str:
    """Look before a replay in real time whether its answers will find room.

    Args:
        recording: is open.
        most_pictures: that are played; 0: all.
        folder: on the disk where answers are kept.

    Returns:
        A warning, where not all of them would: a node that is slow answers fewer. Else "", also
        where the first picture can't be read, of which the node tells.

    Raises:
        OSError: there is no room for even one.
        BagError: the recording is damaged before its first picture.
    """
    first = next((played for played in recording.messages() if played.is_image), None)
    try:
        height, width = (0, 0) if first is None else image_to_rgb(first.message).shape[:2]
    except MessageError:
        return ""
    pictures = min(most_pictures or recording.image_count, recording.image_count)
    one = _BYTES_A_PIXEL * height * width
    room = _room_bytes(folder)
    if room >= one * pictures:
        return ""
    needed = (
        f"{pictures} pictures of {width}x{height} need up to {_mib(one * pictures)} for the node's "
        f"answers ({_mib(one)} each), and {folder} has {_found(room)}"
    )
    if room < one:
        raise OSError(f"no room to keep answers: {needed}; {_INSTEAD}")
    return (
        f"{needed}: where that is not enough, the replay ends early and scores what was answered; "
        f"or {_INSTEAD}"
    )


def _found(room: int) -> str:
    """How much is free, for people; see `_room_bytes`."""
    return f"{_mib(room + RESERVE_BYTES)} free, and {_mib(RESERVE_BYTES)} are to stay free"


def _mib(size: int) -> str:
    return f"{size / _MIB:.1f} MiB"


def _room_bytes(folder: Path) -> int:
    """What may be written; negative where less is free than is to stay free."""
    return shutil.disk_usage(folder).free - RESERVE_BYTES
