"""`dpt-ros evaluate` on small recordings and data sets, with a small random network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rosbags.rosbag2 import StoragePlugin

from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample
from dpt_ros.bags.samples import iterate_samples
from dpt_ros.cli import evaluate_outputs
from dpt_ros.cli.main import main
from dpt_ros.evaluation import models
from dpt_ros.geometry.calibration import Calibration, save_calibration
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.device import choose_precision
from dpt_ros.metrics import depth_metrics
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.checkpoints import file_sha256
from dpt_ros.report import Page

SECOND = 1_000_000_000
STAMPS = [1_600_000_000 * SECOND + index * 100_000_000 for index in range(3)]
KITTI = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(create_model("dpt_tiny"), path)
    return path


@pytest.fixture
def drive(tmp_path, recordings) -> Path:
    """Three pictures of noise, and scans of walls 4, 5 and 6 m away, with a pole at 3 m."""
    messages = recordings.drive(STAMPS, [4.0, 5.0, 6.0])
    kept = [item for item in messages if item[0] not in ("/points", "/camera/image_raw")]
    for index, stamp_ns in enumerate(STAMPS):
        pole = [[3.0, y, z] for y in np.linspace(0, 0.6, 8) for z in np.linspace(-0.4, 0.8, 8)]
        points = np.concatenate([recordings.wall(4.0 + index), pole])
        rgb = np.random.default_rng(index).integers(0, 255, (24, 32, 3), np.uint8)
        kept.append(("/points", stamp_ns, recordings.cloud(stamp_ns, points)))
        kept.append(("/camera/image_raw", stamp_ns, recordings.image(stamp_ns, rgb)))
    return recordings.write_bag(tmp_path / "drive", kept)


def evaluate(checkpoint: Path, *arguments: object, out: Path) -> int:
    words = ["--model", "dpt_tiny", "--checkpoint", checkpoint, "--device", "cpu", "--jobs", "1"]
    return main(["evaluate", *(str(word) for word in [*arguments, *words, "--out", out])])


@pytest.fixture(autouse=True)
def quick_report(request, monkeypatch):
    """Plots take seconds; the tests marked with `real_report` have them all the same."""
    if "real_report" not in request.fixturenames:
        monkeypatch.setattr(evaluate_outputs, "build_report", lambda *_: Page("no plots"))


@pytest.fixture
def real_report():
    """Has the real report written."""


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


def test_a_bag_is_scored_as_by_hand(drive, checkpoint, tmp_path, capsys, real_report):
    metres = calibration(tmp_path / "calibration.yaml", checkpoint, 0.01, 0.2)
    out = tmp_path / "out"
    assert evaluate(checkpoint, drive, "--calibration", metres, out=out) == 0
    printed = capsys.readouterr().out
    assert "calibration" in printed and "no figures for dpt_tiny, none" in printed

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
    drive, checkpoint, tmp_path, real_report, first, count
):
    """`zero-shot` scores no metres, and `nyu` no picture of this size; `full` does both."""
    metres = calibration(tmp_path / "calibration.yaml", checkpoint, 0.01, 0.2)
    protocols = ["--protocol", first, "--protocol", "full"]
    assert evaluate(checkpoint, drive, "--calibration", metres, *protocols, out=tmp_path / "o") == 0
    assert (tmp_path / "o" / "report.html").read_text().count("<svg") == count


def test_the_second_time_only_scores(drive, checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert evaluate(checkpoint, drive, out=out) == 0
    first = (out / "evaluation.json").read_text()

    def never(*_, **__):
        raise RuntimeError("the network was loaded")

    monkeypatch.setattr(models.DepthPredictor, "from_model", never)
    assert evaluate(checkpoint, drive, out=out) == 0
    assert (out / "evaluation.json").read_text() == first
    assert evaluate(checkpoint, drive, "--protocol", "kitti", out=out) == 0
    taken, _ = choose_precision("auto", torch.device("cpu"))
    other = "float32" if taken == "bfloat16" else "bfloat16"
    with pytest.raises(RuntimeError, match="loaded"):  # another precision is another configuration
        main(["-v", *_words(checkpoint, drive, out), "--precision", other, "--force"])


def _words(checkpoint: Path, drive: Path, out: Path) -> list[str]:
    model = ["--model", "dpt_tiny", "--checkpoint", str(checkpoint), "--device", "cpu"]
    return ["evaluate", str(drive), *model, "--out", str(out)]


def test_a_half_written_prediction_is_made_again(drive, checkpoint, tmp_path):
    out = tmp_path / "out"
    assert evaluate(checkpoint, drive, out=out) == 0
    first = (out / "evaluation.json").read_text()
    files = sorted((out / "kept").glob("dpt_tiny-*/drive/*.npy"))
    assert len(files) == 3
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    assert evaluate(checkpoint, drive, out=out) == 0
    assert (out / "evaluation.json").read_text() == first


def test_a_damaged_picture_costs_its_own_frame_alone(drive, checkpoint, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    assert main(["dataset", "build", str(drive), "--out", str(data)]) == 0
    record = Dataset(data).records[1]
    (data / record.image).write_bytes(b"no picture")
    assert evaluate(checkpoint, data, out=out) == 0
    told = json.loads((out / "evaluation.json").read_text())
    assert list(told["failures"]["dpt_tiny"]) == [record.id]
    assert result(out, "least_squares")["frames"] == 2
    assert f"failed on 1 frame: {data / record.image}" in capsys.readouterr().err


def test_other_weights_are_never_mixed_in(drive, checkpoint, tmp_path):
    other = tmp_path / "other.safetensors"
    torch.manual_seed(6)
    save_checkpoint(create_model("dpt_tiny"), other)
    keep = tmp_path / "keep"
    assert evaluate(checkpoint, drive, "--keep", keep, out=tmp_path / "a") == 0
    assert evaluate(other, drive, "--keep", keep, out=tmp_path / "b") == 0
    assert evaluate(other, drive, out=tmp_path / "c") == 0
    a, b, c = (result(tmp_path / name, "least_squares")["metrics"] for name in "abc")
    assert b == c and a != b


def test_several_models_and_a_baseline(drive, checkpoint, tmp_path):
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
    assert evaluate(checkpoint, drive, "--checkpoint", other, *more, out=out) == 0
    told = json.loads((out / "evaluation.json").read_text())
    labels = [model["label"] for model in told["models"]]
    assert labels[:2] == ["dpt_tiny (other)", "dpt_tiny (tiny)"] and "baseline" in labels[2]
    baseline = result(out, "none", labels[2])
    # Walls at 4, 5 and 6 m and a pole at 3 m, all taken to be 5 m away.
    assert baseline["ranges"]["5-10 m"]["metrics"]["abs_rel"] == pytest.approx((0 + 1 / 6) / 2)
    assert all(r["alignment"] == "none" for r in told["results"])


def test_results_go_where_they_are_asked_for(drive, checkpoint, tmp_path):
    files = [tmp_path / name for name in ("r.json", "r.csv", "r.html")]
    asked = [f"--{path.suffix[1:]}={path}" for path in files]
    assert evaluate(checkpoint, drive, *asked, out=tmp_path / "out") == 0
    assert json.loads(files[0].read_text())["format"] == "dpt_ros/evaluation/1"
    assert files[1].read_text().startswith("model,protocol,")
    assert "<html" in files[2].read_text()


def without(messages: list, topic: str) -> list:
    return [item for item in messages if item[0] != topic]


def test_without_lidar_there_are_pictures_and_it_is_said(
    checkpoint, tmp_path, recordings, capsys, real_report
):
    messages = without(recordings.drive(STAMPS), "/points")
    bag = recordings.write_bag(tmp_path / "camera_only", messages)
    assert evaluate(checkpoint, bag, out=tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "no depth was measured" in printed.out and "has no LiDAR" in printed.err
    report = (tmp_path / "out" / "report.html").read_text()
    assert "has no LiDAR" in report and report.count("<img") == 2 * 3
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert told["inputs"][0]["frames"] == 3 and told["inputs"][0]["frames_with_truth"] == 0


def test_a_picture_that_was_sent_twice_is_counted(checkpoint, tmp_path, recordings):
    messages = without(recordings.drive(STAMPS), "/points")
    twice = [item for item in messages if item[0] == "/camera/image_raw"][-1]
    again = (twice[0], twice[1] + 1000, twice[2])
    bag = recordings.write_bag(tmp_path / "camera_only", [*messages, again])
    assert evaluate(checkpoint, bag, out=tmp_path / "out") == 0
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert told["inputs"][0]["frames"] == 3
    assert sum(told["inputs"][0]["rejected"].values()) == 1


@pytest.mark.parametrize("missing", ["/camera/camera_info", "/camera/image_raw"])
def test_a_bag_without_what_it_takes_says_what(checkpoint, tmp_path, recordings, capsys, missing):
    bag = recordings.write_bag(tmp_path / "bag", without(recordings.drive(STAMPS), missing))
    assert evaluate(checkpoint, bag, out=tmp_path / "out") == 1
    kind = "CameraInfo" if "info" in missing else "Image"
    assert kind in capsys.readouterr().err
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_neither_lidar_nor_camera_info(checkpoint, tmp_path, recordings, capsys):
    messages = without(without(recordings.drive(STAMPS), "/points"), "/camera/camera_info")
    bag = recordings.write_bag(tmp_path / "bag", messages)
    assert evaluate(checkpoint, bag, out=tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "no LiDAR" in error and "camera_info" in error


def test_lidar_and_camera_that_never_overlap(checkpoint, tmp_path, recordings, capsys):
    early = recordings.drive(STAMPS)
    late = [(t, ns + 60 * SECOND, m) for t, ns, m in early]
    messages = [item for item in early if item[0] != "/points"]
    for _, ns, _ in [item for item in late if item[0] == "/points"]:
        messages.append(("/points", ns, recordings.cloud(ns, recordings.wall(5.0))))
    bag = recordings.write_bag(tmp_path / "bag", messages)
    assert evaluate(checkpoint, bag, out=tmp_path / "out") == 1
    assert "gap" in capsys.readouterr().err
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.parametrize("plugin", ["mcap", "db3"])
def test_a_bag_that_is_cut_off_is_named(checkpoint, tmp_path, recordings, capsys, plugin):
    """What is whole is scored, and the damage told; where nothing is, nothing is written."""
    storage = StoragePlugin.MCAP if plugin == "mcap" else StoragePlugin.SQLITE3
    stamps = [STAMPS[0] + index * 100_000_000 for index in range(20)]
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive(stamps, size=(320, 240)), storage)
    data = next(bag.glob(f"*.{plugin}")).read_bytes()
    cut = tmp_path / f"cut.{plugin}"
    cut.write_bytes(data[: len(data) * 2 // 3])
    status = evaluate(checkpoint, cut, out=tmp_path / "out")
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
        (["--jobs", "0"], "--jobs"),
        (["--calibration", "missing.yaml"], "missing.yaml"),
        (["--baseline", "missing"], "missing"),
        (["--model", "dpt_tiny", "--checkpoint", "no.safetensors"], "no.safetensors"),
    ],
)
def test_wrong_options_are_refused_in_words(drive, checkpoint, tmp_path, capsys, arguments, words):
    words_before = _words(checkpoint, drive, tmp_path / "out")
    assert main([*words_before, *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_calibration_of_other_weights_is_refused(drive, checkpoint, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    torch.manual_seed(6)
    save_checkpoint(create_model("dpt_tiny"), other)
    wrong = calibration(tmp_path / "calibration.yaml", other, 1.0, 0.0)
    assert evaluate(checkpoint, drive, "--calibration", wrong, out=tmp_path / "out") == 1
    assert "dpt-ros fit" in capsys.readouterr().err


def test_a_missing_input_is_told(checkpoint, tmp_path, capsys):
    assert evaluate(checkpoint, tmp_path / "nowhere", out=tmp_path / "out") == 1
    assert "nowhere: no such data set or recording" in capsys.readouterr().err


def test_a_folder_with_something_else_is_left_alone(drive, checkpoint, tmp_path, capsys):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("ten years of work")
    assert evaluate(checkpoint, drive, out=out) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_another_evaluation_is_not_overwritten(drive, checkpoint, tmp_path, recordings, capsys):
    out = tmp_path / "out"
    assert evaluate(checkpoint, drive, out=out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    other = recordings.write_bag(tmp_path / "other", recordings.drive(STAMPS))
    assert evaluate(checkpoint, other, out=out) == 1
    assert "--force" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert evaluate(checkpoint, other, "--force", out=out) == 0


def test_a_full_disk_leaves_the_old_results_whole(drive, checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert evaluate(checkpoint, drive, out=out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}

    written = []
    write_text = Path.write_text

    def full(self, *arguments, **options):
        written.append(self.name)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return write_text(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert evaluate(checkpoint, drive, "--protocol", "kitti", out=out) == 1
    assert "report" in written[0] and len(written) == 3
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_killed_while_results_are_replaced_leaves_none_that_say_done(
    drive, checkpoint, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    assert evaluate(checkpoint, drive, out=out) == 0
    replace = Path.replace

    def killed(self, target):
        if self.name.startswith(".frames.csv"):
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        assert evaluate(checkpoint, drive, "--protocol", "kitti", out=out) == 130
    assert not (out / "evaluation.json").exists()
    assert evaluate(checkpoint, drive, "--protocol", "kitti", out=out) == 0
    assert (out / "evaluation.json").exists()


def test_an_edited_file_of_transforms_is_another_configuration(
    checkpoint, tmp_path, recordings, capsys
):
    bag = recordings.write_bag(tmp_path / "drive", recordings.drive(STAMPS))
    transforms, out = tmp_path / "t.yaml", tmp_path / "out"
    rows = np.linalg.inv(recordings.OPTICAL_FROM_LIDAR)

    def write(shift_m):
        moved = rows.copy()
        moved[0, 3] += shift_m
        entry = {"parent": "lidar", "child": "camera", "matrix": moved.tolist()}
        transforms.write_text(yaml.safe_dump({"transforms": [entry]}))

    found = []
    for shift_m in (0.0, 0.05):
        write(shift_m)
        assert evaluate(checkpoint, bag, "--transforms", str(transforms), "--force", out=out) == 0
        found.append((out / "frames.csv").read_bytes())
    assert found[0] != found[1]


@pytest.mark.skipif(not KITTI.is_dir(), reason=f"the KITTI recordings are not in {KITTI}")
def test_kitti_recordings(checkpoint, tmp_path):
    out = tmp_path / "out"
    bags = [KITTI / "kitti_000000", KITTI / "kitti_000001"]
    assert evaluate(checkpoint, *bags, "--protocol", "kitti", out=out) == 0
    got = result(out, "least_squares")
    assert got["frames"] == 2 and got["pixels"] > 20_000
    assert 0.0 < got["metrics"]["abs_rel"] < 1.0
