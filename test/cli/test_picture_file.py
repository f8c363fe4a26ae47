from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from dpt_ros.cli.picture_file import PictureFileError, read_picture


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".png"])
def test_what_opencv_says_of_a_damaged_picture_is_not_shown(tmp_path, capfd, suffix):
    path = tmp_path / f"a{suffix}"
    whole = cv2.imencode(suffix, np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    path.write_bytes(whole[:30])
    with pytest.raises(PictureFileError, match="is not a picture that OpenCV can decode"):
        read_picture(path, as_stored=False)
    assert capfd.readouterr().err == ""
    assert cv2.imdecode(np.frombuffer(whole[:30], np.uint8), cv2.IMREAD_COLOR) is None
    assert "ERROR" in capfd.readouterr().err, "others hear it still"


def test_an_empty_file_is_told_as_such(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(PictureFileError, match="^is empty$"):
        read_picture(tmp_path / "a.png", as_stored=False)


def test_a_name_that_is_not_utf_8_leaves_only_the_frames_uncounted(tmp_path):
    """Asked with such a name, OpenCV ends the whole process."""
    pixels = np.full((48, 64, 3), 90, np.uint8)
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    rgb, frames = read_picture(path, as_stored=False)
    assert np.array_equal(rgb, pixels) and frames == 1
