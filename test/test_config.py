from __future__ import annotations

import dataclasses
import math

import pytest

from dpt_ros.config import (
    ConfigError,
    build,
    list_settings,
    load_yaml,
    parse_flag,
    setting,
    share_folder,
    values_of,
)


@dataclasses.dataclass(frozen=True)
class Limits:
    near_m: float = setting(0.5, "Nearest depth.", unit="m", minimum=0.0, maximum=10.0)
    far_m: float = setting(80.0, "Farthest depth.", unit="m", minimum=0.1)


@dataclasses.dataclass(frozen=True)
class Robot:
    name: str = setting("", "What it is called.", fixed=True)
    mode: str = setting("slow", "How it drives.", choices=("slow", "fast"))
    wheels: int = setting(4, "How many wheels.", minimum=1, maximum=8)
    loud: bool = setting(False, "Whether it beeps.")
    limits: Limits = dataclasses.field(default_factory=Limits)


def test_settings_are_listed_under_dotted_names_with_their_meaning():
    settings = {item.name: item for item in list_settings(Robot)}
    assert list(settings) == ["name", "mode", "wheels", "loud", "limits.near_m", "limits.far_m"]
    assert settings["limits.near_m"].default == 0.5
    assert settings["limits.near_m"].description == "Nearest depth. [m] Range: 0 to 10."
    assert settings["mode"].description == "How it drives. One of: 'slow', 'fast'."
    assert settings["name"].fixed and not settings["loud"].fixed


def test_whole_limits_are_told_whole():
    @dataclasses.dataclass(frozen=True)
    class World:
        seed: int = setting(0, "Another world.", minimum=0, maximum=2**32 - 1)
        beta: float = setting(0.9, "Average.", minimum=-1_000_000.0, maximum=0.999999)

    settings = {item.name: item for item in list_settings(World)}
    assert settings["seed"].description == "Another world. Range: 0 to 4294967295."
    assert settings["beta"].description == "Average. Range: -1000000 to 0.999999."
    with pytest.raises(ConfigError, match="seed: got 4294967296, expected 0 to 4294967295$"):
        build(World, {"seed": 2**32})


def test_nested_and_dotted_keys_override_defaults():
    robot = build(Robot, {"wheels": 6, "limits": {"near_m": 1}, "limits.far_m": 20.0})
    assert robot == Robot(wheels=6, limits=Limits(near_m=1.0, far_m=20.0))
    assert isinstance(robot.limits.near_m, float)
    assert build(Robot, values_of(robot)) == robot


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weels": 3}, "unknown key 'weels' \\(did you mean 'wheels'\\?\\).*limits.far_m"),
        ({"limits": {"mid_m": 3.0}}, "unknown key 'limits.mid_m'"),
        ({"limits": 3}, "unknown key 'limits'"),
        ({"wheels": 9}, "wheels: got 9, expected 1 to 8"),
        ({"wheels": 2.5}, "wheels: got 2.5 \\(float\\), expected type int"),
        ({"wheels": True}, "expected type int"),
        ({"loud": 1}, "loud: got 1 \\(int\\), expected type bool"),
        ({"limits.near_m": math.nan}, "limits.near_m: got nan"),
        ({"limits.far_m": math.inf}, "limits.far_m: got inf"),
        ({"limits.near_m": "1"}, "expected type float"),
        ({"mode": "warp"}, "mode: got 'warp', expected one of 'slow', 'fast'"),
    ],
)
def test_bad_values_are_refused_with_the_remedy(values, message):
    with pytest.raises(ConfigError, match=message):
        build(Robot, values)


def test_yaml_is_read_safely(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text("wheels: 3\nlimits: {near_m: 1.5}\n")
    assert build(Robot, load_yaml(path)) == Robot(wheels=3, limits=Limits(near_m=1.5))
    path.write_text("")
    assert load_yaml(path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [true]",
        "- 1\n- 2\n",
        "a: [1",
        "1: 2\n",
        "a: 1\nb: {c: 1, c: 2}\n",
    ],
)
def test_unsafe_or_broken_yaml_names_the_file(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="bad.yaml"):
        load_yaml(path)


def test_missing_yaml_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.yaml: cannot be read"):
        load_yaml(tmp_path / "nowhere.yaml")


def test_a_field_that_is_no_setting_is_a_programming_error():
    @dataclasses.dataclass(frozen=True)
    class Bare:
        plain: int = 3

    with pytest.raises(TypeError, match="Bare.plain"):
        list_settings(Bare)


def test_the_share_folder_of_a_checkout_is_the_checkout():
    assert (share_folder() / "models").is_dir()
    assert (share_folder() / "package.xml").is_file()


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("FALSE", False), ("0", False)]
)
def test_a_flag_is_true_or_false(text, value):
    assert parse_flag("rviz", text) is value


@pytest.mark.parametrize("text", ["yes", "", "flase", "2"])
def test_a_flag_that_is_neither_is_refused(text):
    with pytest.raises(ConfigError, match=f"rviz: got '{text}', expected true or false"):
        parse_flag("rviz", text)
