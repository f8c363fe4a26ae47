"""Recordings in several files that a recorder left without metadata.yaml when it was killed."""

from __future__ import annotations

import functools
import shutil

import pytest
from rosbags.rosbag2 import StoragePlugin
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
