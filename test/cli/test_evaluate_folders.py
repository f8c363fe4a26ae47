"""What `dpt-ros evaluate` keeps, takes up again and replaces in its folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dpt_ros.cli import evaluate_outputs
from dpt_ros.evaluation import models
from dpt_ros.inference.device import choose_precision
from dpt_ros.model import create_model, save_checkpoint


def test_the_second_time_only_scores(evaluate, drive, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert evaluate(drive, out=out) == 0
    first = (out / "evaluation.json").read_text()

    def never(*_, **__):
        raise RuntimeError("the network was loaded")

    monkeypatch.setattr(models.DepthPredictor, "from_model", never)
    assert evaluate(drive, out=out) == 0
    assert (out / "evaluation.json").read_text() == first
    assert evaluate(drive, "--protocol", "kitti", out=out) == 0
    taken, _ = choose_precision("auto", torch.device("cpu"))
    other = "float32" if taken == "bfloat16" else "bfloat16"
    # Another precision is another configuration.
    assert evaluate(drive, "--precision", other, "--force", out=out) == 1
    assert "the network was loaded" in capsys.readouterr().err


def test_a_half_written_prediction_is_made_again(evaluate, drive, tmp_path):
    out = tmp_path / "out"
    assert evaluate(drive, out=out) == 0
    first = (out / "evaluation.json").read_text()
    files = sorted((out / "kept").glob("dpt_tiny-*/drive/*.npy"))
    assert len(files) == 3
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    assert evaluate(drive, out=out) == 0
    assert (out / "evaluation.json").read_text() == first


def test_other_weights_are_never_mixed_in(evaluate, drive, tmp_path):
    other = tmp_path / "other.safetensors"
    torch.manual_seed(6)
    save_checkpoint(create_model("dpt_tiny"), other)
    keep = tmp_path / "keep"
    assert evaluate(drive, "--keep", keep, out=tmp_path / "a") == 0
    assert evaluate(drive, "--keep", keep, out=tmp_path / "b", checkpoint=other) == 0
    assert evaluate(drive, out=tmp_path / "c", checkpoint=other) == 0
    a, b, c = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in "abc")
    assert b["results"] == c["results"] and a["results"] != b["results"]


def test_an_edited_file_of_transforms_is_another_configuration(
    evaluate, tmp_path, recordings, capsys
):
    bag = recordings.write_bag(tmp_path / "drive", recordings.drive())
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
        assert evaluate(bag, "--transforms", str(transforms), "--force", out=out) == 0
        found.append((out / "frames.csv").read_bytes())
    assert found[0] != found[1]


def test_results_go_where_they_are_asked_for(evaluate, drive, tmp_path):
    files = [tmp_path / name for name in ("r.json", "r.csv", "r.html")]
    asked = [f"--{path.suffix[1:]}={path}" for path in files]
    assert evaluate(drive, *asked, out=tmp_path / "out") == 0
    assert json.loads(files[0].read_text())["format"] == "dpt_ros/evaluation/1"
    assert files[1].read_text().startswith("model,protocol,")
    assert "<html" in files[2].read_text()


def test_a_file_of_the_folder_named_in_another_way_is_the_same_file(
    evaluate, drive, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = ["--html", str(tmp_path / "out/report.html"), "--json", "out/../out/evaluation.json"]
    assert evaluate(drive, *files, out=Path("out")) == 0
    assert "<html" in (tmp_path / "out/report.html").read_text()
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["results"]


def test_a_folder_with_something_else_is_left_alone(evaluate, drive, tmp_path, capsys):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("ten years of work")
    assert evaluate(drive, out=out) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_another_evaluation_is_not_overwritten(evaluate, drive, tmp_path, recordings, capsys):
    out = tmp_path / "out"
    assert evaluate(drive, out=out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    other = recordings.write_bag(tmp_path / "other", recordings.drive())
    assert evaluate(other, out=out) == 1
    assert "--force" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert evaluate(other, "--force", out=out) == 0


def test_a_full_disk_leaves_the_old_results_whole(evaluate, drive, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert evaluate(drive, out=out) == 0
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
        assert evaluate(drive, "--protocol", "kitti", out=out) == 1
    assert "report" in written[0] and len(written) == 3
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("is_killed", [False, True], ids=["interrupted", "killed"])
def test_stopped_while_results_are_replaced_leaves_none_that_say_done_wrongly(
    evaluate, drive, tmp_path, monkeypatch, is_killed
):
    """Interrupted, the earlier ones are put back; a killed process can't, and leaves no JSON."""
    out = tmp_path / "out"
    assert evaluate(drive, out=out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    replace, gone = Path.replace, []

    def stopped(self, target):
        if gone and is_killed:  # a killed process does nothing any more
            return target
        if self.name.startswith(".frames.csv") and self.name.endswith(".part"):
            gone.append(self)
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        assert evaluate(drive, "--protocol", "kitti", out=out) == 130
    if is_killed:
        assert not (out / "evaluation.json").exists()
    else:
        assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert evaluate(drive, "--protocol", "kitti", out=out) == 0
    assert (out / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("place", "words"), [("folder", "is a folder"), ("none/r.html", "does not exist")]
)
def test_files_that_cannot_be_written_are_told_before_anything_is_done(
    evaluate, drive, tmp_path, capsys, place, words
):
    (tmp_path / "folder").mkdir()
    out = tmp_path / "out"
    for kind in ("html", "csv", "json"):
        assert evaluate(drive, f"--{kind}", tmp_path / place, out=out) == 1
        error = capsys.readouterr().err
        assert f"--{kind} {tmp_path / place}: " in error and words in error
    assert not out.exists() and not (tmp_path / "none").exists()


def test_a_file_that_cannot_be_replaced_leaves_the_earlier_evaluation(
    evaluate, drive, tmp_path, monkeypatch
):
    """What was asked for beside the folder became a folder while it was computed."""
    out, asked = tmp_path / "out", tmp_path / "r.csv"
    assert evaluate(drive, out=out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    build = evaluate_outputs.build_report

    def meanwhile(*arguments):
        asked.mkdir()
        return build(*arguments)

    monkeypatch.setattr(evaluate_outputs, "build_report", meanwhile)
    assert evaluate(drive, "--protocol", "kitti", "--csv", asked, out=out) == 1
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert asked.is_dir()


def test_an_evaluation_in_the_recordings_folder_reads_it_once(evaluate, drive):
    for _ in range(2):
        assert evaluate(drive, out=drive / "evaluation") == 0
    kept = (drive / "evaluation" / "kept").iterdir()
    assert sum((folder / "manifest.json").is_file() for folder in kept) == 1
