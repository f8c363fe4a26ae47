"""Image to network input and network output back to the image, exactly as the paper's code does.

Source: isl-org/DPT, `dpt/transforms.py` (Resize, NormalizeImage) and `run_monodepth.py`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpt_ros.model.cards import InputSpec


class InputTransform:
    """What one model expects of its input; the numbers come from its card.

    On a CPU cv2 resizes: the same cubic kernel (a = -0.75, border repeated, no antialias) as
    torch's, equal to 1e-6 and five to ten times as fast. Elsewhere torch does, on the device.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        mean, std = np.asarray(spec.mean), np.asarray(spec.std)
        # (x / 255 - mean) / std as one multiplication and one addition.
        self._gain = torch.from_numpy((1.0 / (255.0 * std)).astype(np.float32))
        self._offset = torch.from_numpy((-mean / std).astype(np.float32))

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """The network's (height, width) for an image of this size.

        The side whose scale changes less decides the scale of both ("minimal"), then each side is
        rounded to the nearest multiple, halves to the even one (as `np.round`). The released code
        rounds a very narrow side to 0; here it is one multiple.

        Raises:
            ValueError: a side below 1.
        """
        if height < 1 or width < 1:
            raise ValueError(f"image: got {height} x {width} (height x width), expected at least 1")
        scale_height, scale_width = self.spec.height / height, self.spec.width / width
        scale = scale_width if abs(1 - scale_width) < abs(1 - scale_height) else scale_height
        return self._rounded(scale * height), self._rounded(scale * width)

    def apply(self, rgb: Tensor) -> Tensor:
        """Images to the network's input, on the images' device.

        Args:
            rgb: [B, H, W, 3] uint8.

        Returns:
            [B, 3, h, w] float32, normalised, channels-last in memory on a CPU; (h, w) is
            `network_size(H, W)`.

        Raises:
            ValueError: another shape or type.
        """
        if rgb.ndim != 4 or rgb.shape[3] != 3 or rgb.dtype != torch.uint8:
            raise ValueError(
                f"rgb: got {rgb.dtype} {tuple(rgb.shape)}, expected torch.uint8 (B, H, W, 3)"
            )
        size = self.network_size(*rgb.shape[1:3])
        gain, offset = self._gain.to(rgb.device), self._offset.to(rgb.device)
        if rgb.device.type == "cpu":
            # Left channels-last, as the convolutions like it; whole rows at once are fast.
            resized = _resize_cpu(rgb.contiguous().float(), size)
            rows = resized.view(*resized.shape[:2], -1)
            torch.addcmul(offset.repeat(size[1]), rows, gain.repeat(size[1]), out=rows)
            return resized.permute(0, 3, 1, 2)
        planes = rgb.permute(0, 3, 1, 2).float()
        resized = F.interpolate(planes, size=size, mode="bicubic", align_corners=False)
        return resized.mul_(gain[:, None, None]).add_(offset[:, None, None])

    def _rounded(self, side: float) -> int:
        multiple = self.spec.multiple_of
        return max(multiple, int(np.round(side / multiple) * multiple))


def resize_output(
    inverse_depth: Tensor, size: tuple[int, int], out: Tensor | None = None
) -> Tensor:
    """The network's output back at the image's size: bicubic, `align_corners=False`, as released.

    Args:
        inverse_depth: [B, h, w] float32.
        size: (H, W).
        out: where the result goes, of its shape and type; None makes a tensor for it.

    Returns:
        [B, H, W] float32 on the same device. The cubic kernel overshoots at edges, so that values
        a little below 0 are possible although the network gives none.
    """
    if inverse_depth.device.type == "cpu":
        return _resize_cpu(inverse_depth, size, out)
    planes = inverse_depth[:, None]
    resized = F.interpolate(planes, size=size, mode="bicubic", align_corners=False)[:, 0]
    return resized if out is None else out.copy_(resized)


def _resize_cpu(images: Tensor, size: tuple[int, int], out: Tensor | None = None) -> Tensor:
    """[B, h, w] or [B, h, w, C] float32 -> the same with (h, w) = size."""
    if tuple(images.shape[1:3]) == size:
        return images if out is None else out.copy_(images)
    import cv2

    shape = (images.shape[0], *size, *images.shape[3:])
    # As `images`, whatever the process's default type and device: cv2 writes where both fit alone.
    resized = images.new_empty(shape) if out is None else out
    for source, target in zip(images.numpy(), resized.numpy(), strict=True):
        cv2.resize(source, (size[1], size[0]), dst=target, interpolation=cv2.INTER_CUBIC)
    return resized
