"""Runs the launch files' code without starting anything, and keeps what they would start."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDED = (
    "ExecuteProcess",
    "Node",
    "OnProcessExit",
    "OnProcessIO",
    "OnProcessStart",
    "OpaqueFunction",
    "ParameterFile",
    "RegisterEventHandler",
    "Shutdown",
    "TimerAction",
)


class Launched:
    """What a launch file would start.

    Args:
        context: holds the arguments' values.
        entities: what the file gave, in its order.
    """

    def __init__(self, context: Any, entities: list[Any]) -> None:
        self.context = context
        self.entities = entities

    def node(self, name: str, among: list[Any] | None = None) -> Any:
        """The node with that name, or else executable."""
        (found,) = (
            entity
            for entity in (self.entities if among is None else among)
            if name in (given(entity).get("name"), given(entity).get("executable"))
        )
        return found

    def parameters(self, node: Any) -> dict[str, Any]:
        """Name -> value of all that are given directly; files apart."""
        merged = {
            name: value
            for entry in given(node)["parameters"]
            if isinstance(entry, dict)
            for name, value in entry.items()
        }
        return {
            name: value.evaluate(self.context) if hasattr(value, "evaluate") else value
            for name, value in merged.items()
        }

    def starts(self, entity: Any) -> bool:
        """Whether its condition holds."""
        return bool(given(entity)["condition"].evaluate(self.context))

    def handlers(self, kind: str, target: Any) -> list[dict[str, Any]]:
        """How the handlers of that kind for an action were made."""
        made = [
            e.positional[0] for e in self.entities if type(e).__name__ == "RegisterEventHandler"
        ]
        return [
            given(handler)
            for handler in made
            if type(handler).__name__ == kind and given(handler)["target_action"] is target
        ]


def given(entity: Any) -> dict[str, Any]:
    """The keyword arguments that something was made with."""
    return dict(getattr(entity, "keywords", {}))


def recorded(made: type) -> type:
    """The same class, but that an instance knows what it was made with."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        self.positional, self.keywords = args, kwargs
        made.__init__(self, *args, **kwargs)  # type: ignore[misc]

    return type(made.__name__, (made,), {"__init__": init})


@pytest.fixture
def launch_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real `launch` and `launch_ros` of a sourced ROS 2, or what stands in for them."""
    try:
        import launch_ros.actions  # noqa: F401
    except ModuleNotFoundError:
        path = Path(__file__).with_name("launch_stand_ins.py")
        for name, module in load(path).modules().items():
            monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def launch(launch_modules: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Launched]:
    """Call with a launch file's name and its arguments: `launch("depth", rviz="true")`.

    RViz and `ros2 bag` are taken for installed.
    """
    monkeypatch.setattr("dpt_ros.ros.transport.widen_shared_memory", lambda: None)
    monkeypatch.setattr("dpt_ros.ros.launch_arguments.get_package_prefix", lambda _: "/")
    monkeypatch.setattr(
        "dpt_ros.ros.launch_arguments.entry_points", lambda group: [SimpleNamespace(name="bag")]
    )

    def run(name: str, **arguments: str) -> Launched:
        module = load(ROOT / "launch" / f"{name}.launch.py")
        monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(ROOT))
        if hasattr(module, "get_logger"):
            monkeypatch.setattr(module, "get_logger", logging.getLogger)
        for known in RECORDED:
            if hasattr(module, known):
                monkeypatch.setattr(module, known, recorded(getattr(module, known)))
        context = module.LaunchContext()
        context.launch_configurations.update(arguments)
        declared = module.generate_launch_description().entities
        return Launched(context, list(visited(declared, context)))

    return run


def visited(entities: list[Any], context: Any) -> Iterator[Any]:
    for entity in entities:
        yield from entity.visit(context) or ()


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem.replace(".", "_"), path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
