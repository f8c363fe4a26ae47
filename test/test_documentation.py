"""The commands of README.md and docs/ exist, and the README's own walk through a bag works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dpt_ros.cli.main import _parser, main
from dpt_ros.model.cards import load_card
from dpt_ros.model.checkpoints import CheckpointError
from dpt_ros.model.weights import find_weights

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
