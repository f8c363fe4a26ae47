"""Writes `config/depth.yaml` from the settings' defaults: `python -m dpt_ros.ros.parameter_file`.

Knows no rclpy. With a path as its argument the file is written there, else to standard output.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dpt_ros.config import Setting, list_settings
from dpt_ros.ros.settings import NodeSettings

_HEAD = """\
# Every parameter of the node `dpt` with its default, unit and range.
# Generated from the settings in the code: python -m dpt_ros.ros.parameter_file config/depth.yaml
# Copy it, keep the lines you change, and start the node with it:
#   ros2 launch dpt_ros depth.launch.py params_file:=/path/to/mine.yaml
# "Fixed after configure": deactivate and clean the node up before setting it.

/**:
  ros__parameters:
"""


def parameter_file_text() -> str:
    """The whole file."""
    blocks: list[str] = []
    group = ""
    for item in sorted(list_settings(NodeSettings), key=lambda item: "." in item.name):
        *groups, name = item.name.split(".")
        head = ""
        if groups and groups[0] != group:
            group = groups[0]
            head = f"    {group}:\n"
        blocks.append(head + _entry(item, name, "      " if groups else "    "))
    return _HEAD + "\n\n".join(blocks) + "\n"


def _entry(item: Setting, name: str, indent: str) -> str:
    text = item.description + (" Fixed after configure." if item.fixed else "")
    comment = textwrap.wrap(text, width=98 - len(indent) - 2)
    lines = [*(f"# {line}" for line in comment), f"{name}: {_yaml(item.default)}"]
    return "\n".join(indent + line for line in lines)


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return yaml.safe_dump(value).splitlines()[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file to the path given, or print it."""
    paths = sys.argv[1:] if arguments is None else arguments
    if paths:
        Path(paths[0]).write_text(parameter_file_text(), encoding="utf-8")
    else:
        sys.stdout.write(parameter_file_text())


if __name__ == "__main__":
    main()
