"""What each argument of depth.launch.py does to the node and to RViz."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpt_ros.config import ConfigError, list_settings
from dpt_ros.ros.settings import NodeSettings

ROOT = Path(__file__).resolve().parents[2]
Launch = Callable[..., Any]


def remappings(entity: Any) -> dict[str, str]:
    return dict(entity.keywords["remappings"])


def test_without_arguments_the_node_has_its_file_and_nothing_else(launch: Launch) -> None:
    launched = launch("depth")
    node, rviz = launched.node("dpt"), launched.node("rviz2")
    assert (node.keywords["package"], node.keywords["executable"]) == ("dpt_ros", "depth_node")
    assert node.keywords["namespace"] == ""
    assert node.keywords["ros_arguments"] == ["--log-level", "info"]
    assert remappings(node) == {"image_rect": "image_rect", "camera_info": "camera_info"}
    file, *_ = node.keywords["parameters"]
    assert file.positional == (ROOT / "config" / "depth.yaml",)
    assert launched.parameters(node) == {}, "a setting of use_sim_time elsewhere is to hold"
    assert not launched.starts(rviz)
    assert not hasattr(node, "condition") or node.keywords.get("condition") is None


@pytest.mark.parametrize(
    ("given", "image", "camera_info", "transport"),
    [
        ({"image": "/cam/image_rect"}, "/cam/image_rect", "/cam/camera_info", None),
        ({"image": "cam/left/image"}, "cam/left/image", "cam/left/camera_info", None),
        ({"image": "/image"}, "/image", "/camera_info", None),
        ({"image": "/cam/image", "camera_info": "/other/info"}, "/cam/image", "/other/info", None),
        ({"image": "/cam/image/compressed"}, "/cam/image", "/cam/camera_info", "compressed"),
        (
            {"image": "/cam/image", "image_transport": "compressed"},
            "/cam/image",
            "/cam/camera_info",
            "compressed",
        ),
    ],
)
def test_the_camera_is_remapped(
    launch: Launch, given: dict[str, str], image: str, camera_info: str, transport: str | None
) -> None:
    launched = launch("depth", **given)
    node = launched.node("dpt")
    assert remappings(node) == {"image_rect": image, "camera_info": camera_info}
    assert launched.parameters(node).get("image_transport") == transport


def test_parameters_keep_their_types_and_override_the_file(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    model: dpt_large\n")
    texts = {
        "model": "42",
        "checkpoint": "1e3",
        "calibration": "true",
        "device": "cuda:0",
        "precision": "float16",
    }
    launched = launch(
        "depth", params_file=str(file), rectified="false", use_sim_time="true", **texts
    )
    node = launched.node("dpt")
    parameters = launched.parameters(node)
    assert parameters == {**texts, "rectified": False, "use_sim_time": True}
    assert {name: type(value) for name, value in parameters.items()}["model"] is str
    known = {item.name for item in list_settings(NodeSettings)}
    assert set(parameters) - {"use_sim_time"} <= known
    # Later entries win over earlier ones in ROS.
    assert node.keywords["parameters"][0].positional == (file,)


def test_a_parameter_file_that_is_not_there_is_an_error(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"params_file: there is no file .*none\.yaml"):
        launch("depth", params_file=str(tmp_path / "none.yaml"))


def test_a_parameter_file_in_the_home_folder_is_found(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("")
    node = launch("depth", params_file="~/mine.yaml").node("dpt")
    assert node.keywords["parameters"][0].positional == (tmp_path / "mine.yaml",)


@pytest.mark.parametrize("name", ["rviz", "rectified", "use_sim_time"])
@pytest.mark.parametrize("text", ["yes", "flase", "y"])
def test_what_is_neither_true_nor_false_starts_nothing(
    launch: Launch, name: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got '{text}', expected true or false"):
        launch("depth", **{name: text})


@pytest.mark.parametrize("namespace", ["robot", "/robot", "robot/"])
def test_rviz_shows_the_node_of_the_namespace(launch: Launch, namespace: str) -> None:
    launched = launch("depth", namespace=namespace, rviz="true", image="front/image_rect")
    node, rviz = launched.node("dpt"), launched.node("rviz2")
    assert node.keywords["namespace"] == namespace
    assert launched.starts(rviz)
    shown = remappings(rviz)
    # RViz runs outside of the namespace: its layout's absolute names are moved there.
    assert shown["/image_rect"] == "/robot/front/image_rect"
    outputs = {topic: moved for topic, moved in shown.items() if topic.startswith("/dpt/")}
    assert set(outputs) == topics_of_the_layout()
    assert all(moved == f"/robot{topic}" for topic, moved in outputs.items())


@pytest.mark.parametrize(
    ("pushed", "namespace", "root"),
    [
        ("/pushed", "", "/pushed"),
        ("pushed", "robot", "/pushed/robot"),
        ("/fleet/one/", "robot/", "/fleet/one/robot"),
        ("/pushed", "/robot", "/robot"),
        ("/", "", ""),
    ],
)
def test_rviz_follows_a_namespace_pushed_around_the_file(
    launch: Launch, pushed: str, namespace: str, root: str
) -> None:
    # Where launch_ros's PushRosNamespace leaves it.
    given = {"ros_namespace": pushed, "namespace": namespace}
    launched = launch("depth", **given, rviz="true", image="front/image_rect")
    shown = remappings(launched.node("rviz2"))
    assert shown["/image_rect"] == f"{root}/front/image_rect"
    outputs = {topic: moved for topic, moved in shown.items() if topic.startswith("/dpt/")}
    assert outputs == (
        {topic: f"{root}{topic}" for topic in topics_of_the_layout()} if root else {}
    )


def topics_of_the_layout() -> set[str]:
    """The node's own, with the camera_info that RViz takes beside a depth image."""
    lines = (ROOT / "config" / "dpt_ros.rviz").read_text(encoding="utf-8").splitlines()
    names = {line.rpartition(": ")[2] for line in lines}
    return {name for name in names if name.startswith("/dpt/")} | {"/dpt/depth/camera_info"}


