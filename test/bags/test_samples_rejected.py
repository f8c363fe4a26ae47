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
