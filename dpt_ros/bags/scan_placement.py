"""A scan's points in the camera's frame at the moment of the picture, the robot moving or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.transforms import TransformGraph

# Points are moved together that were measured within this time: at 2 m/s, 2 mm.
_STEP_NS = 1_000_000


@dataclass(frozen=True)
class Scan:
    """A scan as it was measured.

    Args:
        frame: the LiDAR's frame.
        stamp_ns: the header's stamp.
        points: [N, 3] float32 or float64, metres, all finite.
        stamps_ns: [N] int64, when each point was measured; None where the scan does not say.
    """

    frame: str
    stamp_ns: int
    points: NDArray[np.floating]
    stamps_ns: NDArray[np.int64] | None

    @property
    def span_ns(self) -> tuple[int, int]:
        """When the first and the last point were measured."""
        if self.stamps_ns is None or not len(self.stamps_ns):
            return self.stamp_ns, self.stamp_ns
        return int(self.stamps_ns.min()), int(self.stamps_ns.max())


def find_fixed_frame(
    graph: TransformGraph, camera_frame: str, lidar_frame: str, candidates: tuple[str, ...]
) -> str | None:
    """The first candidate in which both the camera and the LiDAR are seen to move, or None."""
    for frame in filter(None, candidates):
        known = graph.is_connected(frame, camera_frame) and graph.is_connected(frame, lidar_frame)
        if known and graph.is_moving(frame, lidar_frame):
            return frame
    return None


def is_scan_fixed(
    graph: TransformGraph, camera_frame: str, scan_frame: str, candidates: tuple[str, ...]
) -> bool:
    """Whether a scan's frame stands still in a candidate in which the camera is seen to move.

    So do the points of a mapper, which has undone the movement, as in /cloud_registered.
    """
    for frame in filter(None, candidates):
        known = graph.is_connected(frame, camera_frame) and graph.is_connected(frame, scan_frame)
        if known and not graph.is_moving(frame, scan_frame):
            return graph.is_moving(frame, camera_frame)
    return False


def place_scan(
    scan: Scan,
    graph: TransformGraph,
    camera_frame: str,
    picture_ns: int,
    fixed_frame: str | None,
    is_body: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Points [N, 3] float64 in the camera's frame at the time of the picture.

    Args:
        scan: the points.
        graph: the transforms known.
        camera_frame: the camera's optical frame.
        picture_ns: when the picture was taken.
        fixed_frame: a frame in which the world stands still: each point is taken from where the
            LiDAR was when it was measured. None: the robot is taken as standing still.
        is_body: [N], which points are the robot's own: they move along with the LiDAR.

    Raises:
        TransformError: frames that are not connected, or a time that is out of what is known.
    """
    points = scan.points.astype(np.float64)
    at_picture = np.array([picture_ns], np.int64)
    if fixed_frame is None:
        transform = graph.lookup(camera_frame, scan.frame, at_picture)[0]
        placed: NDArray[np.float64] = points @ transform[:3, :3].T + transform[:3, 3]
        return placed
    to_camera = graph.lookup(camera_frame, fixed_frame, at_picture)[0]
    if scan.stamps_ns is None or not len(points):
        steps_ns, of_point = np.array([scan.stamp_ns], np.int64), np.zeros(len(points), np.intp)
    else:
        first_ns, last_ns = scan.span_ns
        steps, of_point = np.unique(
            (scan.stamps_ns - first_ns + _STEP_NS // 2) // _STEP_NS, return_inverse=True
        )
        steps_ns = np.minimum(first_ns + steps * _STEP_NS, last_ns)
    transforms = to_camera @ graph.lookup(fixed_frame, scan.frame, steps_ns)
    # One step after the other: a matrix for each point would take ten times the memory.
    order = np.argsort(of_point, kind="stable")
    bounds = np.searchsorted(of_point[order], np.arange(len(steps_ns) + 1))
    placed = np.empty_like(points)
    for step, transform in enumerate(transforms):
        chosen = order[bounds[step] : bounds[step + 1]]
        placed[chosen] = points[chosen] @ transform[:3, :3].T + transform[:3, 3]
    if is_body is not None and is_body.any():
        rigid = graph.lookup(camera_frame, scan.frame, at_picture)[0]
        placed[is_body] = points[is_body] @ rigid[:3, :3].T + rigid[:3, 3]
    return placed
