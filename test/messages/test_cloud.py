from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.messages.cloud import cloud_to_points, cloud_to_timed_xyz, point_stamps
from dpt_ros.messages.errors import MessageError

NAN, INF = float("nan"), float("inf")
SECOND = 1_000_000_000
STAMP_NS = 1_600_000_000 * SECOND + 123_456_789  # of the family's header


def fields_of(family, *items):
    return [
        family.PointField(name=name, offset=offset, datatype=datatype, count=count)
        for name, offset, datatype, count in items
    ]


def cloud(family, fields, data, width, height=1, point_step=16, row_step=None, big=False):
    return family.with_data(
        family.PointCloud2,
        np.frombuffer(data, np.uint8),
        header=family.header("lidar"),
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big,
        point_step=point_step,
        row_step=width * point_step if row_step is None else row_step,
        is_dense=False,
    )


def xyz_fields(family, datatype=7, size=4):
    return fields_of(
        family, ("x", 0, datatype, 1), ("y", size, datatype, 1), ("z", 2 * size, datatype, 1)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("datatype", "code"), [(7, "f4"), (8, "f8"), (5, "i4"), (3, "i2")])
def test_every_datatype_and_byte_order(family, order, datatype, code):
    values = np.array([[1, -2, 3], [40, 50, -60]], order + code)
    size = values.itemsize
    fields = xyz_fields(family, datatype, size)
    message = cloud(family, fields, values.tobytes(), 2, point_step=3 * size, big=order == ">")
    xyz, _ = cloud_to_timed_xyz(message)
    assert xyz.dtype == (np.float64 if code in ("f8", "i4") else np.float32)
    np.testing.assert_array_equal(xyz, [[1, -2, 3], [40, 50, -60]])


@pytest.mark.parametrize("north", ["f8", "f4"])
def test_points_far_from_the_origin_of_a_map_keep_their_millimetres(family, north):
    """UTM: five million metres north of the equator, where float32 counts in half metres."""
    layout = {"names": ["x", "y", "z"], "formats": ["<f8", f"<{north}", "<f4"]}
    records = np.zeros(2, layout)
    records["x"], records["y"], records["z"] = [5_400_000.123, 5_400_000.124], 500_000.5, 0.1
    datatype, at = (8, 16) if north == "f8" else (7, 12)
    fields = fields_of(family, ("x", 0, 8, 1), ("y", 8, datatype, 1), ("z", at, 7, 1))
    step = records.itemsize
    xyz, _ = cloud_to_timed_xyz(cloud(family, fields, records.tobytes(), 2, point_step=step))
    assert xyz.dtype == np.float64
    assert xyz[:, 0].tolist() == [5_400_000.123, 5_400_000.124]
    assert xyz[:, 1].tolist() == [500_000.5] * 2
    assert xyz[:, 2].tolist() == [np.float32(0.1)] * 2


def test_fields_in_another_order_with_holes_and_row_padding(family):
    """Two rows of two points of 24 bytes, 5 bytes after each row; z before y, a ring at 20."""
    dtype = np.dtype(
        {
            "names": ["x", "z", "y", "ring"],
            "formats": ["<f4", "<f4", "<f8", "<u2"],
            "offsets": [0, 4, 8, 20],
            "itemsize": 24,
        }
    )
    records = np.zeros((2, 2), dtype)
    records["x"], records["y"], records["z"] = [[1, 2], [3, 4]], [[5, 6], [7, 8]], 9
    records["ring"] = [[10, 11], [12, 13]]
    data = b"".join(row.tobytes() + b"\xff" * 5 for row in records)
    fields = fields_of(family, ("x", 0, 7, 1), ("z", 4, 7, 1), ("y", 8, 8, 1), ("ring", 20, 4, 1))
    message = cloud(family, fields, data, 2, height=2, point_step=24, row_step=53)
    np.testing.assert_array_equal(
        cloud_to_timed_xyz(message)[0], [[1, 5, 9], [2, 6, 9], [3, 7, 9], [4, 8, 9]]
    )
    points = cloud_to_points(message)
    assert points["ring"].tolist() == [10, 11, 12, 13]
    assert points["ring"].dtype == np.uint16
    assert points["y"].dtype == np.float64


