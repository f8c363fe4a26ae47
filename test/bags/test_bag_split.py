"""Recordings in several files, as a killed recorder leaves them: metadata.yaml missing or wrong."""

from __future__ import annotations

import functools
import shutil

import pytest
import yaml
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from test_bag_reader import IMAGE, PLUGINS, check_refused, image, storage_file, write_bag

from dpt_ros.bags.reader import BagReader, BagTopic


def split_without_metadata(folder, plugin):
    """A recording in three files as a recorder leaves it that is killed, a picture in each."""
    folder.mkdir()
    for index in range(3):
        maker = functools.partial(lambda number, _: image(number), index)
        part = write_bag(folder / "part", [("/image", IMAGE)], 1, plugin, maker=maker)
        storage_file(part).rename(folder / f"drive_{index}{storage_file(part).suffix}")
        shutil.rmtree(part)
    return folder


@pytest.mark.parametrize("plugin", PLUGINS, ids=["mcap", "sqlite3"])
def test_a_split_recording_without_metadata_is_read_as_one(tmp_path, plugin, caplog):
    bag = split_without_metadata(tmp_path / "bag", plugin)
    with BagReader(bag) as reader:
        assert reader.topics == (BagTopic("/image", IMAGE, 3),)
        assert {message.message.data[0] for message in reader.images()} == {0, 1, 2}
    assert "has no metadata.yaml: its 3 files are read as one" in caplog.text


def test_the_last_file_of_a_split_recording_may_be_cut_off_or_empty(tmp_path):
    bag = split_without_metadata(tmp_path / "bag", StoragePlugin.MCAP)
    last = bag / "drive_2.mcap"
    for size in (100, 0):
        with last.open("r+b") as file:
            file.truncate(size)
        with BagReader(bag) as reader:
            assert {message.message.data[0] for message in reader.images()} == {0, 1}
            assert reader.is_cut_off == (size > 0)


@pytest.mark.parametrize("name", ["drive_3", "drive", "other_2"])
def test_files_that_are_not_of_one_recording_are_not_read_as_one(tmp_path, name):
    bag = split_without_metadata(tmp_path / "bag", StoragePlugin.MCAP)
    (bag / "drive_2.mcap").rename(bag / f"{name}.mcap")
    check_refused(bag, "no metadata.yaml and 3 storage files.*ros2 bag reindex")


def test_the_last_file_is_not_taken_for_a_recording_whose_others_are_packed(tmp_path):
    """A recorder that packs its files when they are full, and was killed."""
    bag = split_without_metadata(tmp_path / "bag", StoragePlugin.MCAP)
    for index in range(2):
        (bag / f"drive_{index}.mcap").rename(bag / f"drive_{index}.mcap.zstd")
    check_refused(bag, r"no metadata.yaml and 3 storage files.*unzstd \*.zstd")


def split_with_metadata(folder, plugin, listed, counts=True):
    """The same, and a metadata.yaml that lists the first files, with or without their counts."""
    part = write_bag(folder.with_name("one"), [("/image", IMAGE)], listed, plugin)
    values = yaml.safe_load((part / "metadata.yaml").read_text())
    bag = split_without_metadata(folder, plugin)
    information = values["rosbag2_bagfile_information"]
    suffix = storage_file(bag).suffix
    information["relative_file_paths"] = [f"drive_{index}{suffix}" for index in range(listed)]
    if not counts:
        information |= {"message_count": 0, "topics_with_message_count": []}
    (bag / "metadata.yaml").write_text(yaml.safe_dump(values))
    return bag


def values_of(bag):
    """The pictures' values, and the one warning."""
    with BagReader(bag) as reader:
        read = {int(message.message.data[0]) for message in reader.images()}
        assert reader.topics[0].count == len(read)
        (told,) = reader.warnings
    return read, told


@pytest.mark.parametrize("plugin", PLUGINS, ids=["mcap", "sqlite3"])
def test_files_that_the_metadata_does_not_list_are_read_and_told(tmp_path, plugin, caplog):
    bag = split_with_metadata(tmp_path / "my bag", plugin, 2)
    (bag / f"drive_3{storage_file(bag).suffix}").touch()  # the recorder had just begun it
    read, told = values_of(bag)
    assert read == {0, 1, 2}
    last = f"drive_2{storage_file(bag).suffix}"
    assert f"metadata.yaml does not list {last}, read all the same" in told
    assert f"`ros2 bag reindex '{bag}'`" in told
    assert caplog.messages == [told]


def test_a_file_of_another_recording_is_told_and_not_read(tmp_path):
    bag = split_with_metadata(tmp_path / "bag", StoragePlugin.MCAP, 2)
    (bag / "drive_2.mcap").rename(bag / "other.mcap")
    read, told = values_of(bag)
    assert read == {0, 1}
    assert "does not list other.mcap, not read: after `ros2 bag reindex" in told
    assert "move elsewhere what is of another recording" in told


def test_a_file_of_another_recording_is_not_read_in_place_of_what_is_not_counted(tmp_path):
    bag = split_with_metadata(tmp_path / "bag", StoragePlugin.MCAP, 2, counts=False)
    (bag / "drive_2.mcap").rename(bag / "other.mcap")
    with BagReader(bag) as reader:
        assert {int(message.message.data[0]) for message in reader.images()} == {0, 1}
        assert len(reader.warnings) == 2


def test_what_a_player_unpacked_beside_the_files_is_theirs(tmp_path):
    folder, packed = tmp_path / "bag", CompressionMode.FILE
    bag = write_bag(folder, [("/image", IMAGE)], compression=packed)
    (file,) = bag.glob("*.zstd")
    file.with_suffix("").write_bytes(b"unpacked")
    with BagReader(bag) as reader:
        assert len(list(reader.images())) == 3
        assert not reader.warnings


@pytest.mark.parametrize("plugin", PLUGINS, ids=["mcap", "sqlite3"])
@pytest.mark.parametrize("listed", [1, 3])
def test_files_that_the_metadata_counts_nothing_of_are_read(tmp_path, plugin, listed):
    bag = split_with_metadata(tmp_path / "bag", plugin, listed, counts=False)
    read, told = values_of(bag)
    assert read == {0, 1, 2}
    assert "does not list" in told if listed == 1 else "counts no messages" in told
    assert f"`ros2 bag reindex {bag}`" in told


def test_a_recording_without_messages_is_refused_whatever_its_metadata_counts(tmp_path):
    check_refused(write_bag(tmp_path / "bag", [("/image", IMAGE)], 0), "holds no messages")
