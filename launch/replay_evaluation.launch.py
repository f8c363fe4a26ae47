"""A recording through the depth node, scored live: `ros2 bag play`, node, evaluator, and RViz.

ros2 launch dpt_ros replay_evaluation.launch.py bag:=my_bag model:=dpt_large
ros2 launch dpt_ros replay_evaluation.launch.py --show-args

Needs rosbag2 (`ros2 bag`); without it, `dpt-ros replay` does the same from a recording's file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart
from launch.events.process import ProcessExited, ProcessIO, ProcessStarted
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dpt_ros.bags.topics import camera_info_beside
from dpt_ros.config import parse_flag
from dpt_ros.ros.evaluator_main import NOTHING_SCORED
from dpt_ros.ros.launch_arguments import (
    check_choices,
    check_evaluation,
    check_player,
    check_rviz,
    check_topics,
)
from dpt_ros.ros.transport import widen_shared_memory

# Launch arguments that become parameters of both nodes where they are given.
SHARED = {
    "model": "model, e.g. dpt_large or dpt_hybrid (`dpt-ros models list`)",
    "checkpoint": "weights file of the model; without it what `dpt-ros models pull` fetched",
    "calibration": "calibration.yaml for depth in metres, or bundled",
    "image_transport": "raw or compressed",
}
NODE_ONLY = {
    "device": "auto, cpu, cuda or cuda:N",
    "precision": "auto, float32, float16 or bfloat16",
}
REPORT_S = "90"
"""How long the evaluator may take to write its report before it is ended by force."""
NODE_PID = "depth_node_pid"
"""Launch configuration with the depth node's process, once it runs."""
LOG_LEVELS = ["debug", "info"]
"""The player waits for what nodes say at info."""


