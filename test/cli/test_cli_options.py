from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from dpt_ros.cli.main import _parser
from dpt_ros.cli.options import add_settings, read_sample_settings, read_settings
from dpt_ros.config import ConfigError, setting


@dataclass(frozen=True)
class Inner:
    near_m: float = setting(0.3, "Nearest, 5 % less.", unit="m", minimum=0.1, maximum=1.0)


@dataclass(frozen=True)
class Outer:
    count: int = setting(3, "How many.", minimum=1)
    name: str = setting("", "Which.")
    kind: str = setting("a", "What.", choices=("a", "b"))
    is_fast: bool = setting(True, "Whether.")
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.kind == "b" and self.count > 5:
            raise ConfigError("kind b has at most 5")


def parse(*words: str, **arguments):
    parser = argparse.ArgumentParser()
    add_settings(parser, Outer, **arguments)
    return parser.parse_args(words)


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that do something."""
    kinds = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for kind in kinds:
        for child in dict.fromkeys(kind.choices.values()):
            yield from leaves(child)
    if not kinds:
        yield parser


@pytest.mark.parametrize("leaf", list(leaves(_parser())), ids=lambda leaf: leaf.prog)
def test_every_command_shows_examples_that_are_understood(leaf):
    lines = (leaf.epilog or "").replace("\\\n", " ").splitlines()
    shown = [line.strip() for line in lines if line.strip().startswith("dpt-ros ")]
    examples = [shlex.split(line, comments=True) for line in shown]
    assert any(line.startswith(leaf.prog) for line in shown)
    for words in examples:
        assert hasattr(_parser().parse_args(words[1:]), "func"), words


def test_without_options_the_defaults_hold():
    assert read_settings(parse(), Outer) == Outer()


def test_every_kind_of_setting_is_read_under_its_dotted_name():
    options = parse("--count", "4", "--kind", "b", "--no-is-fast", "--inner.near-m", "0.5")
    expected = Outer(count=4, kind="b", is_fast=False, inner=Inner(near_m=0.5))
    assert read_settings(options, Outer) == expected


def test_a_prefix_keeps_two_groups_apart():
    options = parse("--left.count", "7", prefix="left.")
    assert read_settings(options, Outer, prefix="left.").count == 7


def test_a_setting_left_out_has_no_option_and_keeps_its_default():
    assert read_settings(parse("--count", "2", leave_out=("kind",)), Outer).kind == "a"
    with pytest.raises(SystemExit):
        parse("--kind", "b", leave_out=("kind",))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--inner.near-m", "5"), "0.1 to 1"),
        (("--count", "many"), "int"),
        (("--kind", "c"), "'a', 'b'"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_right(words, told, capsys):
    with pytest.raises(SystemExit):
        parse(*words)
    assert told in capsys.readouterr().err


def test_values_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="at most 5"):
        read_settings(parse("--kind", "b", "--count", "6"), Outer)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("predict", "x"), (None, True, False)),
        (("demo", "x"), (None, True, False)),
        (("dataset", "import", "--folder", "x", "--out", "y"), (False, True, False)),
        (("dataset", "build", "x", "--out", "y"), ("auto", "rectified", "raw")),
        (("replay", "x"), ("auto", "rectified", "raw")),
        (("evaluate", "x", "--model", "none", "--out", "y"), ("auto", "rectified", "raw")),
    ],
)
def test_whether_pictures_are_rectified_is_said_in_one_way(command, expected, capsys):
    for words, value in zip(((), ("--rectified",), ("--raw",)), expected, strict=True):
        options = _parser().parse_args([*command, *words])
        if "rectified" in vars(options):
            assert options.rectified is value
        else:
            assert read_sample_settings(options).pictures == value
    with pytest.raises(SystemExit):
        _parser().parse_args([*command, "--rectified", "--raw"])
    assert "not allowed with" in capsys.readouterr().err
