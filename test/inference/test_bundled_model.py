"""DPT-Tiny as it is shipped: its file, its calibration, and metres in worlds it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpt_ros.geometry.depth import DepthLimits, inverse_depth_to_depth
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.metres import Metres
from dpt_ros.metrics import depth_metrics
from dpt_ros.model.cards import load_card
from dpt_ros.model.checkpoints import file_sha256
from dpt_ros.model.weights import find_weights, pull
from dpt_ros.synthetic.dataset import scene_samples
from dpt_ros.synthetic.rig import RigSettings, rig_camera
from dpt_ros.synthetic.settings import KINDS, SyntheticSettings

SEED = 20261
"""Of the worlds; not one that the model was trained, fitted or chosen with."""


@pytest.fixture(scope="module")
def predictor() -> DepthPredictor:
    return DepthPredictor.from_model("dpt_tiny", device="cpu")


def test_the_file_is_small_and_the_one_of_its_card(predictor):
    card = load_card("dpt_tiny")
    path = find_weights(card)
    assert path.stat().st_size < 15e6
    assert file_sha256(path) == card.sha256
    assert predictor.metric_scale_shift is None  # metres come with a calibration, for one camera


def test_metres_come_with_the_bundled_calibration_and_its_camera_alone(predictor):
    metres = Metres(predictor, "bundled")
    camera = rig_camera(RigSettings(), 640, 480)
    assert metres.of_image(640, 480, camera).scale_shift is not None
    other = rig_camera(RigSettings(field_of_view_deg=50.0), 640, 480)
    assert metres.of_image(640, 480, other).scale_shift is None


def test_unseen_worlds_are_measured_in_metres(predictor):
    camera = rig_camera(RigSettings(), 640, 480)
    metres = Metres(predictor, "bundled")
    scale_shift = metres.of_image(640, 480, camera).scale_shift
    limits = DepthLimits(1e-3, 80.0)
    settings = SyntheticSettings(split="test", seed=SEED, frames_per_scene=1)
    rows = []
    for index in range(2 * len(KINDS)):
        for sample in scene_samples(settings, camera, index):
            inverse_depth = torch.from_numpy(predictor.predict(sample.rgb))
            depth_m = inverse_depth_to_depth(inverse_depth, scale_shift, limits).clamp(1e-3, 80.0)
            rows.append(depth_metrics(depth_m.numpy(), sample.depth_m, sample.depth_m < 80.0))
    assert len(rows) == 8
    # Eight pictures scatter more than the hundreds that the card's figures are of.
    assert np.mean([row["abs_rel"] for row in rows]) < 0.13
    assert np.mean([row["delta1"] for row in rows]) > 0.83


def test_nothing_is_fetched_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DPT_ROS_WEIGHTS", str(tmp_path))
    assert pull(load_card("dpt_tiny")).parent.name == "models"
    assert list(tmp_path.iterdir()) == []
