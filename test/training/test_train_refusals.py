"""Runs that learn nothing, and settings that cannot act: both are told."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from nano_runs import SETTINGS, run

from dpt_ros.bags.dataset import Dataset, DatasetWriter
from dpt_ros.config import ConfigError, build
from dpt_ros.model.cards import InputSpec
from dpt_ros.model.checkpoints import CheckpointError, save_checkpoint
from dpt_ros.training.objective import Objective
from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.start import load_start
from dpt_ros.training.state import RunFolder, TrainingError

pytestmark = pytest.mark.usefixtures("without_report")


@pytest.fixture
def partly_blind(tmp_path, dense_dataset):
    """A data set of twelve pictures, of which the four of source c have no truth."""
    with DatasetWriter(tmp_path / "blind", dense=True, options={}) as writer:
        for sample in dense_dataset:
            is_blind = sample.source == "c"
            depth_m = np.full_like(sample.depth_m, np.nan) if is_blind else sample.depth_m
            writer.add(dataclasses.replace(sample, depth_m=depth_m))
        for source in "abc":
            writer.finish_source(source, {})
    return Dataset(tmp_path / "blind")


BLIND = dataclasses.replace(SETTINGS, minimum_points=5000, validation="0")
"""More pixels than a picture has."""


def test_steps_without_truth_are_skipped_and_counted(tmp_path, partly_blind, nano_card, caplog):
    """A picture a step, twice each: eight steps of 24, but never eight in a row."""
    settings = dataclasses.replace(
        SETTINGS, batch_size=1, steps=24, bad_steps=8, save_every=24, validation="0"
    )
    result = run(partly_blind, nano_card, tmp_path / "run", settings)
    assert result["progress"]["without_truth"] == 8
    assert "skipped: no picture has 20 pixels with truth: c/" in caplog.text
    assert "single" not in result["why_no_validation"]


def test_a_run_whose_steps_have_no_truth_gives_up(tmp_path, dense_dataset, nano_card):
    settings = dataclasses.replace(BLIND, bad_steps=5, save_every=2)
    told = r"no picture had 5000 pixels .* in 5 steps in a row, the last at step 4: lower --minimum"
    # The second time it goes on with the checkpoint of step 4, and with what that one had counted.
    for _ in range(2):
        with pytest.raises(TrainingError, match=told):
            run(dense_dataset, nano_card, tmp_path / "run", settings)
        assert RunFolder(tmp_path / "run").load_last()["progress"]["step"] == 4


def test_a_short_run_without_truth_is_no_success(tmp_path, dense_dataset, nano_card):
    settings = dataclasses.replace(BLIND, steps=3)
    told = r"none of 3 steps changed the weights: 3 had no truth; lower --minimum-points"
    for _ in range(2):  # the second time no step is left to take
        with pytest.raises(TrainingError, match=told):
            run(dense_dataset, nano_card, tmp_path / "run", settings)
    folder = RunFolder(tmp_path / "run")
    assert not folder.weights.exists()
    assert not folder.result.exists()


def test_a_short_run_without_a_finite_loss_is_no_success(
    tmp_path, dense_dataset, nano_card, monkeypatch
):
    compute = Objective.__call__

    def spoilt(self, inverse_depth, batch):
        terms = compute(self, inverse_depth, batch)
        return {**terms, "loss": terms["loss"] * torch.nan}

    monkeypatch.setattr(Objective, "__call__", spoilt)
    told = r"none of 3 steps .*: 3 had no finite loss or gradient; use --mixed-precision no"
    with pytest.raises(TrainingError, match=told):
        run(dense_dataset, nano_card, tmp_path / "run", dataclasses.replace(SETTINGS, steps=3))


def test_a_resumed_run_counts_the_steps_before(tmp_path, partly_blind, nano_card):
    """Killed as it ended, it has no step left to take, and weights that had changed before."""
    settings = dataclasses.replace(SETTINGS, steps=4, save_every=1, validation="0")
    run(partly_blind, nano_card, tmp_path / "run", settings)
    folder = RunFolder(tmp_path / "run")
    folder.result.unlink()
    folder.weights.unlink()
    assert run(partly_blind, nano_card, tmp_path / "run", settings)["progress"]["step"] == 4
    assert folder.weights.is_file()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": "0x0"}, "size: got '0x0', expected WIDTHxHEIGHT"),
        ({"size": "384x0"}, "size: got '384x0', expected WIDTHxHEIGHT"),
        ({"size": "0x384"}, "size: got '0x384', expected WIDTHxHEIGHT"),
        ({"patience": 3, "validate_every": 0}, "patience: got 3 with validate_every = 0"),
        ({"seed": 2**32}, "seed: got 4294967296, expected 0 to 4294967295"),
    ],
)
def test_settings_that_cannot_act_are_refused(values, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        build(TrainSettings, values)


def test_the_largest_seed_trains(tmp_path, dense_dataset, nano_card):
    settings = dataclasses.replace(SETTINGS, steps=1, seed=2**32 - 1)
    assert run(dense_dataset, nano_card, tmp_path / "run", settings)["progress"]["step"] == 1


def test_a_model_named_beside_weights_of_another_network_is_refused(tmp_path, nano_card):
    """As `--init dpt_tiny --model dpt_large` is; what is of the same network says no more."""
    start = load_start("scratch", nano_card, "", seed=0)
    file = tmp_path / "mine.safetensors"
    save_checkpoint(start.model, file, dataclasses.replace(start.card, name="mine"))
    with pytest.raises(ConfigError, match=r"card of mine \(dpt_base\) inside, .*: dpt_large"):
        load_start(str(file), "dpt_large", "", seed=0)
    assert load_start(str(file), nano_card, "", seed=0).card.name == "mine"


def test_the_state_of_a_run_is_not_taken_for_its_result(tmp_path, dense_dataset, nano_card):
    """Its last weights are not the averaged ones, and it has no card with the run's metres."""
    run(dense_dataset, nano_card, tmp_path / "run", dataclasses.replace(SETTINGS, steps=2))
    (state,) = (tmp_path / "run" / "checkpoints").glob("step_*2.pt")
    expected = re.escape(f"expected {tmp_path / 'run' / 'model.safetensors'}")
    with pytest.raises(CheckpointError, match=f"is the state .* goes on from, .*; {expected}"):
        load_start(str(state), nano_card, "", seed=0)
    assert load_start(str(tmp_path / "run" / "model.safetensors"), "", "", seed=0)


def test_a_size_that_is_no_whole_patches_is_told_as_it_was_given(nano_card):
    told = "size: got 65x64, expected multiples of 16, which nano takes; such as 64x64"
    with pytest.raises(ConfigError, match=told):
        load_start("scratch", nano_card, "65x64", seed=0)
    card = load_start("scratch", nano_card, "80x64", seed=0).card
    assert (card.input.width, card.input.height, card.input.multiple_of) == (80, 64, 16)


@pytest.mark.parametrize("side", ["width", "height"])
def test_an_input_without_pixels_is_refused(side):
    with pytest.raises(ConfigError, match=rf"input\.{side}: got 0, expected a multiple .* above 0"):
        InputSpec(**{side: 0})
