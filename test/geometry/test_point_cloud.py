"""Organised clouds: hand-worked points, colours as PCL reads them, flying pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.point_cloud import (
    PointCloudSettings,
    _leave_planes,
    depth_to_points,
    flying_pixels,
)

INF, NAN = math.inf, math.nan
ALL = PointCloudSettings(edge_removal=0.0)
LENSES = {
    "none": ("none", ()),
    "plumb_bob": ("plumb_bob", (-0.28, 0.07, 1e-3, -8e-4, -0.005)),
    "rational_polynomial": ("rational_polynomial", (0.5, -0.2, 1e-3, -5e-4, 0.01, 0.8, -0.1, 0.02)),
    "equidistant": ("equidistant", (0.05, -0.01, 0.003, -0.001)),
}


def colors_of(points: torch.Tensor) -> np.ndarray:
    """Red, green, blue as PCL unpacks them: shifts of the float's bits."""
    bits = points[..., 3].contiguous().numpy().view(np.uint32)
    return np.stack((bits >> 16 & 255, bits >> 8 & 255, bits & 255, bits >> 24), -1)


def random_rgb(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (*shape, 3), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )


def straight_ahead(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, width), torch.zeros(height, 1)


def test_points_by_hand():
    depth_m = torch.tensor([[[2.0, 4.0], [NAN, 1.0]]])
    rays = torch.tensor([[-0.5, 0.5], [-0.5, 0.5]]), torch.tensor([[-0.25, -0.25], [0.25, 0.25]])
    rgb = torch.tensor([[[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [1, 2, 3]]]], dtype=torch.uint8)

    points, is_dense = depth_to_points(depth_m, rays, rgb, ALL)

    assert is_dense.tolist() == [False]
    assert (points.shape, points.dtype) == ((1, 2, 2, 4), torch.float32)
    assert points[0, 0, :, :3].tolist() == [[-1.0, -0.5, 2.0], [2.0, -1.0, 4.0]]
    assert bool(points[0, 1, 0, :3].isnan().all())
    assert points[0, 1, 1, :3].tolist() == [0.5, 0.25, 1.0]
    bits = points[..., 3].contiguous().view(torch.int32)
    assert bits[0].tolist() == [[0xFF0000, 0x00FF00], [0x0000FF, 0x010203]]


@pytest.mark.parametrize("depth", [NAN, INF, -INF])
def test_a_pixel_without_depth_has_no_point_but_its_colour(depth: float):
    rgb = random_rgb(1, 2, 2)
    rays = torch.ones(2, 2), torch.ones(2, 2)
    points, is_dense = depth_to_points(torch.full((1, 2, 2), depth), rays, rgb, ALL)

    assert not is_dense[0]
    assert bool(points[..., :3].isnan().all())
    np.testing.assert_array_equal(colors_of(points)[..., :3], rgb.numpy())


def test_a_pixel_without_ray_has_no_point():
    rays = torch.tensor([[NAN, 0.1]]), torch.tensor([[NAN, 0.2]])
    points, is_dense = depth_to_points(torch.full((1, 1, 2), 3.0), rays, random_rgb(1, 1, 2), ALL)

    assert not is_dense[0]
    assert points[0, 0, :, :3].isnan().all(-1).tolist() == [True, False]


