"""Camera frames to everything that is wanted of them: one upload, one download."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.depth import DepthLimits, depth_to_millimetres, inverse_depth_to_depth
from dpt_ros.geometry.point_cloud import PointCloudSettings, depth_to_points
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference.colormap import ColormapSettings, color_range, colorize
from dpt_ros.inference.frame_memory import FrameMemory
from dpt_ros.inference.overflow import FiniteCheck, not_finite_message
from dpt_ros.inference.predictor import (
    DepthPredictor,
    InferenceError,
    as_tensor,
    inference_errors,
)
from dpt_ros.model.input_transform import resize_output

OUTPUTS = frozenset({"inverse_depth", "depth", "depth_mm", "color", "points"})
_MAX_CAMERAS = 8
_MAX_STREAMS = 32


@dataclass(frozen=True)
class Frame:
    """One image and what is known of its camera."""

    rgb: NDArray[np.uint8]
    """[H, W, 3]."""
    camera: Camera | None = None
    """Of this image's size; None: no point cloud."""
    scale_shift: ScaleShift | None = None
    """None: no metres."""
    stream: str = ""
    """Which video it belongs to, for colours that do not flicker."""


@dataclass(frozen=True)
class FrameOutputs:
    """What was wanted and possible, each [H, W, ...]; the rest is None."""

    inverse_depth: NDArray[np.float32] | None = None
    """[H, W]."""
    depth_m: NDArray[np.float32] | None = None
    """[H, W] metres; NaN, +Inf and -Inf as in REP 117."""
    depth_mm: NDArray[np.uint16] | None = None
    """[H, W] millimetres, 0 is invalid."""
    color: NDArray[np.uint8] | None = None
    """[H, W, 3] rgb."""
    points: NDArray[np.float32] | None = None
    """[H', W', 4] x, y, z, rgb bits: `depth_to_points`."""
    points_are_dense: bool = False
    """Whether every pixel of `points` has one."""
    network_s: float = 0.0
    """Seconds that the network took for the batch this frame was in."""


