"""A robot that drives through a scene, and what its camera and LiDAR deliver on the way."""

from __future__ import annotations

import numpy as np
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.drive import drive_path
from dpt_ros.synthetic.lidar import Lidar, Scan
from dpt_ros.synthetic.primitives import Floats, turned
from dpt_ros.synthetic.render import Renderer, Rendering
from dpt_ros.synthetic.rig import RigSettings, transform_base_camera, transform_base_lidar
from dpt_ros.synthetic.scenes import make_scene
from dpt_ros.synthetic.seeds import split_seed
from dpt_ros.synthetic.settings import LidarSettings


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