def test_every_colour_survives_bit_by_bit():
    # 4096 colours, among them those whose bits are subnormal floats.
    values = torch.arange(16) * 17
    rgb = torch.stack(torch.meshgrid(values, values, values, indexing="ij"), -1)
    rgb = rgb.reshape(1, 64, 64, 3).to(torch.uint8)
    points, is_dense = depth_to_points(torch.ones(1, 64, 64), straight_ahead(64, 64), rgb, ALL)

    assert is_dense.tolist() == [True]
    assert np.array_equal(colors_of(points)[..., :3], rgb.numpy())
    assert not colors_of(points)[..., 3].any()


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("lens", LENSES)
def test_every_point_projects_to_its_own_pixel(lens: str, stride: int):
    model, coefficients = LENSES[lens]
    camera = Camera(160, 120, 110.0, 112.0, 81.0, 58.5, model, coefficients)
    depth_m = torch.rand(2, 120, 160, generator=torch.Generator().manual_seed(1)) * 50.0 + 0.2
    settings = PointCloudSettings(stride=stride, edge_removal=0.0)

    points, is_dense = depth_to_points(
        depth_m, camera.ray_planes(), random_rgb(2, 120, 160), settings
    )

    assert points.shape == (2, math.ceil(120 / stride), math.ceil(160 / stride), 4)
    assert points[..., 0].isfinite().float().mean() > 0.9
    assert is_dense.tolist() == points.isfinite().all(-1).all(-1).all(-1).tolist()
    u, v = torch.meshgrid(torch.arange(0, 160, stride), torch.arange(0, 120, stride), indexing="xy")
    pixels = camera.project(points[..., :3])
    has_point = points[..., 0].isfinite()
    error_px = (pixels - torch.stack((u, v), -1)).abs()[has_point]
    assert float(error_px.max()) < 0.01
    torch.testing.assert_close(
        points[..., 2][has_point], depth_m[:, ::stride, ::stride][has_point], rtol=0, atol=0
    )


def test_stride_takes_the_colours_of_its_pixels():
    rgb = random_rgb(1, 5, 7)
    settings = PointCloudSettings(stride=2, edge_removal=0.0)
    points, _ = depth_to_points(torch.ones(1, 5, 7), straight_ahead(5, 7), rgb, settings)

    np.testing.assert_array_equal(colors_of(points)[..., :3], rgb[:, ::2, ::2].numpy())


def test_the_input_is_left_as_it_is():
    depth_m = torch.tensor([[[1.0, INF, 3.0, 9.0]]])
    before = depth_m.clone()
    depth_to_points(depth_m, straight_ahead(1, 4), random_rgb(1, 1, 4))

    assert torch.equal(depth_m, before)


@pytest.mark.parametrize("edge", [[2.0, 2.0, 3.0, 4.0, 4.0], [4.0, 4.0, 3.0, 2.0, 2.0]])
def test_a_pixel_between_foreground_and_background_flies(edge: list[float]):
    expected = [False, False, True, False, False]

    along_row = torch.tensor(edge).expand(1, 5, 5)
    assert flying_pixels(along_row, 0.1)[0].tolist() == [expected] * 5
    along_column = along_row.transpose(1, 2)
    assert torch.equal(flying_pixels(along_column, 0.1), flying_pixels(along_row, 0.1).mT)


@pytest.mark.parametrize(
    "row",
    [
        [2.0, 2.0, 2.0, 4.0, 4.0],  # a clean edge: nothing between
        [4.0, 4.0, 1.0, 4.0, 4.0],  # a thin pole in front
        [4.0, 4.1, 4.2, 4.3, 4.4],  # a slanted wall: 2.5 % from pixel to pixel
        [2.0, 2.0, NAN, 4.0, 4.0],
    ],
)
def test_surfaces_stay(row: list[float]):
    assert not flying_pixels(torch.tensor(row).expand(1, 3, 5), 0.1).any()


def test_beyond_far_and_too_near_are_background_and_foreground():
    far = torch.tensor([2.0, 2.0, 3.0, INF, INF]).expand(1, 3, 5)
    near = torch.tensor([-INF, -INF, 3.0, 4.0, 4.0]).expand(1, 3, 5)

    assert flying_pixels(far, 0.1)[0, 1, :3].tolist() == [False, False, True]
    assert flying_pixels(near, 0.1)[0, 1, 2:].tolist() == [True, False, False]


def test_a_larger_image_is_looked_at_in_blocks():
    # 480 rows: blocks of two pixels. An edge over six pixels, each 7 % from the next.
    row = torch.full((641,), 2.0)
    row[300:306] = 2.0 * 1.07 ** torch.arange(1.0, 7.0)
    row[306:] = 2.0 * 1.07**7
    flying = flying_pixels(row.expand(1, 481, 641), 0.1)

    # The samples at 298, 300, ... 306 are 2 * 1.07 ** (0, 1, 3, 5, 7): steps of 7, 14, 14 and 14 %.
    # Those at 302 and 304 have a step over 10 % on both sides.
    assert flying.shape == (1, 481, 641)
    assert flying[0, 7].nonzero()[:, 0].tolist() == [302, 303, 304, 305]
    assert torch.equal(flying, flying[:, :1].expand(1, 481, 641))
    on_its_side = flying_pixels(row.expand(1, 481, 641).mT.contiguous(), 0.1)
    assert torch.equal(on_its_side, flying.mT)


