"""A frame that fails costs itself alone, even where giving memory back fails as well."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dpt_ros.inference import DepthPredictor, Frame
from dpt_ros.inference.metres import Metres
from dpt_ros.ros import node
from dpt_ros.ros.camera_stream import ReceivedImage
from dpt_ros.ros.network import Network, release_memory
from dpt_ros.ros.processing import Processor
from dpt_ros.ros.settings import NodeSettings
from dpt_ros.ros.stamps import NANOSECONDS, StampWatch
from dpt_ros.ros.statistics import FrameStatistics
from dpt_ros.ros.tell import Teller


@pytest.fixture
def broken_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an illegal memory access: whatever torch is asked raises."""

    def fail() -> None:
        raise RuntimeError("raised by the recovery")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", fail)


@pytest.fixture
def network(tiny_checkpoint: Path) -> Network:
    predictor = DepthPredictor.from_model("dpt_tiny", checkpoint=tiny_checkpoint, device="cpu")
    return Network(predictor, NodeSettings())


def camera_image(name: str) -> Any:
    """What of a prepared image an inference that fails looks at."""
    frame = Frame(np.zeros((96, 128, 3), np.uint8), stream=name)
    stream = SimpleNamespace(name=name, statistics=FrameStatistics())
    received = ReceivedImage(stream, None, 0.0)  # type: ignore[arg-type]
    wanted = frozenset({"color"})
    return SimpleNamespace(frame=frame, stream=stream, received=received, wanted=wanted)


def process_failing(network: Network, output: Any) -> tuple[list[int], str]:
    """The counts of failed frames of two cameras, and what the diagnostics are told."""
    network.predictor.run_network = output  # type: ignore[method-assign]
    settings, metres = NodeSettings(), Metres(network.predictor, "")
    processor = Processor(network, metres, lambda: settings, lambda: 0, Teller(lambda text: None))
    images = [camera_image("left"), camera_image("right")]
    processor._infer(images)
    return [image.stream.statistics.counts["failed"] for image in images], processor.failure()


def test_after_a_fatal_error_of_the_gpu_frames_are_counted_and_a_restart_advised(
    network: Network, broken_gpu: None
) -> None:
    def fail(x: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel ...")

    counts, told = process_failing(network, fail)
    assert counts == [1, 1]
    assert "illegal memory access was encountered; " in told
    assert told.endswith("the node's process must be restarted")


@pytest.mark.parametrize(
    ("age_ns", "shown"),
    [(1_234_567, "0.00123"), (2_345_678_901, "2.35"), (2_000_456_789_000, "2000")],
)
def test_an_image_that_is_dropped_is_told_with_its_age(age_ns: int, shown: str) -> None:
    told: list[str] = []
    settings, nothing = NodeSettings(max_age_s=0.001), SimpleNamespace()
    now_ns = 1_700_000_000 * NANOSECONDS
    processor = Processor(
        nothing,  # type: ignore[arg-type]
        nothing,  # type: ignore[arg-type]
        lambda: settings,
        lambda: now_ns,
        Teller(told.append),
    )
    stamp = SimpleNamespace()
    stamp.sec, stamp.nanosec = divmod(now_ns - age_ns, NANOSECONDS)
    stream: Any = SimpleNamespace(stamps=StampWatch(), image_topic="/image")
    message = SimpleNamespace(header=SimpleNamespace(stamp=stamp))
    assert processor._is_stale(stream, message)
    assert told[-1] == f"/image: image dropped: {shown} s old, max_age_s is 0.001"


def test_an_output_that_is_not_finite_is_a_failed_frame(network: Network) -> None:
    counts, told = process_failing(network, lambda x: x[:, 0] * torch.nan)
    assert counts == [1, 1]
    assert "the network's output is not finite in" in told


def test_a_gpu_that_fails_lets_the_network_recover_and_be_freed(
    network: Network, broken_gpu: None
) -> None:
    network.recover()
    network.predictor.device = torch.device("cuda")
    network.recover()
    release_memory()
    network.free()


def test_a_network_that_can_not_be_imported_holds_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where timm is missing: the reason must not be lost on the way out of configure."""
    monkeypatch.setitem(sys.modules, "dpt_ros.ros.network", None)
    node._release_memory()
