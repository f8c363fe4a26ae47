"""The commands of README.md and docs/ exist; those of its walks run and print what it shows."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from dpt_ros.cli.main import _parser, main
from dpt_ros.config import ConfigError, build
from dpt_ros.model.cards import load_card
from dpt_ros.model.checkpoints import CheckpointError
from dpt_ros.model.weights import find_weights
from dpt_ros.ros.node_process import free_domain
from dpt_ros.ros.settings import NodeSettings

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORTER = {"--seconds": "1"}
"""What the test changes in the walk through a bag: a shorter drive."""


def commands(text: str) -> list[list[str]]:
    """The lines of all shell blocks as words, continued lines joined, without comments."""
    lines: list[str] = []
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        lines += block.replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in re.split(r"\s&&\s", line)]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def of_tool(name: str) -> list[tuple[str, list[str]]]:
    return [
        (page.name, words[1:])
        for page in PAGES
        for words in commands(page.read_text(encoding="utf-8"))
        if words[0].rpartition("/")[2] == name
    ]


@pytest.mark.parametrize(
    ("page", "words"), of_tool("dpt-ros"), ids=lambda value: " ".join(value) if value else "-"
)
def test_a_documented_command_is_understood(page, words):
    options = _parser().parse_args(words)
    assert hasattr(options, "func"), f"{page}: dpt-ros {shlex.join(words)}"


@pytest.mark.parametrize(("page", "words"), of_tool("make"))
def test_a_documented_make_target_exists(page, words):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words[0] in targets, page


def launch_arguments(file: Path) -> set[str]:
    """The arguments that a launch file declares, by name or as keys of its constants."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument":
            names |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            names |= {k.value for k in node.value.keys if isinstance(k, ast.Constant)}
    return names


@pytest.mark.parametrize(
    ("name", "page"),
    [("depth.launch.py", "README.md"), ("replay_evaluation.launch.py", "docs/evaluation.md")],
)
def test_every_launch_argument_is_documented(name, page):
    text = (ROOT / page).read_text(encoding="utf-8")
    arguments = launch_arguments(ROOT / "launch" / name)
    assert {argument for argument in arguments if f"`{argument}`" not in text} == set()


def check_ros2(words: list[str]) -> None:
    """That what a `ros2` command names is there; its running is for the node's own tests."""
    match words:
        case ["launch", "dpt_ros", file, *given]:
            known = launch_arguments(ROOT / "launch" / file)
            assert {word.partition(":=")[0] for word in given} <= known, file
        case ["run", "dpt_ros", program, *_]:
            assert (ROOT / "resource" / program).is_file()
        case ["param", "set", "/dpt", name, value]:
            settings = unflattened({name: yaml.safe_load(value)})
            assert build(NodeSettings, settings) != NodeSettings()
        case ["lifecycle", "set", "/dpt", transition]:
            assert transition in ("configure", "activate", "deactivate", "cleanup", "shutdown")
        case ["bag", "record" | "play", *_]:
            pass  # rosbag2's own
        case _:
            raise AssertionError(f"ros2 {shlex.join(words)}: nothing here knows this command")


def unflattened(values: dict[str, object]) -> dict[str, object]:
    nested: dict[str, object] = {}
    for name, value in values.items():
        *folders, last = name.split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return nested


@pytest.mark.parametrize(
    ("page", "words"), of_tool("ros2"), ids=lambda value: " ".join(value) if value else "-"
)
def test_a_documented_ros2_command_names_what_there_is(page, words):
    check_ros2(words)


@pytest.mark.parametrize(
    "line",
    [
        "launch dpt_ros depth.launch.py modell:=dpt_hybrid",
        "launch dpt_ros deep.launch.py",
        "run dpt_ros deep_node",
        "param set /dpt points.strid 2",
        "param set /dpt points.stride 0",
        "lifecycle set /dpt start",
        "topic hertz /dpt/points",
    ],
)
def test_a_ros2_command_with_a_slip_would_be_found(line):
    with pytest.raises((AssertionError, ConfigError, OSError)):
        check_ros2(line.split())


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_declared_python_interface_is_there():
    page = (ROOT / "docs" / "quality_declaration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(dpt_ros[a-z_.]*)` \| (.*) \|$", page, re.MULTILINE)
    declared = {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows}
    for module, names in declared.items():
        missing = {name for name in names if not hasattr(importlib.import_module(module), name)}
        assert not missing, module
    for module in ("dpt_ros.inference", "dpt_ros.model"):
        assert declared[module] == set(importlib.import_module(module).__all__)
    assert {"dpt_ros.geometry.scale_shift", "dpt_ros.training.losses"} <= set(declared)


def section(title: str) -> str:
    """The README's section of that title."""
    return (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .split(f"\n## {title}\n")[1]
        .split("\n## ")[0]
    )


def printed(text: str) -> set[str]:
    """The lines of all text blocks, with # for every number."""
    blocks = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    return {without_numbers(line) for block in blocks for line in block.splitlines()}


def without_numbers(line: str) -> str:
    return re.sub(r"-?\d+(\.\d+)?", "#", " ".join(line.split()))


@pytest.fixture(scope="module")
def bundled_model() -> str:
    """The model whose weights are in the repository: it takes the place of those to fetch."""
    try:
        find_weights(load_card("dpt_tiny"))
    except CheckpointError as error:
        pytest.skip(str(error))
    return "dpt_tiny"


