from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpt_ros.messages.decode import ENCODINGS, MessageError, image_to_rgb, low_bits_doubt

# A red, a green, a blue and a mixed pixel, with values that tell the channels apart.
RGB = np.array([[[200, 10, 20], [30, 210, 40]], [[50, 60, 220], [70, 80, 90]]], np.uint8)
RGB.flags.writeable = False


def bare_image(encoding, width, height, step, data, is_bigendian=0):
    """An Image of no particular maker."""
    return SimpleNamespace(
        encoding=encoding,
        width=width,
        height=height,
        step=step,
        is_bigendian=is_bigendian,
        data=bytes(data),
    )


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 99, pixels.dtype)])


EIGHT_BIT = {
    "rgb8": (RGB, RGB),
    "bgr8": (RGB[..., ::-1], RGB),
    "rgba8": (with_alpha(RGB), RGB),
    "bgra8": (with_alpha(RGB[..., ::-1]), RGB),
    "mono8": (RGB[..., 0], RGB[..., [0, 0, 0]]),
    "8UC1": (RGB[..., 0], RGB[..., [0, 0, 0]]),
    "8UC3": (RGB[..., ::-1], RGB),
    "8UC4": (with_alpha(RGB[..., ::-1]), RGB),
}
SIXTEEN_BIT = {
    "rgb16": "rgb8",
    "bgr16": "bgr8",
    "rgba16": "rgba8",
    "bgra16": "bgra8",
    "mono16": "mono8",
    "16UC1": "8UC1",
    "16UC3": "8UC3",
    "16UC4": "8UC4",
}


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", EIGHT_BIT)
def test_eight_bit_pixels(family, encoding, padding):
    pixels, expected = EIGHT_BIT[encoding]
    rows = np.pad(pixels.reshape(2, -1), ((0, 0), (0, padding)), constant_values=255)
    rgb = image_to_rgb(family.image(encoding, 2, 2, rows.shape[1], rows))
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, expected)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", SIXTEEN_BIT)
def test_sixteen_bit_pixels_keep_the_high_byte(family, encoding, big_endian, padding):
    pixels, expected = EIGHT_BIT[SIXTEEN_BIT[encoding]]
    values = pixels.astype(np.uint16) * 256 + 0x7F  # >> 8 takes the 0x7f away
    stored = np.ascontiguousarray(values.astype(">u2" if big_endian else "<u2")).view(np.uint8)
    rows = np.pad(stored.reshape(2, -1), ((0, 0), (0, padding)), constant_values=255)
    message = family.image(encoding, 2, 2, rows.shape[1], rows, is_bigendian=int(big_endian))
    np.testing.assert_array_equal(image_to_rgb(message), expected)


def test_unpadded_rgb8_is_not_copied(family):
    message = family.image("rgb8", 2, 2, 6, RGB)
    rgb = image_to_rgb(message)
    assert np.shares_memory(rgb, np.frombuffer(message.data, np.uint8))
    assert not rgb.flags.writeable
    message.data[0] = 7  # the message itself stays writeable
    assert rgb[0, 0, 0] == 7


def test_data_longer_than_needed_is_read():
    rgb = image_to_rgb(bare_image("rgb8", 2, 2, 6, RGB.tobytes() + bytes(100)))
    np.testing.assert_array_equal(rgb, RGB)


