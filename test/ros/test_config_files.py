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


def test_the_page_of_topics_and_parameters_is_what_the_code_gives() -> None:
    pytest.importorskip("sensor_msgs")
    from dpt_ros.config import list_settings
    from dpt_ros.ros.parameter_file import reference_page
    from dpt_ros.ros.settings import NodeSettings
    from dpt_ros.ros.topics import OUTPUTS

    written = (CONFIG.parent / "docs" / "node.md").read_text(encoding="utf-8")
    assert written == reference_page(), "run `python -m dpt_ros.ros.parameter_file docs/node.md`"
    assert all(f"`{item.name}`" in written for item in list_settings(NodeSettings))
    assert all(f"`~/{topic}`" in written for topic, _ in OUTPUTS.values())


def topics_of(node: Any) -> set[str]:
    """Every absolute topic name in an RViz configuration."""
    if isinstance(node, dict):
        return set().union(*(topics_of(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(topics_of(value) for value in node), set())
    return {node} if isinstance(node, str) and node.startswith("/") else set()


@pytest.mark.parametrize("name", ["dpt_ros.rviz", "dpt_ros_evaluation.rviz"])
def test_rviz_shows_topics_that_the_nodes_have(name: str) -> None:
    pytest.importorskip("sensor_msgs")
    from dpt_ros.ros.topics import OUTPUTS

    configuration = yaml.safe_load((CONFIG / name).read_text())
    displays = configuration["Visualization Manager"]["Displays"]
    outputs = {f"/dpt/{topic}" for topic, _ in OUTPUTS.values()}
    evaluator = {"/dpt_evaluator/error/image", "/dpt_evaluator/error_points"}
    is_evaluation = "evaluation" in name
    inputs = {"/image_rect", "/lidar/points"}
    assert (
        inputs <= topics_of(displays) <= outputs | inputs | (evaluator if is_evaluation else set())
    )
    classes = [display["Class"].rpartition("/")[2] for display in displays]
    assert classes.count("Image") == (3 if is_evaluation else 2)
    assert classes.count("PointCloud2") == (3 if is_evaluation else 2)
    assert {"TF", "Axes"} <= set(classes)
    assert ("DepthCloud" in classes) != is_evaluation
    assert not is_evaluation or evaluator <= topics_of(displays)
