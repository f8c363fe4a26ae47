"""Enforces which layer may import which, by reading the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dpt_ros"

_BELOW_TRAINING = {
    "bags",
    "bootstrap",
    "config",
    "geometry",
    "inference",
    "messages",
    "metrics",
    "model",
    "report",
    "synthetic",
}
EVERYWHERE = {"whole_file"}
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),
    "whole_file": set(),
    "bootstrap": set(),
    "metrics": set(),
    "geometry": {"config"},
    "messages": {"geometry"},
    "model": {"config"},
    "inference": {"model", "geometry", "config"},
    "bags": {"messages", "geometry", "config"},
    "synthetic": {"geometry", "messages", "bags", "config"},
    "report": {"config"},
    "training": _BELOW_TRAINING,
    "evaluation": _BELOW_TRAINING,
    "ros": {"inference", "geometry", "messages", "config", "bags", "metrics", "evaluation"},
    "cli": _BELOW_TRAINING | {"training", "evaluation", "ros"},
}
ROS_CLIENT_LIBRARIES = {"rclpy", "launch", "launch_ros", "tf2_ros", "message_filters"}

MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in MAY_IMPORT
)


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Absolute names of everything imported anywhere in the file, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = path.parent if node.level else None
            for _ in range(max(node.level - 1, 0)):
                base = base.parent if base else None
            prefix = ".".join(("dpt_ros", *base.relative_to(PACKAGE).parts)) if base else ""
            module = ".".join(part for part in (prefix, node.module or "") if part)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_the_layers_below_it(path):
    layer = layer_of(path)
    ours = {name.split(".")[1] for name in imported_modules(path) if name.startswith("dpt_ros.")}
    forbidden = ours - MAY_IMPORT[layer] - EVERYWHERE - {layer, "__version__"}
    assert not forbidden, f"{layer} may import {sorted(MAY_IMPORT[layer])}, not {sorted(forbidden)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_ros_layer_knows_the_client_libraries(path):
    if layer_of(path) == "ros":
        return
    used = {name.split(".")[0] for name in imported_modules(path)} & ROS_CLIENT_LIBRARIES
    assert not used, f"{path} imports {sorted(used)}"


def test_the_rules_see_relative_and_nested_imports(tmp_path, monkeypatch):
    package = tmp_path / "dpt_ros"
    (package / "geometry").mkdir(parents=True)
    module = package / "geometry" / "camera.py"
    module.write_text(
        "from ..ros import node\nfrom . import depth\ndef f():\n    import dpt_ros.model.dpt\n"
    )
    monkeypatch.setitem(globals(), "PACKAGE", package)
    assert imported_modules(module) == {
        "dpt_ros.ros.node",
        "dpt_ros.geometry.depth",
        "dpt_ros.model.dpt",
    }


def test_importing_the_package_changes_no_global_state():
    """Imports every module below the node in a fresh interpreter; torch's flags must not move."""
    names = [
        ".".join(("dpt_ros", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in MODULES
        if layer_of(path) not in {"ros", "cli"} and path.stem != "__init__"
    ]
    # The libraries first: what they do to the environment is not ours to answer for.
    script = f"""
import importlib, logging, os
import cv2, rosbags.highlevel, safetensors.torch, timm, torch, yaml
def state():
    return dict(benchmark=torch.backends.cudnn.benchmark, threads=torch.get_num_threads(),
                tf32=torch.backends.cuda.matmul.allow_tf32, grad=torch.is_grad_enabled(),
                dtype=torch.get_default_dtype(), precision=torch.get_float32_matmul_precision(),
                handlers=list(logging.getLogger().handlers), **os.environ)
before = state()
for name in {names!r}:
    importlib.import_module(name)
changed = {{key for key, value in state().items() if before.get(key) != value}}
assert not changed, changed
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PACKAGE.parent, timeout=100)
