"""What replay_evaluation.launch.py starts, in which order, and what it says at the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dpt_ros.config import ConfigError, list_settings
from dpt_ros.evaluation.live_settings import LiveSettings
from dpt_ros.evaluation.protocols import PROTOCOLS
from dpt_ros.ros.evaluator_main import NOTHING_SCORED
from dpt_ros.ros.settings import NodeSettings

Launch = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
FILE = "replay_evaluation"


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "drive"
    path.mkdir()
    return path


def started_with(launched: Any) -> list[Any]:
    """What comes with the depth node's process, number 4711."""
    (handler,) = launched.handlers("OnProcessStart", launched.node("dpt"))
    entities = handler["on_start"](SimpleNamespace(pid=4711), launched.context)
    for entity in entities:
        if type(entity).__name__ == "SetLaunchConfiguration":
            entity.visit(launched.context)
    return list(entities)


def player_of(launched: Any, entities: list[Any]) -> Any:
    """The player, once both nodes have said that they listen."""
    nodes = (launched.node("dpt"), launched.node("dpt_evaluator", entities))
    answers = []
    for node in nodes:
        (handler,) = launched.handlers("OnProcessIO", node)
        event = SimpleNamespace(text=b"listening to /x", process_name=node.keywords["name"])
        assert handler["on_stderr"] is handler["on_stdout"]
        assert handler["on_stdout"](SimpleNamespace(text=b"loading", process_name="a")) is None
        answers += [handler["on_stdout"](event), handler["on_stdout"](event)]
    assert answers[:2] == [None, None] and answers[3] is None
    return answers[2]


def action_of(timer: Any) -> tuple[float, Any]:
    """After how many seconds what is done."""
    assert type(timer).__name__ == "TimerAction"
    (action,) = timer.keywords["actions"]
    return timer.keywords["period"], action


def error_of(action: Any) -> str:
    """What `ros2 launch` says that ends by it, with an exit code that is not 0."""
    with pytest.raises(RuntimeError) as error:
        action.keywords["function"](None)
    return str(error.value)


def test_the_evaluator_is_told_what_the_node_is_told(launch: Launch, bag: Path) -> None:
    shared = {"model": "7", "checkpoint": "w.safetensors", "calibration": "bundled"}
    transforms = bag / "t.yaml"
    transforms.write_text("transforms: []")
    launched = launch(
        FILE,
        bag=str(bag),
        device="cpu",
        precision="float32",
        rectified="false",
        rate="2",
        output=str(bag / "out"),
        overwrite="true",
        protocol="kitti",
        transforms=str(transforms),
        **shared,
    )
    entities = started_with(launched)
    node, scores = launched.node("dpt"), launched.node("dpt_evaluator", entities)
    assert launched.parameters(node) == {
        **shared,
        "device": "cpu",
        "precision": "float32",
        "rectified": False,
        "use_sim_time": True,
    }
    assert launched.parameters(scores) == {
        **shared,
        "use_sim_time": True,
        "output": str(bag / "out"),
        "overwrite": True,
        "protocol": "kitti",
        "bag": str(bag),
        "rate": 2.0,
        "node_pid": 4711,
        "samples.transforms": str(transforms),
        "samples.pictures": "raw",
    }
    for settings, given in ((NodeSettings, node), (LiveSettings, scores)):
        known = {item.name for item in list_settings(settings)}
        assert set(launched.parameters(given)) - {"use_sim_time"} <= known


