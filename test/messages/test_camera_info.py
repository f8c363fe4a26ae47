from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from dpt_ros.messages.camera_info import (
    UncalibratedCameraError,
    camera_from_info,
    scaled_camera_info,
)
from dpt_ros.messages.errors import MessageError


def intrinsics(camera):
    return (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px)


def size(camera):
    return (camera.width, camera.height)


# The fixture's camera: 640x480, K = (500, 510, 320, 240), P = (400, 420, 310, 230), plumb_bob.


def test_rectified_takes_p_and_no_distortion(family):
    camera = camera_from_info(family.camera_info(), rectified=True)
    assert size(camera) == (640, 480)
    assert intrinsics(camera) == (400, 420, 310, 230)
    assert (camera.distortion_model, camera.distortion) == ("none", ())


def test_raw_takes_k_and_d(family):
    camera = camera_from_info(family.camera_info(), rectified=False)
    assert size(camera) == (640, 480)
    assert intrinsics(camera) == (500, 510, 320, 240)
    assert camera.distortion_model == "plumb_bob"
    assert camera.distortion == (0.1, -0.2, 0.001, 0.002, 0.03)


@pytest.mark.parametrize(
    ("model", "count", "expected"),
    [
        ("plumb_bob", 4, "plumb_bob"),
        ("plumb_bob", 5, "plumb_bob"),
        ("plumb_bob", 8, "rational_polynomial"),
        ("rational_polynomial", 8, "rational_polynomial"),
        ("rational_polynomial", 12, "rational_polynomial"),
        ("rational_polynomial", 14, "rational_polynomial"),
        ("equidistant", 4, "equidistant"),
    ],
)
def test_distortion_models(family, model, count, expected):
    coefficients = [0.01 * (index + 1) for index in range(count)]
    info = family.camera_info(distortion_model=model, d=np.array(coefficients))
    camera = camera_from_info(info, rectified=False)
    assert camera.distortion_model == expected
    assert camera.distortion == tuple(coefficients)


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial", "equidistant", "", "other"])
@pytest.mark.parametrize("count", [0, 4, 5])
def test_no_or_zero_distortion_is_none(family, model, count):
    info = family.camera_info(distortion_model=model, d=np.zeros(count))
    camera = camera_from_info(info, rectified=False)
    assert (camera.distortion_model, camera.distortion) == ("none", ())


def test_binning_and_roi_as_image_geometry(family):
    info = family.camera_info(
        binning_x=2, binning_y=3, roi={"x_offset": 40, "y_offset": 30, "width": 400, "height": 300}
    )
    raw = camera_from_info(info, rectified=False)
    assert size(raw) == (200, 100)
    # fx: 500 / 2, fy: 510 / 3, cx: (320 - 40) / 2, cy: (240 - 30) / 3
    assert intrinsics(raw) == pytest.approx((250, 170, 140, 70))
    rectified = camera_from_info(info, rectified=True)
    # fx: 400 / 2, fy: 420 / 3, cx: (310 - 40) / 2, cy: (230 - 30) / 3
    assert intrinsics(rectified) == pytest.approx((200, 140, 135, 200 / 3))


def test_roi_without_size_reaches_the_border(family):
    info = family.camera_info(roi={"x_offset": 40, "y_offset": 30})
    camera = camera_from_info(info, rectified=True)
    assert size(camera) == (600, 450)
    assert intrinsics(camera) == (400, 420, 270, 200)


def test_binning_of_one_is_none(family):
    camera = camera_from_info(family.camera_info(binning_x=1, binning_y=1), rectified=True)
    assert camera == camera_from_info(family.camera_info(), rectified=True)


def test_resized_picture(family):
    camera = camera_from_info(family.camera_info(), rectified=True, width=320, height=240)
    assert size(camera) == (320, 240)
    # cx: (310 + 0.5) / 2 - 0.5, cy: (230 + 0.5) / 2 - 0.5
    assert intrinsics(camera) == pytest.approx((200, 210, 154.75, 114.75))


def test_picture_of_the_same_size(family):
    info = family.camera_info()
    assert camera_from_info(info, True, 640, 480) == camera_from_info(info, True)


