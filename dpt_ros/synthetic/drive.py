"""The robot's way through a scene: it steers between things, with bounded acceleration.

Five times a second it tries a handful of turn rates and speeds, follows each for two seconds, and
takes the one that keeps clear of things and leads to its goal (a dynamic window); goals are free
places, drawn at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dpt_ros.synthetic.primitives import Floats, turned
from dpt_ros.synthetic.scene import Scene
from dpt_ros.synthetic.scenes.placing import Footprints, footprints

STEP_S = 0.1

_CLEARANCE_M = 0.42
_COMFORT_M = 0.9
_LOOK_AHEAD_S = np.array([0.25, 0.5, 0.8, 1.2, 1.6, 2.1])
_TURN_ACCELERATION = 2.5
_ACCELERATION = 1.0
_TOP_TURN = 0.9
_TOP_SPEED = {"room": 0.7, "corridor": 1.0, "street": 1.4, "yard": 1.1}
_GOAL_S = 20.0
_STEPS_A_CHOICE = 2


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The robot's motion, a row each `STEP_S` seconds from time 0.

    Args:
        place: [T,2] metres in the world.
        yaw_rad: [T], continuous (not wrapped).
        speed: [T] metres a second along the robot's x.
        turn_rate: [T] radians a second, to the left.
        shake: [T,3] height (m), roll and pitch (rad) of the body.
    """

    place: Floats
    yaw_rad: Floats
    speed: Floats
    turn_rate: Floats
    shake: Floats

    @property
    def duration_s(self) -> float:
        """Time from the first row to the last."""
        return (len(self.place) - 1) * STEP_S

    def pose_at(self, time_s: float) -> Floats:
        """[4,4], takes a point of base_link to the world; linear between rows."""
        row, part = self._row(time_s)

        def between(values: Floats) -> Floats:
            return np.asarray(values[row] + part * (values[row + 1] - values[row]))

        height, roll, pitch = between(self.shake)
        transform = np.eye(4)
        transform[:3, :3] = turned(float(between(self.yaw_rad)), float(pitch), float(roll))
        transform[:2, 3] = between(self.place)
        transform[2, 3] = height
        return transform

    def velocity_at(self, time_s: float) -> tuple[float, float]:
        """Speed (m/s) and turn rate (rad/s)."""
        row, part = self._row(time_s)
        return (
            float(self.speed[row] + part * (self.speed[row + 1] - self.speed[row])),
            float(self.turn_rate[row] + part * (self.turn_rate[row + 1] - self.turn_rate[row])),
        )

    def _row(self, time_s: float) -> tuple[int, float]:
        if not 0.0 <= time_s <= self.duration_s + 1e-6:
            raise ValueError(f"got time {time_s} s, expected 0 to {self.duration_s:g}")
        row = min(int(time_s / STEP_S), len(self.place) - 2)
        return row, time_s / STEP_S - row


def drive_path(scene: Scene, rng: np.random.Generator, duration_s: float) -> Trajectory:
    """A drive through a scene.

    Args:
        scene: where.
        rng: decides start, goals and shaking.
        duration_s: how long, more than 0.

    Raises:
        ValueError: a duration that is not positive, or a scene with no free place.
    """
    if not duration_s > 0:
        raise ValueError(f"got a duration of {duration_s} s, expected more than 0")
    driver = _Driver(scene, rng)
    count = math.ceil(duration_s / STEP_S - 1e-9) + 1
    rows = np.array([driver.step() for _ in range(count)])
    return Trajectory(rows[:, :2], rows[:, 2], rows[:, 3], rows[:, 4], _shaking(rng, count))


