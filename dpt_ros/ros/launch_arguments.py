"""What the launch files refuse before anything starts: a process that fails leaves others running.

Knows no torch: the settings of the node, which load it, take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from dpt_ros.config import ConfigError, list_settings, parse_flag
from dpt_ros.inference.settings import PRECISIONS

CHOICES = {"precision": PRECISIONS, "image_transport": ("raw", "compressed")}
"""Launch argument -> its values, where it is given."""

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


def check_choices(given: Mapping[str, str]) -> None:
    """Look at the arguments of which few values are known; an empty one is not given.

    Raises:
        ConfigError: one has another value.
    """
    for name, choices in CHOICES.items():
        if given[name] and given[name] not in choices:
            raise _unexpected(name, given[name], choices)


def check_log_level(text: str) -> None:
    """Look at what stands after `--log-level`: a level, in capitals or not, or LOGGER:=LEVEL.

    Raises:
        ConfigError: there is no such level.
    """
    if text.rpartition(":=")[2].lower() not in LOG_LEVELS:
        raise _unexpected("log_level", text, LOG_LEVELS)


def check_topics(given: Mapping[str, str]) -> None:
    """Look at arguments that name topics; an empty one is not given.

    Raises:
        ConfigError: one is no name of a topic.
    """
    for name, topic in given.items():
        if topic and (reason := _fault(topic)):
            raise ConfigError(
                f"{name}: got {topic!r}, expected a topic such as /camera/image_rect: {reason}"
            )


def check_namespace(text: str) -> None:
    """Look at the node's namespace, with or without a slash before and behind it.

    Raises:
        ConfigError: it is none.
    """
    inner = text.removeprefix("/").removesuffix("/")
    if inner and (reason := _fault(inner)):
        raise ConfigError(
            f"namespace: got {text!r}, expected one such as /robot: "
            f"{reason.replace('topic name', 'namespace')}"
        )


def _fault(topic: str) -> str:
    """Why a text is no topic, relative or not; "" if it is one."""
    from rclpy.exceptions import InvalidTopicNameException
    from rclpy.validate_topic_name import validate_topic_name

    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        return str(error).partition("\n")[0].removeprefix("Invalid topic name: ").rstrip(":")
    # Which rclpy finds once it is a name in full.
    return "topic name must not contain repeated forward slashes" if "//" in topic else ""


def check_rviz(text: str) -> None:
    """Look whether RViz is there where it is asked for.

    Raises:
        ConfigError: neither true nor false.
        RuntimeError: the package rviz2 is not installed.
    """
    if not parse_flag("rviz", text):
        return
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        raise RuntimeError(
            "rviz:=true needs the package rviz2, which is not installed here: install it (on "
            "Ubuntu ros-$ROS_DISTRO-rviz2), or leave rviz away"
        ) from None


def check_player() -> None:
    """Look whether `ros2 bag` is there.

    Raises:
        RuntimeError: it is not.
    """
    if "bag" not in {command.name for command in entry_points(group="ros2cli.command")}:
        raise RuntimeError(
            "this needs `ros2 bag`, which is not installed here: install rosbag2 (on Ubuntu "
            "ros-$ROS_DISTRO-rosbag2), or take `dpt-ros replay`, which does the same from a "
            "recording's file"
        )


def check_evaluation(given: Mapping[str, str]) -> None:
    """Look at what the evaluator is told: rate, protocol, transforms, output and overwrite.

    Raises:
        ConfigError, ProtocolError: a value that it can't take, or a file that can't be read.
        OSError: the folder for the report holds something, or can't be written.
    """
    from dpt_ros.bags.transforms_file import read_transforms  # takes a while, as does the rest
    from dpt_ros.evaluation.output_folder import OutputFolder
    from dpt_ros.evaluation.protocols import choose_protocols

    _check_rate(given["rate"])
    choose_protocols([given["protocol"]])
    if given["transforms"]:
        try:
            list(read_transforms(given["transforms"]))
        except ConfigError as error:
            raise ConfigError(f"transforms: {error}") from error
    is_replaced = parse_flag("overwrite", given["overwrite"])
    OutputFolder(given["output"], is_replaced, "output:=FOLDER", "overwrite:=true")


def _check_rate(text: str) -> None:
    from dpt_ros.evaluation.live_settings import LiveSettings

    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"rate: got {text!r}, expected a number such as 0.5") from None
    next(item for item in list_settings(LiveSettings) if item.name == "rate").check(value)


def unused_parameters_message(path: Path, node: str) -> str:
    """What to say of a parameter file that holds nothing for a node, or has a section beside it.

    That is one that would be its own without its namespace; those of other namespaces are other
    robots'. "" if there is nothing to say, also of a file that can't be read: the node tells what
    is wrong with it.

    Args:
        path: of the file.
        node: the node's full name.
    """
    try:
        names = list(_nodes(yaml.safe_load(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    if not any(_is_meant(name, node) for name in names):
        return (
            f"params_file {path} holds nothing for the node {node} (its keys: "
            f"{', '.join(names) or 'none'}): name it {node}, or /** for every node"
        )
    bare = f"/{node.rpartition('/')[2]}"
    if bare not in names or _is_meant(bare, node):
        return ""
    return (
        f"params_file {path}: its section {bare} is not for the node {node}, which does not get "
        f"its values: name it {node}, or leave it if it is for another node"
    )


def _nodes(content: Any, above: str = "") -> Iterator[str]:
    """The nodes' names of a parameter file; namespaces may be keys above them."""
    if not isinstance(content, dict):
        return
    for key, below in content.items():
        name = f"{above}/{str(key).strip('/')}".removesuffix("/")
        if isinstance(below, dict) and "ros__parameters" in below:
            yield name
        else:
            yield from _nodes(below, name)


def _is_meant(name: str, node: str) -> bool:
    """As rcl reads it: ** is any number of parts of a name, * is one."""
    pattern = re.escape(name).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"(/\w+)")
    return re.fullmatch(pattern, node) is not None


def _unexpected(name: str, text: str, choices: tuple[str, ...]) -> ConfigError:
    return ConfigError(f"{name}: got {text!r}, expected one of {', '.join(choices)}")
