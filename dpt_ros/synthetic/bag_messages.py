"""What the robot measures as messages of a rosbags type store, frames after REP 103 and REP 105.

odom -> base_link -> camera_link -> camera_optical_frame, and base_link -> lidar.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from dpt_ros.geometry.camera import Camera
from dpt_ros.messages.encode import float_to_image, rgb_to_image
from dpt_ros.synthetic.lidar import Scan
from dpt_ros.synthetic.primitives import Floats
from dpt_ros.synthetic.rig import ROTATION_BODY_OPTICAL

ODOM, BASE, CAMERA_BODY, CAMERA, LIDAR = (
    "odom",
    "base_link",
    "camera_link",
    "camera_optical_frame",
    "lidar",
)

_JPEG_QUALITY = 90
_LAYOUT = (
    ("x", "<f4"),
    ("y", "<f4"),
    ("z", "<f4"),
    ("intensity", "<f4"),
    ("ring", "<u2"),
    ("time", "<f4"),
)
_POINT = np.dtype(list(_LAYOUT))
_DATATYPES = {"<f4": 7, "<u2": 4}  # sensor_msgs/PointField


class BagMessages:
    """Makes messages; `types` is the store that serializes them."""

    def __init__(self) -> None:
        self.types = get_typestore(Stores.ROS2_HUMBLE)

    def header(self, stamp_ns: int, frame: str) -> Any:
        """A std_msgs Header."""
        time = self._type("builtin_interfaces/msg/Time")
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = time(sec=seconds, nanosec=nanoseconds)
        return self._type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame)

    def image(self, rgb: NDArray[np.uint8], stamp_ns: int) -> Any:
        """A sensor_msgs Image, rgb8."""
        image_type = self._type("sensor_msgs/msg/Image")
        return rgb_to_image(rgb, self.header(stamp_ns, CAMERA), image_type)

    def depth(self, depth_m: NDArray[np.float32], stamp_ns: int) -> Any:
        """A sensor_msgs Image, 32FC1."""
        image_type = self._type("sensor_msgs/msg/Image")
        return float_to_image(depth_m, self.header(stamp_ns, CAMERA), image_type)

    def jpeg(self, rgb: NDArray[np.uint8], stamp_ns: int) -> Any:
        """A sensor_msgs CompressedImage, named as compressed_image_transport does."""
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
        return self._type("sensor_msgs/msg/CompressedImage")(
            header=self.header(stamp_ns, CAMERA),
            format="rgb8; jpeg compressed bgr8",
            data=np.asarray(data, np.uint8).reshape(-1),
        )

    def camera_info(self, camera: Camera, stamp_ns: int) -> Any:
        """A sensor_msgs CameraInfo of a rectified picture: no distortion, P as K."""
        fx, fy, cx, cy = camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px
        region = self._type("sensor_msgs/msg/RegionOfInterest")
        return self._type("sensor_msgs/msg/CameraInfo")(
            header=self.header(stamp_ns, CAMERA),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1], np.float64),
            r=np.eye(3).reshape(-1),
            p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0], np.float64),
            binning_x=0,
            binning_y=0,
            roi=region(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        )

    def cloud(self, scan: Scan, stamp_ns: int) -> Any:
        """A sensor_msgs PointCloud2 with x, y, z, intensity, ring and time (s from the stamp)."""
        points = np.empty(len(scan.xyz), _POINT)
        points["x"], points["y"], points["z"] = scan.xyz.T
        points["intensity"], points["ring"], points["time"] = scan.intensity, scan.ring, scan.time_s
        field_type = self._type("sensor_msgs/msg/PointField")
        fields = []
        offset = 0
        for name, kind in _LAYOUT:
            datatype = _DATATYPES[kind]
            fields.append(field_type(name=name, offset=offset, datatype=datatype, count=1))
            offset += np.dtype(kind).itemsize
        return self._type("sensor_msgs/msg/PointCloud2")(
            header=self.header(stamp_ns, LIDAR),
            height=1,
            width=len(points),
            fields=fields,
            is_bigendian=False,
            point_step=_POINT.itemsize,
            row_step=_POINT.itemsize * len(points),
            data=points.view(np.uint8).reshape(-1),
            is_dense=True,
        )

    def static_transforms(self, base_camera: Floats, base_lidar: Floats, stamp_ns: int) -> Any:
        """A tf2_msgs TFMessage: where the sensors sit."""
        body = base_camera.copy()
        body[:3, :3] = base_camera[:3, :3] @ ROTATION_BODY_OPTICAL.T
        optical = np.eye(4)
        optical[:3, :3] = ROTATION_BODY_OPTICAL
        return self._type("tf2_msgs/msg/TFMessage")(
            transforms=[
                self._transform(body, BASE, CAMERA_BODY, stamp_ns),
                self._transform(optical, CAMERA_BODY, CAMERA, stamp_ns),
                self._transform(base_lidar, BASE, LIDAR, stamp_ns),
            ]
        )

    def moving_transform(self, odom_base: Floats, stamp_ns: int) -> Any:
        """A tf2_msgs TFMessage: where the robot is."""
        transform = self._transform(odom_base, ODOM, BASE, stamp_ns)
        return self._type("tf2_msgs/msg/TFMessage")(transforms=[transform])

    def odometry(self, odom_base: Floats, speed: float, turn_rate: float, stamp_ns: int) -> Any:
        """A nav_msgs Odometry: pose in odom, velocity in base_link."""
        point, pose = self._type("geometry_msgs/msg/Point"), self._type("geometry_msgs/msg/Pose")
        vector, twist = (
            self._type("geometry_msgs/msg/Vector3"),
            self._type("geometry_msgs/msg/Twist"),
        )
        x, y, z = (float(value) for value in odom_base[:3, 3])
        place = pose(position=point(x=x, y=y, z=z), orientation=self._quaternion(odom_base))
        motion = twist(
            linear=vector(x=speed, y=0.0, z=0.0), angular=vector(x=0.0, y=0.0, z=turn_rate)
        )
        with_pose = self._type("geometry_msgs/msg/PoseWithCovariance")
        with_twist = self._type("geometry_msgs/msg/TwistWithCovariance")
        return self._type("nav_msgs/msg/Odometry")(
            header=self.header(stamp_ns, ODOM),
            child_frame_id=BASE,
            pose=with_pose(pose=place, covariance=np.zeros(36)),
            twist=with_twist(twist=motion, covariance=np.zeros(36)),
        )

    def _transform(self, transform: Floats, parent: str, child: str, stamp_ns: int) -> Any:
        """A geometry_msgs TransformStamped that takes a point of `child` to `parent`."""
        x, y, z = (float(value) for value in transform[:3, 3])
        return self._type("geometry_msgs/msg/TransformStamped")(
            header=self.header(stamp_ns, parent),
            child_frame_id=child,
            transform=self._type("geometry_msgs/msg/Transform")(
                translation=self._type("geometry_msgs/msg/Vector3")(x=x, y=y, z=z),
                rotation=self._quaternion(transform),
            ),
        )

    def _quaternion(self, transform: Floats) -> Any:
        x, y, z, w = (float(v) for v in Rotation.from_matrix(transform[:3, :3]).as_quat())
        return self._type("geometry_msgs/msg/Quaternion")(x=x, y=y, z=z, w=w)

    def _type(self, name: str) -> Any:
        return self.types.types[name]
