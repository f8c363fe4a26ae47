"""Recordings that are damaged or cut off: what is whole is used."""

from __future__ import annotations

import pytest
from drive_samples import MS, STAMPS, START, samples_of
from rosbags.rosbag2 import StoragePlugin

from dpt_ros.bags.reader import BagError
from dpt_ros.bags.samples import SampleError
from dpt_ros.bags.transforms import TransformError


def test_a_recording_that_breaks_off_keeps_what_came_before(tmp_path, recordings):
    stamps = [START + index * 100 * MS for index in range(12)]
    bag = recordings.write_bag(
        tmp_path / "bag", recordings.drive(stamps, size=(64, 48)), StoragePlugin.SQLITE3
    )
    import sqlite3

    (file,) = bag.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE messages SET data = x'00010000ff' WHERE id > 30")
    database.close()
    samples, stream = samples_of(bag)
    assert 8 <= len(samples) < 12
    assert [sample.stamp_ns for sample in samples] == stamps[: len(samples)]
    assert "cannot be read" in stream.info["damage"]
    assert stream.info["damage"] in stream.warnings


def test_a_recording_of_a_robot_that_lost_power(tmp_path, recordings):
    """Cut off within its last chunk, without metadata, zeros behind: what is whole is used."""
    stamps = [START + index * 100 * MS for index in range(40)]
    messages = recordings.drive(stamps, size=(320, 240))
    bag = recordings.write_bag(tmp_path / "bag", messages)
    (file,) = bag.glob("*.mcap")
    whole = file.read_bytes()
    (bag / "metadata.yaml").unlink()
    for tail in (b"", bytes(5000)):
        file.write_bytes(whole[: len(whole) * 3 // 4] + tail)
        samples, stream = samples_of(bag)
        assert 10 < len(samples) < 31
        assert [sample.stamp_ns for sample in samples] == stamps[: len(samples)]
        assert "is cut off" in stream.info["damage"]
        assert stream.info["damage"] in stream.warnings


def test_a_recording_that_cannot_be_opened(tmp_path, recordings):
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive(STAMPS))
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(BagError, match=r"nothing of it is whole: .* is cut off: .*mcap recover"):
        samples_of(bag)
    with pytest.raises(BagError, match="there is no recording"):
        samples_of(tmp_path / "nowhere")


def split(bag, recordings, folder, static):
    """Add a second file, of a later drive, to a recording; its metadata.yaml doesn't list it."""
    later = [stamp + 60_000 * MS for stamp in STAMPS]
    other = recordings.write_bag(folder, recordings.drive(later, static=static))
    metadata = (bag / "metadata.yaml").read_text()
    (file,) = bag.glob("*.mcap")
    (bag / "metadata.yaml").write_text(metadata.replace(file.name, "drive_0.mcap"))
    file.rename(bag / "drive_0.mcap")
    (part,) = other.glob("*.mcap")
    return part.rename(bag / "drive_1.mcap")


def test_files_that_the_metadata_does_not_list_are_told_to_the_data_set(
    tmp_path, recordings, drive
):
    split(drive, recordings, tmp_path / "later", static=False)
    samples, stream = samples_of(drive)
    assert len(samples) == 2 * len(STAMPS)
    assert "does not list drive_1.mcap" in stream.warnings[0]


def test_a_later_file_of_a_split_recording_alone_lacks_what_comes_once(tmp_path, recordings, drive):
    part = split(drive, recordings, tmp_path / "later", static=False)
    told = f"there is no transform.*drive_1.mcap is one file of a split .*give the folder, {drive}"
    with pytest.raises(TransformError, match=told):
        samples_of(part)
    with pytest.raises(SampleError, match="fewer than 100000 points"):
        samples_of(part.with_name("drive_0.mcap"), min_points=100_000)
    part.rename(drive / "run_1.mcap")
    with pytest.raises(TransformError) as error:
        samples_of(drive / "run_1.mcap")
    assert "split" not in str(error.value)