class _Driver:
    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self._rng, self._region = rng, scene.region
        self._things = footprints(scene.primitives)
        self._top_speed = _TOP_SPEED.get(scene.kind, 1.0) * rng.uniform(0.6, 1.0)
        self._x, self._y, self._yaw = self._start()
        self._speed, self._turn = 0.5 * self._top_speed, 0.0
        self._goal, self._goal_left_s = self._new_goal(), _GOAL_S
        self._steps, self._wanted = 0, (self._speed, self._turn)
        self._brake = 1.0

    def step(self) -> tuple[float, float, float, float, float]:
        """The state now: x, y, yaw, speed, turn rate; then drive on for one step."""
        state = (self._x, self._y, self._yaw, self._speed, self._turn)
        # One that stands has a goal it can't get to from there.
        self._goal_left_s -= STEP_S if self._speed > 0.05 else 5 * STEP_S
        away = math.hypot(self._goal[0] - self._x, self._goal[1] - self._y)
        if away < 1.0 or self._goal_left_s < 0:
            self._goal, self._goal_left_s = self._new_goal(), _GOAL_S
        if self._steps % _STEPS_A_CHOICE == 0:
            self._wanted = self._choose()
        self._steps += 1
        change, gain = _TURN_ACCELERATION * STEP_S, _ACCELERATION * STEP_S * self._brake
        speed = float(np.clip(self._wanted[0], self._speed - gain, self._speed + gain))
        turn = float(np.clip(self._wanted[1], self._turn - change, self._turn + change))
        middle = self._yaw + 0.25 * (turn + self._turn) * STEP_S
        mean = 0.5 * (speed + self._speed)
        self._x += mean * math.cos(middle) * STEP_S
        self._y += mean * math.sin(middle) * STEP_S
        self._yaw += 0.5 * (turn + self._turn) * STEP_S
        self._speed, self._turn = speed, turn
        return state

    def _choose(self) -> tuple[float, float]:
        """The best of the speeds and turn rates in reach."""
        turns = np.linspace(-_TOP_TURN, _TOP_TURN, 9)
        speeds = self._top_speed * np.array([0.0, 0.3, 0.65, 1.0])
        turn, speed = (grid.reshape(-1) for grid in np.meshgrid(turns, speeds))
        heading = self._yaw + turn[:, None] * _LOOK_AHEAD_S * 0.5
        x = self._x + speed[:, None] * _LOOK_AHEAD_S * np.cos(heading)
        y = self._y + speed[:, None] * _LOOK_AHEAD_S * np.sin(heading)
        near = self._near()
        room = _room(near, self._region, np.stack([x.reshape(-1), y.reshape(-1)], 1))
        clear = room.reshape(x.shape).min(1)
        end = self._yaw + turn * _LOOK_AHEAD_S[-1]
        front = np.stack([x[:, -1] + 1.2 * np.cos(end), y[:, -1] + 1.2 * np.sin(end)], 1)
        ahead = _room(near, self._region, front)
        to_goal = np.arctan2(self._goal[1] - y[:, -1], self._goal[0] - x[:, -1])
        off = np.abs((to_goal - end + np.pi) % (2 * np.pi) - np.pi)
        cost = (
            0.6 * off
            - 1.2 * speed / self._top_speed
            + 2.5 * np.maximum(_COMFORT_M - clear, 0)
            + 1.2 * np.maximum(_COMFORT_M - ahead, 0)
            + 0.15 * np.abs(turn - self._turn)
            + np.where(clear < _CLEARANCE_M, 100.0 * (1 + speed), 0.0)
        )
        best = int(cost.argmin())
        self._brake = 3.0 if clear[best] < _CLEARANCE_M else 1.0
        return float(speed[best]), float(turn[best])

    def _near(self) -> Footprints:
        """The footprints within reach of the look ahead."""
        things = self._things
        away = things.centre - [self._x, self._y]
        near = np.hypot(away[:, 0], away[:, 1]) < np.hypot(*things.half.T) + 6.0
        return Footprints(things.centre[near], things.axis[near], things.half[near])

    def _start(self) -> tuple[float, float, float]:
        """A free place, facing the widest of a few directions."""
        for clearance in (0.7, 0.55, _CLEARANCE_M):
            places = self._free_places(clearance)
            if len(places):
                x, y = places[int(self._rng.integers(len(places)))]
                yaws = self._rng.uniform(-np.pi, np.pi, 10)
                steps = np.array([0.5, 1.0, 1.5, 2.0, 3.0])
                points = np.stack(
                    [x + np.outer(np.cos(yaws), steps), y + np.outer(np.sin(yaws), steps)], -1
                )
                room = _room(self._things, self._region, points.reshape(-1, 2))
                clear = (room.reshape(len(yaws), -1) > 0.4).cumprod(1).sum(1)
                best = np.nonzero(clear >= min(4, clear.max()))[0]
                return float(x), float(y), float(yaws[self._rng.choice(best)])
        raise ValueError("the scene has no place that is free for the robot: try another seed")

    def _new_goal(self) -> tuple[float, float]:
        """A free place, best one that a straight line leads to."""
        places = self._free_places(0.6)
        here = np.array([self._x, self._y])
        places = places[np.hypot(*(places - here).T) > 1.5][:16]
        if not len(places):
            return self._x, self._y
        way = here + (places - here)[:, None] * np.linspace(0.1, 1.0, 12)[:, None]
        room = _room(self._things, self._region, way.reshape(-1, 2)).reshape(len(places), -1)
        best = int((room.min(1) > _CLEARANCE_M + 0.05).argmax())
        return float(places[best, 0]), float(places[best, 1])

    def _free_places(self, clearance: float) -> Floats:
        x_min, y_min, x_max, y_max = self._region
        places = self._rng.uniform((x_min, y_min), (x_max, y_max), (60, 2))
        return np.asarray(places[_room(self._things, self._region, places) > clearance])


def _room(things: Footprints, region: tuple[float, float, float, float], points: Floats) -> Floats:
    """Distance of points [P,2] from things and from the region's border, [P]."""
    x_min, y_min, x_max, y_max = region
    inside = np.min(
        [points[:, 0] - x_min, x_max - points[:, 0], points[:, 1] - y_min, y_max - points[:, 1]], 0
    )
    return np.asarray(np.minimum(things.clearance(points), np.maximum(inside, 0)))


def _shaking(rng: np.random.Generator, count: int) -> Floats:
    """Height, roll and pitch of the body, smooth, [count,3]."""
    white = rng.standard_normal((count + 12, 3))
    kernel = np.hanning(7)
    kernel /= np.sqrt((kernel**2).sum())
    smooth = np.stack([np.convolve(white[:, axis], kernel, "same") for axis in range(3)], 1)
    lean = rng.normal(0, 1, 3) * (0.004, math.radians(0.3), math.radians(0.3))
    deviation = np.array([0.005, math.radians(0.35), math.radians(0.4)])
    return np.asarray(smooth[6 : 6 + count] * deviation + lean)
