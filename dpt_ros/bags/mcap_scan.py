"""Look through a damaged mcap file for what is whole of it, and make the index that it lacks.

Chunks are compressed with a checksum, so that one that is damaged shows it, and costs only its own
messages: the index that is made here leaves it out. (mcap.dev, specification.)
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
_MESSAGE_INDEX, _CHUNK_INDEX, _STATISTICS, _DATA_END = 0x07, 0x08, 0x0B, 0x0F
_FIRST_OF_OTHERS = 0x80  # from here on opcodes are for extensions
_HEAD = struct.Struct("<BQ")  # opcode, length of what follows
_FOOTER_SIZE = _HEAD.size + 20 + len(MAGIC)


@dataclass
class McapScan:
    """What is whole of a file, and what is not.

    Attributes:
        end: where the last whole record ends that holds data.
        tail: an index and a footer that make the bytes up to `end` a file.
        damaged_chunks: how many chunks cannot be read.
        lost: messages in them by topic, as far as their own index tells.
        unread_bytes: how much at the file's end, or between records, is no record.
    """

    end: int = 0
    tail: bytes = b""
    damaged_chunks: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    unread_bytes: int = 0

    @property
    def damage(self) -> str:
        """What is lost, for people; "" where nothing is."""
        told = []
        if self.damaged_chunks:
            count = f"{self.damaged_chunks} damaged chunk{'s' * (self.damaged_chunks > 1)}"
            topics = ", ".join(f"{topic} {number}" for topic, number in sorted(self.lost.items()))
            told.append(f"{count} with {topics or 'an unknown number of'} messages")
        if self.unread_bytes:
            told.append(f"{self.unread_bytes} bytes that are no whole record")
        return " and ".join(told)


def scan_mcap(path: Path) -> McapScan:
    """Read through a file, chunk by chunk; as slow as reading all its messages.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _Scan(file, path.stat().st_size).run()