def test_a_field_of_several_values(family):
    values = np.arange(8, dtype="<f4")
    fields = fields_of(family, ("normal", 4, 7, 3))
    points = cloud_to_points(cloud(family, fields, values.tobytes(), 2))
    np.testing.assert_array_equal(points["normal"], [[1, 2, 3], [5, 6, 7]])


def test_points_that_are_not_finite_are_left_out(family):
    values = np.array([[1, 2, 3, 0], [NAN, 1, 1, 0], [1, INF, 1, 0], [4, 5, 6, 0]], "<f4")
    message = cloud(family, xyz_fields(family), values.tobytes(), 4)
    np.testing.assert_array_equal(cloud_to_timed_xyz(message)[0], [[1, 2, 3], [4, 5, 6]])


def test_an_empty_cloud(family):
    message = cloud(family, xyz_fields(family), b"", 0)
    points, stamps_ns = cloud_to_timed_xyz(message)
    assert points.shape == (0, 3)
    assert stamps_ns is None


def test_refuses_what_is_no_cloud_of_points(family):
    data = np.zeros(8, "<f4").tobytes()
    fields = fields_of(family, ("x", 0, 7, 1), ("y", 4, 7, 1), ("range", 8, 7, 1))
    with pytest.raises(MessageError, match=r"no field z \(its fields: x, y, range\)"):
        cloud_to_timed_xyz(cloud(family, fields, data, 2))
    with pytest.raises(MessageError, match="has 32 bytes, expected 48"):
        cloud_to_timed_xyz(cloud(family, xyz_fields(family), data, 3))
    with pytest.raises(MessageError, match="row_step 16, expected at least width 2"):
        cloud_to_timed_xyz(cloud(family, xyz_fields(family), data, 2, height=2, row_step=16))
    with pytest.raises(MessageError, match="datatype 9"):
        cloud_to_timed_xyz(cloud(family, fields_of(family, ("x", 0, 9, 1)), data, 2))
    with pytest.raises(MessageError, match="'z' at 13 goes beyond point_step 16"):
        fields = fields_of(family, ("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 13, 7, 1))
        cloud_to_timed_xyz(cloud(family, fields, data, 2))


def test_times_belong_to_the_points_that_are_kept(family):
    records = np.zeros(3, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("t", "<u4")])
    records["x"], records["t"] = [1, NAN, 3], [0, 50_000_000, 100_000_000]
    fields = [*xyz_fields(family), *fields_of(family, ("t", 12, 6, 1))]
    points, stamps_ns = cloud_to_timed_xyz(cloud(family, fields, records.tobytes(), 3))
    assert points[:, 0].tolist() == [1, 3]
    assert stamps_ns.tolist() == [STAMP_NS, STAMP_NS + 100_000_000]


@pytest.mark.parametrize("no_time", [0.0, NAN])
def test_points_without_a_return_are_no_points_and_their_times_do_not_count(family, no_time):
    """An organised cloud of an absolute clock: what nothing came back from is all zero, or NaN."""
    layout = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("timestamp", "<f8")]
    records = np.zeros(4, layout)
    records["x"][[0, 3]], records["z"][2] = [1, 3], 0.0005
    records["timestamp"] = no_time
    records["timestamp"][[0, 3]] = [1.6e9 + 0.125, 1.6e9 + 0.225]
    fields = [*xyz_fields(family), *fields_of(family, ("timestamp", 12, 8, 1))]
    message = cloud(family, fields, records.tobytes(), 2, height=2, point_step=20)
    points, stamps_ns = cloud_to_timed_xyz(message)
    np.testing.assert_array_equal(points, [[1, 0, 0], [3, 0, 0]])
    assert (stamps_ns - 1_600_000_000 * SECOND) // 1_000_000 == pytest.approx([125, 225], abs=1)


