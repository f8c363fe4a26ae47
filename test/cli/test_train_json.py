"""Where `dpt-ros train` writes, looked at before anything is loaded; what it says it wrote."""

from __future__ import annotations

import json

import pytest

from dpt_ros.cli.main import main
from dpt_ros.training import run as whole_run

RESULT = {"format": "dpt_ros/training/1", "init": "scratch"}


@pytest.fixture
def trained(monkeypatch):
    """Puts an instant training in place of the real one; returns the folders it was given."""
    folders = []

    def train(datasets, init, out, settings, **options):
        folders.append(out)
        return RESULT

    monkeypatch.setattr(whole_run, "train", train)
    return folders


@pytest.fixture
def other_run(tmp_path):
    """The folder of another run, which is complete."""
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("run.json", "result.json"):
        (folder / name).write_text(json.dumps(RESULT, indent=1))
    return folder


def train(*words):
    return main(["train", "data", "--init", "scratch", *(str(word) for word in words)])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("params.json", '{"mine": 1}'),
        ("manifest.json", '{"format": "dpt_ros/dataset/1"}'),
        ("notes.txt", 'a run has "format": "dpt_ros/training/1"'),
    ],
)
def test_what_no_training_has_written_is_not_overwritten(tmp_path, trained, capsys, name, content):
    place = tmp_path / name
    place.write_text(content)
    assert train("--out", tmp_path / "run", "--json", place) == 1
    told = f"--json {place}: is there and is no result of a training, and would be lost"
    assert told in capsys.readouterr().err
    assert place.read_text() == content
    assert trained == []


@pytest.mark.parametrize("name", ["run.json", "model.json", "checkpoints/a.json", ""])
def test_the_run_s_own_folder_is_its_own(tmp_path, trained, capsys, name):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    out = tmp_path / "run" if name else tmp_path / "new"
    assert train("--out", out, "--json", out / name) == 1
    assert f"--json {out / name}: lies in the folder of a run" in capsys.readouterr().err
    assert trained == []


@pytest.mark.parametrize("name", ["run.json", "result.json"])
def test_another_run_s_files_are_not_overwritten(tmp_path, trained, other_run, capsys, name):
    assert train("--out", tmp_path / "run", "--json", other_run / name) == 1
    assert "lies in the folder of a run" in capsys.readouterr().err
    assert trained == []


def test_an_earlier_result_an_empty_file_and_the_run_s_own_are_overwritten(
    tmp_path, trained, other_run
):
    place = tmp_path / "a.json"
    place.touch()
    for _ in range(2):
        assert train("--out", tmp_path / "run", "--json", place) == 0
        assert json.loads(place.read_text()) == RESULT
    assert train("--out", other_run, "--json", other_run / "result.json") == 0
    assert len(trained) == 3


@pytest.mark.parametrize("below", ["", "x"])
def test_an_out_that_is_a_file_is_told_before_anything_is_loaded(tmp_path, trained, capsys, below):
    (tmp_path / "afile").touch()
    out = tmp_path / "afile" / below
    assert train("--out", out) == 1
    told = f"--out {out}: {tmp_path / 'afile'} is a file, expected a folder"
    assert told in capsys.readouterr().err
    assert trained == []


def test_an_out_in_the_home_folder(tmp_path, trained, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert train("--out=~/run") == 0
    assert trained == [tmp_path / "run"]


def test_weights_are_named_where_they_are(tmp_path, trained, capsys):
    weights = tmp_path / "run" / "model.safetensors"
    assert train("--out", tmp_path / "run") == 0
    assert "weights" not in capsys.readouterr().out
    weights.parent.mkdir()
    weights.touch()
    assert train("--out", tmp_path / "run") == 0
    assert f"weights -> {weights}" in capsys.readouterr().out
