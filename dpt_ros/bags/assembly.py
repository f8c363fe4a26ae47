"""Messages of one recording to samples: pairs, transforms, masks, and what was rejected and why."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.body_mask import find_body, parse_boxes, without_polygons
from dpt_ros.bags.dataset import Sample, sample_id
from dpt_ros.bags.no_sample import explain_few_points, explain_no_sample
from dpt_ros.bags.pairing import Pair, Pairing
from dpt_ros.bags.reader import BagError, BagMessage, BagReader, BagRecord
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.bags.scan_placement import Scan, find_fixed_frame, is_scan_fixed, place_scan
from dpt_ros.bags.stamp_guard import StampGuard, stamped_transforms
from dpt_ros.bags.tally import Tally
from dpt_ros.bags.topics import SensorTopics, find_topics, frame_warnings, is_rectified
from dpt_ros.bags.transforms import (
    LONGEST_WAIT_NS,
    TransformError,
    TransformGraph,
    bare_frame,
)
from dpt_ros.bags.transforms_file import read_transforms
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.lidar import Projection, project_scan
from dpt_ros.messages.camera_info import camera_from_info
from dpt_ros.messages.cloud import cloud_to_timed_xyz
from dpt_ros.messages.decode import image_to_rgb
from dpt_ros.messages.errors import MessageError

Read = TypeVar("Read")

# Transforms that come later than this are not waited for, unless they are slow or came so before.
_PATIENCE_NS = 500_000_000
# So many of the newest camera_info are kept, for pictures that wait for their scan.
_KEPT_INFOS = 1000


class SampleError(ValueError):
    """A recording gave no sample; the message says what was rejected and why."""


@dataclass
class _Waiting:
    """A pair whose transforms may still be on their way."""

    pair: Pair[Any, BagMessage]
    info: Any
    scan: Scan


class SampleAssembly:
    """Turns the messages of one recording into samples."""

    def __init__(self, path: Path, settings: SampleSettings, source: str) -> None:
        self.tally = Tally()
        self._path = path
        self._settings = settings
        self._source = source
        self._graph = TransformGraph()
        self._guard, self._transform_guard = StampGuard(), StampGuard()
        self._pairing: Pairing[tuple[BagMessage, Any], BagMessage] = Pairing(
            round(self._settings.max_gap_s * 1e9)
        )
        self._waiting: deque[_Waiting] = deque()
        self._boxes = parse_boxes(self._settings.body_box)
        self._info: Any = None
        self._infos: dict[int, Any] = {}
        self._odometry_frame = ""
        self._moved_frame: str | None = None
        self._newest_ns, self._transforms_late_ns = 0, 0
        self._last_ns: int | None = None

    def run(self) -> Iterator[Sample]:
        """Read the recording and yield its samples."""
        settings = self._settings
        with BagReader(self._path) as bag:
            topics = find_topics(
                bag,
                settings.image_topic,
                settings.camera_info_topic,
                settings.points_topic,
                settings.odometry_topic,
            )
            if bag.is_cut_off:
                self._tell_of_damage(f"{bag.damage}: what is whole of it was read")
            self.tally.scans_total = next(t.count for t in bag.topics if t.name == topics.points)
            for text in (*bag.warnings, *topics.warnings):
                self.tally.warn(text)
            self._begin(topics)
            self._read_static(bag, topics)
            yield from self._read(bag, topics)
        self._conclude(topics)

    def begin_live(self, topics: SensorTopics) -> None:
        """Instead of `run`: samples are made of messages as they come, with `feed`.

        Raises:
            ConfigError: a file of transforms that is wrong.
        """
        self._begin(topics)
        self._read_file_of_transforms()
        self._can_move = True

    def feed(self, message: BagMessage, topics: SensorTopics) -> Iterator[Sample]:
        """Take one message in; yields the samples that it completes."""
        if message.topic == topics.image and self._info is None:
            self.tally.reject("picture before the first camera_info")
            return
        for pair in self._take(message, topics):
            self._await(pair)
        yield from self._assemble(is_end=False)

    def add_transforms(self, message: Any, is_static: bool) -> None:
        """Take in the transforms of a TFMessage; one that is none is counted."""
        try:
            self._graph.add_message(message, is_static)
        except TransformError as error:
            self.tally.reject("transform that is none", str(error))
        for name in self._graph.changed_static if is_static else ():
            self.tally.warn(f"the fixed transform {name} has two values: the later one is taken")

    def _begin(self, topics: SensorTopics) -> None:
        self._topics = topics
        pictures = self._settings.pictures
        self._is_rectified = (
            is_rectified(topics.image) if pictures == "auto" else pictures == "rectified"
        )

    def _read_file_of_transforms(self) -> None:
        if self._settings.transforms:
            self._graph.override(read_transforms(self._settings.transforms))

    def _read_static(self, bag: BagReader, topics: SensorTopics) -> None:
        """What holds for the whole recording: fixed transforms, and the first calibration."""
        if topics.static_transforms:
            for message in self._whole(bag.messages(*topics.static_transforms)):
                self.add_transforms(message.message, is_static=True)
        self._read_file_of_transforms()
        first = next(self._whole(bag.messages(topics.camera_info)), None)
        if first is None:
            damage = f": {self.tally.damage}" if self.tally.damage else ""
            raise BagError(f"{self._path}: {topics.camera_info} has no messages{damage}")
        self._info = first.message
        self._can_move = bool(topics.moving_transforms or topics.odometry)

    def _read(self, bag: BagReader, topics: SensorTopics) -> Iterator[Sample]:
        for message in self._believable(bag.records(*topics.streamed)):
            for pair in self._take(message, topics):
                self._await(pair)
            yield from self._assemble(is_end=False)
        for pair in self._pairing.finish():
            self._await(pair)
        yield from self._assemble(is_end=True)

    def _believable(self, records: Iterator[BagRecord]) -> Iterator[BagMessage]:
        """The recording's messages, as far as they can be read, without damaged stamps."""
        for record in self._whole(records):
            for one in self._guard.take(record):
                yield BagMessage(one.topic, one.stamp_ns, one.message)
        for one in self._guard.finish():
            yield BagMessage(one.topic, one.stamp_ns, one.message)
        self._add_recorded(self._transform_guard.finish())
        for topic, stamp_ns in (*self._guard.damaged, *self._transform_guard.damaged):
            self.tally.reject(
                "stamp more than a minute from where it should be", f"{topic}: {stamp_ns / 1e9} s"
            )

    def _whole(self, read: Iterator[Read]) -> Iterator[Read]:
        """What can be read; what cannot is told."""
        try:
            yield from read
        except BagError as error:
            self._tell_of_damage(str(error))

    def _take(
        self, message: BagMessage, topics: SensorTopics
    ) -> Iterator[Pair[tuple[BagMessage, Any], BagMessage]]:
        """Take one message in; yields the pairs that it makes certain."""
        if message.topic == topics.image:
            self._newest_ns = max(self._newest_ns, message.stamp_ns)
            yield from self._pairing.add_picture(message.stamp_ns, (message, self._info))
        elif message.topic == topics.points:
            self.tally.scans_read += 1
            self._newest_ns = max(self._newest_ns, message.stamp_ns)
            yield from self._pairing.add_scan(message.stamp_ns, message)
        elif message.topic == topics.camera_info:
            self._info = self._infos[message.stamp_ns] = message.message
            if len(self._infos) > _KEPT_INFOS:
                del self._infos[next(iter(self._infos))]
        elif message.topic == topics.odometry:
            self._odometry_frame = message.message.header.frame_id.lstrip("/")
            self._note_delay(message.stamp_ns)
            try:
                self._graph.add_odometry(message.message)
                self._moved_frame = bare_frame(message.message.child_frame_id)
            except TransformError as error:
                self.tally.reject("transform that is none", str(error))
        else:
            for record in stamped_transforms(message):
                self._add_recorded(self._transform_guard.take(record))

    def _add_recorded(self, transforms: Iterable[BagRecord]) -> None:
        """Take in moving transforms whose stamps can be true."""
        for record in transforms:
            self._note_delay(record.stamp_ns)
            try:
                self._graph.add_transform(record.message, is_static=False)
            except TransformError as error:
                self.tally.reject("transform that is none", str(error))

    def _note_delay(self, stamp_ns: int) -> None:
        """Learn how late what tells of a movement comes, as far as that can be waited for."""
        late_ns = self._newest_ns - stamp_ns
        if late_ns <= LONGEST_WAIT_NS:
            self._transforms_late_ns = max(self._transforms_late_ns, late_ns)

    def _await(self, pair: Pair[tuple[BagMessage, Any], BagMessage]) -> None:
        """Queue a pair whose scan can be read."""
        message = pair.scan.message
        try:
            points, stamps_ns = cloud_to_timed_xyz(message)
        except MessageError as error:
            self.tally.reject("scan that cannot be read", str(error))
            return
        frame = self._settings.lidar_frame or message.header.frame_id
        scan = Scan(frame, pair.scan_ns, points, stamps_ns)
        # A camera_info may be recorded after the picture whose stamp it has.
        info = self._infos.get(pair.picture_ns, pair.picture[1])
        self._waiting.append(_Waiting(pair, info, scan))

    def _assemble(self, is_end: bool) -> Iterator[Sample]:
        """Samples of the pairs whose transforms are there, or will not come."""
        while self._waiting and (is_end or self._is_ready(self._waiting[0])):
            sample = self._make_sample(self._waiting.popleft())
            if sample is not None:
                self.tally.samples += 1
                yield sample

    def _frames(self, waiting: _Waiting) -> tuple[str, str, str | None]:
        """Camera, LiDAR and fixed frame of a pair."""
        settings = self._settings
        camera = settings.camera_frame or waiting.pair.picture[0].message.header.frame_id
        fixed = None
        if settings.motion_compensation:
            fixed = find_fixed_frame(self._graph, camera, waiting.scan.frame, self._fixed_frames)
        return camera, waiting.scan.frame, fixed

    @property
    def _fixed_frames(self) -> tuple[str, ...]:
        """What may be a frame that stands still."""
        named = self._settings.fixed_frame
        return (named,) if named else ("odom", self._odometry_frame)

    def _is_ready(self, waiting: _Waiting) -> bool:
        if not self._can_move:
            return True
        needed_ns = max(waiting.pair.picture_ns, waiting.scan.span_ns[1])
        late_ns = self._newest_ns - needed_ns
        if late_ns > LONGEST_WAIT_NS:
            return True
        camera, lidar, fixed = self._frames(waiting)
        chains = [(camera, lidar)] if fixed is None else [(fixed, camera), (fixed, lidar)]
        known = [chain for chain in chains if self._graph.is_connected(*chain)]
        wait_ns = max((self._graph.wait_ns(*chain, needed_ns) for chain in known), default=0)
        patience_ns = max(_PATIENCE_NS, self._transforms_late_ns + wait_ns)
        # Without a fixed frame: it may still be on its way.
        return late_ns > patience_ns or (fixed is not None and not wait_ns)

    def _make_sample(self, waiting: _Waiting) -> Sample | None:
        """The sample of a pair; None, counted, where there is none."""
        picture_ns = waiting.pair.picture_ns
        if self._last_ns is not None and picture_ns <= self._last_ns:
            self.tally.reject("picture that is not newer than the one before")
            return None
        if self._last_ns is not None and picture_ns < self._last_ns + round(
            self._settings.interval_s * 1e9
        ):
            self.tally.reject(f"less than {self._settings.interval_s:g} s after the sample before")
            return None
        try:
            rgb = image_to_rgb(waiting.pair.picture[0].message)
            camera = camera_from_info(waiting.info, self._is_rectified, rgb.shape[1], rgb.shape[0])
        except MessageError as error:
            self.tally.reject("picture or camera_info that cannot be used", str(error))
            return None
        try:
            projection = self._project(waiting, camera)
        except TransformError as error:
            if not self._can_move:
                damage = f". {self.tally.damage}" if self.tally.damage else ""
                raise TransformError(f"{error}{damage}") from error
            self.tally.reject("transform that is not known", str(error))
            return None
        depth_m = without_polygons(projection.depth_m, self._settings.body_polygon)
        count = int(np.isfinite(depth_m).sum())
        if count < self._settings.min_points:
            self.tally.reject(
                f"fewer than {self._settings.min_points} points in the picture",
                explain_few_points(waiting.scan, projection, self._frames(waiting)[0])
                + (", the robot's own not counted" if self._boxes else ""),
            )
            return None
        self._last_ns = picture_ns
        self.tally.count_camera(camera, picture_ns)
        return Sample(
            id=sample_id(self._source, picture_ns),
            source=self._source,
            stamp_ns=picture_ns,
            rgb=rgb,
            depth_m=depth_m,
            camera=camera,
            gap_ns=abs(waiting.pair.scan_ns - picture_ns),
        )

    def _project(self, waiting: _Waiting, camera: Camera) -> Projection:
        """The scan in the picture, without the robot's body."""
        camera_frame, lidar_frame, fixed = self._frames(waiting)
        scan, picture_ns = waiting.scan, waiting.pair.picture_ns
        is_body = find_body(scan, self._boxes, self._graph)
        placed = self._place(scan, camera_frame, picture_ns, fixed, is_body)
        self._tell_of_motion(scan, camera_frame, fixed)
        # The body's points go along: left out before, they would not hide what is behind them.
        projection = project_scan(placed, camera, np.eye(4), self._settings.lidar, is_body)
        self.tally.points["in_picture"] += projection.in_image
        self.tally.points["hidden"] += projection.hidden
        self.tally.points["body"] += int(is_body.sum())
        if not self.tally.calibration:
            chain = self._graph.lookup(camera_frame, lidar_frame, np.array([picture_ns]))[0]
            for text in frame_warnings(waiting.info) if self._is_rectified else ():
                self.tally.warn(text)
            self.tally.note_calibration(camera, camera_frame, lidar_frame, chain)
        return projection

    def _place(
        self,
        scan: Scan,
        camera_frame: str,
        picture_ns: int,
        fixed: str | None,
        is_body: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """The scan's points in the camera's frame; a fixed frame that was named has to be there.

        Without one, what moves are the mounts of camera and LiDAR on a robot that stands still.
        """
        graph, is_asked = self._graph, self._settings.motion_compensation
        frame = fixed or (self._settings.fixed_frame if is_asked else "") or None
        try:
            if frame is None and is_asked and graph.has_moved(camera_frame, scan.frame):
                robot = graph.common_parent(camera_frame, scan.frame)
                return place_scan(scan, graph, camera_frame, picture_ns, robot)
            return place_scan(scan, graph, camera_frame, picture_ns, frame, is_body)
        except TransformError as error:
            if fixed is None or self._graph.is_moving(camera_frame, scan.frame):
                raise
            raise TransformError(
                f"{error}; where the robot stands still, --no-motion-compensation does without"
            ) from error

    def _tell_of_damage(self, text: str) -> None:
        self.tally.damage = text
        self.tally.warn(text)

    def _tell_of_motion(self, scan: Scan, camera_frame: str, fixed: str | None) -> None:
        is_asked = self._settings.motion_compensation and len(scan.points) > 0
        if not is_asked or is_scan_fixed(self._graph, camera_frame, scan.frame, self._fixed_frames):
            return
        if fixed is None:
            moved, named = self._moved_frame, self._settings.fixed_frame
            if moved is not None and self._graph.is_connected(moved, scan.frame):
                named = named or self._odometry_frame
            stays = f"the LiDAR does not move in the frame {named!r} (--fixed-frame): if the robot "
            stays += "moved, name a frame that stands still"
            sensors = [bare_frame(frame) for frame in (scan.frame, camera_frame)]
            self.tally.warn(stays if named else self._topics.without_motion(moved, sensors))
        elif scan.stamps_ns is None:
            self.tally.warn(
                "the scans do not say when each point was measured: the movement between scan and "
                "picture is undone, that during a scan is not"
            )

    def _conclude(self, topics: SensorTopics) -> None:
        """Add what the pairing counted; refuse a recording without a sample."""
        self.tally.rejected.update(self._pairing.rejected)
        for text in self._graph.doubtful():
            self.tally.warn(text)
        if self.tally.samples:
            return
        names = (topics.image, topics.points)
        why = explain_no_sample(self.tally, self._pairing, self._guard, names)
        raise SampleError(f"{self._path} gave no sample: {why}")
