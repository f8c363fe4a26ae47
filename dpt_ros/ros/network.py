"""The one network of the node: loaded, run, and its device memory given back. Knows no rclpy."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import torch

from dpt_ros.geometry.depth import DepthLimits
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.device import free_cached_memory
from dpt_ros.inference.pipeline import Frame, FrameOutputs, FramePipeline
from dpt_ros.ros.tuning import LOADER_THREAD

if TYPE_CHECKING:
    from dpt_ros.ros.settings import NodeSettings

_LOOK_S = 0.2
"""How often a loading looks whether it is still wanted."""


class Network:
    """A predictor, and the pipeline that goes with the settings in force.

    Args:
        predictor: the loaded model.
        settings: of the node.
    """

    def __init__(self, predictor: DepthPredictor, settings: NodeSettings) -> None:
        self.predictor = predictor
        self.narrow_limits: Callable[[DepthLimits], DepthLimits] = lambda limits: limits
        """To the range for which a calibration holds."""
        self._limits, self._pipeline = self._make_pipeline(settings)
        self._settings = settings

    @classmethod
    def load(cls, settings: NodeSettings, is_wanted: Callable[[], bool] = lambda: True) -> Network:
        """Load the model that the settings name, in a thread that ends with it.

        GNU OpenMP gives every thread that starts parallel work a team of its own. While there is
        more than one, their members sleep between tasks in place of spinning, and a small network
        takes 1.6 times as long. The team that this work needs goes when its thread ends, and the
        worker's is the only one.

        Args:
            settings: the node's.
            is_wanted: asked now and then; once it says no, the loading is given up.

        Raises:
            ValueError: unknown model or setting, or weights that do not fit.
            FileNotFoundError: no weights.
            KeyboardInterrupt: no longer wanted.
        """
        loader = ThreadPoolExecutor(1, thread_name_prefix=LOADER_THREAD)
        loading = loader.submit(
            DepthPredictor.from_model,
            settings.model,
            checkpoint=settings.checkpoint or None,
            device=settings.device,
            precision=settings.precision,
            compile=settings.compile,
        )
        try:
            # Not one long wait: a signal just before it began would be noticed only at its end.
            while not wait([loading], timeout=_LOOK_S).done:
                if not is_wanted():
                    raise KeyboardInterrupt
            return cls(loading.result(), settings)
        finally:
            loader.shutdown(wait=loading.done())  # not done: a signal came meanwhile

    def apply(self, settings: NodeSettings) -> None:
        """Take new depth limits, cloud and colour settings from the next frame on.

        Raises:
            ConfigError: no depth is left within the limits and the calibration's range.
        """
        limits, pipeline = self._make_pipeline(settings)
        before = (self._limits, self._settings.points, self._settings.color)
        if before != (limits, settings.points, settings.color):
            self._pipeline = pipeline  # without what the old one keeps: rays, ranges of colours
        self._limits, self._settings = limits, settings

    def process(self, frames: Sequence[Frame], wanted: frozenset[str]) -> list[FrameOutputs]:
        """Run frames, those of one size as one batch; see `FramePipeline.process`.

        On a CPU the next call overwrites the arrays.
        """
        return self._pipeline.process(frames, wanted)

    def recover(self) -> None:
        """After a failure: give back what the allocator holds, so that the next frame can run."""
        free_cached_memory()

    def memory_mib(self) -> float | None:
        """Device memory that tensors of this process hold; None on the CPU."""
        if self.predictor.device.type != "cuda":
            return None
        return torch.cuda.memory_allocated(self.predictor.device) / 2**20

    def free(self) -> None:
        """Forget the model and give its device memory back; the object is of no use afterwards."""
        # `narrow_limits` may belong to something that holds the predictor.
        del self.predictor, self._pipeline, self.narrow_limits
        release_memory()

    def _make_pipeline(self, settings: NodeSettings) -> tuple[DepthLimits, FramePipeline]:
        limits = self.narrow_limits(settings.depth)
        return limits, FramePipeline(
            self.predictor, limits, settings.points, settings.color, keep_memory=True
        )


def release_memory() -> None:
    """Give device memory that nothing refers to any more back to other processes."""
    gc.collect()
    free_cached_memory()