@pytest.mark.parametrize("binning", [(2, 2), (2, 1), (4, 3)])
def test_a_full_picture_beside_binning_has_the_sensors_own_matrices(family, binning):
    """camera_info says binning, but the driver sends full pictures."""
    info = family.camera_info(binning_x=binning[0], binning_y=binning[1])
    assert camera_from_info(info, True, 640, 480) == camera_from_info(family.camera_info(), True)
    assert intrinsics(camera_from_info(info, False, 640, 480)) == (500, 510, 320, 240)
    scaled = scaled_camera_info(info, 640, 480)
    for name in ("k", "p"):
        np.testing.assert_array_equal(getattr(scaled, name), getattr(info, name))
    assert (scaled.binning_x, scaled.binning_y) == (1, 1)


def test_a_regions_full_picture_beside_binning_is_the_region(family):
    info = family.camera_info(
        binning_x=2, binning_y=2, roi={"x_offset": 40, "y_offset": 30, "width": 400, "height": 300}
    )
    assert intrinsics(camera_from_info(info, True, 400, 300)) == (400, 420, 270, 200)
    # Smaller than that it is what the camera sends, resized: cx: (135 + 0.5) * 1.5 - 0.5
    camera = camera_from_info(info, True, 300, 225)
    assert intrinsics(camera) == pytest.approx((300, 315, 202.75, 150.25))


@pytest.mark.parametrize(("width", "height"), [(1242, 375), (640, 193), (384, 116)])
def test_rounded_sides_are_the_same_aspect_ratio(family, width, height):
    info = family.camera_info(width=1242, height=375)
    assert size(camera_from_info(info, True, width, height)) == (width, height)
    assert scaled_camera_info(info, width, height).width == width


@pytest.mark.parametrize(("width", "height"), [(640, 360), (480, 640), (320, 238), (640, 0)])
def test_picture_of_another_shape_is_refused(family, width, height):
    info = family.camera_info()
    for use in (
        lambda: camera_from_info(info, True, width, height),
        lambda: scaled_camera_info(info, width, height),
    ):
        with pytest.raises(MessageError, match=f"picture is {width}x{height}, .* 640x480"):
            use()


@pytest.mark.parametrize("rectified", [True, False])
def test_uncalibrated_camera(family, rectified):
    info = family.camera_info(k=np.zeros(9), p=np.zeros(12), d=np.zeros(0), width=0, height=0)
    with pytest.raises(UncalibratedCameraError, match="calibrate the camera"):
        camera_from_info(info, rectified)


def test_a_focal_length_of_zero_in_k_means_uncalibrated_whatever_p_says(family):
    info = family.camera_info(k=np.zeros(9))
    with pytest.raises(UncalibratedCameraError, match=r"K\[0\] is 0"):
        camera_from_info(info, rectified=True)


