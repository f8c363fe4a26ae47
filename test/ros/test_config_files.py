"""What lies in config/ belongs to the node as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[2] / "config"


def test_the_parameter_file_is_what_the_settings_give() -> None:
    from dpt_ros.ros.parameter_file import parameter_file_text

    written = (CONFIG / "depth.yaml").read_text(encoding="utf-8")
    assert written == parameter_file_text(), (
        "run `python -m dpt_ros.ros.parameter_file config/depth.yaml`"
    )


def test_the_parameter_file_holds_the_defaults_of_all_settings() -> None:
    from dpt_ros.config import build, list_settings
    from dpt_ros.ros.settings import NodeSettings

    values = yaml.safe_load((CONFIG / "depth.yaml").read_text())["/**"]["ros__parameters"]
    assert build(NodeSettings, values) == NodeSettings()
    lines = (CONFIG / "depth.yaml").read_text().splitlines()
    names = {item.name.split(".")[-1] for item in list_settings(NodeSettings)}
    assert names <= {line.split(":")[0].strip() for line in lines}


def topics_of(node: Any) -> set[str]:
    """Every absolute topic name in an RViz configuration."""
    if isinstance(node, dict):
        return set().union(*(topics_of(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(topics_of(value) for value in node), set())
    return {node} if isinstance(node, str) and node.startswith("/") else set()


def test_rviz_shows_topics_that_the_node_has() -> None:
    pytest.importorskip("sensor_msgs")
    from dpt_ros.ros.topics import OUTPUTS

    configuration = yaml.safe_load((CONFIG / "dpt_ros.rviz").read_text())
    displays = configuration["Visualization Manager"]["Displays"]
    outputs = {f"/dpt/{topic}" for topic, _ in OUTPUTS.values()}
    assert topics_of(displays) <= outputs | {"/image_rect"}
    classes = [display["Class"].rpartition("/")[2] for display in displays]
    assert classes.count("Image") == 2
    assert {"DepthCloud", "PointCloud2"} <= set(classes)