class _Scan:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._found = McapScan(end=len(MAGIC))
        self._known: dict[tuple[int, int], bytes] = {}  # schemas and channels, as they are
        self._index: list[bytes] = []
        self._counts: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._times: list[int] = []
        self._is_chunk_damaged = False

    def run(self) -> McapScan:
        found, is_summary = self._found, False
        for place, opcode, after in self._records():
            is_summary = is_summary or opcode == _DATA_END
            if opcode in (_SCHEMA, _CHANNEL):
                self._keep(opcode, self._read(place + _HEAD.size, after))
            elif opcode == _CHUNK:
                self._look_into_chunk(place, after)
            elif opcode == _MESSAGE_INDEX and self._is_chunk_damaged:
                channel, length = struct.unpack("<HI", self._read(place + _HEAD.size, after)[:6])
                self._lost[channel] += length // 16
            if not is_summary:
                found.end = after
        for channel, count in self._lost.items():
            found.lost[self._topic(channel)] += count
        found.tail = self._tail()
        return found

    def _records(self) -> Iterator[tuple[int, int, int]]:
        """Place, opcode and end of every record that is whole; what is between is counted.

        Bytes that were never written are zeros, which no record begins with.
        """
        starts = self._indexed_chunks()
        place = len(MAGIC)
        while True:
            self._file.seek(place)
            head = self._file.read(_HEAD.size)
            opcode, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            after = place + _HEAD.size + length
            if opcode == _FOOTER:
                return
            is_opcode = 0 < opcode <= _DATA_END or opcode >= _FIRST_OF_OTHERS
            if is_opcode and after <= self._size:
                yield place, opcode, after
                place = after
                continue
            following = min((start for start in starts if start > place), default=self._size)
            self._found.unread_bytes += following - place
            if following == self._size:
                return
            place = following

    def _indexed_chunks(self) -> list[int]:
        """Where the file's own index says that chunks, and the index itself, begin."""
        self._file.seek(max(0, self._size - _FOOTER_SIZE))
        footer = self._file.read()
        if footer[: _HEAD.size] != _HEAD.pack(_FOOTER, 20) or not footer.endswith(MAGIC):
            return []
        summary = place = struct.unpack_from("<Q", footer, _HEAD.size)[0]
        starts = [summary] if summary else []
        while starts and place + _HEAD.size <= self._size - _FOOTER_SIZE:
            self._file.seek(place)
            opcode, length = _HEAD.unpack(self._file.read(_HEAD.size))
            if opcode == _CHUNK_INDEX and length >= 24:
                starts.append(struct.unpack_from("<Q", self._file.read(24), 16)[0])
            place += _HEAD.size + length
        return starts

    def _look_into_chunk(self, place: int, after: int) -> None:
        data = self._read(place + _HEAD.size, after)
        try:
            first, last, size, crc, name_size = struct.unpack_from("<QQQII", data)
            name = data[32 : 32 + name_size].decode()
            (compressed_size,) = struct.unpack_from("<Q", data, 32 + name_size)
            content = data[40 + name_size : 40 + name_size + compressed_size]
            known, counts = _records_of_chunk(_decompressed(content, name, size, crc))
        except Exception:  # damaged data makes the parsers raise anything
            self._found.damaged_chunks += 1
            self._is_chunk_damaged = True
            return
        self._is_chunk_damaged = False
        for opcode, record in known:
            self._keep(opcode, record)
        self._counts.update(counts)
        self._times += [first, last] if counts else []
        offsets, end = b"", after
        for channel, count in counts.items():  # as if there was an index of each right behind
            offsets += struct.pack("<HQ", channel, end)
            end += _HEAD.size + 6 + 16 * count
        entry = struct.pack("<QQQQI", first, last, place, after - place, len(offsets)) + offsets
        entry += struct.pack("<QI", end - after, name_size) + name.encode()
        entry += struct.pack("<QQ", compressed_size, size)
        self._index.append(_HEAD.pack(_CHUNK_INDEX, len(entry)) + entry)

    def _keep(self, opcode: int, record: bytes) -> None:
        number = struct.unpack_from("<H", record)[0] if len(record) > 1 else 0
        self._known.setdefault((opcode, number), _HEAD.pack(opcode, len(record)) + record)

    def _topic(self, channel: int) -> str:
        record = self._known.get((_CHANNEL, channel))
        if record is None:
            return "an unknown topic"
        (size,) = struct.unpack_from("<I", record, _HEAD.size + 4)
        return record[_HEAD.size + 8 : _HEAD.size + 8 + size].decode(errors="replace")

    def _tail(self) -> bytes:
        """Of a file without chunks there is no index: it is read from its beginning."""
        known = [self._known[key] for key in sorted(self._known)]
        kinds = Counter(opcode for opcode, _ in self._known)
        total = sum(self._counts.values())
        values = (total, kinds[_SCHEMA], kinds[_CHANNEL], 0, 0, len(self._index))
        span = (min(self._times, default=0), max(self._times, default=0))
        counts = b"".join(struct.pack("<HQ", *item) for item in sorted(self._counts.items()))
        statistics = struct.pack("<QHIIIIQQI", *values, *span, len(counts)) + counts
        summary = b"".join(known + self._index) + _HEAD.pack(_STATISTICS, len(statistics))
        summary += statistics
        if not self._index and not self._found.damaged_chunks:
            summary = b""
        footer = struct.pack("<QQI", self._found.end if summary else 0, 0, 0)
        return summary + _HEAD.pack(_FOOTER, len(footer)) + footer + MAGIC

    def _read(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(end - start)


def _decompressed(data: bytes, compression: str, size: int, crc: int) -> bytes:
    """A chunk's content; a checksum of 0 is none.

    Raises:
        ValueError: another size or checksum than the chunk's; others, of the decompressors.
    """
    content = DECOMPRESSORS[compression](data, size)
    if len(content) != size:
        raise ValueError(f"got a chunk of {len(content)} bytes, expected {size}")
    if crc and zlib.crc32(content) != crc:
        raise ValueError("the chunk's checksum is another one")
    return content


def _records_of_chunk(content: bytes) -> tuple[list[tuple[int, bytes]], Counter[int]]:
    """Schemas and channels of a chunk, and how many messages each channel has.

    Raises:
        ValueError, struct.error: its records do not fill it.
    """
    known: list[tuple[int, bytes]] = []
    counts: Counter[int] = Counter()
    place = 0
    while place < len(content):
        opcode, length = _HEAD.unpack_from(content, place)
        place, start = place + _HEAD.size + length, place + _HEAD.size
        if opcode == _MESSAGE and length >= 22:
            counts[struct.unpack_from("<H", content, start)[0]] += 1
        elif opcode in (_SCHEMA, _CHANNEL):
            known.append((opcode, content[start:place]))
    if place != len(content):
        raise ValueError(f"got a chunk of {len(content)} bytes, and records up to {place}")
    return known, counts
