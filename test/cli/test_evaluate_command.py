"""`dpt-ros evaluate` on small recordings and data sets, with a small random network."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rosbags.rosbag2 import StoragePlugin

from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample
from dpt_ros.bags.samples import iterate_samples
from dpt_ros.cli.main import main
from dpt_ros.geometry.calibration import Calibration, load_calibration, save_calibration
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor
from dpt_ros.metrics import depth_metrics
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.checkpoints import file_sha256

SECOND = 1_000_000_000
KITTI = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def result(out: Path, alignment: str, model: str = "dpt_tiny") -> dict:
    told = json.loads((out / "evaluation.json").read_text())
    [found] = [r for r in told["results"] if (r["model"], r["alignment"]) == (model, alignment)]
    return found


def calibration(path: Path, checkpoint: Path, scale: float, shift: float) -> Path:
    network = DepthPredictor.from_model("dpt_tiny", checkpoint=checkpoint, device="cpu")
    height, width = network.network_size(24, 32)
    pair, sha256 = ScaleShift(scale, shift), file_sha256(checkpoint)
    made = Calibration(pair, "dpt_tiny", sha256, height, width, None, 0.1, 100.0)
    save_calibration(made, path)
    return path


def test_a_bag_is_scored_as_by_hand(evaluate, drive, checkpoint, tmp_path, capsys, real_report):
    metres = calibration(tmp_path / "calibration.yaml", checkpoint, 0.01, 0.2)
    out = tmp_path / "out"
    assert evaluate(drive, "--calibration", metres, out=out) == 0
    printed = capsys.readouterr().out
    assert "calibration" in printed and "no figures" not in printed

    network = DepthPredictor.from_model("dpt_tiny", checkpoint=checkpoint, device="cpu")
    expected = []
    for sample in iterate_samples(drive):
        inverse_depth = network.predict(sample.rgb).astype(np.float64)
        depth_m = np.clip(1.0 / (0.01 * inverse_depth + 0.2), 1e-3, 80.0)
        expected.append(depth_metrics(depth_m, sample.depth_m, np.isfinite(sample.depth_m)))
    got = result(out, "calibration")
    assert got["frames"] == 3
    for name, value in got["metrics"].items():
        mean = np.mean([frame[name] for frame in expected])
        assert value == pytest.approx(mean, rel=1e-9, abs=1e-9), name

    assert (out / "report.html").read_text().count("<svg") == 4 + 3
    with (out / "frames.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 4
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize(
    ("first", "count"), [("zero-shot", 4 + 3), ("nyu", 2 + 3)], ids=["no metres", "no frame"]
)
def test_the_report_is_about_a_protocol_that_scored(
    evaluate, drive, checkpoint, tmp_path, real_report, first, count
):
    """`zero-shot` scores no metres, and `nyu` no picture of this size; `full` does both."""
    metres = calibration(tmp_path / "calibration.yaml", checkpoint, 0.01, 0.2)
    protocols = ["--protocol", first, "--protocol", "full"]
    assert evaluate(drive, "--calibration", metres, *protocols, out=tmp_path / "o") == 0
    assert (tmp_path / "o" / "report.html").read_text().count("<svg") == count


def test_a_damaged_picture_costs_its_own_frame_alone(evaluate, drive, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    assert main(["dataset", "build", str(drive), "--out", str(data)]) == 0
    record = Dataset(data).records[1]
    (data / record.image).write_bytes(b"no picture")
    assert evaluate(data, out=out) == 0
    told = json.loads((out / "evaluation.json").read_text())
    assert list(told["failures"]["dpt_tiny"]) == [record.id]
    assert result(out, "least_squares")["frames"] == 2
    assert f"failed on 1 frame: {data / record.image}" in capsys.readouterr().err


def test_several_models_and_a_baseline(evaluate, drive, checkpoint, tmp_path):
    other = tmp_path / "other.safetensors"
    torch.manual_seed(6)
    save_checkpoint(create_model("dpt_tiny"), other)
    training = tmp_path / "training"
    with DatasetWriter(training, dense=True, options={}) as writer:
        rgb, depth = np.zeros((24, 32, 3), np.uint8), np.full((24, 32), 5.0, np.float32)
        camera = Camera(32, 24, 25.0, 25.0, 15.5, 11.5)
        writer.add(Sample("scene/0", "scene", 0, rgb, depth, camera))
        writer.finish_source("scene", {})
    out = tmp_path / "out"
    more = ["--model", "dpt_tiny", "--baseline", training, "--alignment", "none"]
    assert evaluate(drive, "--checkpoint", other, *more, out=out) == 0
    told = json.loads((out / "evaluation.json").read_text())
    labels = [model["label"] for model in told["models"]]
    assert labels[:2] == ["dpt_tiny (tiny)", "dpt_tiny (other)"] and "baseline" in labels[2]
    baseline = result(out, "none", labels[2])
    # Walls at 4, 5 and 6 m and a pole at 3 m, all taken to be 5 m away.
    assert baseline["ranges"]["5-10 m"]["metrics"]["abs_rel"] == pytest.approx((0 + 1 / 6) / 2)
    assert all(r["alignment"] == "none" for r in told["results"])


def test_that_a_model_knows_what_it_is_scored_on_is_told(
    evaluate, drive, checkpoint, tmp_path, capsys, real_report
):
    data, metres = tmp_path / "data", tmp_path / "calibration.yaml"
    assert main(["dataset", "build", str(drive), "--out", str(data)]) == 0
    [source] = Dataset(data).sources
    calibration(metres, checkpoint, 0.01, 0.2)
    told = "dpt_tiny: the calibration was fitted to"
    for rows, is_told in (
        ({}, False),
        ({source: {"held_out": False}}, True),
        ({source: {"held_out": True}, "other": {"held_out": False}}, False),
    ):
        fitted = dataclasses.replace(
            load_calibration(metres), fit={"per_frame": {"by_source": rows}}
        )
        save_calibration(fitted, metres)
        for what in (drive, data):
            out = tmp_path / f"{len(rows)}{is_told}{what.name}"
            assert evaluate(what, "--calibration", metres, out=out) == 0
            assert (f"{told} {source}, by name" in capsys.readouterr().err) == is_told
            assert (told in (out / "report.html").read_text()) == is_told

    assert evaluate(drive, "--baseline", data, out=tmp_path / "baseline") == 0
    said = f"warning: baseline: it is the mean of the truth of {source}, by name"
    assert said in capsys.readouterr().err


def without(messages: list, topic: str) -> list:
    return [item for item in messages if item[0] != topic]


def test_without_lidar_there_are_pictures_and_it_is_said(
    evaluate, tmp_path, recordings, capsys, real_report
):
    messages = without(recordings.drive(), "/points")
    bag = recordings.write_bag(tmp_path / "camera_only", messages)
    assert evaluate(bag, out=tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "no depth was measured" in printed.out and "has no LiDAR" in printed.err
    report = (tmp_path / "out" / "report.html").read_text()
    assert "has no LiDAR" in report and report.count("<img") == 2 * 3
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert told["inputs"][0]["frames"] == 3 and told["inputs"][0]["frames_with_truth"] == 0


def test_a_picture_that_was_sent_twice_is_counted(evaluate, tmp_path, recordings):
    messages = without(recordings.drive(), "/points")
    twice = [item for item in messages if item[0] == "/camera/image_raw"][-1]
    again = (twice[0], twice[1] + 1000, twice[2])
    bag = recordings.write_bag(tmp_path / "camera_only", [*messages, again])
    assert evaluate(bag, out=tmp_path / "out") == 0
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert told["inputs"][0]["frames"] == 3
    assert sum(told["inputs"][0]["rejected"].values()) == 1


def test_pictures_without_a_camera_are_counted_and_it_is_said_why(
    evaluate, tmp_path, recordings, capsys, real_report
):
    messages = without(recordings.drive(), "/points")
    last = max(ns for topic, ns, _ in messages if topic == "/camera/camera_info")
    for topic, ns, message in messages:
        if topic == "/camera/camera_info" and ns == last:
            message.width, message.height = 999, 77
    bag = recordings.write_bag(tmp_path / "camera_only", messages)
    assert evaluate(bag, out=tmp_path / "out") == 0
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())["inputs"][0]
    reason = "picture without a camera_info that can be used"
    assert told["frames"] == 2 and told["rejected"] == {reason: 1}
    error, report = capsys.readouterr().err, (tmp_path / "out" / "report.html").read_text()
    for text in (error, report):
        assert f"1 x {reason}" in text and "999x77" in text


@pytest.mark.parametrize("missing", ["/camera/camera_info", "/camera/image_raw"])
def test_a_bag_without_what_it_takes_says_what(evaluate, tmp_path, recordings, capsys, missing):
    bag = recordings.write_bag(tmp_path / "bag", without(recordings.drive(), missing))
    assert evaluate(bag, out=tmp_path / "out") == 1
    kind = "CameraInfo" if "info" in missing else "Image"
    assert kind in capsys.readouterr().err
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_neither_lidar_nor_camera_info(evaluate, tmp_path, recordings, capsys):
    messages = without(without(recordings.drive(), "/points"), "/camera/camera_info")
    bag = recordings.write_bag(tmp_path / "bag", messages)
    assert evaluate(bag, out=tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "no LiDAR" in error and "camera_info" in error


def test_lidar_and_camera_that_never_overlap(evaluate, tmp_path, recordings, capsys):
    early = recordings.drive()
    late = [(t, ns + 60 * SECOND, m) for t, ns, m in early]
    messages = [item for item in early if item[0] != "/points"]
    for _, ns, _ in [item for item in late if item[0] == "/points"]:
        messages.append(("/points", ns, recordings.cloud(ns, recordings.wall(5.0))))
    bag = recordings.write_bag(tmp_path / "bag", messages)
    assert evaluate(bag, out=tmp_path / "out") == 1
    assert "gap" in capsys.readouterr().err
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.parametrize("plugin", ["mcap", "db3"])
def test_a_bag_that_is_cut_off_is_named(evaluate, tmp_path, recordings, capsys, plugin):
    """What is whole is scored, and the damage told; where nothing is, nothing is written."""
    storage = StoragePlugin.MCAP if plugin == "mcap" else StoragePlugin.SQLITE3
    stamps = [recordings.STAMPS[0] + index * 100_000_000 for index in range(20)]
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive(stamps, size=(320, 240)), storage)
    data = next(bag.glob(f"*.{plugin}")).read_bytes()
    cut = tmp_path / f"cut.{plugin}"
    cut.write_bytes(data[: len(data) * 2 // 3])
    status = evaluate(cut, out=tmp_path / "out")
    error = capsys.readouterr().err
    assert f"cut.{plugin}" in error and ("cut off" in error or "damaged" in error)
    assert (tmp_path / "out" / "evaluation.json").exists() == (status == 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "eth"], "'eth'"),
        (["--alignment", "best"], "least_squares"),
        (["--ranges", "five"], "--ranges"),
        (["--ranges", "20,10"], "ascending"),
        (["--ranges", "5,nan,20"], "ascending numbers"),
        (["--calibration", "missing.yaml"], "missing.yaml"),
        (["--baseline", "missing"], "missing"),
        (["--model", "dpt_tiny", "--checkpoint", "no.safetensors"], "no.safetensors"),
    ],
)
def test_wrong_options_are_refused_in_words(evaluate, drive, tmp_path, capsys, arguments, words):
    assert evaluate(drive, *arguments, out=tmp_path / "out") == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--jobs", "0", "--jobs: got '0', expected a whole number above 0"),
        ("--jobs", "two", "--jobs: got 'two', expected a whole number above 0"),
        ("--show", "-1", "--show: got '-1', expected a whole number from 0"),
    ],
)
def test_wrong_numbers_are_refused_in_words(evaluate, tmp_path, capsys, option, value, words):
    with pytest.raises(SystemExit, match="2"):
        evaluate(tmp_path, f"{option}={value}", out=tmp_path / "out")
    assert words in capsys.readouterr().err


def test_a_calibration_of_other_weights_is_refused(evaluate, drive, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    torch.manual_seed(6)
    save_checkpoint(create_model("dpt_tiny"), other)
    wrong = calibration(tmp_path / "calibration.yaml", other, 1.0, 0.0)
    assert evaluate(drive, "--calibration", wrong, out=tmp_path / "out") == 1
    assert "dpt-ros fit" in capsys.readouterr().err


def test_a_missing_input_is_told(evaluate, tmp_path, capsys):
    assert evaluate(tmp_path / "nowhere", out=tmp_path / "out") == 1
    assert "nowhere: no such data set or recording" in capsys.readouterr().err


@pytest.mark.skipif(not KITTI.is_dir(), reason=f"the KITTI recordings are not in {KITTI}")
def test_kitti_recordings(evaluate, tmp_path):
    out = tmp_path / "out"
    bags = [KITTI / "kitti_000000", KITTI / "kitti_000001"]
    assert evaluate(*bags, "--protocol", "kitti", out=out) == 0
    got = result(out, "least_squares")
    assert got["frames"] == 2 and got["pixels"] > 20_000
    assert 0.0 < got["metrics"]["abs_rel"] < 1.0


@pytest.mark.parametrize(
    ("arguments", "names", "has_table"),
    [
        (["--alignment", "none"], "none", False),
        (["--protocol", "nyu"], "none, calibration, least_squares, median", False),
        ([], "none", True),
    ],
)
def test_a_table_has_a_head_only_over_rows(
    evaluate, drive, tmp_path, capsys, arguments, names, has_table
):
    evaluate(drive, *arguments, out=tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert any("AbsRel" in line for line in lines) == has_table
    assert sum(line.startswith(f"no figures for dpt_tiny, {names}: ") for line in lines) == 1
