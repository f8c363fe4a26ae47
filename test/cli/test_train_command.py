"""`dpt-ros train` as a process, killed as nothing but SIGKILL kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from dpt_ros.bags.dataset import DatasetWriter, Sample, sample_id
from dpt_ros.cli.main import main
from dpt_ros.geometry.camera import Camera

CARD = """
name: nano
structure: dpt_base
structure_overrides:
  {embed_dim: 16, depth: 4, num_heads: 2, taps: [0, 1, 2, 3], channels: [8, 8, 8, 8], features: 8,
   head_features: 4, image_size: [32, 32]}
input: {width: 32, height: 32, multiple_of: 32}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set of two sources and a card; returns their paths."""
    folder = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    camera = Camera(32, 32, 30.0, 30.0, 15.5, 15.5)
    with DatasetWriter(folder / "data", dense=True, options={}) as writer:
        for source in ("a", "b"):
            for index in range(6):
                rgb = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                depth_m = (1.0 + 10.0 * random.random((32, 32))).astype(np.float32)
                name = sample_id(source, index)
                writer.add(Sample(name, source, index, rgb, depth_m, camera))
            writer.finish_source(source, {})
    (folder / "nano.yaml").write_text(CARD)
    return str(folder / "data"), str(folder / "nano.yaml")


def words_of(world, out, *more):
    data, card = world
    return [
        *("train", data, "--init", "scratch", "--model", card, "--out", str(out)),
        *("--steps", "60", "--batch-size", "2", "--decoder-lr", "1e-3", "--backbone-lr", "1e-3"),
        *("--save-every", "4", "--workers", "0", "--validation", "b", "--device", "cpu", *more),
    ]


def test_a_json_that_cannot_be_written_is_told_before_the_training(world, tmp_path, capsys):
    place = str(tmp_path / "none" / "result.json")
    assert main(words_of(world, tmp_path / "out", "--json", place)) == 1
    assert f"--json {place}: its folder does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_command_killed_at_five_random_moments_ends_with_the_same_weights(world, tmp_path):
    """Whatever it is doing: beginning, learning, writing a checkpoint, ending."""
    words = words_of(world, "", "--mode", "metric")  # whose end is quick: no fit follows
    seed = int.from_bytes(os.urandom(4), "little")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("kill_training.py"), str(seed), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    print(done.stdout)
    assert done.stdout.count("killed ") == 5, done.stdout
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    difference = max(float((one[key] - other[key]).abs().max()) for key in one)
    assert difference <= 1e-6, done.stdout
    results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("killed", "whole")]
    assert results[0]["progress"]["history"] == results[1]["progress"]["history"]


def test_the_result_is_written_as_json_too(world, tmp_path, capsys):
    file = tmp_path / "result.json"
    more = ("--json", str(file), "--steps", "2", "--name", "mine", "--mode", "metric")
    assert main(words_of(world, tmp_path / "run", *more)) == 0
    result = json.loads(file.read_text())
    assert result["name"] == "mine"
    assert [part["sources"] for part in result["validation"]] == [["b"]]
    assert "model.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--validation", "c"), "'c' is no source"),
        (("--validation", ","), "0 holds out nothing"),
        (("--name", "kitti-v2"), "expected lower-case letters, digits and _"),
        (("--size", "large"), "WIDTHxHEIGHT"),
        (("--loss.l1", "1"), "--mode metric"),
    ],
)
def test_wrong_options_are_told_in_one_line(world, tmp_path, capsys, more, told):
    assert main(words_of(world, tmp_path / "run", *more)) == 1
    error = capsys.readouterr().err.strip()
    assert told in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_data_set_of_another_version_is_told(world, tmp_path, capsys):
    (tmp_path / "manifest.json").write_text('{"format": "dpt_ros/dataset/0"}')
    arguments = ["train", str(tmp_path), "--init", "scratch", "--out", str(tmp_path / "run")]
    assert main(arguments) == 1
    assert "dpt_ros/dataset/0" in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    assert "dpt-ros train kitti_dataset --init dpt_hybrid" in told
    assert "--augment.flip" in told
