"""Which cameras a calibration counts as the one it was made with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.views import view_difference

PINHOLE = Camera(848, 800, 285.0, 285.0, 423.5, 399.5)
FISHEYE = replace(PINHOLE, distortion_model="equidistant", distortion=(-0.01, 0.02, -0.02, 0.004))
NARROW = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)


@pytest.mark.parametrize(
    "got",
    [
        NARROW,
        NARROW.scaled(1280, 960),
        NARROW.scaled(320, 320),
        replace(NARROW, fx_px=504.0, cx_px=322.0, cy_px=236.0),
        replace(NARROW, distortion_model="plumb_bob", distortion=(-0.02, 0.01, 0.0, 0.0)),
    ],
)
def test_the_same_view_resized_or_calibrated_anew(got: Camera) -> None:
    assert view_difference(NARROW, got) == ""


@pytest.mark.parametrize(
    ("got", "told"),
    [
        (replace(NARROW, fx_px=510.0), "fx / width is 0.7969, expected 0.7812"),
        (replace(NARROW, fy_px=480.0), "fy / height is 1.0000, expected 1.0417"),
        (replace(NARROW, cx_px=219.5), "rays differ by up to 11 deg: principal point at 0.34 of"),
        (replace(NARROW, cy_px=309.5), "0.64 of the height, no distortion; expected"),
        (
            replace(NARROW, distortion_model="plumb_bob", distortion=(-0.4, 0.15, 0.0, 0.0)),
            "plumb_bob; expected",
        ),
    ],
)
def test_another_view_is_told(got: Camera, told: str) -> None:
    assert told in view_difference(NARROW, got)


def test_a_place_that_one_lens_alone_sees_is_a_half_turn() -> None:
    """r * (1 - 0.3 r^2) never exceeds 0.70; the corner's place is (0.7, 0.5), 0.86 off the axis."""
    wide = Camera(640, 480, 400.0, 400.0, 319.5, 239.5)
    bent = replace(wide, distortion_model="plumb_bob", distortion=(-0.3, 0.0, 0.0, 0.0))
    assert "rays differ by up to 180 deg" in view_difference(wide, bent)
    assert "rays differ by up to 180 deg" in view_difference(bent, wide)


def test_a_fisheye_s_raw_images_are_no_pinhole_s() -> None:
    """Beside equal focal lengths: from 53 deg off the axis, or no ray at all, in the corners."""
    assert "expected principal point at 0.50 of the width" in view_difference(FISHEYE, PINHOLE)
    assert "equidistant" in view_difference(FISHEYE, PINHOLE)
    assert "no distortion; expected" in view_difference(FISHEYE, PINHOLE)
    assert view_difference(FISHEYE, FISHEYE.scaled(424, 400)) == ""
