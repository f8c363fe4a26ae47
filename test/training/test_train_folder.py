"""A run's folder: when it is begun, who may train in it, and what becomes of a complete one."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys

import pytest
import torch
from nano_runs import SETTINGS, run, weights

from dpt_ros.bags.dataset import Dataset
from dpt_ros.config import ConfigError
from dpt_ros.geometry.fit import FitError
from dpt_ros.model.checkpoints import read_card
from dpt_ros.training import refit
from dpt_ros.training import run as whole_run
from dpt_ros.training.card_text import training_data
from dpt_ros.training.run import command_line, train
from dpt_ros.training.settings import LossSettings
from dpt_ros.training.split import Split
from dpt_ros.training.state import RunFolder, TrainingError
from dpt_ros.training.truth_density import measure_density

pytestmark = pytest.mark.usefixtures("without_report")

SHORT = dataclasses.replace(SETTINGS, steps=2)


def train_named(dataset, card, out, name):
    return train([dataset.folder], "scratch", out, SHORT, model_name=card, name=name)


def test_a_loss_without_terms_is_refused_before_the_folder_is_made(
    tmp_path, dense_dataset, nano_card
):
    settings = dataclasses.replace(SHORT, loss=LossSettings(ssi=0.0, gradient=0.0))
    with pytest.raises(ConfigError, match="every term has the weight 0"):
        run(dense_dataset, nano_card, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_processes_cannot_divide_is_refused_before_the_folder_is_made(
    tmp_path, dense_dataset, nano_card, monkeypatch
):
    make = whole_run.make_accelerator

    def make_for_three(settings):
        accelerator = make(settings)
        monkeypatch.setattr(type(accelerator), "num_processes", 3)
        return accelerator

    monkeypatch.setattr(whole_run, "make_accelerator", make_for_three)
    with pytest.raises(ValueError, match="batch_size: got 4, expected a multiple of 3"):
        run(dense_dataset, nano_card, tmp_path / "run", SHORT)
    assert not (tmp_path / "run").exists()


def test_gradient_matching_alone_is_refused_for_sparse_truth(tmp_path, write_dataset, nano_card):
    """Its loss would be 0 in every step."""
    sparse = write_dataset(tmp_path / "sparse", ("a", "b"), 2, (32, 32), dense=False)
    settings = dataclasses.replace(SHORT, loss=LossSettings(ssi=0.0))
    told = r"gradient matching is the only term, and it is off: truth has 0\..*give --loss\.ssi"
    with pytest.raises(ConfigError, match=told):
        run(sparse, nano_card, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_gradient_matching_alone_is_learned_from_for_dense_truth(
    tmp_path, dense_dataset, nano_card
):
    settings = dataclasses.replace(SHORT, loss=LossSettings(ssi=0.0))
    result = run(dense_dataset, nano_card, tmp_path / "run", settings)
    assert result["progress"]["history"][-1]["loss"] > 0.0


def test_a_run_of_which_nothing_came_gives_way_to_another(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"seed": 1})
    folder.metres.write_text('{"scale": 1.0, "shift": 0.0}')
    folder.tensorboard.mkdir()
    assert not folder.begin({"seed": 2})
    assert folder.description()["seed"] == 2
    # They were of the other run's network and data.
    assert not folder.metres.exists()
    assert not folder.tensorboard.exists()


@pytest.mark.parametrize("left", ["checkpoints/step_00000001.pt", "result.json", "weights"])
def test_a_run_of_which_something_came_does_not_give_way(tmp_path, left):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"seed": 1})
    file = folder.weights if left == "weights" else folder.path / left
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")
    with pytest.raises(TrainingError, match="seed 1, not 2"):
        folder.begin({"seed": 2})


def test_a_second_process_in_the_folder_is_refused(tmp_path, dense_dataset, nano_card):
    folder = RunFolder(tmp_path / "run")
    with (
        folder.locked(),
        pytest.raises(TrainingError, match="another process is training in .*run"),
    ):
        run(dense_dataset, nano_card, folder.path, SHORT)
    assert not (folder.path / "run.json").exists()
    assert run(dense_dataset, nano_card, folder.path, SHORT)["steps"] == 2


def test_the_folder_is_held_to_the_end_and_then_free(
    tmp_path, dense_dataset, nano_card, monkeypatch
):
    compare, held = whole_run.compare_models, []

    def compared(*arguments, **options):
        with pytest.raises(TrainingError, match="another process"), RunFolder(out).locked():
            pass
        held.append(True)
        return compare(*arguments, **options)

    monkeypatch.setattr(whole_run, "compare_models", compared)
    out = tmp_path / "run"
    run(dense_dataset, nano_card, out, SHORT)
    assert held == [True]
    with RunFolder(out).locked():
        # A complete run is only read.
        assert run(dense_dataset, nano_card, out, SHORT)["steps"] == 2


def test_a_folder_of_something_else_is_not_locked(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(TrainingError, match="new or an empty folder"), RunFolder(tmp_path).locked():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("lack", ["module", "file system"])
def test_without_locks_a_run_goes_on_all_the_same(tmp_path, monkeypatch, lack):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if lack == "module":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", refuse)
    with RunFolder(tmp_path / "run").locked():
        assert not RunFolder(tmp_path / "run").begin({})


def test_room_is_asked_for_only_where_the_disk_is_full(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    folder.begin({})

    def fsync(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TrainingError, match="Input/output error.*run the same command") as told:
        folder.save({"value": 1}, 1)
    assert "Make room" not in str(told.value)


def test_a_full_disk_is_told_also_where_torch_raises_an_error_of_its_own(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    folder.begin({})

    def save(state, file):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(TrainingError, match="disk is full.*Make room"):
        folder.save({"value": 1}, 1)


def test_lost_weights_are_made_again_from_the_last_checkpoint(
    tmp_path, dense_dataset, nano_card, monkeypatch, caplog
):
    out = tmp_path / "run"
    before = train_named(dense_dataset, nano_card, out, "mine")
    expected = weights(out)
    (out / "model.safetensors").unlink()
    monkeypatch.setattr(whole_run.Trainer, "_step", None)  # nothing is left to learn
    result = run(dense_dataset, nano_card, out, SHORT)
    assert "its weights are gone" in caplog.text
    assert all(torch.equal(expected[name], value) for name, value in weights(out).items())
    assert result["progress"]["history"] == before["progress"]["history"]
    assert read_card(out / "model.safetensors").name == "mine"


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_complete_run_does_not_take_another_name(tmp_path, dense_dataset, nano_card, is_lost):
    out = tmp_path / "run"
    train_named(dense_dataset, nano_card, out, "mine")
    assert train_named(dense_dataset, nano_card, out, "mine")["name"] == "mine"
    if is_lost:
        (out / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match="complete under the name 'mine', not 'other'"):
        train_named(dense_dataset, nano_card, out, "other")


def test_a_data_set_in_the_working_directory_has_its_folder_s_name(
    tmp_path, write_dataset, nano_card, monkeypatch
):
    folder = write_dataset(tmp_path / "drive", ("a", "b"), 2)
    monkeypatch.chdir(folder)
    result = run(".", nano_card, tmp_path / "run", SHORT)
    assert [part["name"] for part in result["training"]] == ["drive"]
    (tmp_path / "run" / "result.json").unlink()
    monkeypatch.chdir(tmp_path)
    assert run("drive", nano_card, tmp_path / "run", SHORT)["steps"] == 2


def test_calibration_and_density_of_the_working_directory_are_named(
    tmp_path, write_dataset, monkeypatch
):
    folder = write_dataset(tmp_path / "drive", ("a",), 2, (30, 70), dense=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "dense": True}))
    monkeypatch.chdir(folder)
    assert measure_density([Dataset(".")], 20).wrongly_dense == ("drive",)

    def fail(*_):
        raise FitError("none")

    monkeypatch.setattr(refit, "DepthPredictor", lambda *_, **__: None)
    monkeypatch.setattr(refit, "_fit_judged", fail)
    made = refit.fit_again(None, None, tmp_path / "x", "", Split([Dataset(".")]), "cpu")
    assert made == {"drive": {"why_not": "none"}}


def test_the_command_is_told_as_a_shell_takes_it(monkeypatch):
    words = ["train", "/home/me/my data", "--out", "it's"]
    monkeypatch.setattr(sys, "argv", ["dpt-ros", *words])
    assert command_line() == """dpt-ros train '/home/me/my data' --out 'it'"'"'s'"""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("dpt-ros train '/home/me/my data/' --out a/b", "dpt-ros train 'my data' --out b"),
        ("train /home/me/x --out=/home/me/runs/y", "train x --out=y"),
        ("train /home/o'brien/it", "train it"),  # no shell's words
    ],
)
def test_the_card_has_the_command_word_by_word_without_folders(command, told):
    result = {
        "training": [],
        "rows": [],
        "init": "scratch",
        "steps": 1,
        "settings": {"seed": 0},
        "progress": {"seconds": 0.0},
        "hardware": "CPU",
        "command": command,
    }
    assert training_data(result).endswith(f"Command: {told}")


@pytest.mark.parametrize("sources", [("a",), ("a", "b")])
def test_patience_without_anything_held_out_is_told(
    tmp_path, write_dataset, nano_card, caplog, sources
):
    data = write_dataset(tmp_path / "data", sources, 2)
    validation = "0.4" if len(sources) == 1 else "0"
    settings = dataclasses.replace(SHORT, steps=1, patience=2, validation=validation)
    run(data, nano_card, tmp_path / "run", settings)
    assert "--patience has no effect: nothing is held out" in caplog.text
