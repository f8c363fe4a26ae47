"""Pictures and scans that give no sample are counted with their reason, and the rest is kept."""

from __future__ import annotations

import numpy as np
import pytest
from drive_samples import MS, STAMPS, START, samples_of

from dpt_ros.bags.samples import SampleError


def test_stamps_that_never_pair_tell_the_smallest_gap(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    for topic, _, message in messages:
        if topic == "/points":
            message.header.stamp.sec += 7
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(
        SampleError, match=r"4 x scan without a picture.*gap .* is 6\.700 s.*clocks"
    ):
        samples_of(bag)
    assert len(samples_of(bag, max_gap_s=7.0)[0]) >= 1


def test_a_scan_that_never_falls_in_the_picture(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    behind = recordings.wall(5.0) * [-1, 1, 1]
    messages = [
        (topic, ns, recordings.cloud(ns, behind) if topic == "/points" else m)
        for topic, ns, m in messages
    ]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(SampleError, match=r"4 x fewer than 1 points.*400 points, 0 of them in fro"):
        samples_of(bag)


def test_a_cloud_without_xyz(tmp_path, recordings):
    records = np.zeros(4, [("x", "<f4"), ("range", "<f4")])
    messages = [
        (topic, ns, recordings.cloud_of_records(ns, records) if topic == "/points" else m)
        for topic, ns, m in recordings.drive(STAMPS)
    ]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(SampleError, match=r"4 x scan that cannot be read .*no field y, z"):
        samples_of(bag)


def test_what_cannot_be_used_is_counted_and_the_rest_is_kept(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    pictures = [m for topic, _, m in messages if topic == "/camera/image_raw"]
    pictures[1].encoding = "bogus"
    clouds = [m for topic, _, m in messages if topic == "/points"]
    clouds[2].fields.pop()
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.stamp_ns for sample in samples] == [STAMPS[0], STAMPS[3]]
    assert stream.rejected == {
        "picture or camera_info that cannot be used": 1,
        "scan that cannot be read": 1,
    }
    assert "bogus" in stream.info["examples"]["picture or camera_info that cannot be used"]


@pytest.mark.parametrize("topic", ["/points", "/camera/image_raw"])
@pytest.mark.parametrize("stamp_s", [2_000_000_000, 0])
def test_one_damaged_stamp_costs_its_own_frame_alone(tmp_path, recordings, topic, stamp_s):
    stamps = [START + index * 100 * MS for index in range(12)]
    messages = recordings.drive(stamps)
    damaged = [message for name, _, message in messages if name == topic][4]
    damaged.header.stamp.sec = stamp_s
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.stamp_ns for sample in samples] == [*stamps[:4], *stamps[5:]]
    assert stream.rejected["stamp more than a minute from where it should be"] == 1
    assert topic in stream.info["examples"]["stamp more than a minute from where it should be"]


@pytest.mark.parametrize("stamp_s", [2**31 - 1, 0])
def test_one_damaged_stamp_in_tf_costs_one_transform(tmp_path, recordings, stamp_s):
    """So many transforms that old ones are forgotten: those before a stamp far ahead are old."""
    stamps = [START + index * 100 * MS for index in range(12)]
    messages = recordings.drive(stamps, static=False)
    mount = ("lidar", "camera", np.linalg.inv(recordings.OPTICAL_FROM_LIDAR))
    robot = ("odom", "lidar", np.eye(4))
    for ns in range(START, START + 1200 * MS, 10 * MS):
        messages.append(("/tf", ns, recordings.transforms(ns, mount, robot)))
    messages[36 + 20][2].transforms[1].header.stamp.sec = stamp_s
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.stamp_ns for sample in samples] == stamps
    reason = "stamp more than a minute from where it should be"
    assert stream.rejected == {reason: 1}
    assert "/tf odom <- lidar: " in stream.info["examples"][reason]


@pytest.mark.parametrize("count", [1, 4])
def test_transforms_of_another_clock_are_believed(tmp_path, recordings, count):
    """Recorded with simulated time: all stamps are far from the time of recording."""
    stamps = [5_000 * MS + index * 100 * MS for index in range(count)]
    mount = ("lidar", "camera", np.linalg.inv(recordings.OPTICAL_FROM_LIDAR))
    messages = [*recordings.drive(stamps, static=False)]
    messages += [("/tf", ns, recordings.transforms(ns, mount)) for ns in stamps]
    messages = [(topic, ns + START, message) for topic, ns, message in messages]
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.stamp_ns for sample in samples] == stamps
    assert stream.rejected == {}