@pytest.fixture(scope="module")
def walk(tmp_path_factory, bundled_model) -> tuple[Path, str]:
    """The folder in which the walk through a bag was done as written, and what it printed."""
    folder = tmp_path_factory.mktemp("walk")
    words_of = [words[1:] for words in commands(section("On a bag")) if words[0] == "dpt-ros"]
    made, used = ["synthetic", "synthetic", "dataset"], ["fit", "evaluate", "replay"]
    assert [words[0] for words in words_of] == [*made, *used]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(folder)
        patch.delenv("ROS_DOMAIN_ID", raising=False)  # one of its own, without other nodes
        for words in words_of:
            pairs = zip(["", *words], words, strict=False)
            assert main([SHORTER.get(before, word) for before, word in pairs]) == 0, words
    return folder, said.getvalue()


@pytest.mark.node
@pytest.mark.timeout(600)
def test_the_walk_through_a_bag_works_as_written(walk):
    folder, _ = walk
    for made in ("drives/overlays", "calibration.yaml", "calibration.html"):
        assert (folder / made).exists()
    for report in ("evaluation/report.html", "replay/report.html"):
        assert "AbsRel" in (folder / report).read_text(encoding="utf-8")


@pytest.mark.node
@pytest.mark.timeout(600)
def test_the_walk_through_a_bag_prints_what_the_readme_shows(walk):
    _, said = walk
    shown = printed(section("On a bag"))
    assert shown
    assert shown <= {without_numbers(line) for line in said.splitlines()}


def offline(tool: str, model: str) -> list[list[str]]:
    """The arguments of the offline section's commands of a tool, with a model that is here."""
    found = [words for words in commands(section("Offline")) if words[0] == f".venv/bin/{tool}"]
    return [[model if word == "dpt_hybrid" else word for word in words[1:]] for words in found]


@pytest.mark.node
@pytest.mark.timeout(300)
def test_the_offline_commands_work_as_written(walk, bundled_model, monkeypatch, tmp_path, capsys):
    folder, _ = walk
    pull, predict, train, predict_bag = offline("dpt-ros", bundled_model)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DPT_ROS_WEIGHTS", str(tmp_path))
    assert main([*pull, "--from", str(ROOT / "models")]) == 0
    shutil.copytree(next((folder / "drives" / "images").iterdir()), "my_pictures")
    pictures = list(Path("my_pictures").iterdir())
    assert main(predict) == 0
    for ending in ("color.png", "inverse_depth.npy", "inverse_depth.png"):
        assert len(list(Path("depth").glob(f"*_{ending}"))) == len(pictures)
    capsys.readouterr()
    assert main(predict_bag) == 0
    said = {without_numbers(line) for line in capsys.readouterr().out.splitlines()}
    assert printed(section("Offline")) == said
    assert len(list(Path("bag_depth").glob("*_points.ply"))) == len(pictures)
    assert main([*train, "--steps", "2", "--batch-size", "1", "--size", "64x48"]) == 0
    assert Path("runs/mine/model.safetensors").is_file()


@pytest.mark.node
@pytest.mark.timeout(200)
def test_the_node_logs_what_the_readme_shows(bundled_model, tmp_path):
    (node,) = offline("python", bundled_model)
    node = [word.replace("dpt_hybrid", bundled_model) for word in node]
    (launch,) = [
        words[4:]
        for words in commands(section("On a robot"))
        if words[:2] == ["ros2", "launch"] and f"model:={bundled_model}" in words
    ]
    calibration = next(word for word in launch if word.startswith("calibration:="))
    log = log_until_it_listens([*node, "-p", calibration], tmp_path / "log.txt")
    shown = printed(section("On a robot"))
    exact = {line for line in shown if line.startswith(("metres", "depth limits", "listening"))}
    machine = {line.split()[0] for line in shown - exact}
    assert (len(exact), machine) == (3, {bundled_model, "device", "precision"})
    said = {without_numbers(line.partition("[dpt]: ")[2]) for line in log.splitlines()}
    assert exact <= said
    assert machine <= {line.split()[0] for line in said if line}


def log_until_it_listens(words: list[str], path: Path) -> str:
    """What the node says from its start on; it is then ended as by Ctrl+C."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(free_domain())}
    environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with path.open("w") as log:
        node = subprocess.Popen(
            [sys.executable, *words], env=environment, cwd=ROOT, stdout=log, stderr=log
        )
    try:
        while "listening to " not in path.read_text():
            assert node.poll() is None, path.read_text()
            time.sleep(0.1)
        node.send_signal(signal.SIGINT)
        assert node.wait(30) == 0
    finally:
        node.kill()
    return path.read_text().replace("\x1b[0m", "")


def test_the_lines_of_python_work_as_written(bundled_model):
    (lines,) = re.findall(r"```python\n(.*?)```", section("Offline"), re.DOTALL)
    names: dict[str, object] = {"rgb": np.zeros((48, 64, 3), np.uint8)}
    exec(lines.replace("dpt_hybrid", bundled_model), names)
    inverse_depth = names["inverse_depth"]
    assert isinstance(inverse_depth, np.ndarray)
    assert (inverse_depth.shape, inverse_depth.dtype) == ((48, 64), np.float32)
