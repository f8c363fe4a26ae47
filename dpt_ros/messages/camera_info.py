"""CameraInfo messages to a Camera, and CameraInfo for a picture of another size.

Binning and region of interest change K and P as image_geometry's PinholeCameraModel does: the
principal point moves by the offset, then focal lengths and principal point are divided by the
binning. A picture of the region's full size beside a binning was not binned, and is not scaled up
again. Resizing, which image_geometry does not know, follows the convention of OpenCV and ROS that
(0, 0) is the centre of the first pixel: c' = (c + 0.5) * scale - 0.5.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.distortion import COEFFICIENT_COUNTS
from dpt_ros.messages.errors import MessageError

__all__ = [
    "MessageError",
    "UncalibratedCameraError",
    "camera_from_info",
    "info_from_camera",
    "scaled_camera_info",
    "unrectified_camera_info",
]


# What computing or storing P in float32 leaves where 0 or 1 is meant; of the focal length in the
# rows that it scales. It shifts a ray by less than a hundredth of a pixel.
_ROUNDING = 1e-6


class UncalibratedCameraError(MessageError):
    """The camera_info says that the camera is not calibrated (K or P is zero)."""


@dataclass(frozen=True)
class _Window:
    """The part of the sensor that the picture shows, and how it is binned."""

    x_px: int
    y_px: int
    width: int
    height: int
    binning_x: int
    binning_y: int


def camera_from_info(
    info: Any, rectified: bool, width: int | None = None, height: int | None = None
) -> Camera:
    """Camera of the picture that a CameraInfo (rclpy or rosbags) describes.

    Args:
        info: sensor_msgs CameraInfo.
        rectified: the picture is rectified: P and no distortion; otherwise K and D.
        width: the picture's width in pixels, with `height`; None: as the CameraInfo says.
        height: the picture's height in pixels. A picture of another size than the CameraInfo's is
            taken as resized where the aspect ratio is the same; one of the region's full size is
            not binned, whatever the CameraInfo says.

    Raises:
        UncalibratedCameraError: the focal length in P (rectified) or K is zero.
        MessageError: values that are not finite, skew, an unknown distortion model or a wrong
            number of coefficients, a picture of another shape, or a full one although there is a
            region of interest.
    """
    matrix = _calibrated_matrix(info, rectified)
    window = _window(info, width, height)
    resized = _resized(matrix, window, (1.0, 1.0))
    distortion_model, distortion = ("none", ()) if rectified else _distortion(info)
    try:
        camera = Camera(
            width=window.width // window.binning_x,
            height=window.height // window.binning_y,
            fx_px=float(resized[0, 0]),
            fy_px=float(resized[1, 1]),
            cx_px=float(resized[0, 2]),
            cy_px=float(resized[1, 2]),
            distortion_model=distortion_model,
            distortion=distortion,
        )
    except ValueError as error:
        raise MessageError(
            f"camera_info cannot be used: {error}; calibrate the camera again, or rectify its "
            "picture (image_proc)"
        ) from error
    if width is None or height is None or (width, height) == (camera.width, camera.height):
        return camera
    _refuse_full_picture(info, window, width, height)
    _check_aspect(width, height, camera.width, camera.height)
    return camera.scaled(width, height)


def scaled_camera_info(info: Any, width: int, height: int, header: Any | None = None) -> Any:
    """CameraInfo of the same message type for the same view, published at width x height.

    K and P describe the published picture directly: binning is 1 and the region of interest is
    empty (full). D and R stay as they are; `info` is not changed, and shares no array with the
    result. An uncalibrated camera's zeros stay zeros.

    Args:
        info: sensor_msgs CameraInfo (rclpy or rosbags).
        width: width of the published picture in pixels.
        height: height of the published picture in pixels.
        header: header of the result; None: that of `info`.

    Raises:
        MessageError: width x height has another aspect ratio than the camera's picture, or is the
            full sensor's although there is a region of interest.
    """
    window = _window(info, width, height)
    camera_width = window.width // window.binning_x
    camera_height = window.height // window.binning_y
    if (width, height) != (camera_width, camera_height):
        _refuse_full_picture(info, window, width, height)
        _check_aspect(width, height, camera_width, camera_height)
    scale = (width / camera_width, height / camera_height)
    roi_type = type(info.roi)
    return type(info)(
        header=info.header if header is None else header,
        height=height,
        width=width,
        distortion_model=info.distortion_model,
        d=copy.copy(info.d),
        k=_resized(np.array(info.k, np.float64).reshape(3, 3), window, scale).reshape(-1),
        r=np.array(info.r, np.float64),
        p=_resized(np.array(info.p, np.float64).reshape(3, 4), window, scale).reshape(-1),
        binning_x=min(info.binning_x, 1),
        binning_y=min(info.binning_y, 1),
        roi=roi_type(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def unrectified_camera_info(info: Any) -> Any:
    """CameraInfo for the pixels of a raw picture without distortion: P is K, R the identity.

    Readers of depth unproject with P, which of a calibrated stereo pair or after rectification
    with cropping is another than K. `info` is not changed.
    """
    result = copy.deepcopy(info)
    k = np.array(info.k, np.float64).reshape(3, 3)
    result.p = np.hstack([k, np.zeros((3, 1))]).reshape(-1)
    result.r = np.eye(3).reshape(-1)
    return result


def info_from_camera(camera: Camera, header: Any) -> Any:
    """CameraInfo of a camera: K and D as they are, P of the picture without its distortion.

    `camera_from_info(info, rectified=False)` gives a camera of the same rays back, whose
    coefficients are none where they were all zero. An "equidistant" lens with coefficients of zero
    is the exception: read as ROS reads it, it comes back as a pinhole.

    Args:
        camera: what the message describes.
        header: std_msgs Header, taken as it is.
    """
    from sensor_msgs.msg import CameraInfo

    fx, fy, cx, cy = camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px
    is_ideal = camera.distortion_model == "none"
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob" if is_ideal else camera.distortion_model,
        d=[0.0] * 5 if is_ideal else list(camera.distortion),
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def _window(info: Any, width: int | None = None, height: int | None = None) -> _Window:
    """Read ROI and binning of a picture of that size; zeros mean the full sensor and no binning."""
    roi = info.roi
    window = _Window(
        x_px=roi.x_offset,
        y_px=roi.y_offset,
        width=roi.width or info.width - roi.x_offset,
        height=roi.height or info.height - roi.y_offset,
        binning_x=max(1, info.binning_x),
        binning_y=max(1, info.binning_y),
    )
    if window.width < window.binning_x or window.height < window.binning_y:
        raise MessageError(
            f"camera_info has width {info.width}, height {info.height}, {_describe(window)}: "
            "expected at least one pixel; fill in the sensor's width and height"
        )
    if roi.x_offset + window.width > info.width or roi.y_offset + window.height > info.height:
        raise MessageError(
            f"camera_info has width {info.width}, height {info.height}, {_describe(window)}, which "
            "reaches beyond them: fill in the full sensor's width and height, or set the region's "
            "width, height and offsets to 0"
        )
    if (width, height) == (window.width, window.height):
        return replace(window, binning_x=1, binning_y=1)
    return window


def _describe(window: _Window) -> str:
    return (
        f"region of interest {window.width}x{window.height} at ({window.x_px}, {window.y_px}), "
        f"binning {window.binning_x}x{window.binning_y}"
    )


def _resized(
    matrix: NDArray[np.float64], window: _Window, scale: tuple[float, float]
) -> NDArray[np.float64]:
    """K [3,3] or P [3,4] of the full sensor -> of the window, binned, resized by scale (x, y)."""
    resized: NDArray[np.float64] = matrix.copy()
    if matrix[0, 0] == 0:
        return resized
    offsets = (window.x_px, window.y_px)
    binnings = (window.binning_x, window.binning_y)
    for row, (offset, binning, factor) in enumerate(zip(offsets, binnings, scale, strict=True)):
        resized[row, 2] -= offset
        resized[row] *= factor / binning
        resized[row, 2] += 0.5 * factor - 0.5
    return resized


def _calibrated_matrix(info: Any, rectified: bool) -> NDArray[np.float64]:
    """P [3,4] (rectified) or K [3,3] of the full sensor."""
    name, values = ("P", info.p) if rectified else ("K", info.k)
    matrix: NDArray[np.float64] = np.array(values, np.float64).reshape(3, -1)
    if info.k[0] == 0 and matrix[0, 0] != 0:
        raise UncalibratedCameraError(
            "camera_info is uncalibrated: K[0] is 0, which says so, although P is set; calibrate "
            "the camera (camera_calibration) and publish the result, K too"
        )
    if matrix[0, 0] == 0 or matrix[1, 1] == 0:
        remedy = "calibrate the camera (camera_calibration) and publish the result"
        if rectified and info.k[0] != 0:
            remedy = "K is set, so publish P too (K in its left part where nothing is rectified)"
        raise UncalibratedCameraError(
            f"camera_info is uncalibrated: the focal length in {name} is 0; {remedy}"
        )
    if not np.isfinite(matrix).all():
        raise MessageError(
            f"camera_info has {name} {matrix.ravel().tolist()}, expected finite numbers: calibrate "
            "the camera again"
        )
    is_pinhole = np.allclose(matrix[2, :3], (0.0, 0.0, 1.0), rtol=0.0, atol=_ROUNDING)
    if not is_pinhole or abs(matrix[1, 0]) > _ROUNDING * abs(matrix[1, 1]):
        raise MessageError(
            f"camera_info has {name} {matrix.ravel().tolist()}, expected 0, 0, 1 in the left part "
            "of its third row and 0 below the first focal length: divide it by the last of them, "
            "or calibrate the camera again"
        )
    if abs(matrix[0, 1]) > _ROUNDING * abs(matrix[0, 0]):
        raise MessageError(
            f"camera_info has a skew of {matrix[0, 1]:g} in {name}, expected 0: calibrate the "
            "camera without skew"
        )
    return matrix


def _distortion(info: Any) -> tuple[str, tuple[float, ...]]:
    """Model and coefficients of D; as in image_geometry, all zero is none, whatever the model.

    Also of equidistant, whose ideal lens would bend rays all the same: ROS's own tools would take
    its picture for a pinhole's.
    """
    coefficients = tuple(float(value) for value in info.d)
    if not any(coefficients):
        return "none", ()
    # Seen in drivers: OpenCV goes by the number of coefficients, not by a name.
    if info.distortion_model == "plumb_bob" and len(coefficients) >= 8:
        return "rational_polynomial", coefficients
    if info.distortion_model == "rational_polynomial" and len(coefficients) in (4, 5):
        return "plumb_bob", coefficients
    count = max(COEFFICIENT_COUNTS.get(info.distortion_model, (len(coefficients),)))
    # Also seen: equidistant with a fifth, of 0. What is 0 beyond the last bends nothing.
    is_longer = any(coefficients[count:])
    return info.distortion_model, coefficients if is_longer else coefficients[:count]


def _refuse_full_picture(info: Any, window: _Window, width: int, height: int) -> None:
    """Refuse the full sensor's picture beside a smaller region of interest of the same shape.

    It may be all that the sensor sees, or the region enlarged: two cameras of other angles.
    """
    is_full = (width, height) == (info.width, info.height)
    if is_full and (window.width, window.height) != (info.width, info.height):
        raise MessageError(
            f"the picture is {width}x{height}, the full sensor, but camera_info has a "
            f"{_describe(window)}: publish the picture of that region, or set the region's width, "
            "height and offsets to 0"
        )


def _check_aspect(width: int, height: int, camera_width: int, camera_height: int) -> None:
    """Accept a resized picture: its sides fit one scale to within the rounding to whole pixels."""
    off_height = abs(camera_height * width / camera_width - height)
    off_width = abs(camera_width * height / camera_height - width)
    if width < 1 or height < 1 or min(off_height, off_width) >= 1:
        raise MessageError(
            f"the picture is {width}x{height}, but camera_info describes "
            f"{camera_width}x{camera_height} (after region of interest and binning): expected the "
            "same size or the same aspect ratio; publish the camera_info of this picture"
        )