def test_data_as_a_list_is_read():
    message = bare_image("rgb8", 2, 2, 6, b"")
    message.data = RGB.ravel().tolist()
    np.testing.assert_array_equal(image_to_rgb(message), RGB)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_padding_never_shows(data):
    channels, order = data.draw(st.sampled_from([("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0])]))
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    padding = data.draw(st.integers(0, 7))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(0, 256, (height, 3 * width + padding), dtype=np.uint8)
    rgb = image_to_rgb(bare_image(channels, width, height, rows.shape[1], rows.tobytes()))
    expected = rows[:, : 3 * width].reshape(height, width, 3)[..., order]
    np.testing.assert_array_equal(rgb, expected)


# --- Bayer -------------------------------------------------------------------------------------

CHANNELS = {"r": 0, "g": 1, "b": 2}


def four_colours(side=12):
    """Four squares of one colour each, [2*side, 2*side, 3]."""
    return np.repeat(np.repeat(RGB, side, axis=0), side, axis=1)


def mosaic_of(picture, pattern):
    """What a sensor with this pattern of filters sees: first row, then second row of 2x2."""
    mosaic = np.empty(picture.shape[:2], np.uint8)
    for index, letter in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = picture[row::2, column::2, CHANNELS[letter]]
    return mosaic


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("padding", [0, 4])
def test_bayer_colours(family, pattern, bits, padding):
    picture = four_colours()
    mosaic = mosaic_of(picture, pattern)
    if bits == 16:
        mosaic = np.ascontiguousarray(mosaic.astype("<u2") * 256 + 0x55).view(np.uint8)
    rows = np.pad(mosaic, ((0, 0), (0, padding)), constant_values=255)
    message = family.image(f"bayer_{pattern}{bits}", 24, 24, rows.shape[1], rows)
    rgb = image_to_rgb(message)
    for row in (slice(0, 10), slice(14, 24)):  # away from the edges between the squares
        for column in (slice(0, 10), slice(14, 24)):
            np.testing.assert_array_equal(rgb[row, column], picture[row, column])


def test_big_endian_bayer():
    mosaic = (mosaic_of(four_colours(), "gbrg").astype(np.uint16) * 256).astype(">u2")
    message = bare_image("bayer_gbrg16", 24, 24, 48, mosaic.tobytes(), is_bigendian=1)
    np.testing.assert_array_equal(image_to_rgb(message)[5, 5], RGB[0, 0])


# --- YUV ---------------------------------------------------------------------------------------


def bt601(y, u, v):
    """ITU-R BT.601, limited range, from its luma weights alone, -> [...,3] float."""
    red_weight, blue_weight = 0.299, 0.114
    green_weight = 1 - red_weight - blue_weight
    luma = (np.asarray(y, float) - 16) / 219
    blue_difference = (np.asarray(u, float) - 128) / 224  # (B - Y) / (2 (1 - Kb))
    red_difference = (np.asarray(v, float) - 128) / 224
    red = luma + 2 * (1 - red_weight) * red_difference
    blue = luma + 2 * (1 - blue_weight) * blue_difference
    green = (luma - red_weight * red - blue_weight * blue) / green_weight
    return np.clip(255 * np.stack([red, green, blue], -1), 0, 255)


def random_planes(height, width, vertical=2, horizontal=2, seed=3):
    """Y [H,W] and U, V of one value per block, all in the range a camera sends."""
    rng = np.random.default_rng(seed)
    luma = rng.integers(16, 236, (height, width), dtype=np.uint8)
    blocks = (height // vertical, width // horizontal)
    u, v = rng.integers(16, 241, (2, *blocks), dtype=np.uint8)
    return luma, u, v


def expected_rgb(luma, u, v):
    """Each chroma value covers its block of luma values."""
    rows, columns = luma.shape[0] // u.shape[0], luma.shape[1] // u.shape[1]
    full = [np.repeat(np.repeat(plane, rows, 0), columns, 1) for plane in (u, v)]
    return bt601(luma, *full)


def pad(plane, padding):
    return np.pad(plane, ((0, 0), (0, padding)), constant_values=255)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_yuv422(family, encoding, order, padding):
    luma, u, v = random_planes(4, 8, vertical=1)
    quad = {"u": u, "v": v}
    luma_columns = iter((luma[:, 0::2], luma[:, 1::2]))
    columns = [next(luma_columns) if letter == "y" else quad[letter] for letter in order]
    rows = pad(np.stack(columns, -1).reshape(4, 16), padding)
    rgb = image_to_rgb(family.image(encoding, 8, 4, rows.shape[1], rows))
    np.testing.assert_allclose(rgb, expected_rgb(luma, u, v), atol=1.5)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "i420"])
def test_yuv420(family, encoding, padding):
    luma, u, v = random_planes(4, 8)
    if encoding == "i420":
        chroma = [pad(u, padding // 2).ravel(), pad(v, padding // 2).ravel()]
    else:
        pairs = np.stack([u, v] if encoding == "nv12" else [v, u], -1)
        chroma = [pad(pairs.reshape(2, 8), padding).ravel()]
    data = np.concatenate([pad(luma, padding).ravel(), *chroma])
    rgb = image_to_rgb(family.image(encoding, 8, 4, 8 + padding, data))
    np.testing.assert_allclose(rgb, expected_rgb(luma, u, v), atol=1.5)


@pytest.mark.parametrize("padding", [0, 6])
def test_nv24(family, padding):
    luma, u, v = random_planes(3, 5, vertical=1, horizontal=1)
    chroma = np.pad(np.stack([u, v], -1).reshape(3, 10), ((0, 0), (0, 2 * padding)))
    data = np.concatenate([pad(luma, padding).ravel(), chroma.ravel()])
    rgb = image_to_rgb(family.image("nv24", 5, 3, 5 + padding, data))
    np.testing.assert_allclose(rgb, expected_rgb(luma, u, v), atol=1)


def test_yuv420_whose_step_counts_all_planes():
    luma, u, v = random_planes(4, 8)
    data = np.concatenate([luma.ravel(), np.stack([u, v], -1).ravel()])
    rgb = image_to_rgb(bare_image("nv12", 8, 4, 12, data.tobytes()))
    np.testing.assert_allclose(rgb, expected_rgb(luma, u, v), atol=1.5)


# --- float -------------------------------------------------------------------------------------


@pytest.mark.parametrize("big_endian", [False, True])
def test_float_grey(family, big_endian):
    values = np.array([[0.0, 0.5, 1.0], [1.05, -0.05, 0.25]])
    stored = values.astype(">f4" if big_endian else "<f4")
    message = family.image(
        "32FC1", 3, 2, 12, np.frombuffer(stored.tobytes(), np.uint8), int(big_endian)
    )
    rgb = image_to_rgb(message)
    np.testing.assert_array_equal(rgb[..., 1], [[0, 128, 255], [255, 0, 64]])
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])


def test_float_colour_is_bgr_and_nan_is_black(family):
    values = np.array([[[0.2, 0.4, 0.6], [np.nan, 1.0, np.inf]]], "<f4")
    rgb = image_to_rgb(family.image("32FC3", 2, 1, 24, np.frombuffer(values.tobytes(), np.uint8)))
    np.testing.assert_array_equal(rgb, [[[153, 102, 51], [0, 255, 0]]])


def test_float_without_a_finite_value_is_refused():
    values = np.full((2, 2), np.nan, "<f4")
    with pytest.raises(MessageError, match="no finite value"):
        image_to_rgb(bare_image("32FC1", 2, 2, 8, values.tobytes()))


@pytest.mark.parametrize("value", [7.5, -3.0])
def test_depth_given_for_a_picture_is_refused(value):
    values = np.array([[0.5, value]], "<f4")
    with pytest.raises(MessageError, match=r"depth image\? Connect the camera's picture"):
        image_to_rgb(bare_image("32FC1", 2, 1, 8, values.tobytes()))


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_short_data_is_refused(family, encoding):
    width = height = 8
    step = 8 * 16
    message = family.image(encoding, width, height, step, np.zeros(step * height - 1, np.uint8))
    with pytest.raises(MessageError, match=r"\d+ bytes, expected step 128 .* cut off"):
        image_to_rgb(message)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_short_step_is_refused(family, encoding):
    message = family.image(encoding, 8, 8, 7, np.zeros(4096, np.uint8))
    with pytest.raises(MessageError, match=r"step 7, expected at least \d+ bytes a row"):
        image_to_rgb(message)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("width", "height"), [(0, 8), (8, 0), (0, 0)])
def test_zero_size_is_refused(family, encoding, width, height):
    with pytest.raises(MessageError, match=f"{width}x{height} .* has no pixels"):
        image_to_rgb(family.image(encoding, width, height, 0, np.zeros(0, np.uint8)))


@pytest.mark.parametrize("encoding", ["", "8UC2", "64FC1", "16SC1", "RGB8", "jpeg"])
def test_unknown_encoding_lists_the_known(family, encoding):
    with pytest.raises(MessageError, match=f"'{encoding}': expected one of rgb8, bgr8, .*nv24"):
        image_to_rgb(family.image(encoding, 2, 2, 64, np.zeros(128, np.uint8)))


@pytest.mark.parametrize("encoding", ["yuv422", "yuyv", "nv12", "nv21", "i420"])
def test_odd_width_of_shared_chroma_is_refused(encoding):
    with pytest.raises(MessageError, match="odd"):
        image_to_rgb(bare_image(encoding, 7, 4, 14, bytes(14 * 6)))


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "i420"])
def test_odd_height_of_shared_chroma_is_refused(encoding):
    with pytest.raises(MessageError, match="odd"):
        image_to_rgb(bare_image(encoding, 8, 5, 8, bytes(8 * 8)))


