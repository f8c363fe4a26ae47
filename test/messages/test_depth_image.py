from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dpt_ros.messages.depth_image import image_to_float
from dpt_ros.messages.errors import MessageError


def image(pixels: np.ndarray, encoding: str, pad: int = 0, big: bool = False) -> SimpleNamespace:
    kind = pixels.dtype.newbyteorder(">" if big else "<")
    rows = [row.astype(kind).tobytes() + b"\0" * pad for row in pixels]
    height, width = pixels.shape
    return SimpleNamespace(
        encoding=encoding,
        width=width,
        height=height,
        step=width * pixels.itemsize + pad,
        is_bigendian=big,
        data=b"".join(rows),
    )


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pad", [0, 8])
def test_floats_come_as_they_are(big, pad):
    values = np.array([[0.5, np.nan, 3.0], [np.inf, -np.inf, 1e-3]], np.float32)
    found = image_to_float(image(values, "32FC1", pad, big))
    assert found.dtype == np.float32 and found.flags.writeable
    np.testing.assert_array_equal(found, values)


def test_millimetres_become_metres_and_zero_is_unknown():
    found = image_to_float(image(np.array([[0, 1, 65535]], np.uint16), "16UC1"))
    np.testing.assert_allclose(found, [[np.nan, 0.001, 65.535]], rtol=1e-6)


def test_what_is_no_depth_is_refused():
    with pytest.raises(MessageError, match=r"'rgb8'.*32FC1, 16UC1"):
        image_to_float(image(np.zeros((2, 2), np.uint16), "rgb8"))
    short = image(np.zeros((2, 2), np.float32), "32FC1")
    short.data = short.data[:-1]
    with pytest.raises(MessageError, match=r"15 bytes, expected .*16 bytes"):
        image_to_float(short)