@pytest.mark.parametrize("image", ["/cam/image_rect", "/cam/image_rect/compressed"])
def test_both_nodes_listen_to_the_recordings_topics(launch: Launch, bag: Path, image: str) -> None:
    launched = launch(FILE, bag=str(bag), image=image, points="/ouster", odometry="/wheels")
    scores = launched.node("dpt_evaluator", started_with(launched))
    camera = {
        "image_rect": "/cam/image_rect",
        "image_rect/compressed": "/cam/image_rect/compressed",
        "camera_info": "/cam/camera_info",
    }
    assert dict(launched.node("dpt").keywords["remappings"]) == camera
    lidar = {"points": "/ouster", "odometry": "/wheels"}
    assert dict(scores.keywords["remappings"]) == {**camera, **lidar}
    transport = "compressed" if image.endswith("compressed") else None
    for node in (launched.node("dpt"), scores):
        assert launched.parameters(node).get("image_transport") == transport


def test_a_relative_camera_info_stays_in_the_namespace(launch: Launch, bag: Path) -> None:
    node = launch(FILE, bag=str(bag), image="image").node("dpt")
    assert dict(node.keywords["remappings"])["camera_info"] == "camera_info"


def test_the_player_starts_once_both_listen(launch: Launch, bag: Path) -> None:
    launched = launch(FILE, bag=str(bag), rate="0.5")
    player = player_of(launched, started_with(launched))
    command = ["ros2", "bag", "play", str(bag), "--clock", "100", "--rate", "0.5"]
    assert player.keywords["cmd"] == command


def test_a_recording_is_only_called_played_if_the_player_says_so(launch: Launch, bag: Path) -> None:
    launched = launch(FILE, bag=str(bag))
    player = player_of(launched, started_with(launched))
    (handler,) = launched.handlers("OnProcessExit", player)
    (timer,) = handler["on_exit"](SimpleNamespace(returncode=0), launched.context)
    after_s, shutdown = action_of(timer)
    assert (after_s, shutdown.keywords["reason"]) == (3.0, "the recording was played")

    (told,) = handler["on_exit"](SimpleNamespace(returncode=1), launched.context)
    sentence = "The player ended with exit code 1."
    # ros2's daemon may not know the evaluator.
    command = ["ros2", "param", "set", "--no-daemon", "--spin-time", "3"]
    assert told.keywords["cmd"] == [*command, "/dpt_evaluator", "partial", sentence]
    (timer,) = told.keywords["on_exit"]
    after_s, end = action_of(timer)
    assert after_s > 0.0 and error_of(end) == "the player ended with exit code 1: see what it said"
    partial = next(item for item in list_settings(LiveSettings) if item.name == "partial")
    assert not partial.fixed  # or it could not be set while the node runs


def test_all_ends_where_a_node_ends_or_cannot_be_configured(launch: Launch, bag: Path) -> None:
    launched = launch(FILE, bag=str(bag))
    entities = started_with(launched)
    for node in (launched.node("dpt"), launched.node("dpt_evaluator", entities)):
        (handler,) = launched.handlers("OnProcessExit", node)
        (timer,) = handler["on_exit"](SimpleNamespace(returncode=0), launched.context)
        assert error_of(action_of(timer)[1]).startswith("a node ended")
        at_the_end = SimpleNamespace(is_shutdown=True)
        assert not handler["on_exit"](SimpleNamespace(returncode=0), at_the_end)
        (told,) = launched.handlers("OnProcessIO", node)
        event = SimpleNamespace(text=b"configure failed: no weights", process_name="dpt")
        assert error_of(told["on_stdout"](event)) == "the depth node could not be configured"


def test_an_evaluator_that_scored_nothing_is_an_error(launch: Launch, bag: Path) -> None:
    launched = launch(FILE, bag=str(bag))
    scores = launched.node("dpt_evaluator", started_with(launched))
    (handler,) = launched.handlers("OnProcessExit", scores)
    with pytest.raises(RuntimeError, match="nothing was scored"):
        handler["on_exit"](SimpleNamespace(returncode=NOTHING_SCORED), launched.context)


