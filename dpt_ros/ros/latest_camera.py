"""The last CameraInfo of a stream, as the camera of its images. Knows no rclpy."""

from __future__ import annotations

import dataclasses
from typing import Any

from dpt_ros.geometry.camera import Camera
from dpt_ros.messages.camera_info import camera_from_info, unrectified_camera_info
from dpt_ros.messages.errors import MessageError

NO_INFO = "no camera_info"
"""How the reason begins where none has come."""


@dataclasses.dataclass(frozen=True)
class CameraOfImage:
    """What is known of an image's camera, or why nothing is.

    `info` is the CameraInfo by which others may turn the image's pixels into rays, None (and
    `why_no_info`) where none can say it.
    """

    camera: Camera | None = None
    info: Any | None = None
    why_not: str = ""
    why_no_info: str = ""


class LatestCamera:
    """Keeps the newest CameraInfo (no synchronisation: cameras rarely change) and reads it once.

    Args:
        topic: where CameraInfo is expected, for messages.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._info: Any | None = None
        self._key: tuple[Any, ...] | None = None
        self._known = CameraOfImage()

    def update(self, info: Any) -> None:
        """Keep a CameraInfo message; cheap, for the subscription's callback."""
        self._info = info

    def forget(self) -> None:
        """Drop the CameraInfo, since nobody listens any more."""
        self._info = None
        self._key = None

    @property
    def has_info(self) -> bool:
        """Whether a CameraInfo came."""
        return self._info is not None

    def of_image(self, width: int, height: int, rectified: bool) -> CameraOfImage:
        """The camera of an image of `width` x `height` pixels.

        Args:
            width: of the image.
            height: of the image.
            rectified: True to read the rectified camera (P), False the raw one (K and D).
        """
        info = self._info
        if info is None:
            return CameraOfImage(why_not=f"{NO_INFO} on {self._topic}")
        key = (rectified, width, height, *_content(info))
        if key != self._key:
            self._known = self._read(info, width, height, rectified)
            self._key = key
        return self._known

    def frame_oddity(self, image_frame: str) -> str:
        """What is odd about the frame of an image, or its CameraInfo's; "" if nothing is.

        A CameraInfo that names no frame is taken for the image's, as drivers send it.
        """
        if not image_frame:
            return (
                "images have no frame_id, so nobody can place their depth and points: set it in "
                "the camera's driver"
            )
        info_frame = "" if self._info is None else self._info.header.frame_id
        if info_frame.lstrip("/") in ("", image_frame.lstrip("/")):
            return ""
        return (
            f"{self._topic} is of the frame {info_frame}, the images are of {image_frame}: is it "
            "another camera's?"
        )

    def _read(self, info: Any, width: int, height: int, rectified: bool) -> CameraOfImage:
        try:
            camera = camera_from_info(info, rectified, width, height)
        except MessageError as error:  # uncalibrated, of another shape, or broken
            return CameraOfImage(why_not=f"{self._topic}: {error}")
        if rectified:
            return CameraOfImage(camera, info)
        if camera.distortion_model != "none":
            return CameraOfImage(
                camera,
                why_no_info="the images are not rectified, and who reads depth with its "
                "camera_info takes them for rectified; use the points, or rectify the images",
            )
        return CameraOfImage(camera, unrectified_camera_info(info))


def _content(info: Any) -> tuple[Any, ...]:
    roi = info.roi
    return (
        info.width,
        info.height,
        info.distortion_model,
        tuple(info.d),
        bytes(memoryview(info.k)),
        bytes(memoryview(info.r)),
        bytes(memoryview(info.p)),
        info.binning_x,
        info.binning_y,
        (roi.x_offset, roi.y_offset, roi.width, roi.height, roi.do_rectify),
    )