def test_missing_p_says_so(family):
    info = family.camera_info(p=np.zeros(12))
    with pytest.raises(UncalibratedCameraError, match="K is set, so publish P too"):
        camera_from_info(info, rectified=True)
    assert camera_from_info(info, rectified=False).fx_px == 500


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -500.0])
@pytest.mark.parametrize("index", [0, 4])
def test_impossible_focal_lengths_are_refused(family, value, index):
    k = np.array([500.0, 0, 320, 0, 510, 240, 0, 0, 1])
    k[index] = value
    with pytest.raises(MessageError, match="calibrate the camera again"):
        camera_from_info(family.camera_info(k=k), rectified=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_impossible_distortion_is_refused(family, value):
    info = family.camera_info(d=np.array([value, 0, 0, 0, 0]))
    with pytest.raises(MessageError, match="finite"):
        camera_from_info(info, rectified=False)
    assert camera_from_info(info, rectified=True).distortion == ()


def test_skew_is_refused(family):
    k = np.array([500.0, 3, 320, 0, 510, 240, 0, 0, 1])
    with pytest.raises(MessageError, match="skew of 3 in K"):
        camera_from_info(family.camera_info(k=k), rectified=False)


@pytest.mark.parametrize(
    ("place", "value"), [(1, np.nan), (3, np.inf), (8, 0.5), (10, 2.0), (10, 0.0), (4, 1.0)]
)
def test_a_matrix_that_is_no_pinholes_is_refused(family, place, value):
    info = family.camera_info()
    p = np.array(info.p)
    p[place] = value
    with pytest.raises(MessageError, match=r"camera_info has P \[.*calibrate the camera again"):
        camera_from_info(family.camera_info(p=p), rectified=True)


@pytest.mark.parametrize(("place", "rounded"), [(8, 3e-8), (10, 1 - 6e-8), (4, 2e-5), (1, -2e-5)])
def test_a_matrix_rounded_to_float32_is_a_pinholes(family, place, rounded):
    info = family.camera_info()
    p = np.array(info.p)
    p[place] = rounded
    assert camera_from_info(family.camera_info(p=p), rectified=True) == camera_from_info(
        info, rectified=True
    )


def test_p_of_the_second_camera_of_a_stereo_pair_is_a_pinholes(family):
    p = np.array(family.camera_info().p)
    p[3] = -48.0  # -fx times the baseline
    assert camera_from_info(family.camera_info(p=p), rectified=True) == camera_from_info(
        family.camera_info(), rectified=True
    )


@pytest.mark.parametrize(
    "roi",
    [
        {"x_offset": 40, "y_offset": 0, "width": 640, "height": 480},
        {"x_offset": 0, "y_offset": 460, "width": 640, "height": 30},
    ],
)
def test_a_region_beyond_the_sensor_is_refused(family, roi):
    info = family.camera_info(roi=roi)
    with pytest.raises(MessageError, match="reaches beyond them: fill in the full sensor's"):
        camera_from_info(info, rectified=True)
    with pytest.raises(MessageError, match="reaches beyond them"):
        scaled_camera_info(info, roi["width"], roi["height"])


def test_unknown_distortion_model_lists_the_known(family):
    info = family.camera_info(distortion_model="double_sphere")
    with pytest.raises(MessageError, match=r"double_sphere.*plumb_bob.*rational.*equidistant"):
        camera_from_info(info, rectified=False)


def test_wrong_number_of_coefficients_is_refused(family):
    info = family.camera_info(distortion_model="equidistant", d=np.full(5, 0.1))
    with pytest.raises(MessageError, match="got 5 coefficients, expected 4"):
        camera_from_info(info, rectified=False)


def test_camera_without_a_size_is_refused(family):
    with pytest.raises(MessageError, match="width 0, height 0"):
        camera_from_info(family.camera_info(width=0, height=0), rectified=True)


def test_scaled_info(family):
    info = family.camera_info(
        binning_x=2, binning_y=2, roi={"x_offset": 40, "y_offset": 30, "width": 400, "height": 300}
    )
    scaled = scaled_camera_info(info, 100, 75)  # half of the 200x150 that the camera sends
    assert type(scaled) is type(info)
    assert (scaled.width, scaled.height) == (100, 75)
    # cx: ((320 - 40) / 2 + 0.5) / 2 - 0.5 = 69.75, cy: ((240 - 30) / 2 + 0.5) / 2 - 0.5 = 52.25
    np.testing.assert_allclose(scaled.k, [125, 0, 69.75, 0, 127.5, 52.25, 0, 0, 1])
    # cx: ((310 - 40) / 2 + 0.5) / 2 - 0.5 = 67.25, cy: (100 + 0.5) / 2 - 0.5 = 49.75
    # Tx = -fx * baseline shrinks with fx: -40 / 4 = -10
    np.testing.assert_allclose(scaled.p, [100, 0, 67.25, -10, 0, 105, 49.75, 0, 0, 0, 1, 0])
    assert (scaled.binning_x, scaled.binning_y) == (1, 1)
    roi = scaled.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (0, 0, 0, 0)
    assert list(scaled.d) == list(info.d)
    assert list(scaled.r) == list(info.r)
    assert scaled.distortion_model == "plumb_bob"
    assert scaled.header == info.header


def test_scaled_info_of_the_same_size_is_the_same(family):
    info = family.camera_info()
    scaled = scaled_camera_info(info, 640, 480)
    for name in ("k", "p", "d", "r"):
        np.testing.assert_array_equal(getattr(scaled, name), getattr(info, name))
    assert (scaled.binning_x, scaled.binning_y) == (0, 0)


def test_scaled_info_leaves_its_input_alone(family):
    info = family.camera_info(binning_x=2, binning_y=2)
    before = copy.deepcopy(info)
    scaled = scaled_camera_info(info, 640, 480, family.header("another"))
    for name in ("k", "p", "d", "r"):
        array = getattr(scaled, name)
        if len(array):
            array[0] = 99.0
        np.testing.assert_array_equal(getattr(info, name), getattr(before, name))
    assert scaled.header.frame_id == "another"
    assert info.header == before.header
    assert (info.width, info.binning_x) == (before.width, before.binning_x)


def test_scaled_info_of_an_uncalibrated_camera_stays_zero(family):
    info = family.camera_info(k=np.zeros(9), p=np.zeros(12), d=np.zeros(0))
    scaled = scaled_camera_info(info, 320, 240)
    assert not any(scaled.k)
    assert not any(scaled.p)
    assert (scaled.width, scaled.height) == (320, 240)


TYPES = get_typestore(Stores.ROS2_JAZZY).types


@settings(max_examples=50, deadline=None)
@given(
    binning=st.integers(0, 4),
    offset=st.integers(0, 50),
    factor=st.integers(1, 4),
    rectified=st.booleans(),
)
def test_scaled_info_describes_the_camera_of_that_size(binning, offset, factor, rectified):
    """Reading the published camera_info gives the camera that the picture was made with."""
    header = TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](1, 2), "camera")
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](offset, offset, 384, 432, False)
    info = TYPES["sensor_msgs/msg/CameraInfo"](
        header=header,
        height=480,
        width=640,
        distortion_model="plumb_bob",
        d=np.array([0.1, 0.2, 0.0, 0.0, 0.0]),
        k=np.array([500.0, 0, 320, 0, 510, 240, 0, 0, 1]),
        r=np.eye(3).reshape(-1),
        p=np.array([400.0, 0, 310, -40, 0, 420, 230, 0, 0, 0, 1, 0]),
        binning_x=binning,
        binning_y=binning,
        roi=roi,
    )
    width, height = 432 * factor // 3, 384 * factor // 3
    expected = camera_from_info(info, rectified, width, height)
    read = camera_from_info(scaled_camera_info(info, width, height), rectified)
    assert size(read) == size(expected) == (width, height)
    assert intrinsics(read) == pytest.approx(intrinsics(expected))
    assert read.distortion == expected.distortion