def test_rviz_shows_the_camera_the_lidar_and_the_frame_that_were_given(launch: Launch) -> None:
    launched = launch(
        "depth",
        rviz="true",
        image="/cam/image/compressed",
        lidar="/ouster/points",
        rviz_frame="cam_optical",
        use_sim_time="true",
    )
    rviz = launched.node("rviz2")
    assert remappings(rviz) == {"/image_rect": "/cam/image", "/lidar/points": "/ouster/points"}
    layout = str(ROOT / "config" / "dpt_ros.rviz")
    assert rviz.keywords["arguments"] == ["-d", layout, "-f", "cam_optical"]
    assert launched.parameters(rviz) == {"use_sim_time": True}


def test_the_log_level_is_the_nodes(launch: Launch) -> None:
    node = launch("depth", log_level="debug").node("dpt")
    assert node.keywords["ros_arguments"] == ["--log-level", "debug"]


@pytest.mark.parametrize("text", ["INFO", "dpt:=debug"])
def test_a_log_level_as_ros_reads_it_is_taken(launch: Launch, text: str) -> None:
    node = launch("depth", log_level=text).node("dpt")
    assert node.keywords["ros_arguments"] == ["--log-level", text]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("precision", "half", "expected one of auto, float32, float16, bfloat16"),
        ("image_transport", "theora", "expected one of raw, compressed"),
        ("log_level", "verbose", "expected one of debug, info, warn, error, fatal"),
        ("image", "/cam//image", "expected a topic .*repeated forward slashes"),
        ("image", "/cam/image/", "expected a topic .*must not end with a forward slash$"),
        ("camera_info", "my camera", "expected a topic .*characters other than alphanumerics"),
        ("lidar", "/1lidar", "expected a topic .*must not start with a number"),
        ("namespace", "robot-1", "expected one such as /robot: namespace must not contain"),
        ("namespace", "a//b", "expected one such as /robot: .*repeated forward slashes"),
    ],
)
def test_what_would_end_the_node_is_refused_before_it_starts(
    launch: Launch, name: str, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got '{text}', {expected}"):
        launch("depth", **{name: text})


def test_the_few_values_of_an_argument_are_those_of_the_setting() -> None:
    from dpt_ros.ros.launch_arguments import CHOICES

    settings = {item.name: item.choices for item in list_settings(NodeSettings)}
    assert {name: settings[name] for name in CHOICES} == CHOICES


@pytest.mark.parametrize("file", ["depth", "replay_evaluation"])
def test_rviz_that_is_not_installed_starts_nothing(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    from ament_index_python.packages import PackageNotFoundError

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("dpt_ros.ros.launch_arguments.get_package_prefix", missing)
    given = {"bag": str(tmp_path)} if file == "replay_evaluation" else {}
    with pytest.raises(RuntimeError, match="rviz:=true needs the package rviz2"):
        launch(file, rviz="true", **given)
    assert launch(file, rviz="false", **given).node("dpt")


KEYS = [
    *("dpt", "/dpt", "depth_node", "/robot/one/dpt", "robot/one/dpt", "/other/dpt"),
    *("/**", "**", "/*", "*", "/*/dpt", "/*/*/dpt", "/*/*/*", "/**/dpt", "**/dpt", "/robot/**"),
    *("/robot/*", "/robot/*/dpt", "/robot/**/dpt", "/robot/one/*", "/robot/one/**", "/**/one/dpt"),
    *("/**/**", "/*/**", "/**/*", "/robot/one/dpt/**", "/robot/one/dpt/*"),
]
PARAMETERS = {"ros__parameters": {"model": "dpt_tiny"}}
NESTED: list[Any] = [
    {"robot": {"one": {"dpt": PARAMETERS}}},
    {"/robot": {"one/dpt": PARAMETERS}},
    {"/robot/": {"one/": {"dpt": PARAMETERS}}},
    {"/**": {"dpt": PARAMETERS}},
    {"other": {"dpt": PARAMETERS}},
    {"other": PARAMETERS, "robot": {"one": {"dpt": PARAMETERS}}},
    {},
]


@pytest.mark.parametrize("namespace", ["/robot/one", "/robot", "/"])
def test_a_parameter_file_that_ros_would_not_give_to_the_node_is_told(
    launch: Launch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    namespace: str,
) -> None:
    """What rclpy gives to a node of that name decides."""
    import rclpy

    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))

    for content in [*({key: PARAMETERS} for key in KEYS), *NESTED]:
        file = tmp_path / "mine.yaml"
        file.write_text(json.dumps(content))
        caplog.clear()
        launch("depth", params_file=str(file), namespace=namespace)
        context = rclpy.Context()
        rclpy.init(args=["dpt", "--ros-args", "--params-file", str(file)], context=context)
        node = rclpy.create_node(
            "dpt",
            namespace=namespace,
            context=context,
            automatically_declare_parameters_from_overrides=True,
            start_parameter_services=False,
        )
        is_given = node.has_parameter("model")
        node.destroy_node()
        rclpy.shutdown(context=context)
        assert bool(caplog.messages) is not is_given, content


