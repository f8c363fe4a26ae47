"""PointCloud2 messages to arrays: any layout of fields, and the time of each point.

ROS's sensor_msgs_py is not used: it is not on PyPI, and it knows rclpy's messages only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.messages.errors import MessageError
from dpt_ros.messages.payload import payload_bytes
from dpt_ros.messages.stamps import nanoseconds

# sensor_msgs/PointField's `datatype` -> numpy's.
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}

#: What drivers call the time of a point, in the order in which they are looked for.
TIME_FIELDS = ("time", "t", "timestamp", "time_stamp", "offset_time", "point_time_offset")

_SHORTEST_SCAN_NS = 1_000_000  # less is rounding, or nothing that a movement smears
_LONGEST_SCAN_NS = 1_000_000_000
# What may be a scan in two units is read in neither. These limits leave what LiDARs do: more than
# four scans a second in microseconds, or up to 200 in nanoseconds.
_SHORTEST_POSSIBLE_NS = 250_000
_LONGEST_POSSIBLE_NS = 5_000_000_000
# Nearer points are drivers' mark for "no return": they are at exactly (0, 0, 0).
_NEAREST_M = 1e-3
# Units in which drivers count, as nanoseconds; offsets to the header's stamp, or absolute.
_UNITS_NS = {"s": 1e9, "us": 1e3, "ns": 1.0}
# Ouster's clouds have these fields, and count in nanoseconds however short a piece of a scan is.
_FIELDS_OF_OUSTER = {"t", "ring", "range", "reflectivity"}
# So does Livox's driver in the field of this name.
_NANOSECONDS_OF_LIVOX = "offset_time"


def cloud_to_points(msg: Any) -> dict[str, NDArray[Any]]:
    """All fields of a sensor_msgs PointCloud2 of rclpy or rosbags.

    Returns:
        Name to [N] (or [N, count] where a field has several values), in the machine's byte order;
        N = height * width, row by row, invalid points included.

    Raises:
        MessageError: too few bytes, or fields that don't fit a point.
    """
    step, width, height = int(msg.point_step), int(msg.width), int(msg.height)
    dtype = _dtype(msg)
    row_step = int(msg.row_step) if height > 1 else step * width
    if row_step < step * width:
        raise MessageError(
            f"the point cloud has row_step {row_step}, expected at least width {width} x "
            f"point_step {step} = {step * width}: its driver fills in one of them wrongly"
        )
    data = payload_bytes(msg.data)
    needed = row_step * (height - 1) + step * width if height * width else 0
    if len(data) < needed:
        raise MessageError(
            f"the point cloud of {width}x{height} points has {len(data)} bytes, expected {needed}: "
            "the message was cut off; check its driver or bridge"
        )
    if not needed:
        points = np.empty((0,), dtype)
    else:
        shape, strides = (height, width), (row_step, step)
        points = np.ndarray(shape, dtype, data[:needed], 0, strides).reshape(-1)
    return {
        name: np.ascontiguousarray(points[name]).astype(dtype[name].base.newbyteorder("="))
        for name in dtype.names or ()
    }


def cloud_to_timed_xyz(msg: Any) -> tuple[NDArray[np.floating], NDArray[np.int64] | None]:
    """The points of a PointCloud2 that were measured, and when each was.

    Those that were not have a NaN, an infinity, or are at (0, 0, 0).

    Args:
        msg: sensor_msgs PointCloud2 of rclpy or rosbags.

    Returns:
        Positions [N, 3] in the cloud's frame, float32, or float64 where a field has more digits, as
        far from the origin of a map; and stamps [N] in nanoseconds of the clock of the header, None
        where no field tells (see `point_stamps`).

    Raises:
        MessageError: no x, y, z, or see `cloud_to_points`.
    """
    fields = cloud_to_points(msg)
    xyz = _xyz(fields)
    measured = _measured(xyz)
    stamp_ns = nanoseconds(msg.header.stamp)
    return xyz[measured], point_stamps(fields, stamp_ns, measured)


def point_stamps(
    fields: dict[str, NDArray[Any]], stamp_ns: int, measured: NDArray[np.bool_] | None = None
) -> NDArray[np.int64] | None:
    """When each point was measured.

    Drivers disagree: seconds, microseconds or nanoseconds, counted from the header's stamp or
    absolute. The unit is the one in which the scan lasts 1 ms to 1 s and lies within a second of
    the header's stamp; of the two origins the one that is nearer to it counts. Ouster and Livox
    are known by their fields: they count in nanoseconds.

    Args:
        fields: what `cloud_to_points` returns.
        stamp_ns: the header's stamp.
        measured: bool [N], which points were; None: all. How long the scan lasts is told by the
            others as well, unless their time is 0 or not finite, which drivers write for "none".

    Returns:
        int64 nanoseconds of the measured points, in their order; None without a field of times
        (`TIME_FIELDS`), where they are not finite, within a millisecond, no reading makes a scan,
        or two units might (0.25 ms in the one, 0.25 s in the other).
    """
    name = next((name for name in TIME_FIELDS if name in fields), None)
    if name is None or fields[name].ndim != 1 or not fields[name].size:
        return None
    values = fields[name]
    is_measured = np.ones(values.shape, np.bool_) if measured is None else measured
    told = values[is_measured | (np.isfinite(values) & (values != 0))]
    if not is_measured.any() or not np.isfinite(told).all():
        return None
    reading = _reading(told.min(), told.max(), stamp_ns, _possible_units_ns(name, fields))
    if reading is None:
        return None
    unit_ns, origin_ns = reading
    return origin_ns + _array_to_ns(values[is_measured], unit_ns)


def _possible_units_ns(name: str, fields: dict[str, NDArray[Any]]) -> list[float]:
    is_whole = fields[name].dtype.kind == "u"
    is_of_ouster = name == "t" and is_whole and fields.keys() >= _FIELDS_OF_OUSTER
    if is_of_ouster or name == _NANOSECONDS_OF_LIVOX:
        return [_UNITS_NS["ns"]]
    return list(_UNITS_NS.values())


def _reading(
    first: Any, last: Any, stamp_ns: int, units_ns: list[float]
) -> tuple[float, int] | None:
    """The unit, and the origin in nanoseconds, of times from `first` to `last`; None: unknown."""
    readings = []
    for unit_ns in units_ns:
        length_ns = (float(last) - float(first)) * unit_ns
        if not _SHORTEST_POSSIBLE_NS <= length_ns <= _LONGEST_POSSIBLE_NS:
            continue
        for origin_ns in (stamp_ns, 0):
            ends_ns = [abs(origin_ns - stamp_ns + _to_ns(end, unit_ns)) for end in (first, last)]
            if max(ends_ns) <= _LONGEST_POSSIBLE_NS:
                readings.append((min(ends_ns), max(ends_ns), length_ns, unit_ns, origin_ns))
    if len({unit_ns for *_, unit_ns, _ in readings}) > 1:
        return None
    likely = [
        (nearest_ns, unit_ns, origin_ns)
        for nearest_ns, farthest_ns, length_ns, unit_ns, origin_ns in readings
        if _SHORTEST_SCAN_NS <= length_ns <= _LONGEST_SCAN_NS and farthest_ns <= _LONGEST_SCAN_NS
    ]
    # Of equals the first: offsets to the header's stamp.
    return min(likely, key=lambda each: each[0])[1:] if likely else None


def _to_ns(value: Any, unit_ns: float) -> int:
    """Exact for integers, whose absolute nanoseconds a float can't hold."""
    return int(value) * int(unit_ns) if isinstance(value, np.integer) else round(value * unit_ns)


