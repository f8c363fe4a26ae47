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
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from dpt_ros.config import parse_flag

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


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is started with them."""
    share = Path(get_package_share_directory("dpt_ros"))
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(share / "config" / "depth.yaml"),
            description="YAML file with the node's parameters; the arguments below override it",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="",
            description="true: take time from /clock; without it as params_file says",
        ),
        DeclareLaunchArgument(
            "log_level", default_value="info", description="debug, info, warn, error or fatal"
        ),
        DeclareLaunchArgument(
            "image", default_value="image_rect", description="topic of the rectified images"
        ),
        DeclareLaunchArgument(
            "rectified",
            default_value="",
            description="false: the images are raw, with the camera_info's distortion",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="",
            description="topic of their CameraInfo; without it camera_info beside the image topic",
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value="false",
            description="true: start RViz; it shows the camera's image where that is published raw",
        ),
        DeclareLaunchArgument(
            "lidar", default_value="/lidar/points", description="topic of a LiDAR that RViz shows"
        ),
        DeclareLaunchArgument(
            "rviz_frame",
            default_value="camera_optical_frame",
            description="frame that RViz shows, e.g. the images' own",
        ),
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value="", description=description)
        for name, description in NODE_PARAMETERS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start, args=[share])])


def start(context: LaunchContext, share: Path) -> list[LaunchDescriptionEntity]:
    """The node and RViz, for the arguments' values.

    Raises:
        RuntimeError: there is no such params_file.
        ConfigError: an argument that is neither true nor false.
    """

    def value_of(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    params_file = Path(value_of("params_file")).expanduser()
    if not params_file.is_file():  # launch_ros would only warn, and start with the defaults
        raise RuntimeError(f"params_file: there is no file {params_file}")
    image = value_of("image")
    transport = value_of("image_transport")
    if image.endswith("/compressed"):
        image, transport = image.removesuffix("/compressed"), transport or "compressed"
    camera_info = value_of("camera_info") or sibling(image, "camera_info")
    given = {name: value_of(name) for name in NODE_PARAMETERS} | {"image_transport": transport}
    # Typed, so that a model or device that looks like a number stays text.
    parameters = {
        name: ParameterValue(value, value_type=str) for name, value in given.items() if value
    }
    flags = {
        name: parse_flag(name, value_of(name))
        for name in ("rectified", "use_sim_time")
        if value_of(name)
    }
    parse_flag("rviz", value_of("rviz"))  # its condition is asked once the node is started
    clock = {name: value for name, value in flags.items() if name == "use_sim_time"}
    ros_arguments = ["--log-level", value_of("log_level")]
    node = Node(
        package="dpt_ros",
        executable="depth_node",
        name="dpt",
        namespace=value_of("namespace"),
        parameters=[ParameterFile(params_file), parameters | flags],
        remappings=[("image_rect", image), ("camera_info", camera_info)],
        ros_arguments=ros_arguments,
        output="screen",
        emulate_tty=True,
    )
    root = root_of(context, value_of("namespace"))
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=[
            *("-d", str(share / "config" / "dpt_ros.rviz")),
            *("-f", value_of("rviz_frame")),
        ],
        parameters=[clock],
        remappings=[
            ("/image_rect", image if image.startswith("/") else f"{root}/{image}"),
            ("/lidar/points", value_of("lidar")),
            *((topic, f"{root}{topic}") for topic in RVIZ_TOPICS if root),
        ],
        condition=IfCondition(LaunchConfiguration("rviz")),
        output="screen",
    )
    return [node, rviz]


def root_of(context: LaunchContext, namespace: str) -> str:
    """The namespace that the node ends up in, "" or "/..."; RViz's names must be moved there.

    PushRosNamespace, around where this file is included, comes before one that is not absolute.
    """
    pushed = context.launch_configurations.get("ros_namespace", "")
    parts = [namespace] if namespace.startswith("/") else [pushed, namespace]
    return "".join(f"/{part.strip('/')}" for part in parts if part.strip("/"))


def sibling(topic: str, name: str) -> str:
    """The topic `name` beside `topic`, as image_transport pairs them."""
    return f"{topic.rpartition('/')[0]}/{name}" if "/" in topic else name
