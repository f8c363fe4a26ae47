"""How long `dpt-ros evaluate` takes to score kept predictions, without any network."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dpt_ros.evaluation.models import NetworkModel
    from dpt_ros.evaluation.run import Evaluation
    from dpt_ros.inference.identity import ModelIdentity

_MODEL = "dpt_tiny"
_SCALE, _SHIFT = 0.5, 0.02
"""Of the calibration that the predictions are made with."""
_NOISE = 0.1


def run(options: argparse.Namespace) -> int:
    """Make frames with predictions in a temporary folder, score them, and report; always 0."""
    from dpt_ros.cli.result_files import write_json
    from dpt_ros.evaluation.protocols import choose_protocols
    from dpt_ros.evaluation.recordings import open_dataset
    from dpt_ros.evaluation.run import Plan, evaluate

    with tempfile.TemporaryDirectory(prefix="dpt_ros_score_") as name:
        folder = Path(name)
        model = _make(options, folder)
        plan = Plan(choose_protocols(options.protocol or ["full"]), jobs=options.jobs)
        started_s = time.perf_counter()
        evaluation = evaluate([open_dataset(folder / "frames")], [model], plan, _quiet)
        seconds = time.perf_counter() - started_s
    result = _result(options, evaluation, seconds)
    print(
        f"{result['frames']} kept frames of {result['size']}, {result['truth']}, "
        f"{', '.join(result['protocols'])}; {', '.join(result['alignments'])}\n"
        f"{seconds:.1f} s with {options.jobs} jobs, {result['frames_per_s']:.1f} frames/s; 1000 "
        f"frames take {result['thousand_frames_s']:.1f} s"
    )
    if options.json:
        write_json(options.json, "bench_score", result)
    return 0


def _result(options: argparse.Namespace, evaluation: Evaluation, seconds: float) -> dict[str, Any]:
    scored = [s for result in evaluation.results for s in result.summaries if s.frames]
    width, height = options.size
    return {
        "frames": options.frames,
        "size": f"{width}x{height}",
        "truth": f"{options.points} points" if options.points else "truth at every pixel",
        "protocols": [protocol.name for protocol in evaluation.plan.protocols],
        "alignments": list(dict.fromkeys(s.alignment for s in scored)),
        "frames_scored": min((s.frames for s in scored), default=0),
        "jobs": options.jobs,
        "seconds": round(seconds, 3),
        "frames_per_s": round(options.frames / seconds, 2),
        "thousand_frames_s": round(1000.0 * seconds / options.frames, 2),
    }


def _make(options: argparse.Namespace, folder: Path) -> NetworkModel:
    """Frames with truth in `frames`, and a model whose predictions of them are all kept."""
    from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample, sample_id
    from dpt_ros.cli.progress import progress
    from dpt_ros.evaluation.models import NetworkModel
    from dpt_ros.evaluation.predictions import KeptPredictions, Runs, configuration_of
    from dpt_ros.geometry.camera import Camera
    from dpt_ros.inference.identity import ModelIdentity
    from dpt_ros.inference.settings import InferenceSettings
    from dpt_ros.model.cards import load_card

    width, height = options.size
    camera = Camera(width, height, width, width, (width - 1) / 2, (height - 1) / 2)
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (height, width, 3), np.uint8)
    said = {}
    with DatasetWriter(folder / "frames", dense=not options.points, options={}) as writer:
        for index in progress(range(options.frames), desc="make", unit="frame"):
            depth_m = _depth(height, width, generator)
            noise = 1.0 + _NOISE * generator.standard_normal(depth_m.shape)
            inverse = (1.0 / (depth_m * np.clip(noise, 0.5, 2.0)) - _SHIFT) / _SCALE
            name = sample_id("score", index)
            _keep_points(depth_m, options.points, generator)
            writer.add(Sample(name, "score", index, rgb, depth_m, camera))
            np.save(folder / f"{index}.npy", inverse.astype(np.float32))
            said[name] = folder / f"{index}.npy"
        writer.finish_source("score", {})
    identity = ModelIdentity(_MODEL, folder / "none.safetensors", "0" * 64, load_card(_MODEL))
    calibration = _calibration(identity, options.size, folder / "calibration.yaml")
    runs = Runs("cpu", "float32", compile=False)
    configuration = configuration_of(identity, runs, Dataset(folder / "frames"))
    kept = KeptPredictions(folder / "kept", _MODEL, configuration)
    for name, path in said.items():
        kept.write(name, np.load(path))
        path.unlink()
    inference = InferenceSettings(model=_MODEL, device="cpu", precision="float32")
    return NetworkModel(identity, inference, _MODEL, str(calibration), folder / "kept")


def _depth(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """A floor below a wall, 1 m to 60 m, float32 [H,W]."""
    wall_m = generator.uniform(5.0, 60.0)
    floor_m = 1.2 * height / np.maximum(np.arange(height) - height / 2, 1e-3)
    depth_m = np.minimum(floor_m, wall_m)[:, None] * generator.uniform(0.9, 1.1, width)
    return np.asarray(np.maximum(depth_m, 1.0), np.float32)


def _keep_points(depth_m: NDArray[np.float32], points: int, generator: np.random.Generator) -> None:
    """Leave truth at so many pixels alone, as a LiDAR does; 0: at all."""
    if points:
        hidden = generator.permutation(depth_m.size)[points:]
        depth_m.ravel()[hidden] = np.nan


def _calibration(identity: ModelIdentity, size: tuple[int, int], path: Path) -> Path:
    from dpt_ros.geometry.calibration import Calibration, save_calibration
    from dpt_ros.geometry.scale_shift import ScaleShift

    network_height, network_width = identity.network_size(size[1], size[0])
    save_calibration(
        Calibration(
            scale_shift=ScaleShift(_SCALE, _SHIFT),
            model=identity.model_name,
            checkpoint_sha256=identity.checkpoint_sha256,
            network_height=network_height,
            network_width=network_width,
            camera=None,
            near_m=0.1,
            far_m=100.0,
        ),
        path,
    )
    return path


def _quiet(items: Iterable[Any], _: str) -> Iterable[Any]:
    return items
