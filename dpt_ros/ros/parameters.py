"""Settings as ROS parameters: declared with type, range and meaning, checked when they are set."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from dpt_ros.config import ConfigError, Setting, build, list_settings, values_of

Config = TypeVar("Config")

_MAX_INTEGER = 2**63 - 1
_ROS_OWN = ("use_sim_time", "start_type_description_service")

SET_FIXED = (
    "`ros2 lifecycle set NODE deactivate`, then `cleanup`, set the parameter, "
    "then `configure` and `activate`"
)
"""How to set what is fixed while the node is configured."""

OVERRIDES = "qos_overrides."
"""How the names of ROS's own parameters for a topic's quality of service begin."""


class NodeParameters(Generic[Config]):
    """The parameters of a node that hold one configuration.

    The node must be made with `automatically_declare_parameters_from_overrides=True`: what the
    command line or a YAML file gave is then known here, an integer for a double is taken as a
    double, and a name that no setting has is noticed.

    Args:
        node: declares the parameters.
        config_class: the dataclass of settings.
        is_fixed: whether settings marked `fixed` can't be set at the moment.
        changed: puts a new configuration in force; may refuse it with a ConfigError.

    Raises:
        ConfigError: a value from the command line or a file is of the wrong type or out of range.
    """

    def __init__(
        self,
        node: Node,
        config_class: type[Config],
        is_fixed: Callable[[], bool],
        changed: Callable[[Config], None],
    ) -> None:
        self._node = node
        self._config_class = config_class
        self._is_fixed = is_fixed
        self._changed = changed
        self._settings = {item.name: item for item in list_settings(config_class)}
        values = {item.name: self._declare(item) for item in self._settings.values()}
        self.config = _build(config_class, values)
        self.unknown = self._remove_unknown()
        # Those that were given: ROS declares more of them with every topic.
        self.overrides = sorted(name for name in self._names() if name.startswith(OVERRIDES))
        if hasattr(node, "add_pre_set_parameters_callback"):  # since Iron; Humble asks for doubles
            node.add_pre_set_parameters_callback(self._integers_to_doubles)
        node.add_on_set_parameters_callback(self._on_set)

    def unknown_message(self) -> str:
        """Which given parameters are none of the node's, with those that may have been meant."""
        lines = []
        for name in self.unknown:
            close = difflib.get_close_matches(name, self._settings, n=1)
            lines.append(f"{name} (did you mean {close[0]}?)" if close else name)
        return (
            f"ignored, no parameter of this node: {', '.join(lines)}; "
            f"the node's parameters: {', '.join(sorted(self._settings))}"
        )

    def _declare(self, item: Setting) -> Any:
        value = item.default
        if self._node.has_parameter(item.name):
            value = item.check(self._node.get_parameter(item.name).value)
            self._node.undeclare_parameter(item.name)
        self._node.declare_parameter(item.name, value, descriptor(item), ignore_override=True)
        return value

    def _names(self) -> list[str]:
        if hasattr(self._node, "list_parameters"):
            return list(self._node.list_parameters([], 0).names)
        return list(self._node._parameters)  # before Jazzy

    def _remove_unknown(self) -> tuple[str, ...]:
        unknown = [
            name
            for name in self._names()
            if name not in self._settings
            and name not in _ROS_OWN
            and not name.startswith(OVERRIDES)
        ]
        for name in unknown:
            self._node.undeclare_parameter(name)
        return tuple(sorted(unknown))

    def _integers_to_doubles(self, parameters: list[Parameter[Any]]) -> list[Parameter[Any]]:
        return [
            Parameter(parameter.name, Parameter.Type.DOUBLE, float(parameter.value))
            if parameter.type_ == Parameter.Type.INTEGER and self._is_double(parameter.name)
            else parameter
            for parameter in parameters
        ]

    def _is_double(self, name: str) -> bool:
        return name in self._settings and self._settings[name].type is float

    def _on_set(self, parameters: Iterable[Parameter[Any]]) -> SetParametersResult:
        given = {item.name: item.value for item in parameters if item.name in self._settings}
        # Read when topics are made: until then a new value would only look set.
        set_again = [item.name for item in parameters if item.name in self.overrides]
        if set_again and self._is_fixed():
            return SetParametersResult(successful=False, reason=_fixed_reason(set_again))
        if not given:
            return SetParametersResult(successful=True)
        if self._is_fixed():
            current = values_of(self.config)
            fixed = [n for n in given if self._settings[n].fixed and given[n] != current[n]]
            if fixed:
                return SetParametersResult(successful=False, reason=_fixed_reason(fixed))
        try:
            config = _build(self._config_class, {**values_of(self.config), **given})
            # The node's own checks (type, range) came before this callback, and no other callback
            # checks these names: what is put in force here stands.
            self._changed(config)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.config = config
        return SetParametersResult(successful=True)


def descriptor(item: Setting) -> ParameterDescriptor:
    """What `ros2 param describe` says about a setting."""
    constraints = []
    if item.choices:
        constraints.append(f"one of: {', '.join(str(choice) for choice in item.choices)}")
    if item.fixed:
        constraints.append("fixed after configure")
    result = ParameterDescriptor(
        name=item.name,
        description=f"{item.help} [{item.unit}]" if item.unit else item.help,
        additional_constraints="; ".join(constraints),
    )
    has_range = item.minimum is not None or item.maximum is not None
    if item.type is float and has_range:
        low = -sys.float_info.max if item.minimum is None else float(item.minimum)
        high = sys.float_info.max if item.maximum is None else float(item.maximum)
        result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif item.type is int and has_range:
        first = -_MAX_INTEGER if item.minimum is None else int(item.minimum)
        last = _MAX_INTEGER if item.maximum is None else int(item.maximum)
        result.integer_range = [IntegerRange(from_value=first, to_value=last, step=1)]
    return result


def _build(config_class: type[Config], values: dict[str, Any]) -> Config:
    try:
        return build(config_class, values)
    except ConfigError:
        raise
    except ValueError as error:  # a rule between several settings, such as near < far
        raise ConfigError(str(error)) from error


def _fixed_reason(names: list[str]) -> str:
    one = len(names) == 1
    return (
        f"{', '.join(names)} {'is' if one else 'are'} fixed while the node is configured: "
        f"{SET_FIXED}"
    )
