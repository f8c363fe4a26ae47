"""A robot that drives through a scene, and what its camera and LiDAR deliver on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.drive import drive_path
from dpt_ros.synthetic.lidar import Lidar, Scan
from dpt_ros.synthetic.primitives import Floats, turned
from dpt_ros.synthetic.render import Renderer, Rendering
from dpt_ros.synthetic.rig import (
    RigSettings,
    rig_camera,
    transform_base_camera,
    transform_base_lidar,
)
from dpt_ros.synthetic.scenes import make_scene
from dpt_ros.synthetic.seeds import split_seed
from dpt_ros.synthetic.settings import LidarSettings

SCAN_LEAD_S = 0.02
"""A scan that goes with a picture begins this much earlier: the two sensors run on their own."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What the robot's sensors deliver for one picture, and where everything is.

    Args:
        stamp_ns: when the picture was taken, from the drive's start.
        rgb: uint8 [H,W,3].
        depth_m: float32 [H,W], exact Z in metres, NaN in the sky.
        camera: of the picture.
        scan: the LiDAR's turn that began SCAN_LEAD_S before the picture; None without a LiDAR or
            before the first whole turn.
        transform_odom_base, transform_base_camera, transform_base_lidar: [4,4], at `stamp_ns`;
            transform_a_b takes a point of b to a. The camera's frame is the optical one.
        speed: along base_link's x, m/s.
        turn_rate: to the left, rad/s.
    """

    stamp_ns: int
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    camera: Camera
    scan: Scan | None
    transform_odom_base: Floats
    transform_base_camera: Floats
    transform_base_lidar: Floats
    speed: float
    turn_rate: float


class Robot:
    """A robot on one drive; the same seed gives the same drive and the same measurements.

    Args:
        kind: kind of scene, one of settings.KINDS.
        seed: which scene and drive, 0 or more.
        duration_s: how long it drives.
        split: stream of seeds, see settings.SPLITS.
        rig: where the sensors sit.
        lidar: how the LiDAR samples.
        device: where pictures are rendered.

    Raises:
        ValueError: an unknown kind or split, a negative seed, a duration that is not positive.
    """

    def __init__(
        self,
        kind: str,
        seed: int,
        duration_s: float,
        *,
        split: str = "test",
        rig: RigSettings | None = None,
        lidar: LidarSettings | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.rig, self.lidar_settings = rig or RigSettings(), lidar or LidarSettings()
        scene_stream, drive_stream, self._noise_stream = split_seed(seed, split, 0).spawn(3)
        self.scene = make_scene(kind, scene_stream)
        # The last turn of the LiDAR ends after the last picture.
        lasting_s = duration_s + 1.5 / self.lidar_settings.rate_hz + 0.2
        self._path = drive_path(self.scene, np.random.default_rng(drive_stream), lasting_s)
        self.duration_s = duration_s
        self._renderer = Renderer(self.scene, device)
        self.transform_base_camera = transform_base_camera(self.rig)
        self.transform_base_lidar = transform_base_lidar(self.rig)
        self._lidar = Lidar(self.scene, self.lidar_settings, self.transform_base_lidar)
        # Odometry starts where the robot does, but upright: z is up, as REP 105 has it.
        start = np.eye(4)
        start[:3, :3], start[:2, 3] = turned(float(self._path.yaw_rad[0])), self._path.place[0]
        self._transform_odom_world = np.linalg.inv(start)

    @property
    def known_until_s(self) -> float:
        """Time until which the robot's movement is known; later than `duration_s`."""
        return self._path.duration_s

    def picture(self, camera: Camera, time_s: float) -> Rendering:
        """What the camera sees at a time.

        Raises:
            ValueError: a time before the start or after the end of the drive.
        """
        pose = self._path.pose_at(time_s) @ self.transform_base_camera
        return self._renderer.render(camera, pose, self._noise_seed(time_s, 0))

    def scan(self, start_s: float) -> Scan:
        """The LiDAR's turn that begins at a time.

        Raises:
            ValueError: the turn is not within the drive.
        """
        return self._lidar.scan(self._path, start_s, self._noise_seed(start_s, 1))

    def frame(self, camera: Camera, time_s: float, with_lidar: bool = True) -> Frame:
        """Everything at a time.

        Raises:
            ValueError: a time before the start or after the end of the drive.
        """
        rgb, depth_m = self.picture(camera, time_s)
        has_scan = with_lidar and time_s >= SCAN_LEAD_S
        speed, turn_rate = self.velocity(time_s)
        return Frame(
            stamp_ns=round(time_s * 1e9),
            rgb=rgb,
            depth_m=depth_m,
            camera=camera,
            scan=self.scan(time_s - SCAN_LEAD_S) if has_scan else None,
            transform_odom_base=self.transform_odom_base(time_s),
            transform_base_camera=self.transform_base_camera,
            transform_base_lidar=self.transform_base_lidar,
            speed=speed,
            turn_rate=turn_rate,
        )

    def transform_odom_base(self, time_s: float) -> Floats:
        """[4,4], takes a point of base_link to odom: the robot's start, upright."""
        return np.asarray(self._transform_odom_world @ self._path.pose_at(time_s))

    def velocity(self, time_s: float) -> tuple[float, float]:
        """Speed along x in m/s and turn rate in rad/s."""
        return self._path.velocity_at(time_s)

    def _noise_seed(self, time_s: float, sensor: int) -> int:
        key = (*self._noise_stream.spawn_key, sensor, round(time_s * 1e6))
        stream = np.random.SeedSequence(self._noise_stream.entropy, spawn_key=key)
        return int(stream.generate_state(1)[0])


def drive(
    kind: str,
    seed: int,
    *,
    duration_s: float = 20.0,
    rate_hz: float = 10.0,
    camera: Camera | None = None,
    with_lidar: bool = True,
    split: str = "test",
    rig: RigSettings | None = None,
    lidar: LidarSettings | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Frame]:
    """Frame after frame of a drive, made when asked for.

    Args:
        kind: kind of scene, one of settings.KINDS.
        seed: which scene and drive, 0 or more.
        duration_s: how long it drives.
        rate_hz: pictures a second of the drive's own time.
        camera: of the pictures; None: 640x480, see `rig_camera`.
        with_lidar: cast the LiDAR's turns too.
        split: stream of seeds, see settings.SPLITS.
        rig: where the sensors sit.
        lidar: how the LiDAR samples.
        device: where pictures are rendered.

    Raises:
        ValueError: see Robot; a rate that is not positive.
    """
    if not rate_hz > 0:
        raise ValueError(f"got a rate of {rate_hz} Hz, expected more than 0")
    robot = Robot(kind, seed, duration_s, split=split, rig=rig, lidar=lidar, device=device)
    camera = camera or rig_camera(robot.rig, 640, 480)
    for number in range(max(1, round(duration_s * rate_hz))):
        yield robot.frame(camera, number / rate_hz, with_lidar)
