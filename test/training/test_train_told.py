"""What a run makes of steps, validations and truth that say nothing, and that it tells so."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch
from nano_runs import METRIC, SETTINGS, run, two_processes

from dpt_ros.bags.dataset import Dataset, DatasetWriter
from dpt_ros.inference import DepthPredictor
from dpt_ros.model.checkpoints import save_checkpoint
from dpt_ros.training import run as whole_run
from dpt_ros.training.loop import Trainer
from dpt_ros.training.objective import Objective
from dpt_ros.training.processes import make_accelerator
from dpt_ros.training.run import train
from dpt_ros.training.start import load_start
from dpt_ros.training.state import RunFolder, TrainingError
from dpt_ros.training.truth_density import gradient_matching, measure_density


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """One thread, and no fit at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(whole_run, "fit_again", lambda *_: {})
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def float16(monkeypatch):
    """Makes runs learn in float16 on the CPU, which Accelerate leaves to GPUs, with a factor."""

    def patch(factor, backoff):
        def make(settings):
            accelerator = make_accelerator(settings)
            accelerator.scaler = torch.amp.GradScaler(
                "cpu", init_scale=factor, backoff_factor=backoff
            )
            accelerator.native_amp = True
            accelerator.state._mixed_precision = "fp16"
            return accelerator

        monkeypatch.setattr(whole_run, "make_accelerator", make)

    return patch


def test_steps_that_overflow_float16_are_counted_and_the_run_goes_on(
    tmp_path, dense_dataset, nano_card, float16
):
    """Three steps bring the factor from 2^46 to 2^16, with which the gradients fit."""
    float16(2.0**46, 2.0**-10)
    result = run(dense_dataset, nano_card, tmp_path / "run")
    progress = result["progress"]
    assert 1 <= progress["overflowed"] <= 4
    assert (progress["not_finite"], progress["not_finite_in_row"]) == (0, 0)
    average = RunFolder(tmp_path / "run").load_last()["average"]
    assert int(average["n_averaged"]) == SETTINGS.steps - progress["overflowed"]
    told = f"{progress['overflowed']} steps were skipped: the gradient overflowed float16"
    assert told in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_run_whose_every_step_overflows_gives_up(tmp_path, dense_dataset, nano_card, float16):
    float16(2.0**100, 0.999)
    settings = dataclasses.replace(SETTINGS, bad_steps=4, save_every=2)
    with pytest.raises(TrainingError, match=r"4 steps in a row.*--mixed-precision no"):
        run(dense_dataset, nano_card, tmp_path / "run", settings)
    state = RunFolder(tmp_path / "run").load_last()
    assert state["progress"]["overflowed"] == 2
    assert int(state["average"]["n_averaged"]) == 0
    start = load_start("scratch", nano_card, "", SETTINGS.seed).model.state_dict()
    assert all(torch.equal(state["model"][name], start[name]) for name in start)


@pytest.fixture
def blind(tmp_path, dense_dataset):
    """A data set whose source c has no truth."""
    with DatasetWriter(tmp_path / "blind", dense=True, options={}) as writer:
        for sample in dense_dataset:
            depth_m = np.full_like(sample.depth_m, np.nan)
            is_blind = sample.source == "c"
            writer.add(dataclasses.replace(sample, depth_m=depth_m) if is_blind else sample)
        for source in "abc":
            writer.finish_source(source, {})
    return Dataset(tmp_path / "blind")


PATIENT = dataclasses.replace(SETTINGS, validation="c", validate_every=1, patience=2, steps=5)


def test_validations_without_truth_stop_nothing_and_are_told(tmp_path, blind, nano_card, caplog):
    result = run(blind, nano_card, tmp_path / "run", PATIENT)
    progress = result["progress"]
    assert (progress["step"], progress["is_stopped"], progress["since_best"]) == (5, False, 0)
    assert progress["validations_without_loss"] == 5
    assert "validation at step 1 gives no loss: no picture held out has 20 pixels" in caplog.text
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "5 of 5 validations gave no loss and count for nothing; the last: no picture" in html