@pytest.mark.parametrize(
    ("model", "given", "expected_model", "expected"),
    [
        ("equidistant", (0.1, 0.1, 0.1, 0.1, 0.0), "equidistant", (0.1, 0.1, 0.1, 0.1)),
        ("plumb_bob", (0.1, 0.2, 0.0, 0.0, 0.3, 0.0), "plumb_bob", (0.1, 0.2, 0.0, 0.0, 0.3)),
        ("rational_polynomial", (0.1, 0.2, 0.01, 0.02), "plumb_bob", (0.1, 0.2, 0.01, 0.02)),
        ("rational_polynomial", (0.1, 0.2, 0, 0, 0.3), "plumb_bob", (0.1, 0.2, 0, 0, 0.3)),
    ],
)
def test_coefficients_as_drivers_fill_them_in(family, model, given, expected_model, expected):
    info = family.camera_info(distortion_model=model, d=np.array(given))
    camera = camera_from_info(info, rectified=False)
    assert (camera.distortion_model, camera.distortion) == (expected_model, expected)


def test_a_coefficient_too_many_that_is_not_0_is_refused(family):
    info = family.camera_info(distortion_model="equidistant", d=np.array([0.1] * 5))
    with pytest.raises(MessageError, match="got 5 coefficients, expected 4"):
        camera_from_info(info, rectified=False)


def test_a_skew_that_is_rounding_is_none(family):
    info = family.camera_info()
    p = np.array(info.p, np.float64)
    p[1] = 1e-9
    info.p = p
    assert camera_from_info(info, rectified=True).fx_px == 400


@pytest.mark.parametrize("read", [camera_from_info, scaled_camera_info])
def test_a_full_picture_beside_a_region_of_its_shape_is_refused(family, read):
    """Read as the region enlarged, its focal length would be twice too large."""
    info = family.camera_info()
    info.roi.x_offset, info.roi.y_offset = 100, 50
    info.roi.width, info.roi.height = 320, 240
    arguments = (True,) if read is camera_from_info else ()
    with pytest.raises(MessageError, match=r"full sensor, .* 320x240 at \(100, 50\).* to 0"):
        read(info, *arguments, width=640, height=480)
    # A region resized otherwise, and one of the full size, are taken.
    read(info, *arguments, width=160, height=120)
    info.roi.x_offset, info.roi.y_offset = 0, 0
    info.roi.width, info.roi.height = 640, 480
    read(info, *arguments, width=640, height=480)
