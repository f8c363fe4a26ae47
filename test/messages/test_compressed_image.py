from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpt_ros.messages.compressed import compressed_to_rgb, is_cut_off_jpeg
from dpt_ros.messages.decode import MessageError, image_to_rgb

RGB = np.repeat(
    np.repeat(np.array([[[200, 30, 20], [30, 210, 40]], [[50, 60, 220], [70, 80, 90]]]), 16, 0),
    32,
    1,
).astype(np.uint8)  # [32, 64, 3]: squares that fit the JPEG's blocks


def jpeg(pixels):
    """Encode stored-order pixels (OpenCV calls them bgr)."""
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]


def check_close(rgb, expected=RGB):
    """Equal but for the JPEG's rounding, away from the edges, where its chroma bleeds over."""
    assert rgb.shape == expected.shape
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    for row in (slice(0, 14), slice(18, 32)):
        for column in (slice(0, 30), slice(34, 64)):
            np.testing.assert_allclose(rgb[row, column].astype(int), expected[row, column], atol=4)


def png(pixels):
    return cv2.imencode(".png", pixels)[1]


def with_exif_orientation(stream, orientation):
    """Insert an EXIF segment with one entry, the orientation, after the JPEG's start marker."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)
    body = b"Exif\x00\x00" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    data = bytes(stream)
    return np.frombuffer(data[:2] + segment + data[2:], np.uint8)


@pytest.mark.parametrize(
    "message_format",
    ["", "jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", "bgr8; jpeg"],
)
def test_jpeg(family, message_format):
    rgb = image_to_rgb(family.compressed(message_format, jpeg(RGB[..., ::-1])))
    check_close(rgb)


def test_jpeg_stored_with_swapped_colours(family):
    """compressed_image_transport undoes "compressed rgb8", so the stored bgr is rgb."""
    rgb = image_to_rgb(family.compressed("rgb8; jpeg compressed rgb8", jpeg(RGB)))
    check_close(rgb)


@pytest.mark.parametrize("message_format", ["mono8; jpeg compressed ", "jpeg"])
def test_grey_jpeg(family, message_format):
    rgb = image_to_rgb(family.compressed(message_format, jpeg(RGB[..., 0])))
    check_close(rgb, RGB[..., [0, 0, 0]])


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_orientation_is_ignored(family, orientation):
    stream = with_exif_orientation(jpeg(RGB[..., ::-1]), orientation)
    turned = cv2.imdecode(stream, cv2.IMREAD_COLOR)  # honours it: the segment is a real one
    assert orientation == 3 or turned.shape == (64, 32, 3)
    rgb = image_to_rgb(family.compressed("jpeg", stream))
    check_close(rgb)


@pytest.mark.parametrize(
    ("message_format", "pixels", "expected"),
    [
        ("rgb8; png compressed bgr8", RGB[..., ::-1], RGB),
        ("png", RGB[..., ::-1], RGB),
        ("rgb16; png compressed bgr16", RGB[..., ::-1].astype(np.uint16) * 256 + 200, RGB),
        ("rgb16; png compressed rgb16", RGB.astype(np.uint16) * 256 + 200, RGB),
        ("mono8; png compressed ", RGB[..., 0], RGB[..., [0, 0, 0]]),
        ("mono16; png compressed ", RGB[..., 0].astype(np.uint16) * 256, RGB[..., [0, 0, 0]]),
        ("bgra8; png compressed bgr8", np.dstack([RGB[..., ::-1], RGB[..., 0]]), RGB),
    ],
)
def test_png_is_exact(family, message_format, pixels, expected):
    rgb = image_to_rgb(family.compressed(message_format, png(pixels)))
    np.testing.assert_array_equal(rgb, expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_compressed_mosaic_gets_its_colours(family, bits):
    mosaic = np.empty(RGB.shape[:2], np.uint16)
    mosaic[0::2, 0::2], mosaic[0::2, 1::2] = RGB[0::2, 0::2, 1], RGB[0::2, 1::2, 2]  # gb
    mosaic[1::2, 0::2], mosaic[1::2, 1::2] = RGB[1::2, 0::2, 0], RGB[1::2, 1::2, 1]  # rg
    stored = mosaic.astype(np.uint8) if bits == 8 else mosaic * 256
    rgb = image_to_rgb(family.compressed(f"bayer_gbrg{bits}; png compressed ", png(stored)))
    np.testing.assert_array_equal(rgb[2:14, 2:30], RGB[2:14, 2:30])
    np.testing.assert_array_equal(rgb[18:30, 34:62], RGB[18:30, 34:62])


@pytest.mark.parametrize("encode", [jpeg, png])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_cut_off_data_is_refused(family, encode, share):
    stream = encode(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(MessageError, match="cut off|cannot be decoded"):
        image_to_rgb(family.compressed("jpeg", stream[: int(share * len(stream))]))


def test_what_follows_a_whole_jpeg_does_not_matter(family):
    """A phone's short film, say; its bytes may look like a scan that does not end."""
    for tail in (b"\x00" * 8, b"film \xff\xda\x01\x02", b"\xff\xd9 and \xff\xda"):
        data = np.frombuffer(bytes(jpeg(RGB[..., ::-1])) + tail, np.uint8)
        assert not is_cut_off_jpeg(data)
        check_close(compressed_to_rgb(family.compressed("jpeg", data)))


