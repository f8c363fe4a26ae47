"""Recordings of which some bytes are lost: what is whole of them is read, the rest is counted."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import zlib
from pathlib import Path

import pytest
from drive_samples import MS, START, samples_of
from rosbags.rosbag2 import StoragePlugin

from dpt_ros.bags.mcap_scan import scan_mcap
from dpt_ros.bags.reader import BagError, BagReader
from dpt_ros.bags.transforms import TransformError

STAMPS = [START + index * 100 * MS for index in range(30)]
PICTURES, SCANS = "/camera/image_raw", "/points"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, recordings):
    """A drive whose pictures fill several chunks."""
    messages = recordings.drive(STAMPS, size=(320, 240))
    folder = recordings.write_bag(tmp_path_factory.mktemp("whole") / "bag", messages)
    add_checksums(next(folder.glob("*.mcap")))
    return folder


@pytest.fixture
def bag(tmp_path, whole):
    """A copy of it, to damage: the folder, its file, and the file's chunks."""
    folder = tmp_path / "bag"
    folder.mkdir()
    for file in whole.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (file,) = folder.glob("*.mcap")
    return folder, file, chunks_of(file)


def chunks_of(file: Path) -> list[tuple[int, int]]:
    """Start and end of every chunk."""
    content, place, chunks = file.read_bytes(), 8, []
    while content[place] != 0x0F:
        after = place + 9 + struct.unpack_from("<Q", content, place + 1)[0]
        if content[place] == 0x06:
            chunks.append((place, after))
        place = after
    return chunks


def add_checksums(file: Path) -> None:
    """As rosbag2's own recorder writes them, and rosbags does not."""
    content = bytearray(file.read_bytes())
    for start, end in chunks_of(file):
        assert content[start + 37 : start + 41] == bytes(4)  # not compressed
        struct.pack_into("<I", content, start + 33, zlib.crc32(content[start + 49 : end]))
    file.write_bytes(content)


def spoil(file: Path, *places: int) -> None:
    with file.open("r+b") as content:
        for place in places:
            content.seek(place)
            content.write(b"\x5a\xa5" * 8)


def read(path) -> tuple[dict[str, int], str]:
    """How many messages of each topic can be read, and what the reader says of the others."""
    counts: dict[str, int] = {}
    told = ""
    with BagReader(path) as reader:
        try:
            for message in reader.messages():
                counts[message.topic] = counts.get(message.topic, 0) + 1
        except BagError as error:
            told = str(error)
        return counts, told or reader.damage


