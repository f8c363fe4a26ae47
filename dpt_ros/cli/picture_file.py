"""A picture's file to pixels, by OpenCV, and how many frames are in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dpt_ros.messages.compressed import is_cut_off_jpeg
from dpt_ros.messages.tiff import without_orientation


class PictureFileError(ValueError):
    """A file is no picture that can be read; says why, without the file's name."""


def read_picture(path: Path, as_stored: bool) -> tuple[np.ndarray, int]:
    """Decode a picture; of several frames the first.

    Args:
        path: the file.
        as_stored: as its sensor wrote it; else turned as the file's orientation says.

    Returns:
        rgb uint8 [H,W,3], and how many frames the file has, as far as this OpenCV can count them;
        1 where it cannot be asked, see `opencv_takes`.

    Raises:
        PictureFileError: it cannot be read or decoded, or was cut off.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PictureFileError(f"cannot be read ({error.strerror or error})") from error
    if not data.size:
        raise PictureFileError("is empty")
    if is_cut_off_jpeg(data):
        raise PictureFileError("is a JPEG that was cut off")
    how = cv2.IMREAD_COLOR
    if as_stored:
        how |= cv2.IMREAD_IGNORE_ORIENTATION
        data = without_orientation(data)
    with _opencv_is_silent():
        bgr = cv2.imdecode(data, how)
        if bgr is None:
            raise PictureFileError("is not a picture that OpenCV can decode")
        frames = cv2.imcount(str(path)) if opencv_takes(path) else 1
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), max(1, frames)


def opencv_takes(path: Path) -> bool:
    """Whether a path is UTF-8; asked for another one OpenCV ends the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _opencv_is_silent() -> Iterator[None]:
    """What cannot be decoded is told by us, not also by OpenCV amid a progress bar."""
    log = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2  # of OpenCV 4.5
    level = log.getLogLevel()
    log.setLogLevel(0)
    try:
        yield
    finally:
        log.setLogLevel(level)
