"""Sqlite3 recordings that were not closed, and those whose paths mean something else in a URI."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from drive_samples import MS, START
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dpt_ros.bags.reader import BagError, BagReader

STAMPS = [START + index * 100 * MS for index in range(10)]
PICTURES = "/camera/image_raw"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def bag(tmp_path, recordings):
    messages = recordings.drive(STAMPS, size=(16, 12))
    return recordings.write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3)


def storage_file(folder: Path) -> Path:
    return next(file for file in folder.iterdir() if file.name.endswith((".db3", ".db3.zstd")))


def kill_recorder(folder: Path, written: int) -> Path:
    """Leave a recording as one whose recorder was killed; returns its file.

    Args:
        folder: a recording that was closed.
        written: how many of its messages are in the file; the others are in the log beside it.
    """
    file = storage_file(folder)
    going_on = file.with_name("going_on.db3")
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT * FROM messages ORDER BY timestamp").fetchall()
        database.execute("DELETE FROM messages")
        database.commit()
        database.execute("VACUUM")
    file.rename(going_on)
    with closing(sqlite3.connect(going_on)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA wal_autocheckpoint=0")
        places = ",".join("?" * len(rows[0]))
        for part, end in (
            (rows[:written], "PRAGMA wal_checkpoint(TRUNCATE)"),
            (rows[written:], ""),
        ):
            database.executemany(f"INSERT INTO messages VALUES ({places})", part)
            database.commit()
            database.execute(end)
        shutil.copyfile(going_on, file)
        shutil.copyfile(f"{going_on}-wal", f"{file}-wal")
    for left in folder.glob("going_on*"):
        left.unlink()
    return file


def counts(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with BagReader(path) as reader:
        for message in reader.messages():
            found[message.topic] = found.get(message.topic, 0) + 1
        assert found == {topic.name: topic.count for topic in reader.topics if topic.count}
    return found


@pytest.mark.parametrize("written", [0, 15])
@pytest.mark.parametrize("metadata", ["none", "old", "whole"])
def test_what_is_only_in_the_log_is_read(bag, temporary, caplog, written, metadata):
    expected = counts(bag)
    file = kill_recorder(bag, written)
    if metadata == "none":
        (bag / "metadata.yaml").unlink()
    elif metadata == "old":
        values = yaml.safe_load((bag / "metadata.yaml").read_text())
        information = values["rosbag2_bagfile_information"]
        information |= {"message_count": 0, "topics_with_message_count": []}
        (bag / "metadata.yaml").write_text(yaml.safe_dump(values))
    before = {path: path.read_bytes() for path in bag.iterdir()}
    with caplog.at_level(logging.WARNING):
        assert counts(bag) == expected
    assert expected[PICTURES] == 10
    (told,) = caplog.messages
    assert f'`sqlite3 {file} "PRAGMA wal_checkpoint(TRUNCATE)"`' in told
    assert {path: path.read_bytes() for path in bag.iterdir()} == before
    assert not any(temporary.iterdir())
    assert counts(file) == expected


def test_a_split_that_was_begun_last_is_read_with_the_others(bag, tmp_path, recordings):
    """The metadata names the first file only; most messages of the second are in a log."""
    later = [stamp + 60_000 * MS for stamp in STAMPS]
    other = recordings.write_bag(
        tmp_path / "later", recordings.drive(later, size=(16, 12)), StoragePlugin.SQLITE3
    )
    for file in (kill_recorder(other, 3), Path(f"{storage_file(other)}-wal")):
        shutil.copyfile(file, bag / file.name)
    (bag / "copy_of_another.db3").write_bytes((bag / "bag.db3").read_bytes())
    assert counts(bag)[PICTURES] == 20


def test_a_log_beside_damaged_metadata_is_read_too(bag):
    kill_recorder(bag, 15)
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    found = 0
    with BagReader(bag) as reader, pytest.raises(BagError, match="everything else was read"):
        for message in reader.messages():
            found += message.topic == PICTURES
    assert found == 10


def test_without_room_for_the_copy_it_is_said_how_to_merge_it(bag, temporary, monkeypatch):
    file = kill_recorder(bag, 15)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(BagError, match="0 MB are free") as error, BagReader(bag):
        pass
    assert f'`sqlite3 {file} "PRAGMA wal_checkpoint(TRUNCATE)"`' in str(error.value)
    assert "TMPDIR" in str(error.value)
    assert not any(temporary.iterdir())


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(bag, temporary, monkeypatch):
    kill_recorder(bag, 15)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(BagError, match=r"No space left.*make room"), BagReader(bag):
        pass
    assert not any(temporary.iterdir())


def test_a_damaged_file_with_a_log_is_told(bag):
    file = kill_recorder(bag, 15)
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(BagError, match="bag cannot be read"), BagReader(bag):
        pass
    Path(f"{file}-wal").write_bytes(b"no log" * 1000)
    with pytest.raises(BagError, match="in bag.db3-wal, cannot be merged"), BagReader(bag):
        pass


def test_a_log_of_nothing_whole_costs_nothing_else(bag):
    file = kill_recorder(bag, 15)
    Path(f"{file}-wal").write_bytes(b"no log" * 1000)
    assert sum(counts(bag).values()) == 15


def copy_bag(bag: Path, folder: Path, mode: CompressionMode | None = None) -> Path:
    """A copy whose files are named after its folder, as a recorder names them; returns it."""
    plain = folder.with_name("plain")
    writer = Writer(plain, version=9, storage_plugin=StoragePlugin.SQLITE3)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    store = get_typestore(Stores.ROS2_HUMBLE)
    with BagReader(bag) as reader, writer:
        to = {
            topic.name: writer.add_connection(topic.name, topic.type, typestore=store)
            for topic in reader.topics
        }
        for record in reader.records():
            writer.write(to[record.topic], record.recorded_ns, record.data)
    file, metadata = storage_file(plain), plain / "metadata.yaml"
    renamed = file.with_name(file.name.replace("plain", folder.name))
    file.rename(renamed)
    values = yaml.safe_load(metadata.read_text())
    values["rosbag2_bagfile_information"]["relative_file_paths"] = [renamed.name]
    metadata.write_text(yaml.safe_dump(values))
    return plain.rename(folder)


@pytest.mark.parametrize("name", ["lab #2", "run?1", "100%", "a%23b"])
@pytest.mark.parametrize("mode", [None, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_path_that_means_something_else_in_a_uri(tmp_path, temporary, bag, name, mode):
    folder = copy_bag(bag, tmp_path / name, mode)
    assert counts(folder) == counts(bag)
    if mode is None:
        assert counts(storage_file(folder)) == counts(bag)
    assert not any(temporary.iterdir())


def test_messages_compressed_one_by_one_are_read_from_the_log_too(tmp_path, bag, temporary):
    folder = copy_bag(bag, tmp_path / "lab #2", CompressionMode.MESSAGE)
    kill_recorder(folder, 15)
    assert counts(folder) == counts(bag)
    assert not any(temporary.iterdir())


def test_a_folder_above_and_two_slashes_do_no_harm(tmp_path, bag, monkeypatch):
    above = tmp_path / "a#b"
    above.mkdir()
    shutil.copytree(bag, above / "bag")
    monkeypatch.chdir(above)
    for path in (above / "bag", Path("bag"), Path(f"/{bag}")):
        assert counts(path)[PICTURES] == 10


def test_where_there_can_be_no_links_the_file_is_copied(tmp_path, bag, temporary, monkeypatch):
    folder = tmp_path / "a#b"
    bag.rename(folder)

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert counts(folder)[PICTURES] == 10
    assert not any(temporary.iterdir())


def test_an_mcap_recording_is_opened_where_it_is(tmp_path, recordings, temporary):
    folder = recordings.write_bag(tmp_path / "a#b", recordings.drive(STAMPS, size=(16, 12)))
    with BagReader(folder) as reader:
        assert reader.topics_of(["sensor_msgs/msg/Image"])[0].count == 10
        assert not any(temporary.iterdir())
