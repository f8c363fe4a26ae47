"""Geometry in a process whose default device is another than the CPU: it goes by its inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.depth import DepthLimits, inverse_depth_to_depth
from dpt_ros.geometry.fit import fit_line
from dpt_ros.geometry.lidar import project_scan
from dpt_ros.geometry.point_cloud import depth_to_points
from dpt_ros.geometry.scale_shift import FIT_METHODS, ScaleShift, fit_scale_shift

LENSES = {
    "none": ("none", ()),
    "plumb_bob": ("plumb_bob", (-0.1, 0.01, 0.0, 0.0)),
    "tilted": ("rational_polynomial", (*(0.01,) * 12, 0.02, -0.03)),
    "equidistant": ("equidistant", (0.05, -0.01, 0.003, -0.001)),
}


@pytest.fixture(autouse=True)
def _elsewhere() -> Iterator[None]:
    """On "meta" tensors have no values: using one by mistake fails, as on a GPU."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("method", FIT_METHODS)
def test_fits_of_arrays_and_of_tensors(method: str) -> None:
    x = np.linspace(1.0, 4.0, 3000)
    fit = fit_scale_shift(x, 0.25 * x + 0.1, np.ones(3000, np.bool_), method)
    assert (fit.scale, fit.shift) == pytest.approx((0.25, 0.1), abs=1e-6)
    line = fit_line(torch.from_numpy(x), torch.from_numpy(0.25 * x + 0.1), method)
    assert line.slope == pytest.approx(0.25, abs=1e-6)


def test_depth_and_points() -> None:
    inverse_depth = torch.full((1, 2, 3), 2.0, device="cpu")
    depth_m = inverse_depth_to_depth(inverse_depth, ScaleShift(0.25, 0.5), DepthLimits())
    assert depth_m.tolist() == [[[1.0] * 3] * 2]
    rays = Camera(3, 2, 2.0, 2.0, 1.0, 0.5).ray_planes()
    rgb = torch.zeros((1, 2, 3, 3), dtype=torch.uint8, device="cpu")
    points, _ = depth_to_points(depth_m, rays, rgb)
    assert points[0, 1, 2, :3].tolist() == [0.5, 0.25, 1.0]


@pytest.mark.parametrize("lens", LENSES)
def test_cameras(lens: str) -> None:
    camera = Camera(16, 12, 10.0, 10.0, 7.5, 5.5, *LENSES[lens])
    rays = camera.rays()
    u, v = camera.project(torch.tensor([*rays[9, 3].tolist(), 1.0], device="cpu")).tolist()
    assert (u, v) == pytest.approx((3.0, 9.0), abs=1e-3)
    assert camera.ray_planes()[0].device.type == "cpu"
    depth_m = project_scan(np.array([[0.0, 0.0, 5.0]]), camera, np.eye(4)).depth_m
    assert float(np.nanmax(depth_m)) == 5.0