def test_a_parameter_file_for_another_node_is_told_with_its_keys(
    launch: Launch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({"depth_node": PARAMETERS, "a": {"b": PARAMETERS}}))
    launch("depth", params_file=str(file), namespace="robot")
    assert caplog.messages == [
        f"params_file {file} holds nothing for the node /robot/dpt (its keys: /depth_node, /a/b): "
        "name it /robot/dpt, or /** for every node"
    ]
    assert caplog.records[0].levelname == "WARNING"
    file.write_text("")
    caplog.clear()
    launch("depth", params_file=str(file))
    assert "the node /dpt (its keys: none): name it /dpt" in caplog.messages[0]


@pytest.mark.parametrize("own", ["/**", "/*/dpt", "robot/dpt"])
def test_a_section_that_misses_the_node_is_told_beside_one_that_does_not(
    launch: Launch, tmp_path: Path, caplog: pytest.LogCaptureFixture, own: str
) -> None:
    file = tmp_path / "mine.yaml"
    elsewhere = ("camera_driver", "/robot/camera", "/other/*", "/other/dpt", "/a/robot/dpt")
    others = dict.fromkeys(elsewhere, PARAMETERS)
    file.write_text(json.dumps({own: PARAMETERS, **others}))
    launch("depth", params_file=str(file), namespace="robot")
    assert caplog.messages == [], "sections of other nodes"

    missing = {"dpt": PARAMETERS, "a": {"b": {"dpt": PARAMETERS}}}
    file.write_text(json.dumps({own: PARAMETERS, **others, **missing, "/dpt": PARAMETERS}))
    launch("depth", params_file=str(file), namespace="robot")
    assert caplog.messages == [
        f"params_file {file}: its section /dpt is not for the node /robot/dpt, which does not get "
        "its values: name it /robot/dpt, or leave it if it is for another node"
    ]
    caplog.clear()
    launch("depth", params_file=str(file))
    assert caplog.messages == [], "the sections of robots, to a node without a namespace"