def test_the_end_of_a_row_is_no_neighbour_of_the_next():
    depth_m = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 64.0, 64.0]])[None]

    # In the first row only the middle pixel has two neighbours; the ends belong to no pair.
    assert flying_pixels(depth_m, 0.1)[0].tolist() == [
        [False, True, False],
        [True, True, True],  # between the rows above and below
        [False, False, False],
    ]


@pytest.mark.parametrize(
    "depth_m", [[[1.0, 1.0, 1.0], [2.0, 4.0, 4.0]], [[1.0, 1.0, 2.0], [4.0, 4.0, 4.0]]]
)
def test_the_first_and_the_last_of_a_row_never_fly_along_it(depth_m: list[list[float]]):
    # In reading order 1, 2 and 4 follow one another, but no row has them, and no column has three.
    assert not flying_pixels(torch.tensor([depth_m]), 0.1).any()


def test_a_line_of_pixels_has_flying_ones_too():
    depth_m = torch.tensor([1.0, 1.0, 1.0, 2.0, 4.0, 4.0, 4.0])
    expected = [False, False, False, True, False, False, False]

    assert flying_pixels(depth_m.reshape(1, 1, 7), 0.1).flatten().tolist() == expected
    assert flying_pixels(depth_m.reshape(1, 7, 1), 0.1).flatten().tolist() == expected


def level_floor(height: int, width: int, focal_px: float, above_m: float) -> torch.Tensor:
    """Depth [H, W] of the floor below a level camera; +Inf above the horizon and beyond 60 m."""
    below = torch.arange(height, dtype=torch.float32) - (height - 1) / 2
    depth_m = focal_px * above_m / below
    depth_m[(below <= 0.0) | (depth_m > 60.0)] = INF
    return depth_m[:, None].expand(height, width).contiguous()


@pytest.mark.parametrize("is_wall", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "focal_px", "above_m"),
    [
        (480, 640, 457.0, 0.25),
        (480, 640, 300.0, 0.2),
        (720, 1280, 914.0, 0.5),
        (240, 320, 200, 0.3),
    ],
)
def test_a_plane_seen_at_a_grazing_angle_stays(height, width, focal_px, above_m, is_wall):
    depth_m = level_floor(height, width, focal_px, above_m)[None]
    block = max(1, round(height / 240))
    flying = flying_pixels(depth_m.mT.contiguous() if is_wall else depth_m, 0.1)
    flying = flying.mT if is_wall else flying
    # Of the last block before what is beyond far, nothing tells whether it lies on it.
    farthest = int(depth_m[0, :, 0].isfinite().nonzero()[0])
    stays = farthest + 2 * block
    assert not flying[0, stays:].any()
    assert depth_m[0, stays, 0] > 1.1**2 * depth_m[0, stays + 2 * block, 0], "steep enough to fly"


@pytest.mark.parametrize(
    ("changed", "flies"),
    [
        ({}, False),
        ({0: 1.03}, False),  # a step of 0.13 where the mean of the nine is 0.1033
        ({0: 1.05}, True),  # of 0.15 where it is 0.1056: more than 40 % apart
        ({9: 0.06}, False),
        ({9: 0.15}, True),  # a step of 0.05: the background begins
        ({4: 0.65}, True),  # a step of 0.05 and one of 0.15 within
        ({0: math.nan}, True),
        ({0: 0.0}, True),
    ],
)
def test_nine_steps_of_inverse_depth_tell_a_plane_from_an_edge(changed, flies):
    inverse = [1.0 - 0.1 * k for k in range(9)] + [0.1]
    for place, value in changed.items():
        inverse[place] = value
    for line, place in ((inverse, 8), (inverse[::-1], 1)):
        depth_m = 1.0 / torch.tensor([line, line[::-1]])[:, None, :]
        assert bool(flying_pixels(depth_m, 0.1)[0, 0, place]) is flies
        assert bool(flying_pixels(depth_m.mT.contiguous(), 0.1)[0, place, 0]) is flies
        shorter = depth_m[..., 1:] if place == 8 else depth_m[..., :-1]
        assert flying_pixels(shorter, 0.1)[0, 0, min(place, 7)], "too few blocks to tell"


