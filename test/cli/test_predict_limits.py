"""Which depths `dpt-ros predict` takes for measured: told, kept, and a choice."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from dpt_ros.cli.main import main


@pytest.fixture
def predict(tmp_path, checkpoint):
    """Runs it on a picture, by default with metres; returns status, predictions.json and depth."""
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (48, 64, 3)))
    card = tmp_path / "mine.yaml"
    metres = "output: {kind: metric_inverse_depth, scale: 0.01, shift: 0.001}\n"
    card.write_text(f"name: mine\nstructure: dpt_tiny\n{metres}")

    def run(*more: str, model: Path | str = card) -> tuple[int, dict, np.ndarray | None]:
        out = tmp_path / "out"
        what = [str(tmp_path / "a.png"), "--model", str(model), "--checkpoint", str(checkpoint)]
        status = main(["predict", *what, "--out", str(out), "--device", "cpu", "--force", *more])
        path = out / "a_depth_m.npy"
        manifest = json.loads((out / "predictions.json").read_text()) if status == 0 else {}
        return status, manifest, np.load(path) if path.is_file() else None

    return run


def test_limits_of_depth_are_told_and_kept(predict, caplog):
    caplog.set_level(logging.INFO)
    status, manifest, _ = predict()
    assert status == 0 and manifest["depth_limits_m"] == [0.1, 100.0]
    assert "depth limits in force: 0.1 to 100 m" in caplog.messages
    caplog.clear()
    status, manifest, depth_m = predict(model="dpt_tiny")
    assert status == 0 and depth_m is None and manifest["depth_limits_m"] is None
    assert not [message for message in caplog.messages if "depth limits" in message]


def test_limits_of_depth_are_a_choice(predict):
    _, _, depth_m = predict("--depth.far-m", "1e6")
    near_m, far_m = (float(value) for value in np.quantile(depth_m, [0.25, 0.75]))
    limits = ("--depth.near-m", str(near_m), "--depth.far-m", str(far_m))
    status, manifest, narrowed_m = predict(*limits)
    assert status == 0 and manifest["depth_limits_m"] == [near_m, far_m]
    is_between = (depth_m >= np.float32(near_m)) & (depth_m <= np.float32(far_m))
    np.testing.assert_array_equal(narrowed_m[is_between], depth_m[is_between])
    np.testing.assert_array_equal(np.isneginf(narrowed_m), depth_m < np.float32(near_m))
    np.testing.assert_array_equal(np.isposinf(narrowed_m), depth_m > np.float32(far_m))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (("--depth.near-m", "5", "--depth.far-m", "4"), "near"),
        (("--depth.far-m", "0"), "far_m: got 0.0, expected 0.001 to 1000000"),
    ],
)
def test_impossible_limits_are_refused(predict, capsys, limits, message):
    assert predict(*limits)[0] == 1
    assert message in capsys.readouterr().err
