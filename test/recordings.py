"""Small recordings for the tests: messages of a camera, a LiDAR and a robot, written as rosbag2."""

from __future__ import annotations

import numpy as np
from rosbags.rosbag2 import CompressionFormat, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"
ODOMETRY = "nav_msgs/msg/Odometry"
TF = "tf2_msgs/msg/TFMessage"
DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
#: Takes a point of a LiDAR (x forward, y left, z up) to an optical frame (x right, y down).
OPTICAL_FROM_LIDAR = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
#: Three pictures, a tenth of a second apart, in nanoseconds.
STAMPS = tuple(1_600_000_000_000_000_000 + index * 100_000_000 for index in range(3))


def make(name, *values):
    return STORE.types[name](*values)


def header(stamp_ns, frame):
    stamp = make("builtin_interfaces/msg/Time", *divmod(stamp_ns, 1_000_000_000))
    return make("std_msgs/msg/Header", stamp, frame)


def image(stamp_ns, rgb, frame="camera"):
    height, width = rgb.shape[:2]
    data = np.ascontiguousarray(rgb).reshape(-1)
    return make(IMAGE, header(stamp_ns, frame), height, width, "rgb8", 0, width * 3, data)


def depth(stamp_ns, value, width=32, height=24):
    """A 32FC1 image of one value."""
    data = np.full(width * height, value, np.float32).view(np.uint8)
    return make(IMAGE, header(stamp_ns, "camera"), height, width, "32FC1", 0, width * 4, data)


def compressed(stamp_ns, rgb, frame="camera"):
    """The picture as PNG, as compressed_image_transport sends it."""
    import cv2

    data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].reshape(-1)
    return make(COMPRESSED, header(stamp_ns, frame), "rgb8; png compressed bgr8", data)


def info(stamp_ns, width, height, f_px, d=(0.0,) * 5, p_scale=1.0, frame="camera"):
    """K with focal length f_px and the picture's centre; P with `p_scale` times that."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    k = np.array([f_px, 0, cx, 0, f_px, cy, 0, 0, 1.0])
    p = np.array([f_px * p_scale, 0, cx, 0, 0, f_px * p_scale, cy, 0, 0, 0, 1.0, 0])
    roi = make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    model = "plumb_bob" if len(d) == 5 else "rational_polynomial"
    return make(
        INFO,
        header(stamp_ns, frame),
        height,
        width,
        model,
        np.array(d),
        k,
        np.eye(3).reshape(-1),
        p,
        0,
        0,
        roi,
    )


def cloud(stamp_ns, points, frame="lidar", times=None, time_field="t", time_type="u4"):
    """Points [N, 3] as x, y, z; `times` [N] as another field."""
    layout = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    layout += [] if times is None else [(time_field, f"<{time_type}")]
    records = np.zeros(len(points), np.dtype(layout))
    for axis, name in enumerate("xyz"):
        records[name] = np.asarray(points)[:, axis]
    if times is not None:
        records[time_field] = times
    return cloud_of_records(stamp_ns, records, frame)


def cloud_of_records(stamp_ns, records, frame="lidar"):
    """A structured array [N] as a cloud of one row."""
    fields = [
        make(
            "sensor_msgs/msg/PointField",
            name,
            records.dtype.fields[name][1],
            DATATYPES[records.dtype[name].base.str[1:]],
            int(np.prod(records.dtype[name].shape)) or 1,
        )
        for name in records.dtype.names
    ]
    step = records.dtype.itemsize
    data = np.frombuffer(records.tobytes(), np.uint8)
    return make(
        CLOUD,
        header(stamp_ns, frame),
        1,
        len(records),
        fields,
        False,
        step,
        step * len(records),
        data,
        True,
    )


def _pose_parts(matrix):
    from scipy.spatial.transform import Rotation

    move = [float(value) for value in matrix[:3, 3]]
    turn = [float(value) for value in Rotation.from_matrix(matrix[:3, :3]).as_quat()]
    return move, make("geometry_msgs/msg/Quaternion", *turn)


def transforms(stamp_ns, *items):
    """A TFMessage of (parent, child, transform_parent_child [4, 4])."""
    stamped = []
    for parent, child, matrix in items:
        move, turn = _pose_parts(matrix)
        transform = make(
            "geometry_msgs/msg/Transform", make("geometry_msgs/msg/Vector3", *move), turn
        )
        head = header(stamp_ns, parent)
        stamped.append(make("geometry_msgs/msg/TransformStamped", head, child, transform))
    return make(TF, stamped)


def odometry(stamp_ns, matrix, parent="odom", child="base_link"):
    """The pose [4, 4] of the robot."""
    move, turn = _pose_parts(matrix)
    pose = make("geometry_msgs/msg/Pose", make("geometry_msgs/msg/Point", *move), turn)
    zero = make("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0)
    twist = make("geometry_msgs/msg/Twist", zero, zero)
    return make(
        ODOMETRY,
        header(stamp_ns, parent),
        child,
        make("geometry_msgs/msg/PoseWithCovariance", pose, np.zeros(36)),
        make("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)),
    )


def write_bag(path, messages, plugin=StoragePlugin.MCAP, compression=None):
    """Write (topic, recorded_ns, message), in the order of `recorded_ns`; returns the path."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, recorded_ns, message in sorted(messages, key=lambda item: item[1]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], recorded_ns, data)
    return path


def wall(distance_m, step_rad=0.05, half_rad=0.5):
    """Points of a wall across the x axis at a distance, as a LiDAR sees it: [N, 3]."""
    angle = np.arange(-half_rad, half_rad, step_rad)
    y, z = np.meshgrid(distance_m * np.tan(angle), distance_m * np.tan(angle / 2))
    return np.stack([np.full(y.size, distance_m), y.ravel(), z.ravel()], axis=1)


def drive(stamps_ns=STAMPS, distances_m=None, size=(32, 24), static=True):
    """A standing robot before a wall: picture, calibration and scan at each stamp, [messages]."""
    width, height = size
    messages = []
    if static:
        pose = ("lidar", "camera", np.linalg.inv(OPTICAL_FROM_LIDAR))
        messages.append(("/tf_static", stamps_ns[0], transforms(stamps_ns[0], pose)))
    for index, stamp_ns in enumerate(stamps_ns):
        distance_m = 5.0 if distances_m is None else distances_m[index]
        rgb = np.full((height, width, 3), index % 256, np.uint8)
        messages += [
            ("/camera/camera_info", stamp_ns, info(stamp_ns, width, height, 25.0)),
            ("/camera/image_raw", stamp_ns, image(stamp_ns, rgb)),
            ("/points", stamp_ns, cloud(stamp_ns, wall(distance_m))),
        ]
    return messages
