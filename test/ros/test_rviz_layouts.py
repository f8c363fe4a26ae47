"""The layouts in config/ hold what RViz knows, and ask for what the nodes publish, as they do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[2] / "config"
TABLE = yaml.safe_load(Path(__file__).with_name("rviz_properties.yaml").read_text())
LAYOUTS = sorted(CONFIG.glob("*.rviz"))
TYPES: dict[str, Any] = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "text": lambda value: isinstance(value, str),
    "names": lambda value: value is None or all(isinstance(name, str) for name in value),
    "color": lambda value: bool(re.fullmatch(r"\d{1,3}; \d{1,3}; \d{1,3}", str(value))),
    "frame": lambda value: value == "<Fixed Frame>" or bool(re.fullmatch(r"\w+", value)),
    "topic": lambda value: bool(re.fullmatch(r"(/\w+)+", value)),
    "any": lambda value: True,
    "none": lambda value: False,
}

layouts = pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: path.name)


def troubles(found: Any, known: Any, where: str) -> list[str]:
    """What RViz would ignore or misread."""
    if isinstance(known, list):
        return [] if found in known else [f"{where}: got {found!r}, expected one of {known}"]
    if isinstance(known, str):
        return [] if TYPES[known](found) else [f"{where}: got {found!r}, expected {known}"]
    if not isinstance(found, dict):
        return troubles(found, known.get("Value", "none"), where)
    listed = []
    for name, value in found.items():
        place = f"{where} > {name}"
        if name in known:
            listed += troubles(value, known[name], place)
        else:
            listed.append(f"{place}: RViz knows no such property")
    return listed


def of_class(found: dict[str, Any], kind: str, also: dict[str, Any]) -> list[str]:
    """The troubles of a panel, display, tool or view."""
    if (name := found["Class"]) not in TABLE[kind]:
        return [f"{kind}: no class {name}"]
    return troubles(found, {"Class": "text", **TABLE[kind][name], **also}, name)


def manager(path: Path) -> dict[str, Any]:
    return dict(read(path)["Visualization Manager"])


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def all_troubles(layout: dict[str, Any]) -> list[str]:
    shown = layout["Visualization Manager"]
    names = [panel["Name"] for panel in layout["Panels"]]
    listed = troubles(shown["Global Options"], TABLE["global"], "Global Options")
    window = {**TABLE["window"], **dict.fromkeys(names, "any")}
    listed += troubles(layout["Window Geometry"], window, "Window Geometry")
    for panel in layout["Panels"]:
        listed += of_class(panel, "panels", {"Name": "text"})
        if panel["Class"].endswith("/Time"):
            sources = [display["Name"] for display in shown["Displays"]]
            listed += troubles(panel["SyncSource"], sources, "SyncSource")
    for display in shown["Displays"]:
        listed += of_class(display, "displays", TABLE["display"])
    for tool in shown["Tools"]:
        listed += of_class(tool, "tools", {})
    for view in (shown["Views"]["Current"], *(shown["Views"]["Saved"] or ())):
        listed += of_class(view, "views", {})
    return listed


@layouts
def test_rviz_knows_every_class_and_property(path: Path) -> None:
    assert all_troubles(read(path)) == []


@pytest.mark.parametrize(
    ("old", "new", "trouble"),
    [
        ("Class: rviz_default_plugins/TF", "Class: rviz/TF", "displays: no class rviz/TF"),
        ("Median window", "Median Window", "Image > Median Window: RViz knows no such property"),
        ("Style: Points", "Style: Dots", "expected one of ['Points'"),
        ("Reliability Policy: Best Effort", "Reliability Policy: Best effort", "'Best effort'"),
        ("Alpha: 1\n", "Alpha: full\n", "expected float"),
        ("Max Color: 255; 255; 255", "Max Color: white", "expected color"),
        ("Value: /image_rect", "Value: image_rect", "expected topic"),
        ("SyncMode: 0", "SyncMode: 3", "expected one of [0, 1, 2]"),
        ("SyncSource: Points", "SyncSource: Cloud", "SyncSource: got 'Cloud'"),
    ],
)
def test_a_slip_in_a_layout_would_be_found(old: str, new: str, trouble: str) -> None:
    text = (CONFIG / "dpt_ros.rviz").read_text(encoding="utf-8")
    found = all_troubles(yaml.safe_load(text.replace(old, new)))
    assert found and all(trouble in line for line in found)


def publishers() -> dict[str, tuple[Any, Any]]:
    """Topic -> message type and profile of what the nodes publish, and of what they listen to."""
    from sensor_msgs.msg import Image, PointCloud2

    from dpt_ros.ros.qos import output_profile
    from dpt_ros.ros.topics import OUTPUTS, SCORES

    weakest = _profile("Best Effort", "Volatile")  # whatever driver publishes
    return {
        **{f"/dpt/{topic}": (kind, output_profile()) for topic, kind in OUTPUTS.values()},
        **{f"/dpt_evaluator/{t}": (kind, output_profile()) for t, kind in SCORES.values()},
        "/image_rect": (Image, weakest),
        "/lidar/points": (PointCloud2, weakest),
    }


def subscriptions(display: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Topic, message type's name and profile of what a display listens to."""
    kind = display["Class"].rpartition("/")[2]
    if kind == "DepthCloud":
        profile = _profile(display["Reliability Policy"], "Volatile")
        topics = (display["Depth Map Topic"], display["Color Image Topic"])
        return [(topic, "Image", profile) for topic in topics]
    if "Topic" not in display:
        return []
    topic = display["Topic"]
    asked = _profile(topic["Reliability Policy"], topic["Durability Policy"])
    return [(topic["Value"], kind, asked)]


def _profile(reliability: str, durability: str) -> Any:
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

    return QoSProfile(
        depth=1,
        reliability=QoSReliabilityPolicy[reliability.upper().replace(" ", "_")],
        durability=QoSDurabilityPolicy[durability.upper().replace(" ", "_")],
    )


@layouts
def test_displays_ask_for_topics_that_there_are_and_get_their_messages(path: Path) -> None:
    pytest.importorskip("rclpy")
    from dpt_ros.ros.qos import is_refused

    known = publishers()
    asked = [entry for display in manager(path)["Displays"] for entry in subscriptions(display)]
    assert len(asked) >= 5
    for topic, kind, profile in asked:
        assert topic in known, f"{topic}: expected one of {sorted(known)}"
        published, offered = known[topic]
        assert published.__name__ == kind, topic
        assert not is_refused(offered, profile), f"{topic}: nothing would arrive"


@layouts
def test_what_the_nodes_publish_reliably_is_asked_for_so(path: Path) -> None:
    pytest.importorskip("rclpy")
    from rclpy.qos import QoSReliabilityPolicy

    for display in manager(path)["Displays"]:
        for topic, _, profile in subscriptions(display):
            is_ours = topic.startswith("/dpt")
            is_reliable = profile.reliability == QoSReliabilityPolicy.RELIABLE
            assert is_reliable == is_ours, topic


@layouts
def test_every_panel_has_its_place(path):
    """The window's state, as Qt writes it, places panels by name; others pile up on the left."""
    layout = read(path)
    places = bytes.fromhex(layout["Window Geometry"]["QMainWindow State"])
    panels = [panel["Name"] for panel in layout["Panels"]]
    panels += [d["Name"] for d in manager(path)["Displays"] if d["Class"].endswith("/Image")]
    assert [name for name in panels if name.encode("utf-16-be") not in places] == []