@pytest.mark.parametrize(
    ("topic", "stamp_s", "match"),
    [
        ("/camera/image_raw", 0, "the stamps of /camera/image_raw are 0"),
        ("/points", 17, "the stamps of /points are of another clock than the recording's"),
    ],
)
def test_stamps_that_no_gap_could_span_name_their_topic(
    tmp_path, recordings, topic, stamp_s, match
):
    messages = recordings.drive([START + index * 100 * MS for index in range(12)])
    for name, _, message in messages:
        if name == topic:
            message.header.stamp.sec = stamp_s
            message.header.stamp.nanosec = message.header.stamp.nanosec if stamp_s else 0
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(
        SampleError, match=rf"{match}; let the driver fill in header\.stamp"
    ) as told:
        samples_of(bag)
    assert "--max-gap-s" not in str(told.value)


def test_stamps_of_two_other_clocks_are_told(tmp_path, recordings):
    messages = recordings.drive([START + index * 100 * MS for index in range(12)])
    for name, _, message in messages:
        if name in ("/points", "/camera/image_raw"):
            message.header.stamp.sec -= 3600 if name == "/points" else 7200
    bag = recordings.write_bag(tmp_path / "bag", messages)
    match = "the stamps of /camera/image_raw and /points are of different clocks"
    with pytest.raises(SampleError, match=match):
        samples_of(bag)


def test_pictures_of_one_stamp_give_one_sample(tmp_path, recordings):
    messages = recordings.drive([STAMPS[0]] * 3)
    for index, (topic, _, message) in enumerate(messages):
        messages[index] = (topic, STAMPS[0] + index, message)
    samples, stream = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert len(samples) == 1
    assert stream.rejected["picture that is not newer than the one before"] >= 1


def test_scans_recorded_too_late_quote_no_gap_to_pictures_that_are_gone(tmp_path, recordings):
    """Pictures of 10 Hz, and scans of their very stamps, recorded three seconds later."""
    stamps = [START + index * 100 * MS for index in range(60)]
    messages = [
        (topic, ns + 3000 * MS if topic == "/points" else ns, message)
        for topic, ns, message in recordings.drive(stamps, size=(8, 6))
        if topic != "/points" or ns < stamps[25]
    ]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    with pytest.raises(SampleError, match=r"25 scans came so long after .* sooner") as raised:
        samples_of(bag)
    assert "25 x scan that came too long after its picture" in str(raised.value)
    assert "smallest gap" not in str(raised.value)


def test_rare_scans_stamped_at_the_start_of_their_sweep(tmp_path, recordings):
    """A LiDAR of 1 Hz: every scan is recorded a second after its stamp."""
    stamps = [START + index * 100 * MS for index in range(60)]
    messages = [
        (topic, ns + 1000 * MS if topic == "/points" else ns, message)
        for topic, ns, message in recordings.drive(stamps)
        if topic != "/points" or (ns - START) % (1000 * MS) == 0
    ]
    samples, _ = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.stamp_ns for sample in samples] == stamps[10::10]


@pytest.mark.parametrize("frame", ["camera_link", "camera_optical_frame"])
def test_a_frame_that_is_not_optical_is_asked_about(tmp_path, recordings, frame):
    """Drivers write the camera's own frame in the header, whose x is forward as the LiDAR's is."""
    messages = recordings.drive(STAMPS, static=False)
    for topic, _, message in messages:
        if topic.startswith("/camera"):
            message.header.frame_id = frame
    mount = recordings.transforms(STAMPS[0], ("lidar", frame, np.eye(4)))
    bag = recordings.write_bag(tmp_path / "bag", [*messages, ("/tf_static", STAMPS[0], mount)])
    with pytest.raises(SampleError, match=" 0 in the picture") as told:
        samples_of(bag)
    is_asked = "'camera_link' an optical one, with z forward and y down" in str(told.value)
    assert is_asked == (frame == "camera_link")
