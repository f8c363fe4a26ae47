import math

import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.primitives import turned
from dpt_ros.synthetic.render import Renderer, render
from dpt_ros.synthetic.rig import ROTATION_BODY_OPTICAL, RigSettings, rig_camera
from dpt_ros.synthetic.scene import Air, Lamp, Material, Scene, SceneBuilder, Sun
from dpt_ros.synthetic.scenes import KINDS, make_scene
from dpt_ros.synthetic.shadows import lamp_shadows, sun_shadows
from dpt_ros.synthetic.texture_bank import TextureBank

CPU = torch.device("cpu")
DAY = Air((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.3, 0.5, 0.9))


def scene_of(build, sun=None, lamps=(), air=DAY):
    b = SceneBuilder(np.random.default_rng(0))
    build(b, b.material("plaster", 2.0))
    return Scene(
        "test", b.primitives(), tuple(b.materials), tuple(lamps), sun, air, (-5, -5, 5, 5), 1
    )


def ground_and_box(b, material):
    b.box(0, 0, -0.1, (80, 80, 0.1), material)
    b.box(4, 0, 0, (1, 1, 2), material)


def forward(height=0.5, pitch=0.07, yaw=0.0):
    pose = np.eye(4)
    pose[:3, :3] = turned(yaw, pitch) @ ROTATION_BODY_OPTICAL
    pose[2, 3] = height
    return pose


def small_camera(width=64, height=48):
    return rig_camera(RigSettings(), width, height)


@pytest.mark.parametrize("kind", KINDS)
def test_picture_has_the_promised_form(kind):
    rgb, depth_m = render(make_scene(kind, 0), small_camera(), forward())
    assert rgb.shape == (48, 64, 3) and rgb.dtype == np.uint8
    assert depth_m.shape == (48, 64) and depth_m.dtype == np.float32
    assert (depth_m[np.isfinite(depth_m)] > 0).all() and not np.isinf(depth_m).any()
    assert 60 < rgb.mean() < 200 and rgb.std() > 5


def test_seed_decides_the_noise_and_nothing_else():
    renderer = Renderer(make_scene("corridor", 5))
    first, again = (renderer.render(small_camera(), forward(), 7) for _ in range(2))
    other = renderer.render(small_camera(), forward(), 8)
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.depth_m, other.depth_m)
    assert (first.rgb != other.rgb).mean() > 0.3
    anew = render(make_scene("corridor", 5), small_camera(), forward(), seed=7)
    np.testing.assert_array_equal(first.rgb, anew.rgb)


def test_sky_has_no_depth_and_ground_has_its_height_over_slope():
    rgb, depth_m = render(scene_of(ground_and_box), small_camera(), forward(0.5, 0.0))
    assert np.isnan(depth_m[0, 0]) and rgb[0, 0].mean() > 60
    camera = small_camera()
    expected = 0.5 * camera.fy_px / (47 - camera.cy_px)
    assert depth_m[47, 0] == pytest.approx(expected, rel=1e-5)
    assert depth_m[24, 32] == pytest.approx(3.5, rel=1e-6)


def test_half_size_picture_is_every_second_pixel_of_a_camera_with_the_same_rays():
    # A camera whose pixels see the rays of every second pixel: depth is point-sampled.
    scene = make_scene("yard", 2)
    whole = Camera(80, 60, 60.0, 60.0, 39.0, 29.0)
    half = Camera(40, 30, 30.0, 30.0, 19.5, 14.5)
    a, b = render(scene, whole, forward()).depth_m, render(scene, half, forward()).depth_m
    both = np.isfinite(a[::2, ::2]) & np.isfinite(b)
    assert both.mean() > 0.5
    assert np.isclose(a[::2, ::2][both], b[both], rtol=1e-5).mean() > 0.995


def test_small_picture_looks_like_a_large_one_reduced():
    # Deviation, and what is left of it without the coarse structure, as a network sees it.
    renderer, camera = Renderer(make_scene("room", 3)), small_camera(640, 480)
    large = renderer.render(camera, forward(), 1).rgb
    small = renderer.render(camera.scaled(256, 192), forward(), 1).rgb.astype(float)
    planes = torch.from_numpy(large).permute(2, 0, 1)[None].float()
    reduced = torch.nn.functional.interpolate(planes, (192, 256), mode="bicubic")
    reduced = reduced[0].permute(1, 2, 0).clamp(0, 255).numpy()

    def fine(picture):
        return np.diff(np.diff(picture, axis=0), axis=1).std()

    assert small.mean() == pytest.approx(reduced.mean(), abs=1.0)
    assert small.std() == pytest.approx(reduced.std(), rel=0.03)
    assert fine(small) == pytest.approx(fine(reduced), rel=0.15)
    assert np.abs(small - reduced).mean() < 6


