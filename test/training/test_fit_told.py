"""What is told of a fit: its figures, the calibration, the remarks, the JSON and the page."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from fit_data import CAMERA, QUICK, SCALE, SHA256, SHIFT, Network, make_sample, picture_of, write

from dpt_ros.bags.dataset import Dataset, Sample
from dpt_ros.geometry.calibration import (
    CalibrationError,
    check_calibration,
    load_calibration,
    save_calibration,
)
from dpt_ros.geometry.fit_methods import FIT_METHODS
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.training.fit import fit_dataset
from dpt_ros.training.fit_quality import best_constant, predicted_m
from dpt_ros.training.fit_report import make_report
from dpt_ros.training.fit_settings import FitSettings
from dpt_ros.training.fit_summary import as_json, frame_spread, remarks


def test_the_calibration_is_what_the_node_loads(noisy, tmp_path: Path):
    _, result = noisy
    path = tmp_path / "calibration.yaml"
    save_calibration(result.calibration, path)
    loaded = load_calibration(path)

    assert loaded == result.calibration
    check_calibration(loaded, model="dpt_tiny", checkpoint_sha256=SHA256, network_size=(192, 256))
    with pytest.raises(CalibrationError, match="network size"):
        check_calibration(
            loaded, model="dpt_tiny", checkpoint_sha256=SHA256, network_size=(192, 320)
        )
    assert loaded.camera == CAMERA
    truth_m = np.concatenate([frame.truth_m for frame in result.pairs])
    assert truth_m.min() <= loaded.near_m == pytest.approx(1.0, rel=0.05)
    assert truth_m.max() >= loaded.far_m == pytest.approx(12.0, rel=0.05)
    fit = loaded.fit
    assert fit["method"] == "robust" and fit["weighting"].startswith("relative: residuals")
    assert fit["written"].startswith(f"{result.which}: on the frames fitted to AbsRel is 0.")
    low, high = fit["interval_95_percent"]["scale"]
    assert low < loaded.scale_shift.scale < high
    assert fit["held_out"]["frames"] == 6 and len(fit["held_out_sources"]) == 1
    assert fit["per_frame"]["scale"]["median"] == pytest.approx(SCALE, rel=0.02)
    assert set(fit["per_frame"]["by_source"]) == set("abcde")
    rows = fit["training"]["by_range"]
    assert [row["near_m"] for row in rows] == [1.0, 2.0, 4.0, 8.0]
    assert all(row["points"] > 500 and abs(row["bias"]) < 0.1 for row in rows)
    assert fit["settings"]["resamples"] == 20


def test_scales_that_drift_are_told(tmp_path: Path):
    samples = [make_sample("a", i, scale=SCALE * (1 + 0.05 * i), shift=0.0) for i in range(12)]
    result = fit_dataset(Network(), write(tmp_path / "data", samples), QUICK)
    spread = frame_spread(result.frames)

    # Medians of the first and the last four: 1.075 and 1.475.
    assert spread is not None and spread.drift == pytest.approx(1.475 / 1.075 - 1, rel=0.02)
    assert any("changes by +37%" in remark for remark in remarks(result))


def test_predictions_are_clamped_to_the_depths():
    settings = FitSettings(near_m=0.5, far_m=20.0)
    inverse_depth = np.array([0.0, 1.0, 5.0, -3.0])
    depth_m = predicted_m(inverse_depth, ScaleShift(1.0, 0.01), settings)

    assert depth_m.tolist() == pytest.approx([20.0, 1 / 1.01, 0.5, 20.0])


def test_the_best_constant_is_best(noisy):
    _, result = noisy
    depth_m, abs_rel = best_constant(result.pairs)
    truth_m = np.concatenate([frame.truth_m for frame in result.pairs])
    others = [float(np.mean(np.abs(c / truth_m - 1))) for c in np.geomspace(0.9, 13.0, 400)]

    assert float(np.mean(np.abs(depth_m / truth_m - 1))) <= min(others) + 1e-6
    assert abs_rel == pytest.approx(min(others), rel=0.02)


def test_the_json_and_the_page_hold_every_part(noisy, tmp_path: Path):
    dataset, result = noisy
    content = as_json(result)
    assert len(content["frames"]) == len(dataset) == 30
    assert {entry["name"] for entry in content["alternatives"]} == {
        *(f"joint, {name}" for name in FIT_METHODS),
        "average of frames, robust",
    }
    robust = next(e for e in content["alternatives"] if e["name"] == "joint, robust")
    assert robust["scale"] == content["scale"]
    assert math.isclose(
        robust["held_out_abs_rel"], result.held_out.metrics["abs_rel"], rel_tol=1e-3
    )

    pictures = [(np.zeros((8, 8, 3), np.uint8), "the worst")]
    page = make_report(result, pictures, "dpt-ros fit data", "data").save(tmp_path / "fit.html")
    html = page.read_text(encoding="utf-8")
    for text in ("Error by range", "Frame by frame", "the worst", "dpt-ros fit data", "least_squ"):
        assert text in html
    assert html.count("<svg") == 3
    assert "http://" not in html and "https://" not in html


def bent(beyond_m: float, below_m: float = 0.0) -> list[Sample]:
    """Frames whose network says 0.6 of the depth beyond, and twice the depth below."""
    samples = []
    for index in range(6):
        sample = make_sample("a", index, depths_m=(1.0, 32.0))
        truth_m = np.nan_to_num(sample.depth_m, nan=5.0)
        seen_m = np.where(truth_m > beyond_m, 0.6 * truth_m, truth_m)
        seen_m = np.where(seen_m < below_m, 2.0 * seen_m, seen_m)
        rgb = picture_of((1.0 / seen_m - SHIFT) / SCALE)
        samples.append(dataclasses.replace(sample, rgb=rgb))
    return samples


def test_depths_at_which_most_points_are_wrong_are_told_with_what_to_do(tmp_path: Path):
    result = fit_dataset(Network(), write(tmp_path / "far", bent(16.0)), QUICK)
    (told,) = (remark for remark in remarks(result) if "no metres are published there" in remark)
    assert told.startswith("Beyond 16 m 100% of the points are off by more than 25 % (by -4")
    assert "between 16 and 32 m): fit with --far-m 16, and" in told
    assert result.calibration.fit["remarks"] == remarks(result)

    obeyed = fit_dataset(
        Network(), Dataset(tmp_path / "far"), dataclasses.replace(QUICK, far_m=16.0)
    )
    assert obeyed.calibration.far_m == pytest.approx(16.0, rel=0.05)
    assert not any("no metres are published" in remark for remark in remarks(obeyed))

    result = fit_dataset(Network(), write(tmp_path / "near", bent(99.0, 2.0)), QUICK)
    (told,) = (remark for remark in remarks(result) if "no metres are published there" in remark)
    assert told.startswith("Below 2 m ") and "fit with --near-m 2, and" in told