@pytest.mark.parametrize("flags", [[], ["progressive"], ["restarts"]])
def test_a_jpeg_is_whole_from_its_end_marker_on(flags):
    options = {
        "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 1],
    }
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    chosen = [value for flag in flags for value in options[flag]]
    whole = cv2.imencode(".jpg", noise, chosen)[1].ravel()
    assert not is_cut_off_jpeg(whole)
    assert not is_cut_off_jpeg(np.append(whole, np.uint8(0)))
    assert all(is_cut_off_jpeg(whole[:end]) for end in range(2, len(whole)))


def test_cut_off_jpeg_with_a_whole_thumbnail_is_refused(family):
    """The thumbnail's own end marker must not pass for the picture's."""
    thumbnail = bytes(jpeg(RGB[:8, :8]))
    stream = bytes(jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\x00\x00" + thumbnail
    cut = (stream[:2] + segment + stream[2:])[:-2000]
    with pytest.raises(MessageError, match="JPEG without its end"):
        image_to_rgb(family.compressed("jpeg", np.frombuffer(cut, np.uint8)))


def test_jpeg_padded_with_zeros_is_read(family):
    stream = np.concatenate([jpeg(RGB[..., ::-1]).ravel(), np.zeros(100, np.uint8)])
    check_close(image_to_rgb(family.compressed("jpeg", stream)))


def test_noise_is_refused(family):
    with pytest.raises(MessageError, match=r"'h264' of 100 bytes, which starts with 00 01 02"):
        image_to_rgb(family.compressed("h264", np.arange(100, dtype=np.uint8)))


def test_no_data_is_refused(family):
    with pytest.raises(MessageError, match="has no data"):
        image_to_rgb(family.compressed("jpeg", np.zeros(0, np.uint8)))


@pytest.mark.parametrize("message_format", ["16UC1; compressedDepth png", "32FC1; compressedDepth"])
def test_compressed_depth_is_refused(family, message_format):
    with pytest.raises(MessageError, match="is a depth image"):
        image_to_rgb(family.compressed(message_format, png(RGB)))


def test_float_tiff_is_refused(family):
    stream = cv2.imencode(".tiff", np.zeros((4, 4), np.float32))[1]
    with pytest.raises(MessageError, match="float32 values, expected 8 or 16"):
        image_to_rgb(family.compressed("tiff", stream))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_data_is_a_picture_or_a_message_error(data):
    stream = data.draw(st.sampled_from([jpeg(RGB), png(RGB)])).copy().ravel()
    for _ in range(data.draw(st.integers(1, 5))):
        stream[data.draw(st.integers(len(stream) // 2, len(stream) - 1))] = data.draw(
            st.integers(0, 255)
        )
    try:
        rgb = image_to_rgb(SimpleNamespace(format="jpeg", data=stream))
    except MessageError:
        return
    assert rgb.shape == RGB.shape
    assert rgb.dtype == np.uint8