ARGUMENTS = {
    "rate": ("1.0", "speed of playback"),
    "image": ("/camera/image_rect", "topic of the images in the recording"),
    "camera_info": ("", "topic of their CameraInfo; without it the one beside the images"),
    "points": ("/lidar/points", "topic of the LiDAR's points"),
    "odometry": ("/odom", "topic of the odometry, for what no /tf tells of movement"),
    "rectified": ("true", "false: the images are raw, with the camera_info's distortion"),
    "transforms": ("", "YAML file of fixed transforms, instead of those of /tf_static"),
    "protocol": ("full", "full, kitti, nyu, zero-shot or all"),
    "output": ("live_evaluation", "folder of the report; a new one, or an empty one"),
    "overwrite": ("false", "true: replace the files of an earlier report in that folder"),
    "log_level": ("info", "debug or info"),
    "rviz": ("false", "true: start RViz with the errors' layout"),
    "rviz_frame": ("camera_optical_frame", "frame that RViz shows, e.g. the images' own"),
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is started with them."""
    share = Path(get_package_share_directory("dpt_ros"))
    described = {
        **ARGUMENTS,
        **{name: ("", text) for name, text in {**SHARED, **NODE_ONLY}.items()},
    }
    arguments = [DeclareLaunchArgument("bag", description="the recording to play")]
    arguments += [
        DeclareLaunchArgument(
            name,
            default_value=default,
            description=description,
            choices=LOG_LEVELS if name == "log_level" else None,
        )
        for name, (default, description) in described.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start, args=[share])])


def start(context: LaunchContext, share: Path) -> list[LaunchDescriptionEntity]:
    """Both nodes, the player and RViz, for the arguments' values.

    Raises:
        RuntimeError: there is no such recording, no `ros2 bag`, or no rviz2 where it is asked for.
        ConfigError: an argument that is neither true nor false, no topic, no speed, not one of a
            few, or a file of transforms that is wrong.
        OSError: the folder for the report holds something, or can't be written.
    """
    names = (*ARGUMENTS, *SHARED, *NODE_ONLY, "bag")
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    check(given)
    bag = Path(given["bag"]).expanduser()
    if not bag.exists():
        raise RuntimeError(f"bag: there is no recording at {bag}")
    widen_shared_memory()  # of the player too, or pictures are lost on a busy machine
    depth, scores = depth_node(given), evaluator(given, bag)
    player = ExecuteProcess(
        cmd=["ros2", "bag", "play", str(bag), "--clock", "100", "--rate", given["rate"]],
        output="screen",
    )
    both = when_both_listen(player)
    handlers = [
        OnProcessStart(target_action=depth, on_start=with_its_process(scores)),
        OnProcessExit(target_action=player, on_exit=after_playback),
    ]
    for node in (depth, scores):
        handlers.append(OnProcessIO(target_action=node, on_stdout=both, on_stderr=both))
        handlers.append(OnProcessExit(target_action=node, on_exit=after_node))
    return [*map(RegisterEventHandler, handlers), depth, rviz(given, share)]


def check(given: dict[str, str]) -> None:
    """Refuse what would end a process that is started."""
    check_choices(given)
    check_topics({name: given[name] for name in ("image", "camera_info", "points", "odometry")})
    check_evaluation(given)
    check_rviz(given["rviz"])
    check_player()


def with_its_process(
    scores: Node,
) -> Callable[[ProcessStarted, LaunchContext], list[LaunchDescriptionEntity]]:
    """Starts the evaluator once the depth node runs: it looks at that process's CPU and memory."""

    def begin(event: ProcessStarted, _: LaunchContext) -> list[LaunchDescriptionEntity]:
        return [SetLaunchConfiguration(NODE_PID, str(event.pid)), scores]

    return begin


def after_playback(event: ProcessExited, _: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Ends all; a player that failed is told to the evaluator first, for its report."""
    if event.returncode == 0:
        played = Shutdown(reason="the recording was played")
        return [later(3.0, played)]
    reason = f"player ended with exit code {event.returncode}"
    # Not by ros2's daemon, which may not know the evaluator yet. Where the evaluator can't be told
    # any more, it goes on all the same.
    command = ["ros2", "param", "set", "--no-daemon", "--spin-time", "3"]
    told = ExecuteProcess(
        cmd=[*command, "/dpt_evaluator", "partial", f"The {reason}."],
        on_exit=[later(1.0, failed(f"the {reason}: see what it said"))],
        output="screen",
    )
    return [told]


def after_node(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Ends all where a node ended by itself.

    Raises:
        RuntimeError: nothing was scored.
    """
    if event.returncode == NOTHING_SCORED:
        raise RuntimeError("nothing was scored: see what the evaluator said")
    if context.is_shutdown:
        return []
    return [later(7.0, failed("a node ended, and nothing is left to play for: see what it said"))]


def failed(reason: str) -> OpaqueFunction:
    """Ends all, and `ros2 launch` with another exit code than 0, which a Shutdown can't."""

    def fail(_: LaunchContext) -> None:
        raise RuntimeError(reason)

    return OpaqueFunction(function=fail)


def later(after_s: float, end: LaunchDescriptionEntity) -> TimerAction:
    """Ends all a little later: the evaluator takes in what is on its way, or notes who is gone."""
    return TimerAction(period=after_s, actions=[end])


def depth_node(given: dict[str, str]) -> Node:
    """The node that is evaluated."""
    own = texts({name: given[name] for name in NODE_ONLY})
    return Node(
        package="dpt_ros",
        executable="depth_node",
        name="dpt",
        parameters=[
            {**shared(given), **own, "rectified": parse_flag("rectified", given["rectified"])}
        ],
        remappings=camera_remappings(given),
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
        emulate_tty=True,
    )


def evaluator(given: dict[str, str], bag: Path) -> Node:
    """The node that scores, and that takes a while to write its report."""
    own = texts(
        {
            "output": str(Path(given["output"]).expanduser().absolute()),
            "protocol": given["protocol"],
            "bag": str(bag.absolute()),
            "samples.transforms": given["transforms"],
            "samples.pictures": "rectified"
            if parse_flag("rectified", given["rectified"])
            else "raw",
        }
    )
    return Node(
        package="dpt_ros",
        executable="evaluator_node",
        name="dpt_evaluator",
        parameters=[
            {
                **shared(given),
                **own,
                "overwrite": parse_flag("overwrite", given["overwrite"]),
                "rate": float(given["rate"]),
                "node_pid": ParameterValue(LaunchConfiguration(NODE_PID), value_type=int),
            }
        ],
        remappings=[
            *camera_remappings(given),
            ("points", given["points"]),
            ("odometry", given["odometry"]),
        ],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
        emulate_tty=True,
        sigterm_timeout=REPORT_S,
        sigkill_timeout=REPORT_S,
    )


def rviz(given: dict[str, str], share: Path) -> Node:
    """RViz with the layout for errors, where it is asked for."""
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=[
            *("-d", str(share / "config" / "dpt_ros_evaluation.rviz")),
            *("-f", given["rviz_frame"]),
        ],
        parameters=[{"use_sim_time": True}],
        remappings=[("/image_rect", image_topic(given)), ("/lidar/points", given["points"])],
        condition=IfCondition(LaunchConfiguration("rviz")),
        output="screen",
    )


def shared(given: dict[str, str]) -> dict[str, bool | ParameterValue]:
    """Parameters of both nodes."""
    is_compressed = given["image"].endswith("/compressed")
    transport = given["image_transport"] or ("compressed" if is_compressed else "")
    values = texts({**{name: given[name] for name in SHARED}, "image_transport": transport})
    return {"use_sim_time": True, **values}


def image_topic(given: dict[str, str]) -> str:
    """The images' topic, without the transport's name."""
    return given["image"].removesuffix("/compressed")


def camera_remappings(given: dict[str, str]) -> list[tuple[str, str]]:
    """From the nodes' names to the recording's."""
    image = image_topic(given)
    camera_info = given["camera_info"] or camera_info_beside(image)
    return [
        ("image_rect/compressed", f"{image}/compressed"),
        ("image_rect", image),
        ("camera_info", camera_info),
    ]


def when_both_listen(
    player: ExecuteProcess,
) -> Callable[[ProcessIO], ExecuteProcess | OpaqueFunction | None]:
    """Starts the player once both nodes have said that they listen: models take a while to load.

    Ends all where the depth node says that it can't: it stays there to be set right, but not here.
    """
    listening: set[str] = set()

    def look(event: ProcessIO) -> ExecuteProcess | OpaqueFunction | None:
        if b"configure failed" in event.text:
            return failed("the depth node could not be configured")
        if b"listening to" not in event.text or event.process_name in listening:
            return None
        listening.add(event.process_name)
        return player if len(listening) == 2 else None

    return look


def texts(values: dict[str, str]) -> dict[str, ParameterValue]:
    """What was given, typed: a model or folder that looks like a number stays text."""
    return {name: ParameterValue(value, value_type=str) for name, value in values.items() if value}