def _array_to_ns(values: NDArray[Any], unit_ns: float) -> NDArray[np.int64]:
    if np.issubdtype(values.dtype, np.integer):
        exact: NDArray[np.int64] = values.astype(np.int64) * np.int64(unit_ns)
        return exact
    return np.rint(values.astype(np.float64) * unit_ns).astype(np.int64)


def _xyz(fields: dict[str, NDArray[Any]]) -> NDArray[np.floating]:
    missing = [name for name in ("x", "y", "z") if name not in fields or fields[name].ndim != 1]
    if missing:
        raise MessageError(
            f"the point cloud has no field {', '.join(missing)} (its fields: "
            f"{', '.join(fields) or 'none'}), expected x, y and z: choose the topic of a LiDAR's "
            "points"
        )
    axes = [fields[name] for name in ("x", "y", "z")]
    dtype = np.result_type(np.float32, *axes)
    return np.stack([axis.astype(dtype) for axis in axes], axis=1)


def _measured(xyz: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points are where something was seen: finite, and not at the sensor itself."""
    is_away = np.any(np.abs(xyz) >= _NEAREST_M, axis=1)
    return np.asarray(is_away & np.isfinite(xyz).all(axis=1))


def _dtype(msg: Any) -> np.dtype[Any]:
    """The layout of one point; of fields of the same name the first counts."""
    order = ">" if msg.is_bigendian else "<"
    names: list[str] = []
    formats: list[Any] = []
    offsets: list[int] = []
    for field in msg.fields:
        if field.name in names or not field.name:
            continue
        if field.datatype not in _DATATYPES:
            raise MessageError(
                f"the point cloud's field {field.name!r} has the datatype {field.datatype}, "
                "expected 1 (INT8) to 8 (FLOAT64): check its driver"
            )
        count = max(1, int(field.count))
        base = np.dtype(order + _DATATYPES[field.datatype])
        if field.offset + count * base.itemsize > msg.point_step:
            raise MessageError(
                f"the point cloud's field {field.name!r} at {field.offset} goes beyond "
                f"point_step {msg.point_step}: its driver fills in one of them wrongly"
            )
        names.append(field.name)
        formats.append(base if count == 1 else (base, (count,)))
        offsets.append(int(field.offset))
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": int(msg.point_step)}
    )