class FramePipeline:
    """Runs frames through the predictor and makes depth, colours and points on its device.

    One thread at a time may use it.

    Args:
        predictor: the network.
        depth_limits: the range that counts as measured; None is the defaults, as below.
        point_settings: how points are made.
        colormap: how colours are made.
        keep_memory: on a CPU the outputs share memory with those of the next call, which overwrites
            them. For callers that are done with them by then: it saves a copy of everything.
    """

    def __init__(
        self,
        predictor: DepthPredictor,
        depth_limits: DepthLimits | None = None,
        point_settings: PointCloudSettings | None = None,
        colormap: ColormapSettings | None = None,
        *,
        keep_memory: bool = False,
    ) -> None:
        self._predictor = predictor
        self._keeps_memory = keep_memory and predictor.device.type == "cpu"
        self._memories: OrderedDict[tuple[int, str], FrameMemory] = OrderedDict()
        self._limits = depth_limits or DepthLimits()
        self._points = point_settings or PointCloudSettings()
        self._colormap = colormap or ColormapSettings()
        self._rays: OrderedDict[Camera, tuple[Tensor, Tensor]] = OrderedDict()
        self._color_ranges: OrderedDict[str, Tensor] = OrderedDict()

    def process(self, frames: Sequence[Frame], wanted: frozenset[str]) -> list[FrameOutputs]:
        """Compute what is wanted, and nothing else.

        Args:
            frames: of any sizes; those of one size share a batch.
            wanted: names of OUTPUTS. Depth needs the frame's `scale_shift`, points its `camera`
                too; without, they are None.

        Returns:
            the outputs, one a frame, in the order of the frames.

        Raises:
            ValueError: an unknown output, a wrong shape or type, or a camera of another size.
            InferenceError: the network failed, or gave what is no number.
        """
        if unknown := wanted - OUTPUTS:
            raise ValueError(f"wanted: got {sorted(unknown)}, expected some of {sorted(OUTPUTS)}")
        batches: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, frame in enumerate(frames):
            _check(frame)
            if _possible(frame, wanted):
                batches[frame.rgb.shape].append(index)
        results = [FrameOutputs()] * len(frames)
        for indices in batches.values():
            memories = [self._memory_of(index, frames[index].stream) for index in indices]
            outputs = self._process_batch([frames[index] for index in indices], memories, wanted)
            for index, output in zip(indices, outputs, strict=True):
                results[index] = output
        return results

    @torch.inference_mode()
    def _process_batch(
        self, frames: list[Frame], memories: list[FrameMemory | None], wanted: frozenset[str]
    ) -> list[FrameOutputs]:
        with inference_errors():
            images = [as_tensor(frame.rgb)[None] for frame in frames]
            rgb = images[0] if len(images) == 1 else torch.cat(images)
            device = self._predictor.device
            rgb = rgb.to(device)
            with _one_thread(device):
                x = self._predictor.network_input(rgb)
            clock = _Clock(device)
            y = self._predictor.run_network(x)
            clock.stop()
            check = FiniteCheck(y)
            with _one_thread(device):
                outputs = [
                    self._finish(frame, rgb[i : i + 1], y[i : i + 1], wanted, memories[i])
                    for i, frame in enumerate(frames)
                ]
            arrays = _download(outputs, memories)
            if not check.is_finite():
                raise InferenceError(not_finite_message(self._predictor.precision))
            return [FrameOutputs(**values, network_s=clock.seconds()) for values in arrays]

    def _finish(
        self,
        frame: Frame,
        rgb: Tensor,
        y: Tensor,
        wanted: frozenset[str],
        memory: FrameMemory | None,
    ) -> dict[str, Tensor]:
        """One frame's outputs on the device, under the names of FrameOutputs."""
        height, width = rgb.shape[1:3]
        outputs: dict[str, Tensor] = {}
        possible = _possible(frame, wanted)

        def room(name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> Tensor | None:
            return None if memory is None else memory.tensor(name, shape, dtype)[None]

        out = room("inverse_depth", (height, width), np.float32)
        inverse_depth = resize_output(y, (height, width), out)
        if "inverse_depth" in possible:
            outputs["inverse_depth"] = inverse_depth[0]
        if "color" in possible:
            limits = self._color_range(frame.stream, inverse_depth)
            out = room("color", (height, width, 3), np.uint8)
            outputs["color"] = colorize(inverse_depth, self._colormap, limits, out)[0]
        if frame.scale_shift is None or not possible & {"depth", "depth_mm", "points"}:
            return outputs
        out = room("depth_m", (height, width), np.float32)
        depth_m = inverse_depth_to_depth(inverse_depth, frame.scale_shift, self._limits, out)
        if "depth" in possible:
            outputs["depth_m"] = depth_m[0]
        if "depth_mm" in possible:
            out = room("depth_mm", (height, width), np.uint16)
            outputs["depth_mm"] = depth_to_millimetres(depth_m, out)[0]
        if "points" in possible and frame.camera is not None:
            rows, columns = (-(-side // self._points.stride) for side in (height, width))
            out = room("points", (rows, columns, 4), np.float32)
            rays = self._rays_of(frame.camera)
            points = depth_to_points(depth_m, rays, rgb, self._points, out)
            outputs |= {"points": points.values[0], "points_are_dense": points.is_dense[0]}
        return outputs

    def _memory_of(self, place: int, stream: str) -> FrameMemory | None:
        """The memory of the frame at that place of a call; that of the last streams is kept."""
        if not self._keeps_memory:
            return None
        memory = self._memories.setdefault((place, stream), FrameMemory())
        self._memories.move_to_end((place, stream))
        if len(self._memories) > _MAX_STREAMS:
            self._memories.popitem(last=False)
        return memory

    def _rays_of(self, camera: Camera) -> tuple[Tensor, Tensor]:
        """The camera's rays on the device; the most recent cameras' are kept."""
        if camera not in self._rays:
            self._rays[camera] = camera.ray_planes(self._predictor.device)
            if len(self._rays) > _MAX_CAMERAS:
                self._rays.popitem(last=False)
        self._rays.move_to_end(camera)
        return self._rays[camera]

    def _color_range(self, stream: str, inverse_depth: Tensor) -> Tensor:
        """The range of the colours, drawn towards that of the stream's previous frame."""
        limits = color_range(inverse_depth, self._colormap)
        kept = self._colormap.smoothing
        if kept == 0.0:
            return limits
        previous = self._color_ranges.get(stream, limits)
        # A frame whose range is not finite takes the previous one, and is not remembered.
        drawn = torch.where(limits.isfinite(), torch.lerp(limits, previous, kept), previous)
        limits = torch.where(previous.isfinite(), drawn, limits)
        self._color_ranges[stream] = limits
        self._color_ranges.move_to_end(stream)
        if len(self._color_ranges) > _MAX_STREAMS:
            self._color_ranges.popitem(last=False)
        return limits


class _Clock:
    """Seconds on the device between construction and `stop`, without making the device wait."""

    def __init__(self, device: torch.device) -> None:
        self._events: list[torch.cuda.Event] = []
        self._times_s: list[float] = []
        self._device = device
        self.stop()

    def stop(self) -> None:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._events.append(event)
        else:
            self._times_s.append(time.perf_counter())

    def seconds(self) -> float:
        """What was measured; on a GPU to be asked after the download."""
        if self._events:
            return float(self._events[0].elapsed_time(self._events[1])) / 1000.0
        return self._times_s[1] - self._times_s[0]


@contextlib.contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Keep torch's work on a CPU on this thread.

    For 0.1 ms of work on an image, two threads gain little, and lose milliseconds whenever another
    process has one of the cores: the first waits until the second has run.
    """
    if device.type != "cpu":
        yield
        return
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


def _possible(frame: Frame, wanted: frozenset[str]) -> frozenset[str]:
    """What of `wanted` the frame's camera and scale allow."""
    impossible: set[str] = set()
    if frame.scale_shift is None:
        impossible |= {"depth", "depth_mm", "points"}
    if frame.camera is None:
        impossible.add("points")
    return wanted - impossible


def _download(
    outputs: list[dict[str, Tensor]], memories: list[FrameMemory | None]
) -> list[dict[str, Any]]:
    """Everything to the host, with one wait for the device; nothing to do where it lies there."""
    device = next(iter(outputs[0].values())).device
    if device.type == "cuda":
        outputs = [
            {
                name: torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(
                    value, non_blocking=True
                )
                for name, value in values.items()
            }
            for values in outputs
        ]
        torch.cuda.current_stream(device).synchronize()
    return [
        {name: _on_host(name, value, memory) for name, value in values.items()}
        for values, memory in zip(outputs, memories, strict=True)
    ]


def _on_host(name: str, value: Tensor, memory: FrameMemory | None) -> Any:
    """A tensor on the CPU as what FrameOutputs holds."""
    if value.ndim == 0:
        return value.item()
    return memory.array(name) if memory else value.numpy()


def _check(frame: Frame) -> None:
    rgb, camera = frame.rgb, frame.camera
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"rgb: got {rgb.dtype} {rgb.shape}, expected uint8 (H, W, 3), none 0")
    if camera is not None and (camera.height, camera.width) != rgb.shape[:2]:
        raise ValueError(
            f"camera: got one of {camera.width}x{camera.height} for an image of "
            f"{rgb.shape[1]}x{rgb.shape[0]}; use Camera.scaled"
        )
