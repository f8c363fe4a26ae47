"""`dpt-ros fit` from the shell's side: files, words, and errors that end in one sentence."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample, sample_id
from dpt_ros.cli.main import main
from dpt_ros.geometry import calibration as calibrations
from dpt_ros.geometry.calibration import CalibrationError, check_calibration, load_calibration
from dpt_ros.geometry.camera import Camera
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.metres import Metres
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.cards import load_card
from dpt_ros.training import fit as fitting

CARD = """
name: nano
structure: dpt_base
structure_overrides:
  {embed_dim: 16, depth: 4, num_heads: 2, taps: [0, 1, 2, 3], channels: [8, 8, 8, 8], features: 8,
   head_features: 4, image_size: [32, 32]}
input: {width: 32, height: 32, multiple_of: 32}
"""
CAMERA = Camera(32, 32, 30.0, 30.0, 15.5, 15.5)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> tuple[list[str], DepthPredictor]:
    """The options that name a random network of a few thousand weights, and its predictor."""
    folder = tmp_path_factory.mktemp("network")
    (folder / "nano.yaml").write_text(CARD, encoding="utf-8")
    card = load_card(str(folder / "nano.yaml"))
    torch.manual_seed(1)
    model = create_model(card.structure, **card.structure_overrides)
    save_checkpoint(model, folder / "nano.safetensors")
    names = [str(folder / "nano.yaml"), str(folder / "nano.safetensors")]
    options = ["--model", names[0], "--checkpoint", names[1], "--device", "cpu"]
    predictor = DepthPredictor.from_model(names[0], names[1], device="cpu", precision="float32")
    return [*options, "--precision", "float32"], predictor


@pytest.fixture(scope="module")
def recorded(network, tmp_path_factory) -> tuple[Path, float, float]:
    """A data set whose truth is the network's own output, made metric by a known scale and shift.

    With 2 % noise and 30 % outliers; folder, scale and shift.
    """
    _, predictor = network
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (10, 4, 4, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    predictions = predictor.predict(pictures)
    low, high = float(predictions.min()), float(predictions.max())
    scale = (1.0 - 0.1) / (high - low)
    shift = 0.1 - scale * low
    folder = tmp_path_factory.mktemp("recorded") / "data"
    with DatasetWriter(folder, dense=True, options={}) as writer:
        for index, (rgb, inverse_depth) in enumerate(zip(pictures, predictions, strict=True)):
            truth_m = 1.0 / (scale * inverse_depth + shift)
            truth_m *= 1.0 + 0.02 * random.normal(size=truth_m.shape)
            wrong = random.random(truth_m.shape) < 0.3
            truth_m[wrong] = random.uniform(1.0, 10.0, wrong.sum())
            source, truth_m = "ab"[index % 2], truth_m.astype(np.float32)
            writer.add(Sample(sample_id(source, index), source, index, rgb, truth_m, CAMERA))
        for source in "ab":
            writer.finish_source(source, {})
    return folder, scale, shift


def fit(network, folder: Path, out: Path, *more: str) -> int:
    options, _ = network
    return main(["fit", str(folder), *options, "--out", str(out), "--resamples", "20", *more])


def test_the_node_gets_metres_from_what_the_command_writes(network, recorded, tmp_path, capsys):
    folder, scale, shift = recorded
    out, report, result = (tmp_path / name for name in ("c.yaml", "fit.html", "fit.json"))
    status = fit(network, folder, out, "--report", str(report), "--json", str(result))
    printed = capsys.readouterr()

    assert status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.yaml", "fit.html", "fit.json"]
    calibration = load_calibration(out)
    assert calibration.scale_shift.scale == pytest.approx(scale, rel=0.02)
    assert calibration.scale_shift.shift == pytest.approx(shift, abs=0.02)
    assert calibration.camera == CAMERA
    _, predictor = network
    check_calibration(
        calibration,
        model="nano",
        checkpoint_sha256=predictor.checkpoint_sha256,
        network_size=predictor.network_size(32, 32),
    )
    earned = Metres(predictor, str(out)).of_image(32, 32, CAMERA)
    assert earned.scale_shift == calibration.scale_shift

    content = json.loads(result.read_text())
    assert content["scale"] == calibration.scale_shift.scale
    assert len(content["frames"]) == 10
    assert "Worst frames" in report.read_text(encoding="utf-8")
    assert "scale" in printed.out and "held out: 5 frames, AbsRel" in printed.out
    assert f"-> {out}" in printed.out
    assert "note: Frames fitted: only 5." in printed.err


def test_another_camera_gets_no_metres(network, recorded, tmp_path):
    folder, _, _ = recorded
    out = tmp_path / "c.yaml"
    assert fit(network, folder, out) == 0

    other = dataclasses.replace(CAMERA, fx_px=60.0)
    metres = Metres(network[1], str(out)).of_image(32, 32, other)
    assert metres.scale_shift is None and "another camera" in metres.why_not


def test_the_page_comes_beside_the_calibration_unless_told_otherwise(
    network, recorded, tmp_path, capsys
):
    folder, _, _ = recorded
    assert fit(network, folder, tmp_path / "one.yaml") == 0
    assert f"-> {tmp_path / 'one.html'}" in capsys.readouterr().out
    assert fit(network, folder, tmp_path / "two.html") == 0
    load_calibration(tmp_path / "two.html")
    assert fit(network, folder, tmp_path / "three.yaml", "--no-report") == 0
    pages = ["one.html", "two.report.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*pages, "one.yaml", "two.html", "three.yaml"]
    )
    for page in pages:
        assert "Worst frames" in (tmp_path / page).read_text(encoding="utf-8")


@pytest.fixture
def no_fit(monkeypatch):
    """Fails where the long part begins."""

    def begun(*_, **__):
        raise AssertionError("the fit has begun")

    monkeypatch.setattr(fitting, "fit_dataset", begun)


@pytest.mark.parametrize("option", ["--out", "--report", "--json"])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        (".", "is a folder; name a file in it"),
        ("results", "is a folder; name a file in it"),
        ("none/cal.yaml", "its folder does not exist; make it first"),
        ("/proc/cal.yaml", "/proc cannot be written"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_fit(
    network, recorded, tmp_path, monkeypatch, capsys, no_fit, option, place, told
):
    folder, _, _ = recorded
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    assert fit(network, folder, tmp_path / "c.yaml", option, place) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{option} {place}: " in error and told in error


def test_a_path_in_the_home_folder_is_written_there(
    network, recorded, tmp_path, monkeypatch, capsys
):
    folder, _, _ = recorded
    home, here = tmp_path / "home", tmp_path / "here"
    for path in (home, here):
        path.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    assert fit(network, folder, Path("~/c.yaml"), "--json", "~/c.json") == 0
    assert sorted(path.name for path in home.glob("c.*")) == ["c.html", "c.json", "c.yaml"]
    assert not list(here.iterdir())
    assert f"-> {home / 'c.yaml'}" in capsys.readouterr().out


def test_the_result_is_told_even_where_it_cannot_be_saved(
    network, recorded, tmp_path, monkeypatch, capsys
):
    """The disk is full once the fit is done."""

    def full(*_):
        raise CalibrationError("cannot be written: No space left on device")

    folder, _, _ = recorded
    monkeypatch.setattr(calibrations, "save_calibration", full)
    assert fit(network, folder, tmp_path / "c.yaml") == 1
    printed = capsys.readouterr()
    assert "scale " in printed.out and "shift " in printed.out
    assert "No space left" in printed.err.splitlines()[-1]


@pytest.mark.parametrize(("hold_out", "frames"), [("b", 5), ("./b", 10)])
def test_a_folder_named_like_a_source_is_not_taken_for_it(
    network, recorded, tmp_path, monkeypatch, hold_out, frames
):
    folder, _, _ = recorded
    with DatasetWriter(tmp_path / "b", dense=True, options={}) as writer:
        for sample in Dataset(folder):
            name = sample_id("other", sample.stamp_ns)
            writer.add(dataclasses.replace(sample, id=name, source="other", rgb=255 - sample.rgb))
        writer.finish_source("other", {})
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "c.json"
    assert (
        fit(network, folder, tmp_path / "c.yaml", "--hold-out", hold_out, "--json", f"{file}") == 0
    )
    told = json.loads(file.read_text())
    assert sum(frame["held_out"] for frame in told["frames"]) == frames
    assert "Worst frames" in (tmp_path / "c.html").read_text(encoding="utf-8")


def refusal(network, folder: Path, out: Path, capsys, *more: str) -> str:
    """What the command says as it fails, without a calibration."""
    status = fit(network, folder, out, *more)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1
    assert not out.exists()
    return error


def test_failures_end_in_one_sentence(network, recorded, tmp_path, capsys):
    folder, _, _ = recorded
    out = tmp_path / "c.yaml"
    said = refusal(network, tmp_path / "none", out, capsys)
    assert said.startswith("dpt-ros fit: ") and "is no data set" in said
    assert "no source 'x', expected some of a, b" in refusal(
        network, folder, out, capsys, "--sources", "x"
    )
    assert "got 5 frames to fit, expected at least 6" in refusal(
        network, folder, out, capsys, "--min-frames", "6"
    )
    assert "its folder does not exist" in refusal(
        network, folder, out, capsys, "--report", str(tmp_path / "no" / "fit.html")
    )
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text('{"format": "dpt_ros/dataset/0"}')
    assert "expected 'dpt_ros/dataset/1'" in refusal(network, tmp_path / "old", out, capsys)


def test_unrelated_truth_is_refused_with_what_to_record(network, recorded, tmp_path, capsys):
    folder, _, _ = recorded
    random = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "wall", dense=True, options={}) as writer:
        for sample in Dataset(folder):
            truth_m = random.uniform(4.0, 4.001, (32, 32)).astype(np.float32)
            writer.add(dataclasses.replace(sample, depth_m=truth_m))
        for source in "ab":
            writer.finish_source(source, {})

    said = refusal(network, tmp_path / "wall", tmp_path / "c.yaml", capsys)
    assert "record near and far things together" in said


def test_a_value_out_of_range_is_wrong_usage(network, recorded, tmp_path, capsys):
    folder, _, _ = recorded
    with pytest.raises(SystemExit) as exit_:
        fit(network, folder, tmp_path / "c.yaml", "--method", "best")
    assert exit_.value.code == 2
    assert "least_squares" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out", "c.yaml", "--json", "c.yaml"], "--out and --json are one file"),
        (["--out", "c.yaml", "--report", "here/../c.yaml"], "--out and --report are one file"),
        (["--out", "c.yaml", "--json", "c.html"], "--report and --json are one file"),
    ],
)
def test_results_that_overwrite_each_other_are_refused(
    network, recorded, tmp_path, monkeypatch, capsys, no_fit, words, told
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert fit(network, recorded[0], tmp_path / "c.yaml", *words) == 1
    assert told in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("option", ["--out", "--json", "--report"])
@pytest.mark.parametrize("name", ["data/manifest.json", "data/samples.jsonl", "pipe"])
def test_what_no_fit_has_written_is_not_overwritten(
    network, recorded, tmp_path, capsys, no_fit, option, name
):
    folder, _, _ = recorded
    target = tmp_path / name
    if name == "pipe":
        os.mkfifo(target)
    (tmp_path / "data").symlink_to(folder)
    assert fit(network, folder, tmp_path / "c.yaml", option, str(target)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{option} {target}: is there and is no " in error
    assert len(Dataset(folder)) == 10


def test_results_of_an_earlier_fit_and_empty_files_are_overwritten(network, recorded, tmp_path):
    folder, _, _ = recorded
    out, result = tmp_path / "c.yaml", tmp_path / "c.json"
    out.touch()
    for _ in range(2):
        assert fit(network, folder, out, "--json", str(result)) == 0
    load_calibration(out)