def test_odd_step_of_padded_i420_is_refused():
    with pytest.raises(MessageError, match="step 9, expected an even step"):
        image_to_rgb(bare_image("i420", 8, 4, 9, bytes(54)))


@pytest.mark.parametrize(("width", "height"), [(2, 8), (8, 2)])
def test_mosaic_too_small_is_refused(width, height):
    with pytest.raises(MessageError, match="at least 3x3"):
        image_to_rgb(bare_image("bayer_rggb8", width, height, 8, bytes(64)))


def test_another_message_is_refused(family):
    with pytest.raises(MessageError, match="expected a sensor_msgs Image or CompressedImage"):
        image_to_rgb(family.header())


@settings(max_examples=400, deadline=None)
@given(
    encoding=st.sampled_from(ENCODINGS),
    width=st.integers(0, 9),
    height=st.integers(0, 9),
    step=st.integers(0, 60),
    length=st.integers(0, 700),
    is_bigendian=st.booleans(),
)
def test_any_message_is_a_picture_or_a_message_error(
    encoding, width, height, step, length, is_bigendian
):
    message = bare_image(encoding, width, height, step, bytes(length), int(is_bigendian))
    try:
        rgb = image_to_rgb(message)
    except MessageError:
        return
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize(
    ("encoding", "brightest", "is_doubted"),
    [
        ("mono16", 4095, True),
        ("mono16", 4096, False),
        ("bayer_rggb16", 1023, True),
        ("bayer_rggb16", 65535, False),
        ("mono8", 3, False),
        ("bayer_rggb8", 3, False),
        ("rgb8", 0, False),
        ("nv12", 0, False),
        ("32FC1", 0, False),
    ],
)
def test_values_in_the_low_bits_of_16_are_doubted(encoding, brightest, is_doubted):
    msg = SimpleNamespace(encoding=encoding)
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[2, 2] = brightest >> 8 if "16" in encoding else brightest
    assert (encoding in low_bits_doubt(msg, rgb)) == is_doubted
    assert low_bits_doubt(SimpleNamespace(format="png"), rgb) == ""
