from __future__ import annotations

import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.training.augment import View, random_view, vary_colors
from dpt_ros.training.settings import AugmentSettings

STILL = AugmentSettings(
    flip=0.0, brightness=0, contrast=0, saturation=0, hue=0, gamma=0, noise=0, blur=0
)


@pytest.fixture
def picture():
    return np.random.default_rng(5).integers(0, 256, (24, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_view_keeps_the_geometry_of_the_camera(is_mirrored):
    """A point's pixel lies where the resized picture's camera sees the point, less the margin."""
    camera = Camera(1242, 375, 721.5, 721.5, 609.6, 172.9)
    view = View((375, 1242), (384, 1280), (384, 384), left=500, top=0, is_mirrored=is_mirrored)
    point = torch.tensor([1.3, 0.7, 9.0], dtype=torch.float64)
    u, v = camera.project(point).numpy()
    x, y = view.position(np.array(u), np.array(v))
    column, row = camera.scaled(1280, 384).project(point).numpy() - (500, 0)
    expected = (383 - column, row) if is_mirrored else (column, row)
    assert (x, y) == pytest.approx(expected, abs=1e-9)


def test_a_view_cuts_where_it_says():
    image = np.arange(6 * 8).reshape(6, 8)
    view = View((6, 8), (6, 8), (2, 3), left=4, top=1)
    assert view.cut(image).tolist() == [[12, 13, 14], [20, 21, 22]]
    mirrored = View((6, 8), (6, 8), (2, 3), left=4, top=1, is_mirrored=True)
    assert mirrored.cut(image).tolist() == [[14, 13, 12], [22, 21, 20]]
    # The pixel (5, 2), value 21, is in the middle of the second row in both.
    for one in (view, mirrored):
        x, y = one.position(np.array([5]), np.array([2]))
        assert (x[0], y[0]) == (1.0, 1.0)


def test_random_windows_reach_every_place_and_no_other():
    random = np.random.default_rng(0)
    views = [random_view((4, 6), (4, 6), (4, 4), AugmentSettings(), random) for _ in range(100)]
    assert {view.left for view in views} == {0, 1, 2}
    assert {view.top for view in views} == {0}
    assert 30 < sum(view.is_mirrored for view in views) < 70


def test_nothing_asked_for_changes_nothing(picture):
    assert np.array_equal(vary_colors(picture, STILL, np.random.default_rng(0)), picture)


def test_the_same_seed_varies_alike_and_another_one_does_not(picture):
    one, same, other = (
        vary_colors(picture, AugmentSettings(), np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_hue_and_saturation_leave_grey_grey_and_luma_as_it_is():
    settings = AugmentSettings(0.0, 0.0, 0.0, saturation=0.5, hue=60.0, gamma=0, noise=0, blur=0)
    grey = np.full((4, 4, 3), 100, np.uint8)
    color = np.full((4, 4, 3), (120, 100, 90), np.uint8)
    changed = vary_colors(color, settings, np.random.default_rng(1))
    assert np.array_equal(vary_colors(grey, settings, np.random.default_rng(1)), grey)
    assert not np.array_equal(changed, color)
    luma = np.array([0.299, 0.587, 0.114])
    assert changed[0, 0] @ luma == pytest.approx(color[0, 0] @ luma, abs=1.0)


def test_noise_has_at_most_the_deviation_asked_for():
    grey = np.full((100, 100, 3), 128, np.uint8)
    settings = AugmentSettings(0.0, 0, 0, 0, 0, 0, noise=10.0, blur=0.0)
    deviations = [
        vary_colors(grey, settings, np.random.default_rng(seed)).std() for seed in range(50)
    ]
    assert max(deviations) == pytest.approx(10.0, abs=1.0)
    assert np.median(deviations) == pytest.approx(5.0, abs=2.0)