def test_without_a_player_nothing_starts(
    launch: Launch, bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dpt_ros.ros.launch_arguments.entry_points", lambda group: [SimpleNamespace(name="param")]
    )
    with pytest.raises(RuntimeError, match="needs `ros2 bag`, which is not installed"):
        launch(FILE, bag=str(bag))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("precision", "half"),
        ("image_transport", "theora"),
        ("image", "/cam//image"),
        ("camera_info", "/cam/info/"),
        ("points", "/my lidar"),
        ("odometry", "/1"),
    ],
)
def test_what_would_end_a_node_is_refused_before_it_starts(
    launch: Launch, bag: Path, name: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got '{text}', expected "):
        launch(FILE, bag=str(bag), **{name: text})


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("rate", "abc", "rate: got 'abc', expected a number such as 0.5"),
        ("rate", "0", "rate: got 0.0, expected 0.001 to inf"),
        ("rate", "-1", "rate: got -1.0, expected 0.001 to inf"),
        ("rate", "nan", "rate: got nan, expected 0.001 to inf"),
        ("protocol", "foo", "protocol: got 'foo', expected some of all, full, kitti, "),
        ("transforms", "nofile.yaml", "transforms: nofile.yaml: cannot be read: No such file"),
    ],
)
def test_what_would_end_the_evaluator_is_refused_before_the_model_loads(
    launch: Launch, bag: Path, name: str, text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        launch(FILE, bag=str(bag), **{name: text})


def test_a_report_that_is_there_is_refused_unless_it_may_be_replaced(
    launch: Launch, bag: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("mine")
    with pytest.raises(FileExistsError, match="output:=FOLDER, or .* overwrite:=true"):
        launch(FILE, bag=str(bag), output=str(out))
    launch(FILE, bag=str(bag), output=str(out), overwrite="true")
    assert {path.name for path in tmp_path.iterdir()} == {"drive", "out"}
    with pytest.raises(NotADirectoryError, match="is a file"):
        launch(FILE, bag=str(bag), output=str(out / "report.html"))


@pytest.mark.parametrize(
    ("file", "begin"),
    [(f"launch/{FILE}.launch.py", '    "protocol": '), ("docs/evaluation.md", "| `protocol` |")],
)
def test_every_protocol_is_named_where_the_argument_is(file: str, begin: str) -> None:
    lines = (ROOT / file).read_text().splitlines()
    (described,) = [line for line in lines if line.startswith(begin)]
    words = re.findall(r"[a-z-]+", described)
    assert {*PROTOCOLS, "all"} <= set(words)


@pytest.mark.parametrize("name", ["rviz", "rectified", "overwrite"])
def test_what_is_neither_true_nor_false_starts_nothing(
    launch: Launch, bag: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got 'yes', expected true or false"):
        launch(FILE, bag=str(bag), **{name: "yes"})


def test_rviz_starts_where_it_is_asked_for(launch: Launch, bag: Path) -> None:
    given = {"image": "/cam/image", "points": "/ouster", "rviz_frame": "optical"}
    launched = launch(FILE, bag=str(bag), rviz="true", **given)
    rviz = launched.node("rviz2")
    assert launched.starts(rviz)
    layout = str(ROOT / "config" / "dpt_ros_evaluation.rviz")
    assert rviz.keywords["arguments"] == ["-d", layout, "-f", "optical"]
    shown = {"/image_rect": "/cam/image", "/lidar/points": "/ouster"}
    assert dict(rviz.keywords["remappings"]) == shown
    rviz = launch(FILE, bag=str(bag)).node("rviz2")
    assert not launch(FILE, bag=str(bag)).starts(rviz)


def test_what_cannot_be_played_is_refused(launch: Launch, tmp_path: Path, bag: Path) -> None:
    with pytest.raises(RuntimeError, match="there is no recording at"):
        launch(FILE, bag=str(tmp_path / "none"))
    with pytest.raises(RuntimeError, match="bag"):
        launch(FILE)
    with pytest.raises(RuntimeError, match="fatal"):  # it says nothing at that level
        launch(FILE, bag=str(bag), log_level="fatal")