def test_a_field_named_twice_is_read_where_it_comes_first(family):
    """Some drivers list a field again for what fills the point up."""
    values = np.array([[1, 2, 3, 9], [4, 5, 6, 9]], "<f4")
    fields = [*xyz_fields(family), *fields_of(family, ("x", 12, 7, 1), ("", 12, 7, 1))]
    points = cloud_to_points(cloud(family, fields, values.tobytes(), 2))
    assert list(points) == ["x", "y", "z"]
    assert points["x"].tolist() == [1, 4]


def test_a_scan_of_which_nothing_came_back_has_no_times(family):
    records = np.zeros(2, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("t", "<u4")])
    records["t"] = [1000, TENTH]
    fields = [*xyz_fields(family), *fields_of(family, ("t", 12, 6, 1))]
    points, stamps_ns = cloud_to_timed_xyz(cloud(family, fields, records.tobytes(), 2))
    assert points.shape == (0, 3)
    assert stamps_ns is None


@pytest.mark.parametrize(("name", "seen_until"), [("offset_time", 10), ("t", 10), ("t", 100)])
def test_points_without_a_return_still_tell_how_long_the_scan_lasts(family, name, seen_until):
    """A scan of 0.1 s in nanoseconds, of whose start alone, 0.9 ms or 9.9 ms, something came."""
    layout = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), (name, "<u4")]
    records = np.zeros(1001, layout)
    records["x"][:seen_until], records[name] = 1.0, 100_000 * np.arange(1001)
    fields = [*xyz_fields(family), *fields_of(family, (name, 12, 6, 1))]
    points, stamps_ns = cloud_to_timed_xyz(cloud(family, fields, records.tobytes(), 1001))
    assert len(points) == seen_until
    assert stamps_ns.tolist() == [STAMP_NS + 100_000 * i for i in range(seen_until)]


