"""Depth from a camera: starts the node `dpt`, and RViz where it is asked for.

ros2 launch dpt_ros depth.launch.py image:=/camera/image_rect
ros2 launch dpt_ros depth.launch.py --show-args
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from dpt_ros.bags.topics import camera_info_beside
from dpt_ros.config import parse_flag
from dpt_ros.ros.launch_arguments import (
    check_choices,
    check_log_level,
    check_namespace,
    check_rviz,
    check_topics,
    unused_parameters_message,
)

# Launch arguments that become parameters of the same name where they are given.
NODE_PARAMETERS = {
    "model": "model, e.g. dpt_large or dpt_hybrid (`dpt-ros models list`)",
    "checkpoint": "weights file of the model; without it what `dpt-ros models pull` fetched",
    "calibration": "calibration.yaml for depth in metres; bundled: the one of the model",
    "device": "auto, cpu, cuda or cuda:N",
    "precision": "auto, float32, float16 or bfloat16",
    "image_transport": "raw or compressed",
}
RVIZ_TOPICS = (
    "/dpt/color/image",
    "/dpt/depth/image_rect",
    "/dpt/depth/camera_info",
    "/dpt/points",
)


ARGUMENTS = {
    "namespace": ("", "namespace of the node"),
    "params_file": ("", "YAML file with the node's parameters; the arguments below override it"),
    "use_sim_time": ("", "true: take time from /clock; without it as params_file says"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "image": ("image_rect", "topic of the rectified images"),
    "rectified": ("", "false: the images are raw, with the camera_info's distortion"),
    "camera_info": (
        "",
        "topic of their CameraInfo; without it camera_info beside the image topic",
    ),
    "rviz": ("false", "true: start RViz; it shows the camera's image where that is published raw"),
    "lidar": ("/lidar/points", "topic of a LiDAR that RViz shows"),
    "rviz_frame": ("camera_optical_frame", "frame that RViz shows, e.g. the images' own"),
}
"""Launch argument -> default and meaning; params_file's default is where the package lies."""


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is started with them."""
    share = Path(get_package_share_directory("dpt_ros"))
    described = {**ARGUMENTS, **{name: ("", text) for name, text in NODE_PARAMETERS.items()}}
    defaults = {"params_file": str(share / "config" / "depth.yaml")}
    arguments = [
        DeclareLaunchArgument(
            name, default_value=defaults.get(name, default), description=description
        )
        for name, (default, description) in described.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start, args=[share])])


def start(context: LaunchContext, share: Path) -> list[LaunchDescriptionEntity]:
    """The node and RViz, for the arguments' values.

    Raises:
        RuntimeError: there is no such params_file, or no rviz2 where it is asked for.
        ConfigError: an argument that is neither true nor false, no topic, or not one of a few.
    """
    given = {
        name: LaunchConfiguration(name).perform(context) for name in (*ARGUMENTS, *NODE_PARAMETERS)
    }
    if given["image"].endswith("/compressed"):
        given["image"] = given["image"].removesuffix("/compressed")
        given["image_transport"] = given["image_transport"] or "compressed"
    given["camera_info"] = given["camera_info"] or camera_info_beside(given["image"])
    check(given)
    root = root_of(context, given["namespace"])
    file = Path(given["params_file"]).expanduser()
    if not file.is_file():  # launch_ros would only warn, and start with the defaults
        raise RuntimeError(f"params_file: there is no file {file}")
    if unused := unused_parameters_message(file, f"{root}/dpt"):
        get_logger("depth.launch.py").warning(unused)
    return [depth_node(given, file), rviz(given, root, share)]


def check(given: dict[str, str]) -> None:
    """Refuse what would end a process that is started, or leave it without effect."""
    check_choices(given)
    check_log_level(given["log_level"])
    check_topics({name: given[name] for name in ("image", "camera_info", "lidar")})
    check_namespace(given["namespace"])
    check_rviz(given["rviz"])


def flags(given: dict[str, str], *names: str) -> dict[str, bool]:
    """Those of the arguments that are given, each true or false."""
    return {name: parse_flag(name, given[name]) for name in names if given[name]}


def depth_node(given: dict[str, str], file: Path) -> Node:
    """The node, with its parameters from the file and from the arguments, which win."""
    # Typed, so that a model or device that looks like a number stays text.
    texts = {
        name: ParameterValue(given[name], value_type=str) for name in NODE_PARAMETERS if given[name]
    }
    return Node(
        package="dpt_ros",
        executable="depth_node",
        name="dpt",
        namespace=given["namespace"],
        parameters=[ParameterFile(file), texts | flags(given, "rectified", "use_sim_time")],
        remappings=[("image_rect", given["image"]), ("camera_info", given["camera_info"])],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
        emulate_tty=True,
    )


def rviz(given: dict[str, str], root: str, share: Path) -> Node:
    """RViz, where it is asked for; the names in its layout are moved to the node's namespace."""
    image = given["image"]
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=[
            *("-d", str(share / "config" / "dpt_ros.rviz")),
            *("-f", given["rviz_frame"]),
        ],
        parameters=[flags(given, "use_sim_time")],
        remappings=[
            ("/image_rect", image if image.startswith("/") else f"{root}/{image}"),
            ("/lidar/points", given["lidar"]),
            *((topic, f"{root}{topic}") for topic in RVIZ_TOPICS if root),
        ],
        condition=IfCondition(LaunchConfiguration("rviz")),
        output="screen",
    )


def root_of(context: LaunchContext, namespace: str) -> str:
    """The namespace that the node ends up in, "" or "/..."; RViz's names must be moved there.

    PushRosNamespace, around where this file is included, comes before one that is not absolute.
    """
    pushed = context.launch_configurations.get("ros_namespace", "")
    parts = [namespace] if namespace.startswith("/") else [pushed, namespace]
    return "".join(f"/{part.strip('/')}" for part in parts if part.strip("/"))
