"""Where frames are: a graph of transforms from /tf, /tf_static, odometry and other fixed ones.

tf2's buffer needs a ROS installation; what is needed of it is chaining, done here, and
interpolation in time, which `track` does.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.track import (
    LONGEST_WAIT_NS,
    TO_AND_FRO_TIMES,
    Matrices,
    Track,
    TransformError,
    matrices_of,
)
from dpt_ros.messages.stamps import nanoseconds

__all__ = ["LONGEST_WAIT_NS", "Matrices", "TransformError", "TransformGraph", "bare_frame"]


class TransformGraph:
    """Frames and the transforms between them, some fixed, some over time.

    There is one way between two frames: a transform counts only where those that come before it do
    not connect its frames already. First come a file's, then fixed ones, then moving ones, last
    odometry: a drifting wheel odometry and the filter that corrects it often share their frames.
    """

    def __init__(self) -> None:
        self.changed_static: dict[str, None] = {}
        """Names of fixed transforms that came a second time with another value."""
        self._override: list[tuple[str, str, Matrices]] = []
        self._static: dict[tuple[str, str], Matrices] = {}
        self._moving: dict[tuple[str, str], Track] = {}
        self._odometry: dict[tuple[str, str], Track] = {}
        self._edges: dict[tuple[str, str], Matrices | Track] = {}
        self._neighbours: dict[str, list[str]] = {}
        self._paths: dict[tuple[str, str], list[str]] = {}

    @property
    def frames(self) -> tuple[str, ...]:
        """The frames' names, sorted."""
        return tuple(sorted(self._neighbours))

    def doubtful(self) -> list[str]:
        """In words, the transforms that two nodes seem to publish."""
        return [
            f"the transform {parent} <- {child} jumps to and fro, by up to "
            f"{track.to_and_fro_m:.2f} m: do two nodes publish it? Depth is off with it"
            for (parent, child), track in {**self._odometry, **self._moving}.items()
            if track.to_and_fro >= TO_AND_FRO_TIMES
        ]

    def add_static(self, parent: str, child: str, transform_parent_child: Matrices) -> None:
        """A fixed transform [4, 4]; it replaces what was known between the two frames."""
        matrix = np.asarray(transform_parent_child, np.float64)
        before = self._static.pop((parent, child), None)
        # Nothing to tell where another transform stands in its place.
        if (
            before is not None
            and self._edges.get((parent, child)) is before
            and not np.allclose(before, matrix, atol=1e-6)
        ):
            self.changed_static[f"{parent} <- {child}"] = None
        self._static.pop((child, parent), None)
        self._static[parent, child] = matrix
        self._rebuild()

    def override(self, transforms: Iterable[tuple[str, str, Matrices]]) -> None:
        """Fixed transforms (parent, child, [4, 4]) that win over all others, known or to come.

        What contradicts them is left out, first of all another parent of a child given here.
        """
        self._override = [(p, c, np.asarray(matrix, np.float64)) for p, c, matrix in transforms]
        self._rebuild()

    def add_message(self, message: Any, is_static: bool) -> None:
        """The transforms of a tf2_msgs TFMessage; fixed ones are not overruled by moving ones.

        Raises:
            TransformError: a rotation that is none; the message's other transforms are kept.
        """
        wrong: TransformError | None = None
        for item in message.transforms:
            try:
                self.add_transform(item, is_static)
            except TransformError as error:
                wrong = error
        if wrong is not None:
            raise wrong

    def add_transform(self, item: Any, is_static: bool) -> None:
        """A geometry_msgs TransformStamped.

        Raises:
            TransformError: a rotation that is none.
        """
        move, turn = item.transform.translation, item.transform.rotation
        pose = _pose(move, turn, f"{item.header.frame_id} <- {item.child_frame_id}")
        parent, child = bare_frame(item.header.frame_id), bare_frame(item.child_frame_id)
        if is_static:
            self.add_static(parent, child, matrices_of(np.array([pose]))[0])
        else:
            self._add_pose(self._moving, (parent, child), nanoseconds(item.header.stamp), pose)

    def add_odometry(self, message: Any) -> None:
        """The pose of a nav_msgs Odometry: of its child frame in its header's frame.

        Raises:
            TransformError: a rotation that is none.
        """
        parent, child = bare_frame(message.header.frame_id), bare_frame(message.child_frame_id)
        place = message.pose.pose
        pose = _pose(place.position, place.orientation, f"{parent} <- {child} (odometry)")
        self._add_pose(self._odometry, (parent, child), nanoseconds(message.header.stamp), pose)

    def lookup(self, target: str, source: str, stamps_ns: NDArray[np.int64]) -> Matrices:
        """Transforms that take a point of `source` to `target`, [K, 4, 4], one for each stamp.

        Raises:
            TransformError: the frames are not connected, or a stamp is out of what is known.
        """
        result = np.tile(np.eye(4), (len(stamps_ns), 1, 1))
        path = self._path(target, source)
        for near, far in itertools.pairwise(path):
            result = result @ self._edge(near, far, stamps_ns)
        return result

    def is_connected(self, target: str, source: str) -> bool:
        """Whether there is a chain of transforms between two frames."""
        try:
            self._path(target, source)
        except TransformError:
            return False
        return True

    def is_moving(self, target: str, source: str) -> bool:
        """Whether the chain between two connected frames changes over time."""
        return bool(self._tracks(target, source))

    def has_moved(self, target: str, source: str) -> bool:
        """Whether it has changed so far; a mount may be published over time and never move."""
        return any(not track.stands() for track in self._tracks(target, source))

    def wait_ns(self, target: str, source: str, stamp_ns: int) -> int:
        """How long after a time what is missing of a chain then may come; 0: nothing is missing.

        Two periods of the transform that comes most slowly, at most `LONGEST_WAIT_NS`.
        """
        missing = [t for t in self._tracks(target, source) if t.stamps_ns[-1] < stamp_ns]
        wait_ns = 2 * max((track.period_ns() for track in missing), default=0)
        return min(wait_ns, LONGEST_WAIT_NS)

    def common_parent(self, target: str, source: str) -> str:
        """The frame above two connected ones: of sensors, mounted movably or not, the robot's."""
        path = self._path(target, source)
        for frame, following in itertools.pairwise(path):
            if (following, frame) not in self._edges:
                return frame
        return path[-1]

    def _tracks(self, target: str, source: str) -> list[Track]:
        steps = itertools.pairwise(self._path(target, source))
        edges = (self._edges.get(pair) for a, b in steps for pair in ((a, b), (b, a)))
        return [edge for edge in edges if isinstance(edge, Track)]

    def _edge(self, near: str, far: str, stamps_ns: NDArray[np.int64]) -> Matrices:
        """[K or 1, 4, 4] from `far` to its neighbour `near`."""
        for parent, child in ((near, far), (far, near)):
            if (parent, child) not in self._edges:
                continue
            edge = self._edges[parent, child]
            if isinstance(edge, Track):
                matrices = edge.at(stamps_ns, f"{parent} <- {child}")
            else:
                matrices = edge[None]
            return matrices if parent == near else _inverse(matrices)
        raise TransformError(f"there is no transform {near} <- {far}")

    def _path(self, target: str, source: str) -> list[str]:
        """The frames from `target` to `source` with the fewest transforms between them."""
        target, source = bare_frame(target), bare_frame(source)
        if not target or not source:
            raise TransformError(
                f"got the frames {source!r} and {target!r}, expected names: the messages' headers "
                "name none, so name them (--camera-frame, --lidar-frame)"
            )
        if (target, source) not in self._paths:
            before: dict[str, str] = {target: target}
            queue = deque([target])
            while queue and source not in before:
                frame = queue.popleft()
                for neighbour in self._neighbours.get(frame, ()):
                    if neighbour not in before:
                        before[neighbour] = frame
                        queue.append(neighbour)
            if source not in before:
                raise TransformError(
                    f"there is no transform from {source!r} to {target!r}; frames known: "
                    f"{', '.join(self.frames) or 'none'}. Give a file of transforms "
                    "(--transforms), or name the frames (--camera-frame, --lidar-frame, "
                    "--fixed-frame)"
                )
            path = [source]
            while path[-1] != target:
                path.append(before[path[-1]])
            self._paths[target, source] = path[::-1]
        return self._paths[target, source]

    def _add_pose(
        self,
        tracks: dict[tuple[str, str], Track],
        edge: tuple[str, str],
        stamp_ns: int,
        pose: tuple[float, ...],
    ) -> None:
        is_new = edge not in tracks
        tracks.setdefault(edge, Track(may_stand=tracks is self._moving)).add(stamp_ns, pose)
        if is_new:
            self._rebuild()

    def _rebuild(self) -> None:
        """Choose the edges that count: those whose frames the ones before them do not connect."""
        self._edges, self._neighbours, joined = {}, {}, _Joined()
        self._paths.clear()
        for parent, child, matrix in self._override:
            self._count((parent, child), matrix, joined)
        into = {child for _, child, _ in self._override}
        recorded: list[tuple[tuple[str, str], Matrices | Track]] = [
            *self._static.items(),
            *self._moving.items(),
        ]
        # Where a frame has another parent in the file, its recorded one is what gives way.
        recorded.sort(key=lambda item: item[0][1] in into)
        for edge, value in [*recorded, *self._odometry.items()]:
            if not joined.is_one(*edge):
                self._count(edge, value, joined)

    def _count(self, edge: tuple[str, str], value: Matrices | Track, joined: _Joined) -> None:
        self._edges[edge] = value
        joined.join(*edge)
        for near, far in (edge, edge[::-1]):
            self._neighbours.setdefault(near, []).append(far)


class _Joined:
    """Which frames are connected: a union-find."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def is_one(self, a: str, b: str) -> bool:
        return self._root(a) == self._root(b)

    def join(self, a: str, b: str) -> None:
        self._above[self._root(a)] = self._root(b)

    def _root(self, frame: str) -> str:
        while (above := self._above.setdefault(frame, frame)) != frame:
            frame = above
        return frame


def _pose(move: Any, turn: Any, name: str) -> tuple[float, ...]:
    pose = tuple(float(v) for v in (move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w))
    if not np.isfinite(pose).all() or not any(pose[3:]):
        raise TransformError(f"the transform {name} is {pose}, expected numbers and a rotation")
    return pose


def _inverse(rigid: Matrices) -> Matrices:
    """Of rigid transforms [K, 4, 4]."""
    result = np.tile(np.eye(4), (len(rigid), 1, 1))
    result[:, :3, :3] = np.swapaxes(rigid[:, :3, :3], 1, 2)
    result[:, :3, 3] = -np.einsum("kij,kj->ki", result[:, :3, :3], rigid[:, :3, 3])
    return result


def bare_frame(frame: str) -> str:
    """ROS 1's frames began with a slash; tf2's don't."""
    return frame.lstrip("/")
