"""The camera model: which ray each pixel sees, and on which pixel a point falls."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import torch

from dpt_ros.geometry.distortion import Distortion

_LEAST_FOCAL_PX = 1e-6
"""With less, points may be too far to the side for a float32."""


@dataclass(frozen=True)
class Camera:
    """A pinhole or fisheye camera; the centre of the first pixel is (0, 0), as in OpenCV and ROS.

    The frame is REP 103's optical frame: x right, y down, z forward. Two equal cameras are equal
    and hash alike, so that a camera can be the key of a cache.

    Args:
        width, height: size of its images in pixels.
        fx_px, fy_px, cx_px, cy_px: focal lengths and principal point.
        distortion_model: "none" (a rectified image), "plumb_bob", "rational_polynomial" or
            "equidistant", as in sensor_msgs/CameraInfo.
        distortion: the model's coefficients in OpenCV's order; none at all is no distortion for
            the two pinhole models.

    Raises:
        ValueError: a size or focal length that is not positive, or all but 0, a number that is not
            finite, or a distortion that does not fit its model.
    """

    width: int
    height: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion_model: str = "none"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        coefficients = tuple(float(value) for value in self.distortion)
        object.__setattr__(self, "distortion", coefficients)
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera: got size {self.width}x{self.height}, expected at least 1x1")
        if not all(math.isfinite(v) and v >= _LEAST_FOCAL_PX for v in (self.fx_px, self.fy_px)):
            raise ValueError(
                f"camera: got focal lengths {self.fx_px}, {self.fy_px}, expected positive ones, at "
                f"least {_LEAST_FOCAL_PX} px"
            )
        if not (math.isfinite(self.cx_px) and math.isfinite(self.cy_px)):
            raise ValueError(f"camera: got principal point {self.cx_px}, {self.cy_px}")
        _ = self._lens

    def scaled(self, width: int, height: int) -> Camera:
        """The same camera for its image resized to `width` x `height`.

        Pixel centres keep their place: `cx' = (cx + 0.5) * width' / width - 0.5`.
        """
        scale_x, scale_y = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx_px=self.fx_px * scale_x,
            fy_px=self.fy_px * scale_y,
            cx_px=(self.cx_px + 0.5) * scale_x - 0.5,
            cy_px=(self.cy_px + 0.5) * scale_y - 0.5,
        )

    def rays(self) -> torch.Tensor:
        """The ray of every pixel: (x/z, y/z), [H, W, 2] float32; NaN where the lens has none.

        On the CPU, computed in float64: exact to far better than 0.01 px, and worth keeping.
        """
        distorted = torch.stack(torch.meshgrid(*self._axes(), indexing="xy"), -1)
        return self._lens.undistort(distorted).to(torch.float32)

    def ray_planes(self, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """The same as two planes of their own in memory, each float32 [H, W].

        Without distortion x/z is the same in every row and y/z in every column: [1, W] and [H, 1].
        """
        if self._lens.is_identity:
            x, y = self._axes()
            planes = x[None, :], y[:, None]
        else:
            x, y = self.rays().unbind(-1)
            planes = x.contiguous(), y.contiguous()
        return planes[0].to(device, torch.float32), planes[1].to(device, torch.float32)

    def _axes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """x/z of each column and y/z of each row on the undistorted plane, [W] and [H] float64."""
        columns, rows = (
            torch.arange(count, dtype=torch.float64, device="cpu")
            for count in (self.width, self.height)
        )
        return (columns - self.cx_px) / self.fx_px, (rows - self.cy_px) / self.fy_px

    def project(self, points: torch.Tensor) -> torch.Tensor:
        """The pixels (u, v) on which points fall.

        Args:
            points: [..., 3] in the camera's optical frame, metres, floating point.

        Returns:
            [..., 2] in pixels, also beyond the image's border; NaN where z <= 0 and beyond the
            field of view in which the distortion model is one-to-one.
        """
        x, y, z = points.unbind(-1)
        z = torch.where(z > 0, z, torch.nan)
        distorted = self._lens.distort(torch.stack((x / z, y / z), -1))
        focal_px = distorted.new_tensor((self.fx_px, self.fy_px))
        return distorted * focal_px + distorted.new_tensor((self.cx_px, self.cy_px))

    @functools.cached_property
    def _lens(self) -> Distortion:
        is_plain = not self.distortion and self.distortion_model in (
            "plumb_bob",
            "rational_polynomial",
        )
        return Distortion("none" if is_plain else self.distortion_model, self.distortion)
