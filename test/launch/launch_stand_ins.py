"""What the launch files need of `launch` and `launch_ros`, which are not on PyPI.

Only for machines without them: names and meaning as in their sources
(https://github.com/ros2/launch, https://github.com/ros2/launch_ros), nothing is started.
"""

from __future__ import annotations

import logging
from types import ModuleType, SimpleNamespace
from typing import Any

import yaml


class Entity:
    """Takes whatever it is made with; the tests read that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class LaunchContext:
    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}
        self.is_shutdown = False


class LaunchDescription:
    def __init__(self, entities: list[Any]) -> None:
        self.entities = entities


class LaunchConfiguration:
    def __init__(self, name: str) -> None:
        self._name = name

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self._name]


class DeclareLaunchArgument:
    def __init__(
        self,
        name: str,
        *,
        default_value: str | None = None,
        description: str,
        choices: list[str] | None = None,
    ) -> None:
        self.name, self.default_value, self.choices = name, default_value, choices

    def visit(self, context: LaunchContext) -> None:
        values = context.launch_configurations
        if self.name not in values and self.default_value is None:
            raise RuntimeError(f"Required launch argument '{self.name}' was not provided.")
        value = values.setdefault(self.name, str(self.default_value))
        if self.choices and value not in self.choices:
            raise RuntimeError(f"'{value}' is not a valid option of '{self.name}'")


class OpaqueFunction:
    def __init__(self, *, function: Any, args: list[Any] | None = None) -> None:
        self._function, self._args = function, args or []

    def visit(self, context: LaunchContext) -> list[Any]:
        return list(self._function(context, *self._args))


class SetLaunchConfiguration:
    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def visit(self, context: LaunchContext) -> None:
        context.launch_configurations[self._name] = self._value


class IfCondition:
    def __init__(self, expression: LaunchConfiguration) -> None:
        self._expression = expression

    def evaluate(self, context: LaunchContext) -> bool:
        return self._expression.perform(context).lower() in ("true", "1")


class ParameterValue:
    def __init__(self, value: Any, *, value_type: type) -> None:
        self._value, self._type = value, value_type

    def evaluate(self, context: LaunchContext) -> Any:
        text = self._value if isinstance(self._value, str) else self._value.perform(context)
        value = text if self._type is str else yaml.safe_load(text)
        if not isinstance(value, self._type):
            raise ValueError(f"got {text!r}, expected {self._type}")
        return value


def modules() -> dict[str, ModuleType]:
    """By name, to be put into `sys.modules`."""
    actions = SimpleNamespace(
        DeclareLaunchArgument=DeclareLaunchArgument,
        OpaqueFunction=OpaqueFunction,
        SetLaunchConfiguration=SetLaunchConfiguration,
    )
    contents: dict[str, dict[str, Any]] = {
        "launch": {"LaunchContext": LaunchContext, "LaunchDescription": LaunchDescription},
        "launch.actions": {
            **vars(actions),
            **entities("ExecuteProcess", "RegisterEventHandler", "Shutdown", "TimerAction"),
        },
        "launch.conditions": {"IfCondition": IfCondition},
        "launch.event_handlers": entities("OnProcessExit", "OnProcessIO", "OnProcessStart"),
        "launch.events.process": entities("ProcessExited", "ProcessIO", "ProcessStarted"),
        "launch.launch_description_entity": {"LaunchDescriptionEntity": Entity},
        "launch.logging": {"get_logger": logging.getLogger},
        "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
        "launch_ros.actions": entities("Node"),
        "launch_ros.parameter_descriptions": {
            "ParameterValue": ParameterValue,
            **entities("ParameterFile"),
        },
    }
    made = {}
    for name, values in contents.items():
        for end in range(1, len(name.split(".")) + 1):
            whole = ".".join(name.split(".")[:end])
            made.setdefault(whole, ModuleType(whole))
        vars(made[name]).update(values)
    return made


def entities(*names: str) -> dict[str, type]:
    return {name: type(name, (Entity,), {}) for name in names}