def test_sun_casts_a_shadow_as_long_as_its_height_says():
    # The sun stands at 45 degrees behind the box: 2 m high, it shadows 2 m of the ground.
    slope = math.sqrt(0.5)
    sun = Sun((slope, 0.0, slope), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), 20.0)
    shadow_map = sun_shadows(scene_of(ground_and_box, sun), sun, CPU)
    x = torch.tensor([5.0, 3.3, 2.5, 1.7, 1.3, 0.0])
    points = torch.stack([x, torch.zeros(6), torch.full((6,), 0.01)])
    assert shadow_map.lit(points).tolist() == [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    aside = torch.stack([x, torch.full((6,), 0.7), torch.full((6,), 0.01)])
    assert (shadow_map.lit(aside) == 1.0).all()
    far_away = torch.tensor([[90.0], [0.0], [0.0]])
    assert shadow_map.lit(far_away) == 1.0


def test_lamp_casts_a_shadow_away_from_it():
    lamp = Lamp((2.0, 0.0, 3.0), (3.0, 3.0, 3.0))
    shadow_map = lamp_shadows(scene_of(ground_and_box, lamps=[lamp]), lamp, CPU)
    # The ray over the box's far upper edge (4.5, 2) falls 1 m in 2.5 m: to the ground at 9.5 m;
    # over the near one (3.5, 2) at 6.5 m.
    points = torch.tensor([[1.0, 3.3, 6.0], [0.0, 0.0, 0.0], [0.01, 0.01, 0.01]])
    assert shadow_map.lit(points).tolist() == [1.0, 1.0, 0.0]


def test_sunlit_picture_is_darker_in_the_shadow():
    slope = math.sqrt(0.5)
    sun = Sun((slope, 0.0, slope), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), 20.0)
    rgb, depth_m = render(scene_of(ground_and_box, sun), small_camera(), forward(0.5, 0.1))
    middle, side = rgb[:, 31:33].mean((1, 2)), rgb[:, 8:10].mean((1, 2))
    shadowed = (depth_m[:, 32] > 1.8) & (depth_m[:, 32] < 3.3)
    assert shadowed.sum() >= 3
    assert (middle[shadowed] < 0.8 * side[shadowed]).all()


def test_haze_fades_to_the_horizon():
    def far_wall(b, material):
        b.box(60, 0, -5, (1, 100, 50), material, (0.0, 0.0, 0.0))

    def brightness(haze):
        air = Air((0.5,) * 3, (0.8, 0.8, 0.8), (0.8, 0.8, 0.8), 0.0, haze)
        renderer = Renderer(scene_of(far_wall, air=air))
        with torch.inference_mode():
            return renderer._shader._hazed(torch.zeros(3, 1), torch.tensor([50.0]))

    assert (brightness(0.0) == 0).all()
    expected = 0.8 * (1 - math.exp(-0.02 * 50))
    torch.testing.assert_close(brightness(0.02), torch.full((3, 1), expected))


def test_texture_is_interpolated_and_averaged():
    tile = np.zeros((128, 128, 3), np.float32)
    tile[:, 64:] = 1.0  # the right half is white
    bank = TextureBank([Material(tile, 2.0)], CPU)

    def look(u, v, footprint):
        colour = bank.colour(
            torch.zeros(1, dtype=torch.int32), torch.tensor([[u], [v]]), torch.tensor([footprint])
        )
        return float(colour[0, 0])

    assert look(0.5, 0.3, 1e-4) == 0.0 and look(1.5, 0.3, 1e-4) == 1.0
    assert look(1.0, 0.3, 1e-4) == pytest.approx(0.5)
    assert look(3.5, 7.3, 1e-4) == 1.0  # it repeats every 2 m
    assert look(0.5, 0.3, 2.0) == pytest.approx(0.5)  # from afar it is grey


def test_distorted_camera_is_refused():
    camera = Camera(64, 48, 50.0, 50.0, 32.0, 24.0, "plumb_bob", (-0.2, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="distortion"):
        render(make_scene("room", 0), camera, forward())
