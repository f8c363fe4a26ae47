"""`dpt-ros demo` without an input: a synthetic robot drives, and depth is scored meanwhile."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.cli.animation import Animation
    from dpt_ros.ros.node_process import NodeProcess
    from dpt_ros.ros.watcher import Watcher

MODEL = "dpt_tiny"
_WAIT_S = 240.0
_STOP_S = 90.0
_PERIOD_S = 1.0
_DEPTH_PICTURES = 8
_NOTICED_S = 7.0
"""The evaluator takes the node for ended after five seconds without a word."""


def run_drive(options: argparse.Namespace) -> int:
    """Drive, and leave report, animation, depth and points in the output folder."""
    from dpt_ros.evaluation.output_folder import OutputFolder
    from dpt_ros.ros.node_process import isolate

    of_an_input = {
        "--camera": options.camera is not None,
        "--image-topic": options.image_topic is not None,
        "--rectified": options.rectified is True,
        "--raw": options.rectified is False,
    }
    if unused := ", ".join(flag for flag, is_given in of_an_input.items() if is_given):
        raise ValueError(f"{unused}: the drive has its own camera; name an input, or leave it out")
    parameters = _parameters(options)
    folder = OutputFolder(options.out, options.force or _is_of_a_drive(Path(options.out)))
    isolate()
    with folder:
        products = _Products(folder.work, round(options.seconds * options.rate))
        summary, broken_off = _drive(options, parameters, folder.work, products)
        products.finish(options.rate)
        if broken_off and not _has_scored(folder.work):
            raise RuntimeError(broken_off)
        _remove_earlier(folder.path)
    if options.json:
        _write_json(Path(options.json), folder.path)
    print(summary)
    if broken_off:
        print(f"broken off, what came before is kept: {broken_off}", file=sys.stderr)
    for name in sorted(path.name for path in folder.path.iterdir()):
        print(f"  {folder.path / name}")
    return 0 if products.count and not broken_off else 1


def _is_of_a_drive(folder: Path) -> bool:
    """Whether an earlier drive left its files there, which a new one replaces."""
    return all((folder / name).is_file() for name in ("animation.webp", "timing.json"))


def _has_scored(folder: Path) -> bool:
    """Whether there are scores of at least one picture."""
    path = folder / "metrics.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["frames_scored"] > 0


def _write_json(path: Path, folder: Path) -> None:
    """What `dpt-ros replay` would write there: metrics, and times under `timing`."""
    from dpt_ros.whole_file import write_json

    metrics, timing = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("metrics.json", "timing.json")
    )
    write_json(path, {**metrics, "timing": timing})


def _remove_earlier(folder: Path) -> None:
    """Remove what an earlier drive left: another one may have fewer pictures, or no points."""
    depth = "depth/[0-9][0-9][0-9][0-9]"
    for pattern in (f"{depth}_mm.png", f"{depth}_color.png", "animation.webp", "points.ply"):
        for path in folder.glob(pattern):
            path.unlink()


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """What depth node and evaluator share; metres come from the bundled calibration if it fits."""
    from dpt_ros.cli.demo import weights_of
    from dpt_ros.config import share_folder
    from dpt_ros.geometry.calibration import CalibrationError, load_calibration
    from dpt_ros.inference.metres import find_calibration

    model = options.model or MODEL
    bundled = share_folder() / "models" / f"{model}.safetensors"
    checkpoint = options.checkpoint or (bundled if bundled.is_file() else weights_of(model))
    calibration: Path | None = None
    if options.calibration:
        calibration = find_calibration(options.calibration, model)
        load_calibration(calibration)  # whose faults are told now, not once the node runs
    elif not options.checkpoint:
        with contextlib.suppress(CalibrationError):
            calibration = find_calibration("bundled", model)
    if calibration is None:
        print("no calibration: depth stays relative, and there are no points", file=sys.stderr)
    return {
        "model": model,
        "checkpoint": str(Path(checkpoint).expanduser().resolve()),
        "calibration": str(calibration.resolve()) if calibration else "",
        "use_sim_time": True,
    }


def _drive(
    options: argparse.Namespace, shared: dict[str, Any], work: Path, products: _Products
) -> tuple[str, str]:
    """Run the three processes, and watch them until the robot has arrived.

    Returns:
        what the evaluator says of the drive, and what broke it off; "" if nothing did.
    """
    from dpt_ros.ros.node_process import NodeError, NodeProcess
    from dpt_ros.ros.watcher import CLOUD, IMAGE, Watcher

    node_only = {name: getattr(options, name) for name in ("device", "precision", "compile")}
    robot_arguments = ["--kind", options.kind, "--seed", str(options.seed)]
    robot_arguments += ["--seconds", str(options.seconds), "--rate", str(options.rate)]
    topics = {
        "camera": ("image_rect", IMAGE),
        "depth": ("/dpt/depth/image_rect", IMAGE),
        "truth": ("/dpt_evaluator/truth/image_rect", IMAGE),
        "points": ("/dpt/points", CLOUD),
    }
    scores = work / "scores"
    robot = NodeProcess({}, robot_arguments, "dpt_ros.cli.demo_robot", is_node=False)
    node = NodeProcess({**shared, **node_only})
    with (
        robot,
        node,
        _evaluator({**shared, "output": str(scores), "node_pid": node.pid}) as evaluator,
        Watcher(topics, products.add) as watcher,
    ):
        broken_off = ""
        try:
            _watch(watcher, robot, node, evaluator)
        except (NodeError, TimeoutError) as error:
            broken_off = str(error)
            time.sleep(_NOTICED_S)
        except KeyboardInterrupt:
            broken_off = "interrupted"
        evaluator.stop(_STOP_S)
        said = evaluator.log()
    if scores.is_dir():
        for path in scores.iterdir():
            path.replace(work / path.name)
        scores.rmdir()
    lines = [line for line in said.splitlines() if line.startswith(("live:", "  "))]
    return "\n".join(lines), broken_off


def _evaluator(parameters: dict[str, Any]) -> NodeProcess:
    from dpt_ros.ros.node_process import NodeProcess

    return NodeProcess(parameters, module="dpt_ros.ros.evaluator_main")


def _watch(watcher: Watcher, robot: NodeProcess, node: NodeProcess, evaluator: NodeProcess) -> None:
    """Show how it goes, once a second, until the robot has arrived.

    Raises:
        NodeError: a process ended before that.
        TimeoutError: nothing happened for too long.
    """
    from dpt_ros.ros.node_process import NodeError

    told_s, changed_s, before = 0.0, time.monotonic(), ""
    is_terminal = sys.stderr.isatty()
    while True:
        watcher.spin_once(0.1)
        now_s = time.monotonic()
        if now_s - told_s < _PERIOD_S:
            continue
        told_s = now_s
        lines = robot.log().strip().splitlines()
        state = lines[-1] if lines else "starting"
        if state == "arrived":
            break
        node.check()
        evaluator.check()
        if robot.has_ended():
            raise NodeError(f"the robot ended early:\n{robot.log().strip()}")
        if state != before:
            before, changed_s = state, now_s
        if now_s - changed_s > _WAIT_S:
            raise TimeoutError(f"nothing has happened for {_WAIT_S:g} s: {state}")
        text = f"{state:<24} {_status(watcher.diagnostics)}"
        print(
            f"\r{text:<100}" if is_terminal else text,
            end="" if is_terminal else "\n",
            file=sys.stderr,
            flush=True,
        )
    if is_terminal:
        print(file=sys.stderr)


def _status(diagnostics: dict[str, dict[str, str]]) -> str:
    scores = diagnostics.get("dpt_evaluator: scores", {})
    if not scores or scores.get("frames") in (None, "0"):
        return "the node is starting" if "dpt: camera" not in diagnostics else "waiting"
    return (
        f"{scores['rate Hz']} Hz  latency {scores['latency p50 ms']} ms  "
        f"AbsRel {scores['AbsRel']} ({scores['alignment']})  {scores['frames scored']} scored"
    )


class _Products:
    """Animation, depth pictures and points, made while messages come.

    Args:
        folder: where they are written.
        expected: how many pictures the robot takes.
    """

    def __init__(self, folder: Path, expected: int) -> None:
        from dpt_ros.cli.animation import Animation

        self._folder = folder
        self._stride = max(expected // _DEPTH_PICTURES, 1)
        self._animation: Animation = Animation()
        self._clouds: list[Any] = []
        self.count = 0

    def add(self, messages: dict[str, Any]) -> None:
        """Take in camera, depth, truth and points of one stamp."""
        import numpy as np

        from dpt_ros.messages.decode import image_to_rgb
        from dpt_ros.messages.depth_image import image_to_float

        rgb, cloud = image_to_rgb(messages["camera"]), messages["points"]
        depth_m, truth_m = (image_to_float(messages[name]) for name in ("depth", "truth"))
        points = np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)
        self._animation.add(rgb, depth_m, truth_m, points)
        if self.count % self._stride == 0:
            self._write_depth(depth_m)
            self._clouds = [points]
        self.count += 1

    def finish(self, rate_hz: float) -> None:
        """Write what is made of all frames."""
        from dpt_ros.cli.ply import write_ply

        if not self.count:
            return
        self._animation.save(self._folder / "animation.webp", rate_hz)
        write_ply(self._folder / "points.ply", self._clouds[-1], "metres, camera frame")

    def _write_depth(self, depth_m: Any) -> None:
        import cv2
        import numpy as np

        from dpt_ros.cli.predict_outputs import write_png
        from dpt_ros.evaluation.pictures import color_limits, depth_picture

        millimetres = np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m * 1000.0, 0.0)
        folder = self._folder / "depth"
        folder.mkdir(exist_ok=True)
        pictures = {
            "mm": np.clip(np.rint(millimetres), 0, 65535).astype(np.uint16),
            "color": cv2.cvtColor(depth_picture(depth_m, color_limits(depth_m)), cv2.COLOR_RGB2BGR),
        }
        for name, pixels in pictures.items():
            write_png(folder / f"{self.count:04d}_{name}.png", pixels)
