"""What the node spends outside the network, and whether its memory stays flat: over real DDS."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_START_S = 180.0
_ANSWER_S = 60.0
_REPORT_S = 1.0
"""The node reports every second, over the last five."""


def run(options: argparse.Namespace) -> int:
    """Play pictures through the node and report; 1 if answers were lost."""
    from dpt_ros.cli.result_files import write_json
    from dpt_ros.ros.node_process import NodeProcess, isolate
    from dpt_ros.ros.player import Player
    from dpt_ros.ros.topics import OUTPUTS

    isolate()
    with tempfile.TemporaryDirectory() as folder:
        parameters = _parameters(options, Path(folder))
        with NodeProcess(parameters) as node, Player(sorted(OUTPUTS)) as player:
            print(f"starting the node with {options.model} (random weights)", file=sys.stderr)
            player.wait_for_node(node.check, _START_S)
            result = _measure(options, node, player)
    _print(result)
    if options.json:
        write_json(options.json, "bench_node", result)
    return 0 if result["answered"] == result["frames"] else 1


def _parameters(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The node's parameters, with weights and a calibration made for the occasion."""
    import torch

    from dpt_ros.geometry.calibration import Calibration, save_calibration
    from dpt_ros.geometry.scale_shift import ScaleShift
    from dpt_ros.inference import DepthPredictor
    from dpt_ros.model import create_model, save_checkpoint

    torch.manual_seed(0)
    card = _card(options, folder)
    checkpoint, calibration = folder / "model.safetensors", folder / "calibration.yaml"
    save_checkpoint(create_model(options.model), checkpoint)
    predictor = DepthPredictor.from_model(card, checkpoint=checkpoint, device="cpu")
    width, height = options.size
    network_height, network_width = predictor.network_size(height, width)
    save_calibration(
        Calibration(
            # Random weights answer near 0: every pixel lies near 2 m, and so in every output.
            scale_shift=ScaleShift(0.01, 0.5),
            model=predictor.model_name,
            checkpoint_sha256=str(predictor.checkpoint_sha256),
            network_height=network_height,
            network_width=network_width,
            camera=None,
            near_m=0.01,
            far_m=1000.0,
            fit={"note": "made by dpt-ros bench, from nothing"},
        ),
        calibration,
    )
    return {
        "model": card,
        "checkpoint": str(checkpoint),
        "calibration": str(calibration),
        "device": options.device,
        "precision": options.precision,
        "publish_millimetres": True,
    }


def _card(options: argparse.Namespace, folder: Path) -> str:
    """The model's name, or the card of one with another network size."""
    import yaml

    from dpt_ros.model.cards import load_card

    if options.network_size is None:
        return str(options.model)
    width, height = options.network_size
    card = load_card(options.model).to_mapping()
    card["input"] |= {"width": width, "height": height}
    path = folder / f"{options.model}.yaml"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    return str(path)


def _measure(options: argparse.Namespace, node: Any, player: Any) -> dict[str, Any]:
    import numpy as np

    from dpt_ros.cli.progress import progress
    from dpt_ros.geometry.camera import Camera
    from dpt_ros.ros.node_reports import StageTimes, camera_report, network_report
    from dpt_ros.ros.topics import OUTPUTS

    width, height = options.size
    camera = Camera(width, height, width, width, width / 2 - 0.5, height / 2 - 0.5)
    generator = np.random.default_rng(0)
    rgb = np.ascontiguousarray(generator.integers(0, 256, (height, width, 3), np.uint8))
    stages = StageTimes()
    memory_mib: list[tuple[int, float]] = []
    round_trips_ms: list[float] = []
    answered = 0
    for index in progress(range(options.frames), unit="frame"):
        begin_s = time.perf_counter()
        answers = player.play(rgb, camera, OUTPUTS, _ANSWER_S)
        round_trips_ms.append((time.perf_counter() - begin_s) * 1e3)
        answered += len(answers) == len(OUTPUTS)
        node.check()
        if index % max(options.frames // 20, 1) == 0 or index == options.frames - 1:
            memory_mib.append((index, round(node.resident_mib(), 1)))
        stages.look(camera_report(player.diagnostics))
    player.spin(_REPORT_S + 0.3)
    stages.look(camera_report(player.diagnostics))
    return {
        "model": options.model,
        "size": f"{width}x{height}",
        "frames": options.frames,
        "answered": answered,
        "repeated": player.repeated,
        "stages_ms": _by_stage(stages.medians()),
        "round_trip_ms": {
            f"p{share}": round(float(np.percentile(round_trips_ms, share)), 2) for share in (50, 95)
        },
        "device": network_report(player.diagnostics)["device"],
        "memory_mib": memory_mib,
    }


def _by_stage(medians: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Stage -> p50 and p95 of the node's own times in milliseconds, from `StageTimes.medians`."""
    from dpt_ros.ros.statistics import STAGES

    return {
        stage: {share: round(medians[f"{stage} {share}"], 2) for share in ("p50", "p95")}
        for stage in STAGES
    }


def _print(result: dict[str, Any]) -> None:
    print(
        f"node with {result['model']} at {result['size']} on {result['device']}, all outputs "
        f"subscribed from another process: {result['answered']} of {result['frames']} frames"
    )
    print(f"{'stage':<12}{'p50 ms':>9}{'p95 ms':>9}")
    rows = {**result["stages_ms"], "round trip": result["round_trip_ms"]}
    for stage, times in rows.items():
        print(f"{stage:<12}{times['p50']:>9.2f}{times['p95']:>9.2f}")
    print("overhead: all but the network, from image received to last message published")
    print("round trip: from publishing the image to receiving the last answer, network included")
    memory = result["memory_mib"]
    settled = memory[len(memory) // 4 :]
    print(
        f"resident memory: {memory[0][1]:.0f} MiB at frame {memory[0][0]}, "
        f"{settled[0][1]:.1f} at {settled[0][0]}, {settled[-1][1]:.1f} at {settled[-1][0]}"
    )
