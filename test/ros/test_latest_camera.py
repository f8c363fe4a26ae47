from __future__ import annotations

import pytest
from sensor_msgs.msg import CameraInfo

from dpt_ros.messages.camera_info import scaled_camera_info
from dpt_ros.ros.latest_camera import LatestCamera


def info(d: list[float]) -> CameraInfo:
    """A raw camera whose rectified picture has another focal length and centre (P is not K)."""
    return CameraInfo(
        width=64,
        height=48,
        distortion_model="plumb_bob",
        d=d,
        k=[60.0, 0.0, 31.0, 0.0, 61.0, 23.0, 0.0, 0.0, 1.0],
        r=[0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        p=[50.0, 0.0, 30.0, -5.0, 0.0, 50.0, 22.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


@pytest.fixture
def latest():
    return LatestCamera("/camera/camera_info")


def test_depth_of_rectified_images_goes_with_their_own_camera_info(latest):
    latest.update(message := info([-0.2, 0.05, 0.0, 0.0, 0.0]))
    known = latest.of_image(64, 48, rectified=True)
    assert known.info is message and known.camera.fx_px == 50.0


def test_depth_of_distorted_images_goes_without_camera_info(latest):
    latest.update(info([-0.2, 0.05, 0.0, 0.0, 0.0]))
    known = latest.of_image(64, 48, rectified=False)
    assert known.camera.fx_px == 60.0 and known.camera.distortion[0] == -0.2
    assert known.info is None and "not rectified" in known.why_no_info


def test_depth_of_raw_images_without_distortion_is_unprojected_with_k(latest):
    latest.update(message := info([0.0] * 5))
    known = latest.of_image(64, 48, rectified=False)
    published = scaled_camera_info(known.info, 64, 48)
    assert list(published.p) == [60.0, 0.0, 31.0, 0.0, 0.0, 61.0, 23.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert list(published.r) == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert message.p[0] == 50.0


def test_without_camera_info_it_says_where_one_is_expected(latest):
    assert "/camera/camera_info" in latest.of_image(64, 48, rectified=True).why_not


@pytest.mark.parametrize(
    ("of_image", "of_info", "told"),
    [
        ("left", "left", ""),
        ("/left", "left", ""),
        ("left", "", ""),
        ("left", None, ""),
        ("left", "right", "/camera/camera_info is of the frame right, the images are of left"),
        ("", "left", "images have no frame_id"),
        ("", None, "images have no frame_id"),
    ],
)
def test_frames_that_do_not_fit_are_odd(latest, of_image, of_info, told):
    if of_info is not None:
        latest.update(message := info([]))
        message.header.frame_id = of_info
    oddity = latest.frame_oddity(of_image)
    assert oddity.startswith(told) and bool(oddity) == bool(told)
