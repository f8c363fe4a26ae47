"""The commands of README.md and docs/ exist, and the README's own walk through a bag works."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml

from dpt_ros.cli.main import _parser, main
from dpt_ros.config import ConfigError, build
from dpt_ros.model.cards import load_card
from dpt_ros.model.checkpoints import CheckpointError
from dpt_ros.model.weights import find_weights
from dpt_ros.ros.settings import NodeSettings

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WALK = "## On a bag"
SHORTER = {"--seconds": "1"}
"""What the test changes in the walk: a shorter drive."""


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


@pytest.mark.node
@pytest.mark.timeout(600)
def test_the_walk_through_a_bag_works_as_written(tmp_path, monkeypatch, capsys):
    try:
        find_weights(load_card("dpt_tiny"))
    except CheckpointError as error:
        pytest.skip(str(error))
    section = (ROOT / "README.md").read_text(encoding="utf-8").split(WALK)[1].split("\n## ")[0]
    walk = [words[1:] for words in commands(section) if words[0] == "dpt-ros"]
    assert [words[0] for words in walk] == ["synthetic", "dataset", "fit", "evaluate", "replay"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)  # one of its own, without other nodes
    for words in walk:
        shorter = [
            SHORTER.get(before, word) for before, word in zip(["", *words], words, strict=False)
        ]
        assert main(shorter) == 0, capsys.readouterr().err
    for made in ("drives/overlays", "calibration.yaml", "fit.html"):
        assert (tmp_path / made).exists()
    for report in ("evaluation/report.html", "replay/report.html"):
        assert "AbsRel" in (tmp_path / report).read_text(encoding="utf-8")
