"""Camera: rays and projection against hand-worked numbers and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera

PLUMB_BOB = (-0.28, 0.07, 1e-3, -8e-4, -0.005)
RATIONAL = (0.5, -0.2, 1e-3, -5e-4, 0.01, 0.8, -0.1, 0.02)
PRISM = (*RATIONAL, 1e-3, -1e-4, 2e-3, 1e-4)
TILTED = (*PRISM, 0.02, -0.03)
FISHEYE = (0.05, -0.01, 0.003, -0.001)

LENSES = {
    "none": ("none", ()),
    "plumb_bob": ("plumb_bob", PLUMB_BOB),
    "plumb_bob of 4": ("plumb_bob", PLUMB_BOB[:4]),
    "rational of 8": ("rational_polynomial", RATIONAL),
    "rational of 12": ("rational_polynomial", PRISM),
    "rational of 14": ("rational_polynomial", TILTED),
    "equidistant": ("equidistant", FISHEYE),
}


def make_camera(lens: str, width: int = 160, height: int = 120) -> Camera:
    model, coefficients = LENSES[lens]
    return Camera(width, height, 110.0, 112.0, 81.0, 58.5, model, coefficients)


def pixel_grid(camera: Camera) -> np.ndarray:
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return np.stack((u, v), -1).astype(np.float64)


def camera_matrix(camera: Camera) -> np.ndarray:
    return np.array([[camera.fx_px, 0, camera.cx_px], [0, camera.fy_px, camera.cy_px], [0, 0, 1.0]])


def project_with_opencv(camera: Camera, points: np.ndarray) -> np.ndarray:
    flat = points.reshape(-1, 1, 3).astype(np.float64)
    zero = np.zeros(3)
    coefficients = np.array(camera.distortion)
    if camera.distortion_model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(flat, zero, zero, camera_matrix(camera), coefficients)
    else:
        pixels, _ = cv2.projectPoints(flat, zero, zero, camera_matrix(camera), coefficients)
    return pixels.reshape(*points.shape[:-1], 2)


def on_plane(rays: torch.Tensor) -> torch.Tensor:
    return torch.cat((rays, torch.ones(*rays.shape[:-1], 1)), -1)


def test_rays_of_a_rectified_camera_by_hand():
    rays = Camera(3, 2, 2.0, 4.0, 1.0, 0.5).rays()

    assert rays.dtype == torch.float32
    assert rays.tolist() == [
        [[-0.5, -0.125], [0.0, -0.125], [0.5, -0.125]],
        [[-0.5, 0.125], [0.0, 0.125], [0.5, 0.125]],
    ]


@pytest.mark.parametrize("model", ["none", "plumb_bob"])
def test_ray_planes_are_the_rays(model: str):
    distortion = () if model == "none" else (-0.3, 0.1, 0.01, -0.02)
    camera = Camera(7, 5, 6.0, 5.0, 3.2, 1.9, model, distortion)
    planes = camera.ray_planes()

    assert [tuple(plane.shape) for plane in planes] == (
        [(1, 7), (5, 1)] if model == "none" else [(5, 7), (5, 7)]
    )
    together = torch.stack(torch.broadcast_tensors(*planes), -1)
    torch.testing.assert_close(together, camera.rays(), rtol=0, atol=0, equal_nan=True)


def test_projection_by_hand():
    camera = Camera(640, 480, 500.0, 400.0, 320.0, 240.0, "plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0))
    # (1, 0, 2): x/z = 0.5, distorted 0.5 * (1 + 0.1 * 0.25) = 0.5125, u = 500 * 0.5125 + 320.
    pixels = camera.project(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]))

    torch.testing.assert_close(pixels, torch.tensor([[576.25, 240.0], [320.0, 240.0]]))


def test_equidistant_projection_by_hand():
    camera = Camera(640, 480, 100.0, 100.0, 320.0, 240.0, "equidistant", (0.0, 0.0, 0.0, 0.0))
    # 45 degrees to the right: the distance from the centre is f * pi / 4.
    pixels = camera.project(torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))

    assert pixels.tolist() == pytest.approx([320.0 + 100.0 * np.pi / 4.0, 240.0])


@pytest.mark.parametrize("lens", LENSES)
def test_every_ray_projects_to_its_own_pixel(lens: str):
    camera = make_camera(lens)
    rays = camera.rays()
    valid = ~torch.isnan(rays[..., 0])
    assert valid.float().mean() > 0.9

    points = on_plane(rays) * 7.3
    grid = pixel_grid(camera)

    own = np.abs(camera.project(points).numpy() - grid)
    assert own[valid.numpy()].max() < 1e-3
    assert np.abs(project_with_opencv(camera, points.numpy()) - grid)[valid.numpy()].max() < 1e-3


@pytest.mark.parametrize("lens", [name for name in LENSES if name != "none"])
def test_projection_is_opencvs(lens: str):
    camera = make_camera(lens)
    points = np.random.default_rng(0).uniform((-0.4, -0.4, 0.8), (0.4, 0.4, 2.0), (500, 3))

    ours = camera.project(torch.from_numpy(points)).numpy()

    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, project_with_opencv(camera, points), atol=1e-9)


@pytest.mark.parametrize("lens", [name for name in LENSES if name != "none"])
def test_rays_are_opencvs_undistorted_points(lens: str):
    camera = make_camera(lens)
    rays = camera.rays().numpy()
    pixels = pixel_grid(camera)[20:100:7, 20:140:7].reshape(-1, 1, 2)  # away from the corners
    coefficients = np.array(camera.distortion)
    if camera.distortion_model == "equidistant":
        expected = cv2.fisheye.undistortPoints(pixels, camera_matrix(camera), coefficients)
    else:
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-12)
        expected = cv2.undistortPointsIter(
            pixels, camera_matrix(camera), coefficients, np.eye(3), np.eye(3), stop
        )

    np.testing.assert_allclose(
        rays[20:100:7, 20:140:7].reshape(-1, 2), expected.reshape(-1, 2), atol=2e-6
    )


def test_pixels_that_no_ray_reaches_have_none():
    # r * (1 - 0.3 r^2) is largest, 0.7027, at r = 1.0541: with f = 100 px, that is 70.27 px.
    camera = Camera(301, 1, 100.0, 100.0, 150.0, 0.0, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    has_ray = ~torch.isnan(camera.rays()[0, :, 0])

    distance = (torch.arange(301) - 150).abs()
    assert torch.equal(has_ray, distance <= 70)


def test_the_ray_is_the_inner_one_where_the_polynomial_folds_over():
    camera = Camera(301, 1, 100.0, 100.0, 150.0, 0.0, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    x = camera.rays()[0, 150:221, 0]

    assert bool((x[1:] > x[:-1]).all())
    assert float(x.max()) < 1.0541


def test_points_beyond_the_fold_fall_on_no_pixel():
    camera = Camera(301, 1, 100.0, 100.0, 150.0, 0.0, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    # The polynomial alone would put x/z = 1.5 at 0.4875 and 3 at -5.1, the first inside the image.
    pixels = camera.project(torch.tensor([[1.0, 0.0, 1.0], [1.5, 0.0, 1.0], [3.0, 0.0, 1.0]]))

    assert pixels[0].tolist() == pytest.approx([220.0, 0.0])
    assert bool(pixels[1:].isnan().all())


def test_points_beyond_the_fold_of_a_decentred_lens_fall_on_no_pixel():
    # x + 0.1 * 3 x^2 falls up to x = -1 / 0.6 and rises again: -4/3 and -2 both give -0.8.
    camera = Camera(301, 1, 100.0, 100.0, 150.0, 0.0, "plumb_bob", (0.0, 0.0, 0.0, 0.1, 0.0))
    pixels = camera.project(torch.tensor([[-4.0, 0.0, 3.0], [-2.0, 0.0, 1.0]]))

    assert pixels[0].tolist() == pytest.approx([70.0, 0.0], abs=1e-4)
    assert bool(pixels[1].isnan().all())


def test_a_pole_of_the_rational_model_ends_the_field_of_view():
    # The denominator 1 - r^2 / 4 is 0 at r = 2; r / (1 - r^2 / 4) grows up to there.
    camera = Camera(
        401, 1, 50.0, 50.0, 200.0, 0.0, "rational_polynomial", (0, 0, 0, 0, 0, -0.25, 0, 0)
    )
    x = camera.rays()[0, :, 0]
    assert bool((x.abs() < 2.0).all())
    # r = 1: 1 / 0.75 = 1.3333 -> 66.67 px to the right.
    assert float(torch.lerp(x[266], x[267], 2.0 / 3.0)) == pytest.approx(1.0, abs=1e-4)
    assert bool(camera.project(torch.tensor([[2.5, 0.0, 1.0]])).isnan().all())


def test_a_fisheye_has_no_rays_beside_and_behind_it():
    # f = 100 px: 90 degrees is 157.08 px away from the centre.
    camera = Camera(401, 1, 100.0, 100.0, 200.0, 0.0, "equidistant", (0.0, 0.0, 0.0, 0.0))
    has_ray = ~torch.isnan(camera.rays()[0, :, 0])

    assert torch.equal(has_ray, (torch.arange(401) - 200).abs() <= 156)


def test_points_at_or_behind_the_camera_fall_on_no_pixel():
    camera = make_camera("none")
    pixels = camera.project(torch.tensor([[0.1, 0.1, 0.0], [0.1, 0.1, -1.0], [0.0, 0.0, 1.0]]))

    assert pixels.isnan().all(-1).tolist() == [True, True, False]


def test_scaling_keeps_pixel_centres_in_place():
    camera = Camera(640, 480, 500.0, 400.0, 319.5, 239.5, "plumb_bob", PLUMB_BOB)
    half = camera.scaled(320, 120)

    assert (half.width, half.height) == (320, 120)
    assert (half.fx_px, half.fy_px, half.cx_px, half.cy_px) == (250.0, 100.0, 159.5, 59.5)
    assert (half.distortion_model, half.distortion) == ("plumb_bob", PLUMB_BOB)
    point = torch.tensor([0.3, -0.2, 1.5], dtype=torch.float64)
    u, v = camera.project(point).tolist()
    expected = ((u + 0.5) / 2 - 0.5, (v + 0.5) / 4 - 0.5)
    assert half.project(point).tolist() == pytest.approx(expected)


def test_equal_cameras_are_one_key():
    first = Camera(4, 3, 1.0, 1.0, 0.0, 0.0, "plumb_bob", [0, 0, 0, 0])  # type: ignore[arg-type]
    second = Camera(4, 3, 1.0, 1.0, 0.0, 0.0, "plumb_bob", (0.0, 0.0, 0.0, 0.0))

    assert {first: "here"}[second] == "here"


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
def test_a_pinhole_model_without_coefficients_is_no_distortion(model: str):
    camera = Camera(8, 6, 5.0, 5.0, 4.0, 3.0, model)

    assert torch.equal(camera.rays(), Camera(8, 6, 5.0, 5.0, 4.0, 3.0).rays())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "got size 0x6"),
        ({"fx_px": 0.0}, "focal lengths 0.0"),
        ({"fy_px": 1e-40}, "focal lengths 5.0, 1e-40"),
        ({"fy_px": float("nan")}, "focal lengths 5.0, nan"),
        ({"cx_px": float("inf")}, "principal point inf"),
        ({"distortion_model": "fov"}, "'fov', expected one of none, plumb_bob"),
        ({"distortion_model": "plumb_bob", "distortion": (0.1,) * 8}, "8 coefficients, expected 4"),
        ({"distortion_model": "equidistant"}, "got 0 coefficients, expected 4"),
        ({"distortion": (0.1,)}, "'none': got 1 coefficients, expected 0"),
        ({"distortion_model": "plumb_bob", "distortion": (float("nan"),) * 5}, "finite"),
    ],
)
def test_impossible_cameras_are_refused(changes: dict, message: str):
    values = {"width": 8, "height": 6, "fx_px": 5.0, "fy_px": 5.0, "cx_px": 4.0, "cy_px": 3.0}
    with pytest.raises(ValueError, match=message):
        Camera(**{**values, **changes})