def test_validations_that_are_not_finite_name_the_pictures(
    tmp_path, dense_dataset, nano_card, monkeypatch, caplog
):
    compute = Objective.__call__

    def spoilt(self, inverse_depth, batch):
        terms = compute(self, inverse_depth, batch)
        return terms if torch.is_grad_enabled() else {**terms, "loss": terms["loss"] * torch.inf}

    monkeypatch.setattr(Objective, "__call__", spoilt)
    progress = run(dense_dataset, nano_card, tmp_path / "run", PATIENT)["progress"]
    assert (progress["step"], progress["is_stopped"]) == (5, False)
    first = next(sample.id for sample in dense_dataset if sample.source == "c")
    assert f"it is not finite for 4 of 4 pictures: {first}, c/" in caplog.text


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [entry.value for entry in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_gradient_matching_that_is_on_is_told(tmp_path, dense_dataset, nano_card):
    told = run(dense_dataset, nano_card, tmp_path / "run")["gradient_matching"]
    assert (told["weight"], told["share_of_pictures"], told["why_off"]) == (0.5, 1.0, "")
    # Of 32 x 32 pixels: 2 * 31 * 32 pairs.
    assert told["pair_density"]["median"] == pytest.approx(2 * 31 / 32)
    assert scalars(tmp_path / "run")["training/gradient_share"][-1] == 1.0
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Gradient matching was on for 100% of the pictures" in html


def test_gradient_matching_is_off_where_the_manifest_alone_says_that_truth_is_dense(
    tmp_path, write_dataset, nano_card, caplog
):
    folder = write_dataset(tmp_path / "sparse", ("a", "b"), 4, (30, 70), dense=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "dense": True}))
    result = run(folder, nano_card, tmp_path / "run", dataclasses.replace(SETTINGS, steps=6))
    assert result["dense"] is False
    told = result["gradient_matching"]
    # A fifth of the pixels is known: about 0.4 pairs for each.
    assert told["pair_density"]["median"] == pytest.approx(0.4, abs=0.1)
    assert told["share_of_pictures"] == 0.0
    assert "pairs of neighbours per pixel with truth in the sparsest of 4" in told["why_off"]
    assert told["wrongly_dense"] == ["sparse"]
    assert "it is taken as sparse" in caplog.text
    assert scalars(tmp_path / "run")["training/gradient_share"][-1] == 0.0
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Gradient matching was off: truth has 0." in html


def test_a_few_sparse_pictures_of_a_dense_data_set_show_in_the_share(
    tmp_path, dense_dataset, nano_card
):
    """None of those that are measured before: a half of one source's pixels, in stripes."""
    sparse = ("a/00000000000000000001", "b/00000000000000000003")
    with DatasetWriter(tmp_path / "data", dense=True, options={}) as writer:
        for sample in dense_dataset:
            depth_m = sample.depth_m.copy()
            if sample.id in sparse:
                depth_m[::2, ::2] = depth_m[1::2, 1::2] = np.nan
            writer.add(dataclasses.replace(sample, depth_m=depth_m))
        for source in "abc":
            writer.finish_source(source, {})
    settings = dataclasses.replace(SETTINGS, validation="0", steps=3)
    result = run(tmp_path / "data", nano_card, tmp_path / "run", settings)
    assert result["dense"] is True
    # Three steps of four take all twelve pictures once.
    assert result["gradient_matching"]["share_of_pictures"] == pytest.approx(10 / 12)


