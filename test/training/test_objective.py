"""What is learned from a batch: the terms, their weights, and settings that do not go together."""

from __future__ import annotations

import math

import pytest
import torch

from dpt_ros.config import ConfigError
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.training.losses import ssi_loss
from dpt_ros.training.objective import Objective, resolve_loss
from dpt_ros.training.samples import TrainingBatch
from dpt_ros.training.settings import ALIGNMENTS, LossSettings, TrainSettings


def batch_of(target):
    x = torch.zeros(target.shape[0], 3, *target.shape[1:])
    return TrainingBatch(x, target, target > 0, None, [(0, 0)] * target.shape[0])


def test_the_log_term_is_zero_for_a_prediction_that_its_scale_and_shift_make_true():
    inverse_depth = torch.rand(2, 8, 8) + 0.1
    objective = Objective(resolve_loss(LossSettings(), "metric"), ScaleShift(0.5, 0.02))
    truth = batch_of(0.5 * inverse_depth + 0.02)
    assert float(objective(inverse_depth, truth)["loss"]) == pytest.approx(0.0, abs=1e-9)
    # Twice as near everywhere: e = ln 2, and mean e^2 - 0.5 (mean e)^2 = 0.5 ln^2 2.
    halved = batch_of(2.0 * (0.5 * inverse_depth + 0.02))
    expected = 0.5 * math.log(2.0) ** 2
    assert float(objective(inverse_depth, halved)["loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_the_chosen_alignment_is_learned_with(alignment):
    prediction, truth = torch.rand(2, 2, 16, 16).pow(3) + 0.1
    batch = batch_of(truth)
    terms = Objective(resolve_loss(LossSettings(alignment=alignment), "ssi"), None)(
        prediction, batch
    )
    expected = ssi_loss(prediction, truth, batch.valid, alignment=alignment)
    assert (terms["ssi"], terms["gradient"]) == (expected.trimmed, expected.gradient)


def test_the_usual_terms_of_a_mode_are_those_of_the_paper():
    ssi, metric = (resolve_loss(LossSettings(), mode) for mode in ("ssi", "metric"))
    assert (ssi.ssi, ssi.gradient, ssi.log, ssi.l1) == (1.0, 0.5, 0.0, 0.0)
    assert (metric.ssi, metric.gradient, metric.log, metric.l1) == (0.0, 0.0, 1.0, 0.0)
    assert resolve_loss(LossSettings(gradient=0.0), "ssi").gradient == 0.0


def test_the_loss_is_the_weighted_sum_of_its_terms():
    target = torch.rand(2, 8, 8) + 0.1
    settings = LossSettings(ssi=2.0, gradient=3.0, log=4.0, l1=5.0)
    objective = Objective(settings, ScaleShift(1.0, 0.0))
    terms = objective(torch.rand(2, 8, 8), batch_of(target))
    assert set(terms) == set(objective.names)
    expected = 2 * terms["ssi"] + 3 * terms["gradient"] + 4 * terms["log"] + 5 * terms["l1"]
    assert float(terms["loss"]) == pytest.approx(float(expected), rel=1e-6)
    assert min(float(term) for term in terms.values()) > 0.0


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": "256"}, "WIDTHxHEIGHT"),
        ({"batch_size": 4, "accumulate": 3}, "divisor"),
        ({"loss": LossSettings(log=1.0)}, "metric"),
        ({"steps": 0, "epochs": 0.0}, "above 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values, told):
    with pytest.raises(ConfigError, match=told):
        TrainSettings(**values)