@pytest.mark.parametrize("which", [0, 2, -1])
@pytest.mark.parametrize("has_index", [True, False])
def test_a_damaged_chunk_costs_its_own_messages(bag, which, has_index):
    folder, file, chunks = bag
    assert len(chunks) > 4
    expected, told = read(folder)
    assert (expected[PICTURES], expected[SCANS], told) == (30, 30, "")
    if not has_index:
        file.write_bytes(file.read_bytes()[:-200])
    spoil(file, sum(chunks[which]) // 2)
    counts, told = read(folder)
    lost = {topic: expected[topic] - counts.get(topic, 0) for topic in expected}
    assert 0 < sum(lost.values()) < 20
    listed = ", ".join(f"{topic} {count}" for topic, count in sorted(lost.items()) if count)
    assert f"1 damaged chunk with {listed} messages" in told
    assert ("is cut off" in told) != has_index


def test_several_damaged_chunks_are_counted_together(bag):
    folder, file, chunks = bag
    spoil(file, *(sum(chunk) // 2 for chunk in chunks[1:4]))
    counts, told = read(folder)
    assert "3 damaged chunks with" in told
    assert f"{PICTURES} {30 - counts[PICTURES]}" in told


def test_a_damaged_length_between_chunks_does_not_hide_those_behind_it(bag):
    folder, file, chunks = bag
    spoil(file, chunks[2][0], sum(chunks[2]) // 2)
    counts, told = read(folder)
    assert 20 < counts[PICTURES] < 30
    assert "bytes that are no whole record" in told


@pytest.mark.parametrize("place", [-36, -400])
def test_a_damaged_index_costs_nothing(bag, place):
    folder, file, _ = bag
    spoil(file, file.stat().st_size + place)
    counts, told = read(folder)
    assert counts[PICTURES] == counts[SCANS] == 30
    assert "is damaged" in told


def test_messages_come_in_order_and_once(bag, whole):
    folder, file, chunks = bag
    with BagReader(whole) as reader:
        expected = [(message.topic, message.stamp_ns) for message in reader.messages()]
    spoil(file, sum(chunks[2]) // 2)
    found = []
    with BagReader(folder) as reader, pytest.raises(BagError, match="everything else was read"):
        for message in reader.messages():
            found.append((message.topic, message.stamp_ns))
    assert 60 < len(found) < len(expected)
    assert found == [each for each in expected if each in set(found)]


def test_two_that_read_at_once_both_get_around_the_damage(bag):
    folder, file, chunks = bag
    spoil(file, sum(chunks[3]) // 2)
    with BagReader(folder) as reader:
        readings = [reader.messages(PICTURES) for _ in range(2)]
        seen = [[next(reading).stamp_ns] for reading in readings]
        for stamps, reading in zip(seen, readings, strict=True):
            with pytest.raises(BagError, match="everything else was read"):
                for message in reading:
                    stamps.append(message.stamp_ns)
    assert 20 < len(seen[0]) < 30
    assert seen[0] == seen[1]


def test_a_reader_that_was_closed_does_not_open_again(bag):
    folder, file, chunks = bag
    spoil(file, sum(chunks[3]) // 2)
    with BagReader(folder) as reader:
        messages = reader.messages(PICTURES)
        next(messages)
    with pytest.raises(BagError, match="is not open"):
        list(messages)


def test_a_file_of_nothing_whole_is_refused(tmp_path, recordings):
    folder = recordings.write_bag(tmp_path / "bag", recordings.drive(STAMPS[:2]))
    (file,) = folder.glob("*.mcap")
    add_checksums(file)
    spoil(file, sum(chunks_of(file)[0]) // 2)
    with pytest.raises(BagError, match="1 damaged chunk"), BagReader(folder) as reader:
        list(reader.messages())


def test_a_scan_of_a_whole_file_finds_nothing(whole):
    (file,) = whole.glob("*.mcap")
    assert scan_mcap(file).damage == ""


def test_messages_that_are_no_messages_are_left_out(tmp_path, recordings):
    """Those before, between and behind them are read."""
    messages = recordings.drive(STAMPS, size=(16, 12))
    folder = recordings.write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3)
    (file,) = folder.glob("*.db3")
    with sqlite3.connect(file) as database:
        pictures = (
            "SELECT messages.id FROM messages JOIN topics ON topic_id = topics.id "
            "WHERE name = ? ORDER BY timestamp LIMIT 3 OFFSET 10"
        )
        database.execute(
            f"UPDATE messages SET data = x'00010000ff' WHERE id IN ({pictures})", [PICTURES]
        )
    database.close()
    counts, told = read(folder)
    assert (counts[PICTURES], counts[SCANS]) == (27, 30)
    assert f"left out: {PICTURES} 3" in told


@pytest.mark.parametrize("metadata", ["", "rosbag2_bagfile_information: ["])
def test_damaged_metadata_costs_nothing(tmp_path, recordings, metadata):
    for plugin in (StoragePlugin.MCAP, StoragePlugin.SQLITE3):
        messages = recordings.drive(STAMPS[:3], size=(16, 12))
        folder = recordings.write_bag(tmp_path / plugin.name, messages, plugin)
        (folder / "metadata.yaml").write_text(metadata)
        counts, told = read(folder)
        assert (counts[PICTURES], counts[SCANS]) == (3, 3)
        assert f"{folder} is damaged" in told


def test_the_files_of_a_split_recording_are_damaged_one_by_one(tmp_path, recordings, bag):
    """The later file is cut off; the first chunk of the earlier one is damaged."""
    folder, file, chunks = bag
    later = [START + 60_000 * MS + stamp - STAMPS[0] for stamp in STAMPS]
    other = recordings.write_bag(tmp_path / "later", recordings.drive(later, size=(320, 240)))
    (second,) = other.glob("*.mcap")
    (folder / "second.mcap").write_bytes(second.read_bytes()[:-5000])
    name = f"- {file.name}"
    metadata = (folder / "metadata.yaml").read_text()
    assert name in metadata
    (folder / "metadata.yaml").write_text(metadata.replace(name, f"{name}\n  - second.mcap"))
    spoil(file, sum(chunks[0]) // 2)
    counts, told = read(folder)
    assert 30 < counts[PICTURES] < 60
    assert "1 damaged chunk" in told
    assert "second.mcap is cut off" in told


def test_a_file_of_another_recording_is_not_read_for_one_that_is_damaged(tmp_path, bag):
    folder, file, chunks = bag
    shutil.copyfile(file, folder / "other.mcap")
    spoil(file, sum(chunks[2]) // 2)
    counts, told = read(folder)
    assert 15 < counts[PICTURES] < 30
    assert "1 damaged chunk" in told and "other.mcap" not in told


def test_samples_are_made_of_what_is_whole(bag):
    """Static transforms and camera_info of the whole recording are read before the pictures."""
    folder, file, chunks = bag
    for which in (-1, 2):
        spoil(file, sum(chunks[which]) // 2)
        samples, stream = samples_of(folder)
        assert 15 < len(samples) < 30
        assert "damaged chunk" in stream.info["damage"]
        assert [told for told in stream.warnings if "odometry" not in told] == [
            stream.info["damage"]
        ]


def test_where_the_transforms_are_lost_the_damage_is_told(bag):
    folder, file, chunks = bag
    spoil(file, sum(chunks[0]) // 2)
    with pytest.raises(TransformError, match="no transform.*1 damaged chunk with"):
        samples_of(folder)
