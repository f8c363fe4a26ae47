"""The predictor (rgb in, inverse depth out), how it runs, and the pipeline of a camera's frames.

Names are imported when first used, so that reading the settings does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.inference.pipeline import Frame, FrameOutputs, FramePipeline
    from dpt_ros.inference.predictor import DepthPredictor, InferenceError
    from dpt_ros.inference.settings import InferenceSettings

_HOME = {
    "DepthPredictor": "predictor",
    "Frame": "pipeline",
    "FrameOutputs": "pipeline",
    "FramePipeline": "pipeline",
    "InferenceError": "predictor",
    "InferenceSettings": "settings",
}

__all__ = [
    "DepthPredictor",
    "Frame",
    "FrameOutputs",
    "FramePipeline",
    "InferenceError",
    "InferenceSettings",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
