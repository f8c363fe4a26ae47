"""The demo without an input: robot, depth node and evaluator in processes of their own."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from dpt_ros.cli import demo_drive
from dpt_ros.cli.animation import Animation, cloud_picture
from dpt_ros.cli.main import main
from dpt_ros.geometry.calibration import Calibration, load_calibration, save_calibration
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.cards import InputSpec, load_card


@pytest.fixture
def model_arguments(tmp_path, monkeypatch):
    """A small network with random weights, and a calibration for it."""
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.manual_seed(1)
    checkpoint, calibration = tmp_path / "tiny.safetensors", tmp_path / "calibration.yaml"
    card = dataclasses.replace(load_card("dpt_tiny"), input=InputSpec(width=64, height=64))
    save_checkpoint(create_model("dpt_tiny"), checkpoint, card)
    predictor = DepthPredictor.from_model("dpt_tiny", checkpoint=checkpoint, device="cpu")
    height, width = predictor.network_size(480, 640)
    sha256 = predictor.checkpoint_sha256
    pair = ScaleShift(0.01, 0.4)
    save_calibration(
        Calibration(pair, "dpt_tiny", sha256, height, width, None, 0.1, 50.0), calibration
    )
    return ["--checkpoint", str(checkpoint), "--calibration", str(calibration), "--device", "cpu"]


@pytest.mark.node
@pytest.mark.timeout(300)
def test_the_demo_drives_scores_and_leaves_pictures(tmp_path, model_arguments, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    (out / "depth").mkdir()
    (out / "depth" / "0099_mm.png").write_text("of an earlier drive")
    (out / "depth" / "kitchen_mm.png").write_text("kept")
    for name in ("animation.webp", "timing.json"):  # by which an earlier drive is known
        (out / name).write_text("of an earlier drive")
    arguments = ["demo", *model_arguments, "--seconds", "4", "--rate", "2", "--out", str(out)]
    assert main([*arguments, "--json", str(tmp_path / "found.json")]) == 0

    printed = capsys.readouterr()
    assert "live: 8 pictures" in printed.out and "report.html" in printed.out
    assert "AbsRel" in printed.err and "rendered" in printed.err
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames_scored"] >= 1 and metrics["partial"] == ""
    timing = json.loads((out / "timing.json").read_text())
    assert json.loads((tmp_path / "found.json").read_text()) == {**metrics, "timing": timing}
    assert 1 <= timing["losses"]["played"] <= 8 and timing["load"]["memory_mib"]["max"] > 50.0
    found = next(item for item in metrics["results"] if item["alignment"] == "calibration")
    assert 0.0 < found["metrics"]["abs_rel"] < 10.0
    with Image.open(out / "animation.webp") as animation:
        assert animation.size == (640, 480)
    assert (out / "points.ply").read_bytes().startswith(b"ply\n")
    depth = np.asarray(Image.open(next((out / "depth").glob("*_mm.png"))))
    assert depth.dtype == np.uint16 and 1000 < np.median(depth) < 4000  # near 1 / 0.4 m
    for mine in (out / "mine.txt", out / "depth" / "kitchen_mm.png"):
        assert mine.read_text() == "kept"
    assert not (out / "depth" / "0099_mm.png").exists()
    assert "Latency from stamp" in (out / "report.html").read_text()
    assert not list(tmp_path.glob(".out*"))


def test_a_folder_of_others_is_left_alone(tmp_path, model_arguments, capsys):
    (tmp_path / "report.html").write_text("mine")
    assert main(["demo", *model_arguments, "--out", str(tmp_path)]) == 1
    assert "is there already and not empty" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--kind", "nope"), "kind: got 'nope'"),
        (("--rate", "0"), "rate: got 0"),
        (("--seconds", "-3"), "seconds: got -3"),
        (("--seed", "-1"), "seed: got -1"),
    ],
)
def test_a_drive_that_cannot_be_is_refused_at_once(options, told, capsys):
    with pytest.raises(SystemExit):
        main(["demo", *options])
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--camera", "camera.yaml"), "--camera: the drive has its own camera"),
        (("--raw",), "--raw: the drive has its own camera"),
        (("--rectified",), "--rectified: the drive has its own camera"),
        (("--calibration", "none.yaml"), "none.yaml"),
        (("--json", "none/found.json"), "--json none/found.json: its folder does not exist"),
    ],
)
def test_what_a_drive_cannot_use_is_told_before_it(tmp_path, monkeypatch, options, told, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *options]) == 1
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bundled_names_the_calibration_of_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundled").write_text("a file of that name")
    options = argparse.Namespace(model=None, checkpoint=None, calibration="bundled")
    parameters = demo_drive._parameters(options)
    assert parameters["model"] == "dpt_tiny"
    calibration = Path(parameters["calibration"])
    assert calibration != tmp_path / "bundled"
    assert load_calibration(calibration).checkpoint_sha256 == load_card("dpt_tiny").sha256


@pytest.mark.node
@pytest.mark.timeout(300)
def test_what_was_scored_before_the_node_died_is_kept(
    tmp_path, model_arguments, monkeypatch, capsys
):
    status = demo_drive._status

    def kill_once_two_are_scored(diagnostics):
        scores = diagnostics.get("dpt_evaluator: scores", {})
        if int(scores.get("frames scored", "0")) >= 2:
            for child in psutil.Process().children():
                if "dpt_ros.ros.main" in child.cmdline():
                    child.kill()
        return status(diagnostics)

    monkeypatch.setattr(demo_drive, "_status", kill_once_two_are_scored)
    out = tmp_path / "out"
    arguments = ["demo", *model_arguments, "--seconds", "30", "--rate", "2", "--out", str(out)]
    assert main(arguments) == 1

    assert "broken off, what came before is kept: the node ended" in capsys.readouterr().err
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames_scored"] >= 2
    assert metrics["partial"] == "The depth node has ended."
    assert "Partial" in (out / "report.html").read_text()


def test_an_animation_has_a_frame_for_every_picture(tmp_path):
    animation = Animation()
    for index in range(3):
        rgb = np.full((48, 64, 3), 80 * index, np.uint8)
        depth = np.full((48, 64), 2.0 + index, np.float32)
        points = np.full((48, 64, 4), np.nan, np.float32)
        animation.add(rgb, depth, depth, points)
    animation.save(tmp_path / "a.webp", rate_hz=10.0)
    with Image.open(tmp_path / "a.webp") as found:
        assert (found.n_frames, found.size) == (3, (640, 480))
    with pytest.raises(ValueError, match="no frames"):
        Animation().save(tmp_path / "b.webp", 10.0)


def test_a_cloud_is_seen_from_behind_and_above():
    """A red point ahead and a green one behind it, in the same direction: the red one hides it."""
    colors = np.array([0xFF0000, 0x00FF00, 0x0000FF], np.uint32).view(np.float32)
    points = np.array([[[0, 0, 4.0, 0], [0, 0.0, 4.0, 0], [1.0, 0, 4.0, 0]]], np.float32)
    points[0, :, 3] = colors[[1, 0, 2]]
    points[0, 0, :3] *= 3.0
    picture = cloud_picture(points, (320, 240)).astype(int)
    red = np.argwhere((picture == (255, 0, 0)).all(-1))
    blue = np.argwhere((picture == (0, 0, 255)).all(-1))
    assert len(red) == 4 and len(blue) == 4
    assert abs(red[:, 1].mean() - 160.0) < 1.0  # in the middle
    assert blue[:, 1].mean() > red[:, 1].mean() + 20  # x is to the right
