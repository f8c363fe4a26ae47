"""Code for a GPU keeps its tensors in place, seen with a GPU that only pretends to be one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent

PLACES = """
one, other = torch.ones(2, device="cuda"), torch.ones(2)
assert one.device.type == "cuda" and (one + one).cpu().tolist() == [2.0, 2.0]
assert torch.tensor([1.0], device="cuda").device.type == "cuda"
assert torch.nn.Linear(2, 2).to("cuda")(one).device.type == "cuda"
one[1:] += 1.0
assert one.cpu().numpy().tolist() == [1.0, 2.0]
for wrong in (lambda: one + other, lambda: one.numpy(), lambda: other[one.long()]):
    try:
        wrong()
    except (RuntimeError, TypeError):
        continue
    raise AssertionError("a mistake that would fail on a GPU passed")
"""

RENDERER = """
import numpy as np
from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.robot import Robot

camera = Camera(64, 48, 55.0, 55.0, 31.5, 23.5)
for kind in ("room", "corridor", "street", "yard"):
    there, here = (
        Robot(kind, 3, 4.0, device=device).picture(camera, 1.0) for device in ("cuda", "cpu")
    )
    np.testing.assert_array_equal(there.rgb, here.rgb)
    np.testing.assert_array_equal(there.depth_m, here.depth_m)
    assert here.rgb.std() > 5.0
"""

PIPELINE = """
import numpy as np
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor, Frame, FramePipeline
from dpt_ros.inference.pipeline import OUTPUTS
from dpt_ros.model.cards import InputSpec, ModelCard
from dpt_ros.model import create_model

def run(device, structure, precision, **overrides):
    torch.manual_seed(0)
    card = ModelCard(name="small", structure=structure, input=InputSpec(width=96, height=64))
    model = create_model(structure, **overrides)
    predictor = DepthPredictor(model, card, device=device, precision=precision)
    pipeline = FramePipeline(predictor, keep_memory=True)
    rows, columns = np.mgrid[:50, :70]
    rgb = np.stack([rows * 4, columns * 3, rows + columns], -1).astype(np.uint8)
    camera = Camera(70, 50, 60.0, 60.0, 34.5, 24.5)
    frames = [Frame(image, camera, ScaleShift(1.0, 0.1), name) for image, name in
              ((rgb, "left"), (rgb[::-1].copy(), "right"))]
    pipeline.process(frames, OUTPUTS)
    assert predictor.predict(rgb).shape == (50, 70)
    assert predictor.predict(torch.from_numpy(rgb).to(device)).device.type == device
    return pipeline.process(frames, OUTPUTS)

hybrid = {"depth": 2, "taps": (0, 1), "embed_dim": 48, "num_heads": 3}
for structure, overrides in (("dpt_tiny", {}), ("dpt_hybrid", hybrid)):
    here = run("cpu", structure, "float32", **overrides)
    for precision, tolerance in (("float32", 1e-4), ("float16", 0.02), ("bfloat16", 0.05)):
        for one, other in zip(run("cuda", structure, precision, **overrides), here):
            for name in ("inverse_depth", "depth_m", "depth_mm", "color", "points"):
                given, expected = getattr(one, name), getattr(other, name)
                assert (given.dtype, given.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(one.inverse_depth, other.inverse_depth, rtol=tolerance)
            np.testing.assert_allclose(one.depth_m, other.depth_m, rtol=tolerance)
"""

TRAINING = """
import functools, sys
from pathlib import Path
from dpt_ros.cli.main import main
from dpt_ros.training import refit

refit.FitSettings = functools.partial(refit.FitSettings, resamples=20)  # the fit is not on trial
folder, precision = Path(sys.argv[1]), sys.argv[2]
learned, held_out = str(folder / "learned"), str(folder / "held_out")
for path, split in ((learned, "train"), (held_out, "validation")):
    options = f"--split {split} --seed 1 --scenes 1 --frames-per-scene 2 --size 96x64 --device cuda"
    assert main(["synthetic", "dataset", *options.split(), "--out", path]) == 0
run = ["--validation", held_out, "--out", str(folder / "run")]
options = "--init dpt_tiny --steps 2 --batch-size 2 --accumulate 2 --workers 0 --device cuda"
options += f" --mixed-precision {precision}"
assert main(["train", learned, *run, *options.split()]) == 0
"""


def run_with_pretended_gpu(code: str, *arguments: str) -> None:
    script = (
        f"from pretend_gpu import PretendGpu\nimport torch\nwith PretendGpu():\n{_indent(code)}"
    )
    environment = {**os.environ, "PYTHONPATH": f"{FOLDER}:{FOLDER.parent}"}
    command = [sys.executable, "-c", script, *arguments]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _indent(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


@pytest.mark.parametrize("code", [PLACES, RENDERER, PIPELINE], ids=["places", "render", "pipeline"])
def test_tensors_stay_in_their_place(code: str) -> None:
    run_with_pretended_gpu(code)


@pytest.mark.parametrize("mixed_precision", ["float16", "bfloat16"])
def test_training_keeps_tensors_in_their_place(tmp_path: Path, mixed_precision: str) -> None:
    run_with_pretended_gpu(TRAINING, str(tmp_path), mixed_precision)
