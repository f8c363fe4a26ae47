"""Settings: YAML, options or ROS parameters in, frozen dataclasses out. Knows no torch and no ROS.

A default, its range, unit and meaning live in one dataclass field, made by `setting()`, beside
the code that uses it. ROS parameters, YAML files and command-line options are generated from them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

Config = TypeVar("Config")

_SCALARS = (bool, int, float, str)


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type, or out of range."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One value a user can set, under its dotted name."""

    name: str
    type: type
    default: Any
    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    fixed: bool = False

    @property
    def description(self) -> str:
        """The meaning with unit, range and choices, on one line."""
        text = f"{self.help} [{self.unit}]" if self.unit else self.help
        if self.choices:
            text += f" One of: {', '.join(repr(choice) for choice in self.choices)}."
        elif self.minimum is not None or self.maximum is not None:
            text += " Range: {} to {}.".format(*map(limit_text, self._limits))
        return text

    @property
    def _limits(self) -> tuple[float, float]:
        """Smallest and largest value allowed."""
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return low, high

    def check(self, value: Any) -> Any:
        """Return `value` in the setting's type.

        Raises:
            ConfigError: wrong type, not among the choices, not finite, or out of range.
        """
        value = self._of_type(value)
        if self.choices and value not in self.choices:
            raise ConfigError(
                f"{self.name}: got {value!r}, expected one of "
                f"{', '.join(repr(choice) for choice in self.choices)}"
            )
        if self.type in (int, float):
            self._check_range(value)
        return value

    def _of_type(self, value: Any) -> Any:
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        is_wrong_bool = isinstance(value, bool) and self.type is not bool
        if is_wrong_bool or not isinstance(value, self.type):
            got, expected = type(value).__name__, self.type.__name__
            raise ConfigError(f"{self.name}: got {value!r} ({got}), expected type {expected}")
        return value

    def _check_range(self, value: float) -> None:
        low, high = self._limits
        if not math.isfinite(value) or not low <= value <= high:
            raise ConfigError(
                f"{self.name}: got {value}, expected {limit_text(low)} to {limit_text(high)}"
            )


def limit_text(limit: float) -> str:
    """A limit for people: whole numbers whole, others in six digits."""
    return str(int(limit)) if float(limit).is_integer() else f"{limit:g}"


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] = (),
    fixed: bool = False,
) -> Any:
    """Declare a dataclass field as a setting.

    Args:
        default: its default; the annotation (bool, int, float or str) is its type.
        help: one sentence on what it does.
        unit: unit of the value, such as "m".
        minimum: smallest value allowed.
        maximum: largest value allowed.
        choices: the values allowed, if they are few.
        fixed: True if it can't change while the node runs.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": tuple(choices),
        "fixed": fixed,
    }
    return dataclasses.field(default=default, metadata=metadata)


def list_settings(config_class: type, prefix: str = "") -> list[Setting]:
    """All settings of a dataclass and of the dataclasses nested in it, under dotted names."""
    hints = typing.get_type_hints(config_class)
    settings: list[Setting] = []
    for field in dataclasses.fields(config_class):
        name = f"{prefix}{field.name}"
        field_type = hints[field.name]
        if dataclasses.is_dataclass(field_type):
            settings += list_settings(typing.cast(type, field_type), f"{name}.")
        elif field_type in _SCALARS and "help" in field.metadata:
            settings.append(Setting(name, field_type, field.default, **field.metadata))
        else:
            raise TypeError(
                f"{config_class.__name__}.{field.name}: a setting is declared with setting() "
                "and has the type bool, int, float or str"
            )
    return settings


def build(config_class: type[Config], values: Mapping[str, Any]) -> Config:
    """Make a configuration from its defaults and `values`.

    Args:
        config_class: a frozen dataclass of settings and of such dataclasses.
        values: what differs from the defaults; keys dotted ("depth.near_m") or nested.

    Raises:
        ConfigError: an unknown key (the valid ones are listed), a wrong type, or out of range.
    """
    known = {item.name: item for item in list_settings(config_class)}
    checked: dict[str, Any] = {}
    for name, value in _flatten(values):
        if name not in known:
            raise ConfigError(unknown_key_message(name, known))
        checked[name] = known[name].check(value)
    return _construct(config_class, checked, "")


def values_of(config: Any) -> dict[str, Any]:
    """The values of a configuration under their dotted names."""
    return dict(_flatten(dataclasses.asdict(config)))


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, where PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Raises:
        ConfigError: the file can't be read, is not YAML, names a key twice, or is not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)  # noqa: S506 (safe)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: expected a mapping of names to values at the top")
    return content


def unknown_key_message(name: str, known: typing.Iterable[str]) -> str:
    """Say that `name` is unknown, what may have been meant, and what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown key {name!r}{hint}; valid keys: {', '.join(names)}"


def parse_flag(name: str, text: str) -> bool:
    """A launch argument that is true or false; as launch itself reads conditions, also 1 or 0.

    Raises:
        ConfigError: another text.
    """
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise ConfigError(f"{name}: got {text!r}, expected true or false")
    return values[text.lower()]


def share_folder() -> Path:
    """The folder that holds `models/`, `config/` and `launch/`.

    That is the source checkout when the package is imported from one, else `share/dpt_ros` of the
    prefix it is installed in (a virtual environment, the system, a colcon workspace).

    Raises:
        FileNotFoundError: neither is there, so the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "package.xml").is_file() and (package.parent / "models").is_dir():
        return package.parent
    # Also unresolved: `colcon build --symlink-install` puts a link, not its target, in the prefix.
    for parent in (*Path(__file__).absolute().parents, *package.parents):
        share = parent / "share" / "dpt_ros"
        if (share / "package.xml").is_file():
            return share
    raise FileNotFoundError(
        f"share/dpt_ros was found in no folder above {package}; install the package again with "
        "`pip install .` or `colcon build`"
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> typing.Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _construct(config_class: type[Config], values: Mapping[str, Any], prefix: str) -> Config:
    hints = typing.get_type_hints(config_class)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(hints[field.name]):
            nested = typing.cast("type[Any]", hints[field.name])
            arguments[field.name] = _construct(nested, values, f"{name}.")
        elif name in values:
            arguments[field.name] = values[name]
    return config_class(**arguments)
