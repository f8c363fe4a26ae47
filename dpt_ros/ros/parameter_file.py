"""Writes what is generated from the node's settings: `python -m dpt_ros.ros.parameter_file FILE`.

Two files: `config/depth.yaml` with every default, and `docs/node.md`, the same for people, with the
topics. The file's suffix decides which; without a file the YAML goes to standard output. Knows no
rclpy; the page's topics need ROS's messages.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dpt_ros.config import Setting, limit_text, list_settings
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


_PAGE_HEAD = """\
# The node `dpt`: topics and parameters

Generated from the code: `python -m dpt_ros.ros.parameter_file docs/node.md`.

## Topics

Names are relative, so remap them; `~` is the node's own name. Every output carries the stamp and
the frame of the image it was made from. Nothing is computed for a topic without a subscriber.

| subscribes to | type | |
|---|---|---|
| `image_rect` | Image; CompressedImage on `image_rect/compressed` with `image_transport: compressed` | best effort, the newest image wins |
| `camera_info` | CameraInfo | may be missing: then no metres and no cloud |

| publishes | type | |
|---|---|---|
"""  # noqa: E501
_PAGE_PARAMETERS = """\
| `/diagnostics` | DiagnosticArray | each second: rates, latency, drops, memory, the calibration \
in use, why something is not published. |

## Parameters

*fixed*: deactivate and clean the node up before setting it; all others are live.

| parameter | default | range | unit | |
|---|---|---|---|---|
"""
_PAGE_END = """\

Given at the start, also in a parameter file, `qos_overrides.TOPIC.subscription.POLICY` and
`qos_overrides.TOPIC.publisher.POLICY` change how a topic is asked for or offered: TOPIC in full, as
the node has it, POLICY one of `history`, `depth`, `reliability`, `durability`. A camera_info that
is sent once, before the node came, is asked for with

```bash
ros2 run dpt_ros depth_node --ros-args -r image_rect:=/camera/image_rect \\
    -r camera_info:=/camera/camera_info \\
    -p qos_overrides./camera/camera_info.subscription.durability:=transient_local \\
    -p qos_overrides./camera/camera_info.subscription.reliability:=reliable
```
"""


def reference_page() -> str:
    """Topics and parameters as Markdown."""
    from dpt_ros.ros.topics import MEANINGS, OUTPUTS

    topics = [
        f"| `~/{topic}` | {message_type.__name__} | {MEANINGS[name]} |"
        for name, (topic, message_type) in OUTPUTS.items()
    ]
    parameters = [_row(item) for item in list_settings(NodeSettings)]
    rows_of_topics, rows_of_parameters = ("\n".join(rows) + "\n" for rows in (topics, parameters))
    return _PAGE_HEAD + rows_of_topics + _PAGE_PARAMETERS + rows_of_parameters + _PAGE_END


def _row(item: Setting) -> str:
    limits = [item.minimum, item.maximum]
    allowed = " to ".join("" if limit is None else limit_text(limit) for limit in limits).strip()
    if item.choices:
        allowed = ", ".join(f"`{choice}`" for choice in item.choices)
    text = item.help + (" *fixed*" if item.fixed else "")
    cells = [f"`{item.name}`", f"`{_yaml(item.default)}`", "" if allowed == "to" else allowed]
    return "| " + " | ".join([*cells, item.unit, text.replace("|", "\\|")]) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file to the path given, or print it."""
    paths = sys.argv[1:] if arguments is None else arguments
    if paths:
        path = Path(paths[0])
        text = reference_page() if path.suffix == ".md" else parameter_file_text()
        path.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(parameter_file_text())


if __name__ == "__main__":
    main()
