"""The input transform against what the paper's code does, in NumPy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from dpt_ros.model.cards import InputSpec
from dpt_ros.model.input_transform import InputTransform, resize_output


def random_rgb(height: int, width: int, batch: int = 1) -> np.ndarray:
    """Smooth noise from 0 to 255.

    Positions between pixels, rounded to float32, are 3e-5 of a pixel off at the far end of a wide
    image; cv2 in float64 rounds them so, cv2 in float32 does not. White noise would show that.
    """
    noise = np.random.default_rng(height + width).random((batch, height, width, 3))
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 6.0) for image in noise])
    return (255.0 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def as_released(rgb: np.ndarray, size: tuple[int, int], mean: tuple, std: tuple) -> np.ndarray:
    """In float64, step by step: [H, W, 3] -> [3, h, w]."""
    image = rgb / 255.0
    image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    image = (image - np.array(mean)) / np.array(std)
    return image.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("image", "network"),
    [
        ((1080, 1920), (384, 672)),
        ((480, 640), (384, 512)),
        ((375, 1242), (384, 1280)),
        ((384, 384), (384, 384)),
        ((640, 480), (512, 384)),
        ((100, 100), (384, 384)),
        # 384 / 400 = 0.96 changes less than 384 / 800: 384 x 768.
        ((400, 800), (384, 768)),
        # 384 / 256 = 1.5 changes as much as 384 / 768 = 0.5: the height decides.
        ((256, 768), (384, 1152)),
        ((768, 256), (384, 128)),
    ],
)
def test_network_sizes_at_384(image: tuple[int, int], network: tuple[int, int]):
    assert InputTransform(InputSpec()).network_size(*image) == network


def test_halves_are_rounded_to_the_even_multiple():
    transform = InputTransform(InputSpec())
    # The height stays; 400 / 32 = 12.5 goes down to 12, 432 / 32 = 13.5 up to 14.
    assert transform.network_size(384, 400) == (384, 384)
    assert transform.network_size(384, 432) == (384, 448)


def test_a_model_for_wide_pictures():
    # KITTI's: 1216 x 352. For 1242 x 375 the width changes less (0.979 against 0.939).
    transform = InputTransform(InputSpec(width=1216, height=352))
    assert transform.network_size(375, 1242) == (round(375 * 1216 / 1242 / 32) * 32, 1216)


def test_a_very_narrow_side_is_never_zero():
    assert InputTransform(InputSpec()).network_size(10, 1000) == (32, 384)
    assert InputTransform(InputSpec()).network_size(1, 1) == (384, 384)


def test_an_empty_image_is_refused():
    with pytest.raises(ValueError, match="got 0 x 5"):
        InputTransform(InputSpec()).network_size(0, 5)


@pytest.mark.parametrize(
    ("height", "width"),
    [(480, 640), (375, 1242), (384, 384), (1080, 1920), (100, 90), (400, 800)],
)
@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))],
)
def test_input_is_as_released(height: int, width: int, mean: tuple, std: tuple):
    transform = InputTransform(InputSpec(mean=mean, std=std))
    rgb = random_rgb(height, width)
    expected = as_released(rgb[0], transform.network_size(height, width), mean, std)

    x = transform.apply(torch.from_numpy(rgb))

    assert (x.dtype, tuple(x.shape)) == (torch.float32, (1, *expected.shape))
    np.testing.assert_allclose(x[0].numpy(), expected, atol=5e-6 / min(std))


@pytest.mark.parametrize(("height", "width"), [(375, 1242), (1080, 1920), (100, 90)])
def test_input_is_cubic_convolution(height: int, width: int):
    """White noise against the definition (Keys, 1981, with a = -0.75), in float64."""

    def weights(source: int, target: int) -> np.ndarray:
        position = (np.arange(target) + 0.5) * source / target - 0.5
        first = np.floor(position).astype(int) - 1
        matrix = np.zeros((target, source))
        for tap in range(4):
            d = np.abs(position - (first + tap))
            near = 1.25 * d**3 - 2.25 * d**2 + 1.0
            far = -0.75 * (d**3 - 5.0 * d**2 + 8.0 * d - 4.0)
            column = np.clip(first + tap, 0, source - 1)
            np.add.at(matrix, (np.arange(target), column), np.where(d <= 1.0, near, far))
        return matrix

    transform = InputTransform(InputSpec())
    rgb = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    h, w = transform.network_size(height, width)
    resized = np.einsum(
        "yv,vuc,xu->cyx", weights(height, h), rgb[0] / 255.0, weights(width, w), optimize=True
    )

    x = transform.apply(torch.from_numpy(rgb))[0].numpy()

    np.testing.assert_allclose(x, 2.0 * resized - 1.0, atol=3e-4)


def test_each_image_of_a_batch_is_as_alone():
    transform = InputTransform(InputSpec(width=64, height=64))
    rgb = torch.from_numpy(random_rgb(50, 70, batch=3))

    together = transform.apply(rgb)

    for index in range(3):
        assert torch.equal(together[index], transform.apply(rgb[index : index + 1])[0])


def test_strided_images_are_taken_as_they_look():
    transform = InputTransform(InputSpec(width=64, height=64))
    wide = torch.from_numpy(random_rgb(50, 140))
    flipped = wide[:, :, ::2]

    assert torch.equal(transform.apply(flipped), transform.apply(flipped.contiguous()))


@pytest.mark.parametrize(
    "rgb",
    [torch.zeros(1, 4, 4, 3), torch.zeros(4, 4, 3, dtype=torch.uint8), torch.zeros(1, 4, 4, 4)],
)
def test_what_is_no_batch_of_images_is_refused(rgb: torch.Tensor):
    with pytest.raises(ValueError, match="rgb: got .* expected torch.uint8"):
        InputTransform(InputSpec()).apply(rgb)


@pytest.mark.parametrize(
    ("network", "image"), [((384, 512), (480, 640)), ((384, 640), (200, 300)), ((64, 96), (64, 96))]
)
def test_output_is_resized_as_torch_does(network: tuple[int, int], image: tuple[int, int]):
    # Smooth, as depth is: float32 positions alone move a value by its slope times 3e-5 pixels.
    rows = torch.linspace(0, 9, network[0])[:, None]
    inverse_depth = (rows + torch.sin(torch.linspace(0, 20, network[1])))[None].repeat(2, 1, 1)
    inverse_depth[1] *= 2.0
    expected = torch.nn.functional.interpolate(
        inverse_depth[:, None], size=image, mode="bicubic", align_corners=False
    )[:, 0]

    resized = resize_output(inverse_depth, image)

    assert (resized.dtype, resized.shape) == (torch.float32, (2, *image))
    np.testing.assert_allclose(resized.numpy(), expected.numpy(), atol=2e-5)  # of 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_what_the_cpu_gives():
    transform = InputTransform(InputSpec())
    rgb = torch.from_numpy(random_rgb(480, 640, batch=2))
    inverse_depth = torch.rand(2, 384, 512)

    np.testing.assert_allclose(transform.apply(rgb.cuda()).cpu(), transform.apply(rgb), atol=1e-4)
    np.testing.assert_allclose(
        resize_output(inverse_depth.cuda(), (480, 640)).cpu(),
        resize_output(inverse_depth, (480, 640)),
        atol=1e-4,
    )


@pytest.mark.parametrize("size", [(384, 384), (100, 120)])
def test_permuted_images_give_what_their_copies_give(size: tuple[int, int]):
    rgb = torch.from_numpy(random_rgb(*size))
    planes = rgb.permute(0, 3, 1, 2).contiguous()
    permuted = planes.permute(0, 2, 3, 1)
    assert not permuted.is_contiguous()
    transform = InputTransform(InputSpec())
    assert torch.equal(transform.apply(permuted), transform.apply(rgb))
