"""Command-line options from settings: the same names, defaults, ranges and meanings. No torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dpt_ros.bags.sample_settings import SampleSettings
    from dpt_ros.config import Setting

Config = TypeVar("Config")


def add_settings(
    parser: Any,
    config_class: type,
    *,
    prefix: str = "",
    leave_out: Collection[str] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Declare an option for every setting of a dataclass.

    A setting `depth.near_m` becomes `--depth.near-m`; a bool also has its `--no-...`.

    Args:
        parser: an argparse parser or group.
        config_class: a frozen dataclass of settings.
        prefix: put before every name, such as "lidar.".
        leave_out: names of settings that get no option and keep their default.
        defaults: by name, in place of the settings' own.
    """
    from dpt_ros.config import list_settings

    for item in list_settings(config_class):
        if item.name in leave_out:
            continue
        destination = f"{prefix}{item.name}"
        flag = f"--{destination.replace('_', '-')}"
        text = item.description.replace("%", "%%")
        default = defaults.get(item.name, item.default)
        if item.type is bool:
            action = argparse.BooleanOptionalAction
            parser.add_argument(flag, dest=destination, action=action, default=default, help=text)
        else:
            parser.add_argument(
                flag,
                dest=destination,
                type=_parser_of(item),
                default=default,
                choices=item.choices or None,
                metavar=None if item.choices else item.name.rpartition(".")[2].upper(),
                help=text if default == "" else f"{text} (default: {default})",
            )


def read_settings(
    options: argparse.Namespace, config_class: type[Config], *, prefix: str = ""
) -> Config:
    """The dataclass that the options of `add_settings` ask for.

    Raises:
        ConfigError: a value out of range, or values that do not go together.
    """
    from dpt_ros.config import build, list_settings

    given = vars(options)
    names = [item.name for item in list_settings(config_class)]
    values = {name: given[f"{prefix}{name}"] for name in names if f"{prefix}{name}" in given}
    return build(config_class, values)


def add_picture_choice(
    parser: Any,
    destination: str = "rectified",
    values: tuple[Any, Any] = (True, False),
    *,
    default: Any = None,
    when_left_out: str = "the topic's name says",
) -> None:
    """Declare `--rectified` and `--raw`, of which one may be given.

    Args:
        parser: an argparse parser or group.
        destination: where the choice is stored.
        values: what stands for rectified and for raw.
        default: what stands for neither.
        when_left_out: what neither means, for people.
    """
    choice = parser.add_mutually_exclusive_group()
    applies = ("P of camera_info applies", "K and D of camera_info apply")
    for name, value, what in zip(("rectified", "raw"), values, applies, strict=True):
        choice.add_argument(
            f"--{name}",
            dest=destination,
            action="store_const",
            const=value,
            default=default,
            help=f"the pictures are {name}: {what} (default: {when_left_out})",
        )


def add_sample_settings(parser: Any) -> None:
    """Declare how samples are made of a recording; `read_sample_settings` reads it."""
    from dpt_ros.bags.sample_settings import SampleSettings

    add_settings(parser, SampleSettings, leave_out=("pictures",))
    add_picture_choice(parser, "pictures", ("rectified", "raw"), default="auto")


def read_sample_settings(options: argparse.Namespace) -> SampleSettings:
    """How samples are made, with ~ in the path of the transforms file expanded.

    Raises:
        ConfigError: a value out of range, or values that do not go together.
    """
    from dpt_ros.bags.sample_settings import SampleSettings

    if options.transforms:
        options.transforms = str(Path(options.transforms).expanduser())
    return read_settings(options, SampleSettings)


def _parser_of(item: Setting) -> Any:
    def parse(text: str) -> Any:
        from dpt_ros.config import ConfigError

        try:
            return item.check(item.type(text))
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parse.__name__ = item.type.__name__  # argparse names it in its message
    return parse


def unused(
    options: argparse.Namespace,
    add_parser: Callable[[Any], None],
    words: Sequence[str],
    names: Collection[str],
) -> str:
    """Those of `names` that were given another value than they have when left out, as flags.

    Args:
        options: what was parsed.
        add_parser: declares the command, whose defaults are looked at.
        words: the shortest line that the command takes.
        names: destinations of the options that have no effect.
    """
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    defaults = vars(parser.parse_args(list(words)))
    given = vars(options)
    flags = [f"--{name.replace('_', '-')}" for name in names if given[name] != defaults[name]]
    return ", ".join(flags)