# A scan of 0.1 s as drivers tell it, and when its three points were measured from the header on.
TENTH = SECOND // 10
DRIVERS = {
    "velodyne, float32 seconds": ("time", np.array([0, 0.05, 0.1], "f4"), [0, TENTH // 2, TENTH]),
    "counted back from the end": (
        "time",
        np.array([-0.1, -0.05, 0], "f4"),
        [-TENTH, -TENTH // 2, 0],
    ),
    "ouster, uint32 nanoseconds": ("t", np.array([0, 5e7, 1e8], "u4"), [0, TENTH // 2, TENTH]),
    "uint32 microseconds": ("t", np.array([0, 5e4, 1e5], "u4"), [0, TENTH // 2, TENTH]),
    "livox, uint32 nanoseconds": (
        "offset_time",
        np.array([0, 5e7, 1e8], "u4"),
        [0, TENTH // 2, TENTH],
    ),
    "autoware, uint32 nanoseconds": (
        "time_stamp",
        np.array([0, 5e7, 1e8], "u4"),
        [0, TENTH // 2, TENTH],
    ),
    "float nanoseconds": ("t", np.array([0, 5e7, 1e8], "f8"), [0, TENTH // 2, TENTH]),
    "hesai, float64 seconds since 1970": (
        "timestamp",
        np.array([1.6e9 + 0.123456789, 1.6e9 + 0.173456789, 1.6e9 + 0.223456789]),
        [0, TENTH // 2, TENTH],
    ),
    "uint64 nanoseconds since 1970": (
        "timestamp",
        np.array([STAMP_NS, STAMP_NS + 50_000_001, STAMP_NS + TENTH], "u8"),
        [0, 50_000_001, TENTH],
    ),
    "livox, float64 nanoseconds since 1970": (
        "timestamp",
        np.array([STAMP_NS, STAMP_NS + TENTH // 2, STAMP_NS + TENTH], "f8"),
        [0, TENTH // 2, TENTH],
    ),
}


@pytest.mark.parametrize("driver", DRIVERS)
def test_times_as_drivers_tell_them(driver):
    name, values, expected_ns = DRIVERS[driver]
    stamps_ns = point_stamps({name: values}, STAMP_NS)
    assert stamps_ns.dtype == np.int64
    # What a float64 of nanoseconds or seconds since 1970, or a float32 second, resolves.
    tolerance_ns = 0 if values.dtype.kind == "u" else 300
    assert abs(stamps_ns - STAMP_NS - np.array(expected_ns)).max() <= tolerance_ns


def test_offsets_of_a_simulation_that_has_just_begun():
    """At 0.2 s both readings make a scan of 0.1 s; the header's stamp is the first point's."""
    stamps_ns = point_stamps({"time": np.array([0, 0.1], "f4")}, 200_000_000)
    assert abs(stamps_ns - np.array([200_000_000, 300_000_000])).max() < 10
    stamps_ns = point_stamps({"time": np.array([0.2, 0.3], "f8")}, 200_000_000)
    assert stamps_ns.tolist() == [200_000_000, 300_000_000]


def test_a_short_piece_of_an_ouster_scan_is_not_read_as_microseconds():
    """Its `t` is in nanoseconds, as the fields beside it tell: 0.5 ms, which nothing smears."""
    ouster = {name: np.zeros(2, "u2") for name in ("ring", "range", "reflectivity")}
    assert point_stamps({"t": np.array([0, 500_000], "u4"), **ouster}, STAMP_NS) is None
    stamps_ns = point_stamps({"t": np.array([0, TENTH], "u4"), **ouster}, STAMP_NS)
    assert stamps_ns.tolist() == [STAMP_NS, STAMP_NS + TENTH]


@pytest.mark.parametrize("length_ns", [900_000, 300_000])
def test_a_short_piece_of_a_livox_scan_is_not_read_as_microseconds(length_ns):
    assert point_stamps({"offset_time": np.array([0, length_ns], "u4")}, STAMP_NS) is None


@pytest.mark.parametrize("count", [900_000, 1_500_000, 4_000_000])
def test_what_is_a_scan_in_two_units_is_read_in_neither(count):
    """0.9 ms or 0.9 s; 1.5 ms or 1.5 s; 4 ms or 4 s."""
    for kind in ("u4", "f8"):
        assert point_stamps({"time": np.array([0, count], kind)}, STAMP_NS) is None


@pytest.mark.parametrize(
    ("count", "last_ns"), [(200_000, 200_000_000), (10_000_000, 10_000_000), (TENTH, TENTH)]
)
def test_five_scans_a_second_and_a_hundred_are_told_apart(count, last_ns):
    """0.2 s in microseconds, which no scan of 0.2 ms is; 10 ms in nanoseconds, and none of 10 s."""
    stamps_ns = point_stamps({"time": np.array([0, count], "u4")}, STAMP_NS)
    assert stamps_ns.tolist() == [STAMP_NS, STAMP_NS + last_ns]


def test_absolute_times_of_a_short_piece_have_one_unit():
    """1.5 ms that end at the header's stamp: as microseconds they are not of this century."""
    values = np.array([STAMP_NS - 1_500_000, STAMP_NS], "u8")
    assert point_stamps({"timestamp": values}, STAMP_NS).tolist() == values.tolist()


@pytest.mark.parametrize(
    "fields",
    [
        {"intensity": np.array([1.0, 2.0])},
        {"time": np.zeros(3)},
        {"time": np.array([0.0, NAN, 0.1])},
        {"t": np.array([0, 4_000_000_000], "u4")},
        {"time": np.array([[0.0, 0.1], [0.2, 0.3]])},
        {"timestamp": np.array([5e8, 5e8 + 0.1])},
        {"time": np.array([2.0, 2.1])},
    ],
    ids=[
        "no field",
        "all equal",
        "not finite",
        "four seconds",
        "two values each",
        "of 1985",
        "two seconds off",
    ],
)
def test_times_that_tell_nothing(fields):
    assert point_stamps(fields, STAMP_NS) is None
