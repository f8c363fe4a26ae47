"""Whole runs of a tiny network: resumed, divided, spoilt."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from nano_runs import (
    METRIC,
    SETTINGS,
    largest_difference,
    relative_difference,
    run,
    train_in_two_processes,
    weights,
)
from safetensors.torch import load_file

from dpt_ros.bags.dataset import Dataset
from dpt_ros.config import ConfigError
from dpt_ros.inference import DepthPredictor
from dpt_ros.model import CheckpointError
from dpt_ros.model.checkpoints import read_card
from dpt_ros.report import Page
from dpt_ros.training import run as whole_run
from dpt_ros.training.loop import Trainer
from dpt_ros.training.run import train
from dpt_ros.training.state import RunFolder, TrainingError


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _quick_ending(monkeypatch):
    """Fit and plots take far longer than these trainings; `undisturbed` has them all the same."""
    monkeypatch.setattr(whole_run, "fit_again", lambda *_: {})
    monkeypatch.setattr(whole_run, "make_report", lambda *_: Page("no plots"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, dense_dataset, nano_card):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    return out, run(dense_dataset, nano_card, out)


@pytest.fixture(scope="module")
def in_metres(tmp_path_factory, dense_dataset, nano_card):
    """A run with the log term, which is smooth.

    The robust alignment of the ssi terms hangs on the one pixel that is the median: which it is,
    rounding decides, so that sums in another order soon lead elsewhere.
    """
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("metres") / "run"
    run(dense_dataset, nano_card, out, METRIC)
    return weights(out)


class Killed(Exception):
    pass


@pytest.mark.parametrize("moments", [(1, 2, 4, 5, 9)])
def test_a_run_stopped_at_five_moments_ends_as_if_it_was_not(
    tmp_path, dense_dataset, nano_card, undisturbed, monkeypatch, moments
):
    """Each time it stops within a step, with weights and optimiser half updated."""
    update = Trainer._update

    def fatal(self, loss):
        done = update(self, loss)
        if self.progress.step == moment:
            raise Killed
        return done

    for moment in moments:  # noqa: B007  fatal() reads it
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_update", fatal)
            with pytest.raises(Killed):
                run(dense_dataset, nano_card, tmp_path / "run")
    result = run(dense_dataset, nano_card, tmp_path / "run")
    out, expected = undisturbed
    assert largest_difference(weights(tmp_path / "run"), weights(out)) <= 1e-6
    for name in ("history", "validations", "step", "best"):
        assert result["progress"][name] == expected["progress"][name]


def test_a_run_learns_and_says_so_beside_the_untouched_model(undisturbed):
    out, result = undisturbed
    first, last = result["progress"]["validations"][0], result["progress"]["validations"][-1]
    assert last["loss"] < first["loss"]
    written = json.loads((out / "result.json").read_text())
    kinds = {(row["model"], row["data"]) for row in written["rows"]}
    assert kinds == {(m, d) for m in ("untouched", "trained") for d in ("learned from", "held out")}
    html = (out / "report.html").read_text()
    assert "Beside the untouched model" in html
    assert list((out / "tensorboard").iterdir())


def test_the_result_loads_with_its_card(undisturbed, dense_dataset, nano_card):
    out, _ = undisturbed
    card = read_card(out / "model.safetensors")
    assert card.name == "nano"
    assert "seed 0" in card.training_data
    assert "12 steps" in card.training_data
    assert "abs_rel" in card.training_data
    predictor = DepthPredictor.from_model(nano_card, out / "model.safetensors", device="cpu")
    assert predictor.predict(dense_dataset[0].rgb).shape == (32, 32)


def test_a_result_that_cannot_be_fitted_says_why(undisturbed):
    """After twelve steps the network knows less than a constant."""
    out, result = undisturbed
    assert "the prediction adds nothing" in result["calibrations"]["world"]["why_not"]
    assert "No calibration from world: AbsRel is" in (out / "report.html").read_text()


def test_a_complete_run_is_not_run_again(undisturbed, dense_dataset, nano_card):
    out, expected = undisturbed
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert run(dense_dataset, nano_card, out)["sha256"] == expected["sha256"]
    assert (out / "model.safetensors").stat().st_mtime_ns == before


def test_another_run_does_not_go_on_in_the_folder(undisturbed, dense_dataset, nano_card):
    out, _ = undisturbed
    with pytest.raises(TrainingError, match=r"settings\.seed 0, not 5"):
        run(dense_dataset, nano_card, out, dataclasses.replace(SETTINGS, seed=5))


def test_a_run_does_not_go_on_with_other_pictures(tmp_path, write_dataset, nano_card):
    """The list of samples is the same where a data set was built anew with another camera."""
    folder = write_dataset(tmp_path / "data")
    settings = dataclasses.replace(METRIC, steps=2)
    run(folder, nano_card, tmp_path / "run", settings)
    (tmp_path / "run" / "result.json").unlink()
    picture = next((folder / "images").rglob("*.png"))
    cv2.imwrite(str(picture), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(TrainingError, match=r"training\.0\.files '.*, not '"):
        run(folder, nano_card, tmp_path / "run", settings)
    begun = json.loads((tmp_path / "run" / "run.json").read_text())
    for part in ("training", "validation"):  # as by a version that did not note it
        for dataset in begun[part]:
            del dataset["files"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(begun))
    assert run(folder, nano_card, tmp_path / "run", settings)["steps"] == 2


def test_what_is_held_out_does_not_change_what_is_learned(tmp_path, write_dataset, nano_card):
    learned = write_dataset(tmp_path / "dense", ("a", "b"))
    sparse = write_dataset(tmp_path / "sparse", ("c",), 4, (32, 32), dense=False)
    settings = dataclasses.replace(SETTINGS, steps=2, validation=str(sparse))
    result = run(learned, nano_card, tmp_path / "run", settings)
    assert result["dense"] is True
    assert result["gradient_matching"]["share_of_pictures"] == 1.0
    assert result["progress"]["validations"][-1]["loss"] > 0.0


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"workers": 1, "save_every": 5}])
def test_how_a_batch_is_computed_does_not_matter(
    tmp_path, dense_dataset, nano_card, in_metres, options
):
    run(dense_dataset, nano_card, tmp_path / "run", dataclasses.replace(METRIC, **options))
    assert relative_difference(weights(tmp_path / "run"), in_metres) <= 1e-4


def test_two_processes_train_as_one(tmp_path, dense_dataset, nano_card, in_metres):
    two = train_in_two_processes(dense_dataset, nano_card, tmp_path, METRIC)
    assert relative_difference(two, in_metres) <= 1e-4


def test_two_processes_train_as_one_that_takes_the_batch_in_two_parts(
    tmp_path, dense_dataset, nano_card
):
    """With the ssi terms too: the sums are the same ones, so that no median is another pixel."""
    run(dense_dataset, nano_card, tmp_path / "one", dataclasses.replace(SETTINGS, accumulate=2))
    two = train_in_two_processes(dense_dataset, nano_card, tmp_path, SETTINGS)
    assert relative_difference(two, weights(tmp_path / "one")) <= 1e-4


def test_the_card_tells_the_command_without_this_machine_s_folders(
    tmp_path, dense_dataset, nano_card
):
    settings = dataclasses.replace(METRIC, steps=1)
    command = f"dpt-ros train {dense_dataset.folder} --init scratch --size 32x32"
    train(
        [dense_dataset.folder],
        "scratch",
        tmp_path / "run",
        settings,
        model_name=nano_card,
        name="mine",
        command=command,
    )
    told = read_card(tmp_path / "run" / "model.safetensors").training_data
    assert told.endswith("Command: dpt-ros train world --init scratch --size 32x32")


def test_metres_come_from_the_fit_and_go_on_the_card(
    tmp_path, dense_dataset, nano_card, undisturbed
):
    settings = dataclasses.replace(SETTINGS, mode="metric", steps=4)
    start = str(undisturbed[0] / "model.safetensors")
    result = run(dense_dataset, "", tmp_path / "run", settings, init=start)
    card = read_card(tmp_path / "run" / "model.safetensors")
    assert card.is_metric
    assert {"scale": card.output.scale, "shift": card.output.shift} == result["metres"]
    alignments = {row["alignment"] for row in result["rows"] if row["model"] == "trained"}
    assert "the card's scale and shift" in alignments


def test_a_stage_leaves_the_rest_untouched(tmp_path, dense_dataset, nano_card, undisturbed):
    settings = dataclasses.replace(SETTINGS, stage="head", steps=3)
    start = undisturbed[0] / "model.safetensors"
    run(dense_dataset, "", tmp_path / "run", settings, init=str(start))
    before, after = weights(undisturbed[0]), weights(tmp_path / "run")
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"head"}


@pytest.mark.parametrize(
    "options", [{"mixed_precision": "bfloat16"}, {"average": 0.0, "optimizer": "adam"}]
)
def test_half_precision_and_plain_weights_train_too(tmp_path, dense_dataset, nano_card, options):
    settings = dataclasses.replace(SETTINGS, steps=2, **options)
    result = run(dense_dataset, nano_card, tmp_path / "run", settings)
    assert result["progress"]["not_finite"] == 0
    assert result["progress"]["history"][-1]["loss"] > 0.0


def test_sparse_truth_is_learned_from(tmp_path, write_dataset, nano_card, caplog):
    dataset = Dataset(write_dataset(tmp_path / "sparse", ("a", "b"), 4, (30, 70), dense=False))
    result = run(dataset, nano_card, tmp_path / "run", dataclasses.replace(SETTINGS, steps=6))
    assert result["dense"] is False
    assert "gradient matching is off" in caplog.text
    assert result["progress"]["history"][-1]["gradient"] == 0.0


def test_early_stop_takes_the_best(tmp_path, dense_dataset, nano_card):
    settings = dataclasses.replace(
        SETTINGS, steps=40, patience=2, validate_every=1, decoder_lr=0.0, backbone_lr=0.0
    )
    result = run(dense_dataset, nano_card, tmp_path / "run", settings)
    # Nothing is learned at a rate of 0, so the first validation stays the best.
    assert result["progress"]["is_stopped"]
    assert (result["progress"]["step"], result["progress"]["best_step"]) == (3, 1)


def test_a_loss_that_is_no_number_skips_the_step_and_then_gives_up(
    tmp_path, dense_dataset, nano_card, monkeypatch, caplog
):
    from dpt_ros.training.objective import Objective

    compute, calls = Objective.__call__, []

    def spoilt(self, inverse_depth, batch):
        terms = compute(self, inverse_depth, batch)
        calls.append(0)
        if 2 <= len(calls) <= last_bad:
            terms["loss"] = terms["loss"] * float("nan")
        return terms

    monkeypatch.setattr(Objective, "__call__", spoilt)
    settings = dataclasses.replace(SETTINGS, bad_steps=3, validation="0", steps=6)
    last_bad = 3
    result = run(dense_dataset, nano_card, tmp_path / "good", settings)
    assert result["progress"]["not_finite"] == 2
    assert all(bool(v.isfinite().all()) for v in weights(tmp_path / "good").values())
    assert "step 1 skipped: loss or gradient is not finite: " in caplog.text
    calls.clear()
    last_bad = 99
    with pytest.raises(TrainingError, match=r"3 steps in a row.*lower --decoder-lr"):
        run(dense_dataset, nano_card, tmp_path / "bad", settings)


def test_a_full_disk_ends_the_run_and_making_room_resumes_it(
    tmp_path, dense_dataset, nano_card, undisturbed, monkeypatch
):
    save = torch.save

    def full(state, file):
        if state["progress"]["step"] == 6:
            raise OSError(28, "No space left on device")
        save(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(TrainingError, match=r"disk is full.*step_00000003\.pt"):
            run(dense_dataset, nano_card, tmp_path / "run")
    assert RunFolder(tmp_path / "run").load_last()["progress"]["step"] == 3
    run(dense_dataset, nano_card, tmp_path / "run")
    assert largest_difference(weights(tmp_path / "run"), weights(undisturbed[0])) <= 1e-6


def test_weights_of_another_structure_are_refused(tmp_path, dense_dataset, undisturbed):
    other = tmp_path / "other.yaml"
    other.write_text("name: other\nstructure: dpt_tiny\ninput: {width: 32, height: 32}\n")
    state = load_file(undisturbed[0] / "model.safetensors")
    torch.save(state, tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match="another network"):
        train(
            [dense_dataset.folder],
            str(tmp_path / "plain.pt"),
            tmp_path / "run",
            SETTINGS,
            model_name=str(other),
        )
    with pytest.raises(ConfigError, match="there is no model"):
        train([dense_dataset.folder], "dpt_huge", tmp_path / "run", SETTINGS)
    with pytest.raises(ConfigError, match="names the model dpt_tiny, --model another: .*other"):
        train([dense_dataset.folder], "dpt_tiny", tmp_path / "run", SETTINGS, model_name=str(other))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["kitti-v2", "MyRobot"])
def test_a_name_that_no_card_can_have_is_refused_before_the_run(
    tmp_path, dense_dataset, nano_card, name
):
    with pytest.raises(ConfigError, match=f"got '{name}', expected lower-case letters, digits"):
        train(
            [dense_dataset.folder],
            "scratch",
            tmp_path / "run",
            SETTINGS,
            model_name=nano_card,
            name=name,
        )
    assert not (tmp_path / "run").exists()


def test_a_short_run_reaches_the_whole_learning_rate(tmp_path, dense_dataset, nano_card):
    """A warm-up of 100 steps would end it at a tenth of that."""
    settings = dataclasses.replace(METRIC, steps=10, warmup_steps=-1)
    result = run(dense_dataset, nano_card, tmp_path / "run", settings)
    assert result["settings"]["warmup_steps"] == 1
    # The ten shares of half a cosine that comes down to a hundredth, after a first full step.
    assert result["progress"]["history"][-1]["lr_share"] == pytest.approx(0.6, abs=0.05)
