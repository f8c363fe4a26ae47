"""The DPT network, its configurations, checkpoints, model cards and input transform.

Names are imported when first used, so that reading a model card does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.model.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
    from dpt_ros.model.configurations import MODELS, DPTConfiguration
    from dpt_ros.model.dpt import DPT, create_model
    from dpt_ros.model.export import export_onnx, export_program

_HOME = {
    "CheckpointError": "checkpoints",
    "load_checkpoint": "checkpoints",
    "save_checkpoint": "checkpoints",
    "MODELS": "configurations",
    "DPTConfiguration": "configurations",
    "DPT": "dpt",
    "create_model": "dpt",
    "export_onnx": "export",
    "export_program": "export",
}

__all__ = [
    "DPT",
    "MODELS",
    "CheckpointError",
    "DPTConfiguration",
    "create_model",
    "export_onnx",
    "export_program",
    "load_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