def test_every_network_of_a_run_is_where_the_device_says(
    tmp_path, dense_dataset, nano_card, monkeypatch
):
    start = load_start("scratch", nano_card, "", seed=1)
    save_checkpoint(start.model, tmp_path / "start.safetensors", start.card)
    make, devices = DepthPredictor.__init__, []

    def recorded(self, *arguments, **options):
        devices.append(options.get("device", "auto"))
        make(self, *arguments, **options)

    monkeypatch.setattr(DepthPredictor, "__init__", recorded)
    settings = dataclasses.replace(METRIC, steps=1)
    run(dense_dataset, "", tmp_path / "run", settings, init=str(tmp_path / "start.safetensors"))
    assert len(devices) >= 4
    assert set(devices) == {"cpu"}


@pytest.mark.parametrize("mode", ["ssi", "metric"])
def test_the_result_has_the_weights_of_the_loss_that_were_used(
    tmp_path, dense_dataset, nano_card, mode
):
    """What is compared when a run goes on is what was given, whatever that comes to stand for."""
    settings = dataclasses.replace(SETTINGS, mode=mode, steps=1)
    run(dense_dataset, nano_card, tmp_path / "run", settings)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    used = {"ssi": (1.0, 0.5, 0.0, 0.0), "metric": (0.0, 0.0, 1.0, 0.0)}[mode]
    for name, weight in zip(("ssi", "gradient", "log", "l1"), used, strict=True):
        assert result["settings"][f"loss.{name}"] == result["loss"][name] == weight
    assert not [name for name, value in result["settings"].items() if value == -1]
    given = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["settings"]
    assert given["loss.ssi"] == given["loss.log"] == -1.0
    (tmp_path / "run" / "model.safetensors").unlink()
    again = run(dense_dataset, nano_card, tmp_path / "run", settings)
    assert again["settings"] == result["settings"]


def test_the_device_is_told_once(tmp_path, dense_dataset, nano_card, caplog):
    caplog.set_level(logging.INFO)
    start = load_start("scratch", nano_card, "", seed=1)
    save_checkpoint(start.model, tmp_path / "start.safetensors", start.card)
    settings = dataclasses.replace(METRIC, steps=1)
    init = str(tmp_path / "start.safetensors")
    train([dense_dataset.folder], init, tmp_path / "run", settings, name="mine")
    assert caplog.messages.count("nano on cpu: asked for") == 1
    assert caplog.messages.count("nano in float32: asked for") == 1
    assert not [text for text in caplog.messages if text.startswith("mine ")]
    DepthPredictor(start.model, start.card, device="cpu", precision="float32")
    assert caplog.messages.count("nano on cpu: asked for") == 2  # the run is over


def test_truth_too_scarce_to_be_measured_is_told(write_dataset, tmp_path):
    dataset = Dataset(write_dataset(tmp_path / "sparse", ("a",), 2, dense=False))
    density = measure_density([dataset], minimum_points=5000)
    assert (density.is_dense, density.pictures) == (False, 0)
    assert "truth enough to measure" in gradient_matching(density, 0.5, [])["why_off"]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("is_complete", [False, True])
def test_processes_that_do_not_share_the_folder_say_which_has_what(
    tmp_path, dense_dataset, nano_card, monkeypatch, is_complete
):
    """They would wait for each other, or learn from different weights."""
    settings = dataclasses.replace(METRIC, save_every=3)
    save = Trainer._save_if_due

    def stopping(self):
        save(self)
        if self.progress.step == 4:
            raise Stopped

    if is_complete:
        run(dense_dataset, nano_card, tmp_path / "0", settings)
    else:
        monkeypatch.setattr(Trainer, "_save_if_due", stopping)
        with pytest.raises(Stopped):
            run(dense_dataset, nano_card, tmp_path / "0", settings)
    done = two_processes(dense_dataset, nano_card, tmp_path, settings, tmp_path / "{}")
    assert done.returncode != 0
    has = ("a complete run", "no complete run") if is_complete else ("step 3", "no checkpoint")
    for number in (0, 1):
        folder = tmp_path / str(number)
        assert f"has {has[number]} in {folder}" in done.stderr
    assert "Name a folder with --out that all machines share" in done.stderr