@pytest.mark.parametrize("width", [2, 3, 5, 7])
def test_an_edge_over_several_blocks_flies_though_its_inverse_depth_is_linear(width):
    ramp = torch.linspace(0.5, 0.1, width + 2)
    row = torch.cat((torch.full((20,), 0.5), ramp[1:-1], torch.full((20,), 0.1))).reciprocal()
    flying = flying_pixels(row.expand(1, 3, -1), 0.1)[0, 1]
    expected = torch.zeros(len(row), dtype=torch.bool)
    rises = row[1:] > 1.1 * row[:-1]
    expected[1:-1] = rises[1:] & rises[:-1]
    assert expected.any()
    assert torch.equal(flying, expected)


def test_planes_are_left_alike_in_arrays_and_in_tensors():
    # Tensors are what a GPU has; here both are on the CPU.
    row, column = torch.meshgrid(torch.arange(14.0), torch.arange(30.0), indexing="ij")
    noise = 0.002 * torch.rand((14, 30), generator=torch.Generator().manual_seed(1))
    depth = 1.0 / (0.1 + 0.01 * (row + column) + noise).reshape(-1)
    for step, length in ((1, 30), (30, 420)):
        of_tensor, of_array = torch.ones(420, dtype=torch.bool), np.ones(420, np.bool_)
        _leave_planes(of_tensor, depth, step, length)
        _leave_planes(of_array, depth.numpy(), step, length)
        np.testing.assert_array_equal(of_tensor.numpy(), of_array)
        assert of_array.any() and not of_array.all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 2), (2, 2, 1), (1, 2, 2)])
def test_images_too_small_for_neighbours_have_no_flying_pixels(shape: tuple[int, int, int]):
    assert not flying_pixels(torch.rand(shape) + 0.1, 0.1).any()


def test_flying_pixels_are_removed_from_the_cloud_unless_told_not_to():
    depth_m = torch.tensor([2.0, 2.0, 3.0, 4.0, 4.0]).expand(1, 3, 5)
    rays, rgb = straight_ahead(3, 5), random_rgb(1, 3, 5)

    removed, is_dense = depth_to_points(depth_m, rays, rgb, PointCloudSettings(edge_removal=0.1))
    assert removed[0, 1, :, 2].isnan().tolist() == [False, False, True, False, False]
    assert not is_dense[0]
    kept, is_dense = depth_to_points(depth_m, rays, rgb, ALL)
    assert bool(kept.isfinite().all()) and is_dense[0]


@pytest.mark.parametrize("settings", [{"stride": 0}, {"edge_removal": -0.1}, {"edge_removal": NAN}])
def test_impossible_settings_are_refused(settings: dict):
    with pytest.raises(ValueError, match="point cloud: got"):
        PointCloudSettings(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth_m", torch.ones(2, 2)),
        ("depth_m", torch.ones(1, 2, 2, dtype=torch.float64)),
        ("rays", (torch.ones(2, 3), torch.ones(2, 2))),
        ("rays", torch.ones(2, 2, 2)[:1]),
        ("rgb", torch.zeros(1, 2, 2, 4, dtype=torch.uint8)),
        ("rgb", torch.zeros(1, 2, 2, 3)),
    ],
)
def test_what_does_not_belong_together_is_refused(name: str, value: object):
    inputs = {
        "depth_m": torch.ones(1, 2, 2),
        "rays": (torch.ones(2, 2), torch.ones(2, 2)),
        "rgb": random_rgb(1, 2, 2),
        name: value,
    }
    with pytest.raises(ValueError, match=f"{name}: got .*expected"):
        depth_to_points(**inputs)
