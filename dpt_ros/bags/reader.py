"""Read the messages of a rosbag2 recording in order; no ROS installation needed.

Wraps rosbags' AnyReader: mcap and sqlite3, compressed or not, with or without the message
definitions inside. What it adds: errors that say what to do, a folder whose metadata.yaml is
missing or tells of less than there is, mcap files that were cut off or damaged, sqlite3 files
that were not closed, and stamps from the messages' own headers.
"""

from __future__ import annotations

import itertools
import logging
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from dpt_ros.bags.cut_off import WholePartPath, is_cut_off
from dpt_ros.bags.mcap_scan import McapScan, scan_mcap
from dpt_ros.bags.sqlite_files import SqliteFileError, SqliteFiles, has_log
from dpt_ros.bags.storage_files import (
    StorageError,
    are_of_one_recording,
    files_of,
    find_storage,
    unlisted_files,
)
from dpt_ros.messages.stamps import nanoseconds

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

_LOG = logging.getLogger(__name__)


_OPTIONS = {
    **dict.fromkeys(IMAGE_TYPES, "--image-topic"),
    "sensor_msgs/msg/CameraInfo": "--camera-info-topic",
    "sensor_msgs/msg/PointCloud2": "--points-topic",
    "nav_msgs/msg/Odometry": "--odometry-topic",
}
"""How the commands let people choose a topic, by its message type."""


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

    Of mcap files that were cut off or damaged, what is whole is read: a damaged chunk costs its own
    messages. `damage` says what is known to be lost. Of a recording that was cut off, `is_cut_off`
    and the log tell it on entering; of one that is damaged, a BagError once all else was read.
    Files that its metadata.yaml does not list or count are read, where they are of the recording;
    `warnings` and the log tell it.
    Sqlite3 files that were not closed are merged with the log beside them, in a temporary copy.

    Args:
        path: the recording's folder, or a single .mcap or .db3 file.

    Raises:
        BagError: on entering, when the recording is missing, empty, of another kind, or damaged so
            that nothing of it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.is_cut_off = False
        self.damage = ""
        self.warnings: list[str] = []
        self._stack = ExitStack()
        self._sqlite = SqliteFiles(self._stack)
        self._reader: AnyReader | None = None
        self._is_looked_through = False
        self._strays: list[Path] = []

    def __enter__(self) -> BagReader:
        try:
            self._reader = self._opened()
        except BaseException as error:
            self._stack.close()
            if isinstance(error, (SqliteFileError, StorageError)):
                raise BagError(str(error)) from error
            raise
        return self

    def _opened(self) -> AnyReader:
        storage = find_storage(self.path)
        self._sqlite = SqliteFiles(self._stack)
        self.damage, self.warnings, self._is_looked_through = "", [], False
        self._strays = []
        self.is_cut_off = any(is_cut_off(f) for f in files_of(storage) if f.suffix == ".mcap")
        reader: AnyReader | None
        if self.is_cut_off:
            reader = self._open_whole_part()
        else:
            paths = self._paths(storage)
            try:
                reader = self._open(paths)
                if reader.message_count == 0 and paths == [storage] and storage.is_dir():
                    reader = self._open_uncounted(storage) or reader
            except Exception as error:  # damaged files make the parsers below raise anything
                reader = self._open_whole_part(error)
                if reader is None:
                    raise _damaged(self.path, error) from error
        if reader is None or reader.message_count == 0:
            if self.damage:
                raise _damaged(self.path, ValueError(f"nothing of it is whole: {self.damage}"))
            raise BagError(
                f"{self.path} holds no messages: record again, and check `ros2 topic hz`"
            )
        if self.is_cut_off:
            _LOG.warning("%s: what is whole of it is read", self.damage)
        return reader

    def _paths(self, storage: Path) -> list[Path]:
        """What to open of a recording that was not cut off."""
        if storage.is_file():
            return self._sqlite.of_recording(storage)
        files = files_of(storage)
        if not (storage / "metadata.yaml").exists():
            count = len(files)
            _LOG.warning("%s has no metadata.yaml: its %d files are read as one", storage, count)
            return [self._sqlite.of_file(file) for file in files]
        unlisted = unlisted_files(storage)
        whole = files_of(storage, with_empty=False)
        if unlisted and are_of_one_recording(whole):
            self._warn_of(storage, unlisted, "read all the same", "it lists all")
            return [self._sqlite.of_file(file) for file in whole]
        self._strays = [file for file in unlisted if not has_log(file)]
        if self._strays:
            remedy = "it lists all, or move elsewhere what is of another recording"
            self._warn_of(storage, self._strays, "not read", remedy)
        return self._sqlite.of_recording(storage)

    def _warn_of(self, storage: Path, unlisted: Sequence[Path], told: str, remedy: str) -> None:
        names = ", ".join(file.name for file in unlisted)
        self._warn(
            f"{storage / 'metadata.yaml'} does not list {names}, {told}: after "
            f"`ros2 bag reindex {shlex.quote(str(storage))}` {remedy}"
        )

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        _LOG.warning("%s", text)

    def _open_uncounted(self, storage: Path) -> AnyReader | None:
        """The files of a recording whose metadata.yaml counts nothing; None if they hold nothing.

        A recorder writes it so at its beginning, and the counts when it is done.
        """
        files = [f for f in files_of(storage, with_empty=False) if f not in self._strays]
        reader = self._open([self._sqlite.of_file(file) for file in files]) if files else None
        if reader is None or reader.message_count == 0:
            return None
        self._warn(
            f"{storage / 'metadata.yaml'} counts no messages, as a recorder that was killed leaves "
            f"it: its files are read; `ros2 bag reindex {shlex.quote(str(storage))}` writes it anew"
        )
        return reader

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

    def find_topic(
        self, types: Sequence[str], name: str | None = None, option: str | None = None
    ) -> str:
        """The topic of one of these types: `name` when it fits, or the only one with messages.

        Args:
            types: message types.
            name: of the topic; None: there is to be only one.
            option: how people choose it, for the message; None: as the commands do, by the type.

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
        wanted = f"got topic {name!r}"
        if name is None:
            option = option or next((_OPTIONS[kind] for kind in types if kind in _OPTIONS), "")
            wanted = f"no topic was chosen{f' with {option}' if option else ''}"
        raise BagError(
            f"{wanted}: expected one of those of type {kinds} in {self.path}: {_listed(fitting)}"
        )

    def messages(self, *topics: str) -> Iterator[BagMessage]:
        """Messages of these topics (none: of all), one at a time, in the order of recording.

        Raises:
            BagError: at once, an unknown topic or message type; at the end, what could not be read
                (see above); where nothing beyond the damage can be, when it is reached.
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
        for connection in reader.connections:
            if topics and connection.topic not in topics:
                continue
            if connection.msgtype not in reader.typestore.fielddefs:
                raise BagError(
                    f"{self.path} has no definition of {connection.msgtype}, which "
                    f"{connection.topic} needs: choose other topics, or convert the recording with "
                    "`ros2 bag convert` where that type is installed"
                )
        return self._iterate(topics)

    def images(self, topic: str | None = None) -> Iterator[BagMessage]:
        """Image and CompressedImage messages of a topic (None: the only one there is).

        Raises:
            BagError: no such image topic, or several and none chosen; lists the image topics.
        """
        return self.messages(self.find_topic(IMAGE_TYPES, topic))

    def _iterate(self, topics: Sequence[str]) -> Iterator[BagRecord]:
        unreadable: Counter[str] = Counter()
        reason = ""
        for connection, recorded_ns, data in self._raw(topics):
            try:
                message = self._open_reader().deserialize(data, connection.msgtype)
            except Exception as error:  # damaged data makes the parser raise anything
                unreadable[connection.topic] += 1
                reason = reason or str(error) or type(error).__name__
                continue
            stamp_ns = _stamp_ns(message, recorded_ns)
            yield BagRecord(connection.topic, recorded_ns, stamp_ns, message, bytes(data))
        if unreadable:
            listed = ", ".join(f"{topic} {count}" for topic, count in sorted(unreadable.items()))
            told = "; ".join(filter(None, (reason, f"messages left out: {listed}", self.damage)))
            raise _damaged(self.path, ValueError(told))
        if self.damage and not self.is_cut_off:
            raise BagError(f"{self.damage}: everything else was read")

    def _raw(self, topics: Sequence[str]) -> Iterator[tuple[Connection, int, bytes]]:
        """Messages as they are stored; where a chunk is damaged, it goes on with the next."""
        reader = self._open_reader()
        records = self._stored(topics)
        last_ns, count_at_last, total = None, 0, 0
        while True:
            try:
                connection, recorded_ns, data = next(records)
            except StopIteration:
                return
            except Exception as error:  # damaged files make the parsers below raise anything
                now_open = self._open_reader()
                if now_open is reader and not self._is_looked_through:
                    now_open = self._reader = self._open_whole_part() or reader
                if now_open is reader:
                    told = f"{self.damage or error or type(error).__name__}, after {total} messages"
                    raise _damaged(self.path, ValueError(told)) from error
                reader, records = now_open, self._stored(topics, last_ns)
                records = itertools.islice(records, count_at_last, None)
                continue
            count_at_last = count_at_last + 1 if recorded_ns == last_ns else 1
            last_ns, total = recorded_ns, total + 1
            yield connection, recorded_ns, data

    def _stored(
        self, topics: Sequence[str], start_ns: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        reader = self._open_reader()
        chosen = [c for c in reader.connections if not topics or c.topic in topics]
        return reader.messages(connections=chosen, start=start_ns) if chosen else iter(())

    def _open(self, paths: Sequence[Any]) -> AnyReader:
        # Recordings without message definitions are of Humble or older.
        default_types = get_typestore(Stores.ROS2_HUMBLE)
        return self._stack.enter_context(AnyReader(paths, default_typestore=default_types))

    def _open_whole_part(self, error: Exception | None = None) -> AnyReader | None:
        """Look through the files, and open what is whole; None where no damage is found.

        Args:
            error: why the recording cannot be opened by its metadata.yaml or its index.
        """
        self._is_looked_through = True
        paths: list[Any] = []
        told: list[str] = []
        files = files_of(find_storage(self.path))
        for file in (file for file in files if file not in self._strays):
            scan = scan_mcap(file) if file.suffix == ".mcap" else McapScan()
            is_short = file.suffix == ".mcap" and is_cut_off(file)
            if scan.damage or is_short:
                lost = f": lost are {scan.damage}" if scan.damage else ""
                told.append(f"{file} is {'cut off' if is_short else 'damaged'}{lost}")
            is_whole = file.suffix != ".mcap" or not (error or scan.damage or is_short)
            paths.append(self._sqlite.of_file(file) if is_whole else WholePartPath(file, scan))
        if not told and error is not None:
            told.append(f"{self.path} is damaged ({error})")
        if not told or not paths:
            return None
        self.damage = "; ".join(told)
        try:
            return self._open(paths)
        except Exception:  # damaged files make the parsers raise anything; the first error is told
            return None

    def _open_reader(self) -> AnyReader:
        if self._reader is None:
            raise BagError(f"{self.path} is not open: use `with BagReader(path) as bag:`")
        return self._reader


def _stamp_ns(message: Any, recorded_ns: int) -> int:
    header = getattr(message, "header", None)
    return recorded_ns if header is None else nanoseconds(header.stamp)


def _damaged(path: Path, error: Exception) -> BagError:
    reason = str(error) or type(error).__name__
    return BagError(
        f"{path} cannot be read ({reason}): it may be cut off or damaged; try `mcap recover`, "
        "`sqlite3 FILE.db3 .recover` or `ros2 bag reindex`, or record again"
    )


def _listed(topics: Sequence[BagTopic]) -> str:
    return ", ".join(f"{topic.name} ({topic.type}, {topic.count})" for topic in topics) or "none"
