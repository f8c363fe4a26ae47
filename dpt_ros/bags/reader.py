"""Read the messages of a rosbag2 recording in order; no ROS installation needed.

Wraps rosbags' AnyReader: mcap and sqlite3, compressed or not, with or without the message
definitions inside. What it adds: errors that say what to do, a folder whose metadata.yaml is
missing, mcap files that were cut off, and stamps from the messages' own headers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from dpt_ros.bags.cut_off import CutOffPath, is_cut_off

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

_LOG = logging.getLogger(__name__)
_STORAGE_SUFFIXES = (".mcap", ".db3")


class BagError(ValueError):
    """A recording is missing, empty or damaged, or has no such topic."""


@dataclass(frozen=True)
class BagTopic:
    """A topic of a recording: its message type ("package/msg/Name") and number of messages."""

    name: str
    type: str
    count: int


class BagMessage(NamedTuple):
    """A message, its topic, and its header's stamp (without a header: when it was recorded)."""

    topic: str
    stamp_ns: int
    message: Any


class BagRecord(NamedTuple):
    """A message as it was recorded: when, and its bytes, which a player may publish as they are."""

    topic: str
    recorded_ns: int
    stamp_ns: int
    message: Any
    data: bytes


class BagReader:
    """A rosbag2 recording, open while used as a context manager.

        with BagReader(path) as bag:
            for topic, stamp_ns, message in bag.messages("/camera/image_rect"):
                ...

    Of an mcap file that was cut off, what is whole is read; `is_cut_off` then says so.

    Args:
        path: the recording's folder, or a single .mcap or .db3 file.

    Raises:
        BagError: on entering, when the recording is missing, empty, damaged or of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.is_cut_off = False
        self._stack = ExitStack()
        self._reader: AnyReader | None = None

    def __enter__(self) -> BagReader:
        storage: Any = _storage_path(self.path)
        file = _only_mcap(storage)
        if file is not None and is_cut_off(file):
            self.is_cut_off = True
            storage = CutOffPath(file)
        # Recordings without message definitions are of Humble or older.
        default_types = get_typestore(Stores.ROS2_HUMBLE)
        try:
            reader = self._stack.enter_context(
                AnyReader([storage], default_typestore=default_types)
            )
        except Exception as error:  # damaged files make the parsers below raise anything
            raise _damaged(self.path, error) from error
        if reader.message_count == 0:
            self._stack.close()
            if self.is_cut_off:
                raise _damaged(self.path, ValueError("cut off before the end of the first chunk"))
            raise BagError(
                f"{self.path} holds no messages: record again, and check `ros2 topic hz`"
            )
        if self.is_cut_off:
            _LOG.warning("%s is cut off: what is whole of it is read", self.path)
        self._reader = reader
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reader = None
        self._stack.close()

    @property
    def topics(self) -> tuple[BagTopic, ...]:
        """All topics, sorted by name."""
        return tuple(
            BagTopic(name, info.msgtype or "", info.msgcount)
            for name, info in sorted(self._open_reader().topics.items())
        )

    def topics_of(self, types: Sequence[str]) -> tuple[BagTopic, ...]:
        """The topics with one of these message types, sorted by name."""
        return tuple(topic for topic in self.topics if topic.type in types)

    def find_topic(self, types: Sequence[str], name: str | None = None) -> str:
        """The topic of one of these types: `name` when it fits, or the only one with messages.

        Raises:
            BagError: no such topic, or several and no name; lists those that fit.
        """
        fitting = self.topics_of(types)
        choices = [topic.name for topic in fitting if topic.count > 0]
        if name is None and len(choices) == 1:
            return choices[0]
        if name is not None and name in [topic.name for topic in fitting]:
            return name
        kinds = " or ".join(types)
        if not choices:
            raise BagError(
                f"{self.path} has no messages of type {kinds}; its topics: {_listed(self.topics)}"
            )
        wanted = "no topic was chosen" if name is None else f"got topic {name!r}"
        raise BagError(
            f"{wanted}: expected one of those of type {kinds} in {self.path}: {_listed(fitting)}"
        )

    def messages(self, *topics: str) -> Iterator[BagMessage]:
        """Messages of these topics (none: of all), one at a time, in the order of recording.

        Raises:
            BagError: at once, an unknown topic or message type; later, damaged data when reached.
        """
        records = self.records(*topics)
        return (BagMessage(record.topic, record.stamp_ns, record.message) for record in records)

    def records(self, *topics: str) -> Iterator[BagRecord]:
        """The same as `messages`, with when each was recorded and its bytes."""
        known = {topic.name for topic in self.topics}
        if missing := [name for name in topics if name not in known]:
            raise BagError(
                f"got topic {', '.join(map(repr, missing))}, expected topics of {self.path}: "
                f"{_listed(self.topics)}"
            )
        reader = self._open_reader()
        chosen = [c for c in reader.connections if not topics or c.topic in topics]
        for connection in chosen:
            if connection.msgtype not in reader.typestore.fielddefs:
                raise BagError(
                    f"{self.path} has no definition of {connection.msgtype}, which "
                    f"{connection.topic} needs: choose other topics, or convert the recording with "
                    "`ros2 bag convert` where that type is installed"
                )
        return self._iterate(chosen)

    def images(self, topic: str | None = None) -> Iterator[BagMessage]:
        """Image and CompressedImage messages of a topic (None: the only one there is).

        Raises:
            BagError: no such image topic, or several and none chosen; lists the image topics.
        """
        return self.messages(self.find_topic(IMAGE_TYPES, topic))

    def _iterate(self, connections: Sequence[Connection]) -> Iterator[BagRecord]:
        reader = self._open_reader()
        records = reader.messages(connections=connections)
        while True:
            try:
                connection, recorded_ns, data = next(records)
                message = reader.deserialize(data, connection.msgtype)
            except StopIteration:
                return
            except Exception as error:  # damaged data makes the parsers below raise anything
                raise _damaged(self.path, error) from error
            stamp_ns = _stamp_ns(message, recorded_ns)
            yield BagRecord(connection.topic, recorded_ns, stamp_ns, message, bytes(data))

    def _open_reader(self) -> AnyReader:
        if self._reader is None:
            raise BagError(f"{self.path} is not open: use `with BagReader(path) as bag:`")
        return self._reader


def _storage_path(path: Path) -> Path:
    """What to hand to rosbags: the folder, or a storage file."""
    if not path.exists():
        raise BagError(
            f"there is no recording at {path}: give a rosbag2 folder, .mcap or .db3 file"
        )
    if path.is_file():
        if path.suffix == ".bag":
            raise BagError(f"{path} is a ROS 1 bag: convert it with `rosbags-convert`")
        if path.suffix not in _STORAGE_SUFFIXES:
            raise BagError(
                f"got {path}, expected a rosbag2 folder or a {' or '.join(_STORAGE_SUFFIXES)} file"
                " (of a compressed recording: its folder)"
            )
        return path
    if (path / "metadata.yaml").exists():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in _STORAGE_SUFFIXES)
    if len(files) == 1:
        return files[0]
    raise BagError(
        f"{path} has no metadata.yaml and {len(files)} storage files, expected a rosbag2 recording:"
        " write its metadata with `ros2 bag reindex`, or give one of the files"
    )


def _only_mcap(storage: Path) -> Path | None:
    """The recording's only file, where that is an mcap file that can be read by itself."""
    if storage.is_file():
        return storage if storage.suffix == ".mcap" else None
    files = list(storage.glob("*.mcap*"))
    if len(files) != 1 or files[0].suffix != ".mcap":
        return None
    # Of messages that are compressed one by one, only the metadata tells.
    metadata = (storage / "metadata.yaml").read_text(encoding="utf-8", errors="replace")
    return None if "zstd" in metadata else files[0]


def _stamp_ns(message: Any, recorded_ns: int) -> int:
    header = getattr(message, "header", None)
    if header is None:
        return recorded_ns
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def _damaged(path: Path, error: Exception) -> BagError:
    reason = str(error) or type(error).__name__
    return BagError(
        f"{path} cannot be read ({reason}): it may be cut off or damaged; try `mcap recover` or "
        "`ros2 bag reindex`, or record again"
    )


def _listed(topics: Sequence[BagTopic]) -> str:
    return ", ".join(f"{topic.name} ({topic.type}, {topic.count})" for topic in topics) or "none"
