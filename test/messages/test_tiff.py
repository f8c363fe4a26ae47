from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from dpt_ros.messages.compressed import compressed_to_rgb
from dpt_ros.messages.tiff import without_orientation

ORIENTATIONS = range(2, 9)


def tiff(rgb: np.ndarray, orientation: int, order: str = "<", big: bool = False) -> np.ndarray:
    """The bytes of a TIFF of one strip, whose tags are SHORT or LONG."""
    height, width = rgb.shape[:2]
    start = 16 if big else 8
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: start, 274: orientation}
    tags |= {277: 3, 278: height, 279: rgb.size}
    entry, number = ("HHQH6x", "Q") if big else ("HHIH2x", "H")
    version = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    directory_at = struct.pack(order + ("Q" if big else "I"), start + rgb.size)
    directory = struct.pack(order + number, len(tags))
    # Of three times 8 bits one is written: three would have to lie elsewhere.
    directory += b"".join(struct.pack(order + entry, tag, 3, 1, tags[tag]) for tag in sorted(tags))
    mark = b"II" if order == "<" else b"MM"
    stream = mark + version + directory_at + rgb.tobytes() + directory + bytes(8)
    return np.frombuffer(stream, np.uint8)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tiff_is_decoded_as_it_is_stored(orientation, order, big):
    rgb = np.random.default_rng(orientation).integers(0, 255, (6, 10, 3), np.uint8)
    data = tiff(rgb, orientation, order, big)
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(without_orientation(data), how)
    assert np.array_equal(bgr[..., ::-1], rgb)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 6, 8, 100, 200, 240, 260])
def test_a_tiff_that_was_cut_off_is_left_to_its_decoder(length):
    rgb = np.zeros((6, 10, 3), np.uint8)
    for big in (False, True):
        data = tiff(rgb, 6, big=big)[:length]
        assert np.array_equal(without_orientation(data), data)


@pytest.mark.parametrize(
    "data",
    [b"II*\0" + b"\xff" * 9, b"MM\0+" + b"\xff" * 40, b"II+\0" + b"\xff" * 40, b"MMMMMMMM", b"II"],
)
def test_what_is_no_whole_tiff_comes_back(data):
    assert without_orientation(np.frombuffer(data, np.uint8)).tobytes() == data


def test_other_formats_and_a_tiff_without_orientation_come_back():
    rgb = np.zeros((6, 10, 3), np.uint8)
    for suffix in (".png", ".jpg", ".bmp"):
        data = cv2.imencode(suffix, rgb)[1]
        assert without_orientation(data) is data
    assert b"\x12\x01" not in (data := cv2.imencode(".tiff", rgb)[1].tobytes())
    assert without_orientation(np.frombuffer(data, np.uint8)).tobytes() == data


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_message_with_a_tiff_is_decoded_as_it_is_stored(family, orientation):
    rgb = np.random.default_rng(orientation).integers(0, 255, (6, 10, 3), np.uint8)
    message = family.compressed("tiff", tiff(rgb, orientation))
    assert np.array_equal(compressed_to_rgb(message), rgb)
