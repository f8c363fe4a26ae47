"""Runs of a tiny network, in this process or in two others, and how far their weights are apart."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

from safetensors.torch import load_file

from dpt_ros.training.run import train
from dpt_ros.training.settings import TrainSettings

SETTINGS = TrainSettings(
    steps=12,
    batch_size=4,
    backbone_lr=1e-3,
    decoder_lr=1e-3,
    warmup_steps=3,
    save_every=3,
    validate_every=4,
    average=0.9,
    workers=0,
    device="cpu",
    minimum_points=20,
    validation="0.4",
)


METRIC = dataclasses.replace(SETTINGS, mode="metric", steps=8)


def run(dataset, card, out, settings=SETTINGS, init="scratch"):
    folder = getattr(dataset, "folder", dataset)
    return train([folder], init, out, settings, model_name=card)


def weights(out):
    return load_file(out / "model.safetensors")


def largest_difference(one, other):
    return max(float((one[key] - other[key]).abs().max()) for key in one)


def relative_difference(one, other):
    """The largest difference of a tensor, relative to its largest value."""
    return max(
        float((one[key] - other[key]).abs().max() / other[key].abs().max().clamp(min=1e-3))
        for key in one
    )


def two_processes(dataset, card, folder, settings, out):
    """Run in two processes, of which each looks for the run in `out` with its number for {}."""
    script = folder / "two.py"
    script.write_text(
        "import json, os, sys, torch\n"
        "from dpt_ros.config import build\n"
        "from dpt_ros.training.run import train\n"
        "from dpt_ros.training.settings import TrainSettings\n"
        "torch.set_num_threads(1)\n"
        "settings = build(TrainSettings, json.loads(sys.argv[4]))\n"
        "out = sys.argv[2].format(os.environ['RANK'])\n"
        "train([sys.argv[1]], 'scratch', out, settings, model_name=sys.argv[3])\n"
    )
    values = json.dumps(dataclasses.asdict(settings))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [str(dataset.folder), str(out), card, values]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, str(script), *words],
        check=False,
        timeout=100,
        env=environment,
        capture_output=True,
        text=True,
    )


def train_in_two_processes(dataset, card, folder, settings):
    done = two_processes(dataset, card, folder, settings, folder / "two")
    assert done.returncode == 0, done.stderr
    assert (folder / "two" / "report.html").is_file()
    return weights(folder / "two")
