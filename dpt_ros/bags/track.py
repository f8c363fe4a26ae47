"""Poses of one frame in another over time: interpolated, and how they come.

tf2's buffer needs a ROS installation; interpolation in time is SciPy's Slerp.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

Matrices = NDArray[np.float64]

#: Moving transforms older than this behind the newest are forgotten.
KEPT_NS = 10_000_000_000
#: Transforms are not worth waiting for longer than this: pictures and scans wait with them.
LONGEST_WAIT_NS = 3_000_000_000

# Between two transforms further apart than this nothing is known of the movement.
_LONGEST_STEP_NS = 1_000_000_000
# Poses that differ by less are one: metres, and parts of a unit quaternion.
_SAME_POSE = 1e-6
# No robot moves this far and back again within so short a time, so often; two publishers do.
_TO_AND_FRO_M, _TO_AND_FRO_NS, TO_AND_FRO_TIMES = 0.05, 200_000_000, 10


class TransformError(ValueError):
    """There is no transform between two frames, or none at the time asked for."""


@dataclass
class Track:
    """Poses of a child frame in its parent, over time.

    `may_stand` says that it may be a mount, which never moves, and not a robot's odometry.
    """

    may_stand: bool
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[tuple[float, ...]] = field(default_factory=list)  # x y z, then the quaternion xyzw
    to_and_fro: int = 0  # how often three poses went so, by at most to_and_fro_m
    to_and_fro_m: float = 0.0

    def add(self, stamp_ns: int, pose: tuple[float, ...]) -> None:
        """Take a pose in, in the order of time; of one stamp the last counts."""
        place = bisect.bisect_left(self.stamps_ns, stamp_ns)
        if place < len(self.stamps_ns) and self.stamps_ns[place] == stamp_ns:
            self.poses[place] = pose
            return
        self.stamps_ns.insert(place, stamp_ns)
        self.poses.insert(place, pose)
        self._watch(stamp_ns)
        old = bisect.bisect_left(self.stamps_ns, self.stamps_ns[-1] - KEPT_NS)
        if old > 100:  # not one by one: deleting from the front moves the rest
            del self.stamps_ns[:old], self.poses[:old]

    def _watch(self, stamp_ns: int) -> None:
        """Note how far the newest three poses go to and fro, where they do."""
        ends_ns = self.stamps_ns[-3:]
        if len(ends_ns) < 3 or stamp_ns < ends_ns[2] or ends_ns[2] - ends_ns[0] > _TO_AND_FRO_NS:
            return
        a, b, c = (pose[:3] for pose in self.poses[-3:])
        least_m = min(math.dist(a, b), math.dist(b, c))
        if least_m > _TO_AND_FRO_M and math.dist(a, c) < max(math.dist(a, b), math.dist(b, c)):
            self.to_and_fro += 1
            self.to_and_fro_m = max(self.to_and_fro_m, least_m)

    def stands(self) -> bool:
        """Whether it may be a mount, and has not moved as far as is known."""
        poses = np.asarray(self.poses, np.float64)
        return self.may_stand and bool(are_same(poses, poses[:1]).all())

    def period_ns(self) -> int:
        """How long it takes from one pose to the next, of late; of a single one, as long as can be.

        Taken from the longest of a few: publishers are not even.
        """
        newest = self.stamps_ns[-5:]
        return max((b - a for a, b in itertools.pairwise(newest)), default=LONGEST_WAIT_NS)

    def at(self, stamps_ns: NDArray[np.int64], name: str) -> Matrices:
        """[K, 4, 4], interpolated; refuses to extrapolate, and to guess over long breaks.

        Between two equal poses of what may be a mount there is none: it is published slowly.
        """
        known = np.asarray(self.stamps_ns, np.int64)
        low, high = int(stamps_ns.min()), int(stamps_ns.max())
        if low < known[0] or high > known[-1]:
            early = max(int(known[0]) - low, 0)
            late = max(high - int(known[-1]), 0)
            raise TransformError(
                f"the transform {name} is not known at the time of the sample: it "
                f"{'begins' if early else 'ends'} {max(early, late) / 1e9:.3f} s "
                f"{'later' if early else 'earlier'}{self._file_hint()}"
            )
        first = max(int(np.searchsorted(known, low, "right")) - 1, 0)
        last = int(np.searchsorted(known, high, "left")) + 1
        chosen = known[first:last]
        poses = np.asarray(self.poses[first:last], np.float64)
        if len(chosen) == 1:
            return np.repeat(matrices_of(poses), len(stamps_ns), axis=0)
        steps_ns = np.diff(chosen)
        is_held = self.may_stand & are_same(poses[:-1], poses[1:])
        # No longer, though: /tf may be odometry too, and equal poses those of one begun anew.
        breaks_ns = steps_ns[steps_ns > np.where(is_held, KEPT_NS, _LONGEST_STEP_NS)]
        if len(breaks_ns):
            raise TransformError(
                f"the transform {name} has a break of {breaks_ns.max() / 1e9:.1f} s around "
                f"the sample{self._file_hint()}"
            )
        # Relative to the first stamp: seconds since 1970 as floats are 200 ns apart.
        known_s = (chosen - chosen[0]) / 1e9
        wanted_s = (stamps_ns - chosen[0]) / 1e9
        result = np.tile(np.eye(4), (len(stamps_ns), 1, 1))
        result[:, :3, :3] = Slerp(known_s, Rotation.from_quat(poses[:, 3:]))(wanted_s).as_matrix()
        for axis in range(3):
            result[:, axis, 3] = np.interp(wanted_s, known_s, poses[:, axis])
        return result

    def _file_hint(self) -> str:
        """What to do about a transform that has not changed so far."""
        if not self.stands():
            return ""
        return "; if it is a mount that never moves, give it in a file of transforms (--transforms)"


def are_same(poses: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which poses [N, 7] are as the others, [N]; a quaternion and its negative are one rotation."""
    moved = np.abs(poses[:, :3] - others[:, :3]).max(axis=1)
    a, b = (q / np.linalg.norm(q, axis=1, keepdims=True) for q in (poses[:, 3:], others[:, 3:]))
    turned = np.minimum(np.abs(a - b).max(axis=1), np.abs(a + b).max(axis=1))
    same: NDArray[np.bool_] = (moved < _SAME_POSE) & (turned < _SAME_POSE)
    return same


def matrices_of(poses: NDArray[np.float64]) -> Matrices:
    """[N, 4, 4] of poses [N, 7]."""
    result = np.tile(np.eye(4), (len(poses), 1, 1))
    result[:, :3, :3] = Rotation.from_quat(poses[:, 3:]).as_matrix()
    result[:, :3, 3] = poses[:, :3]
    return result
