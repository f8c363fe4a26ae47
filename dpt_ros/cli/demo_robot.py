"""The demo's robot, in a process of its own: drives through a rendered world and publishes it.

For `dpt-ros demo`, which starts it as `python -m dpt_ros.cli.demo_robot` and reads what it prints.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.synthetic.bag import Recorded

_CLOCK_S = 0.02
_SIZE_PX = (640, 480)
_LISTENERS = 3
"""On image_rect: the node, the evaluator and who watches both."""
_LISTENERS_S = 240.0
_SETTLE_S = 0.5
"""The robot knows of a listener before that one knows of the robot, and hears it."""
_AFTER_S = 2.0
"""The clock goes on for a while, so that what waits for later messages comes to its end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Render the drive, wait for listeners, then drive."""
    parser = argparse.ArgumentParser(description="The synthetic robot of `dpt-ros demo`.")
    parser.add_argument("--kind", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True)
    options = parser.parse_args(arguments)

    from dpt_ros.synthetic.bag_messages import BagMessages

    makes = BagMessages()
    drive = _rendered(options, makes)
    from dpt_ros.ros.robot_publisher import RobotPublisher

    with RobotPublisher(makes.types) as robot:
        deadline = time.monotonic() + _LISTENERS_S
        while not robot.is_heard(_LISTENERS):
            if time.monotonic() > deadline:
                print("nobody listens", flush=True)
                return 1
            time.sleep(0.1)
        time.sleep(_SETTLE_S)
        _drive(robot, drive)
    print("arrived", flush=True)
    return 0


def _rendered(options: argparse.Namespace, makes: Any) -> list[Recorded]:
    """All messages of the drive: rendering takes a core that the node is to have meanwhile."""
    import torch

    from dpt_ros.synthetic.bag import CAMERA_INFO, drive_messages, picture_count, robot_for
    from dpt_ros.synthetic.rig import rig_camera
    from dpt_ros.synthetic.settings import BagSettings, LidarSettings

    torch.set_num_threads(1)
    settings = BagSettings(
        kind=options.kind, seed=options.seed, seconds=options.seconds, rate=options.rate
    )
    # The LiDAR turns once a picture.
    robot = robot_for(settings, lidar=LidarSettings(rate_hz=options.rate))
    camera = rig_camera(robot.rig, *_SIZE_PX)
    count, messages = picture_count(settings), []
    for recorded in drive_messages(makes, settings, robot, camera):
        messages.append(recorded)
        if recorded.topic == CAMERA_INFO:
            done = sum(1 for item in messages if item.topic == CAMERA_INFO)
            print(f"rendered {done} of {count}", flush=True)
    return messages


def _drive(robot: Any, drive: list[Recorded]) -> None:
    from dpt_ros.synthetic import bag

    topics = {bag.IMAGE: "image_rect", bag.CAMERA_INFO: "camera_info", bag.POINTS: "points"}
    first_info = next(item for item in drive if item.topic == bag.CAMERA_INFO)
    robot.publish("camera_info", first_info.message)
    started_s = time.monotonic()
    for recorded, now_s in _in_time(robot, drive, started_s, bag.START_NS):
        if recorded.topic in (bag.TRANSFORMS, bag.STATIC_TRANSFORMS):
            is_static = recorded.topic == bag.STATIC_TRANSFORMS
            robot.publish_transforms(recorded.message, is_static)
        elif recorded.topic in topics:
            robot.publish(topics[recorded.topic], recorded.message)
            print(f"driving {now_s:.1f} of {drive[-1].time_s:.1f}", flush=True)
    _clock_until(robot, started_s, time.monotonic() + _AFTER_S, bag.START_NS)


def _in_time(
    robot: Any, drive: list[Recorded], started_s: float, start_ns: int
) -> Iterator[tuple[Recorded, float]]:
    """Every message when it is due, and the clock in between."""
    for recorded in drive:
        _clock_until(robot, started_s, started_s + recorded.time_s, start_ns)
        yield recorded, time.monotonic() - started_s


def _clock_until(robot: Any, started_s: float, moment_s: float, start_ns: int) -> None:
    while (left_s := moment_s - time.monotonic()) > 0.0:
        time.sleep(min(left_s, _CLOCK_S))
        passed_s = time.monotonic() - started_s
        robot.set_clock(start_ns + round(passed_s * 1e9))


if __name__ == "__main__":
    sys.exit(main())
