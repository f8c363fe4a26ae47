"""The fit of a data set: known scale and shift come back, with honest evidence; or a refusal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from dpt_ros.bags.dataset import Dataset, DatasetError, DatasetWriter, Sample, sample_id
from dpt_ros.config import ConfigError
from dpt_ros.geometry.calibration import (
    CalibrationError,
    check_calibration,
    load_calibration,
    save_calibration,
)
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.fit import FitError
from dpt_ros.geometry.fit_methods import FIT_METHODS
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import InferenceError
from dpt_ros.training.fit import FitResult, fit_dataset
from dpt_ros.training.fit_quality import best_constant, predicted_m
from dpt_ros.training.fit_report import make_report
from dpt_ros.training.fit_settings import FitSettings
from dpt_ros.training.fit_summary import as_json, frame_spread, remarks

SCALE, SHIFT = 0.0021, -0.04
SHA256 = "ab" * 32
CAMERA = Camera(48, 36, 40.0, 40.0, 23.5, 17.5)
QUICK = FitSettings(resamples=20, write="joint")


class Network:
    """Stands for a predictor: reads its inverse depth from the picture's colours.

    A picture that begins with (255, 0, 255) makes it fail, with (255, 255, 0) gives NaN.
    """

    model_name = "dpt_tiny"
    checkpoint_sha256 = SHA256
    device = torch.device("cpu")
    precision = "float32"

    def __init__(self, sign: float = 1.0, constant: bool = False) -> None:
        self._sign, self._constant = sign, constant

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        return (192, 256) if width * 3 == height * 4 else (192, 320)

    def predict(self, rgb: np.ndarray) -> np.ndarray:
        first = tuple(rgb[0, 0].tolist())
        if first == (255, 0, 255):
            raise InferenceError("the network failed: out of memory")
        value = rgb[..., 0].astype(np.float32) * 256.0 + rgb[..., 1]
        if first == (255, 255, 0):
            value[3, 3:] = np.nan
        return np.full_like(value, 7.0) if self._constant else self._sign * value / 100.0


def picture_of(inverse_depth: np.ndarray) -> np.ndarray:
    """The picture in which `Network` sees this inverse depth (0 to 600, steps of 0.01)."""
    value = np.clip(np.round(inverse_depth * 100.0), 0, 65535).astype(int)
    return np.stack((value // 256, value % 256, value * 0), -1).astype(np.uint8)


def make_sample(
    source: str,
    index: int,
    *,
    scale: float = SCALE,
    shift: float = SHIFT,
    noise: float = 0.0,
    outliers: float = 0.0,
    depths_m: tuple[float, float] = (1.0, 12.0),
    coverage: float = 0.5,
    camera: Camera = CAMERA,
) -> Sample:
    """A frame whose truth is `1 / (scale * inverse_depth + shift)`, noisy and with outliers."""
    random = np.random.default_rng([index, *source.encode()])
    shape = (camera.height, camera.width)
    truth_m = np.exp(random.uniform(*np.log(depths_m), shape))
    inverse_depth = (1.0 / truth_m - shift) / scale
    inverse_depth *= 1.0 + noise * random.normal(size=shape)
    wrong = random.random(shape) < outliers
    truth_m[wrong] = random.uniform(*depths_m, wrong.sum())
    truth_m[random.random(shape) > coverage] = np.nan
    rgb = picture_of(inverse_depth)
    stamp_ns = 10**8 * index
    identifier = sample_id(source, stamp_ns)
    return Sample(identifier, source, stamp_ns, rgb, truth_m.astype(np.float32), camera)


def write(folder: Path, samples: Sequence[Sample]) -> Dataset:
    with DatasetWriter(folder, dense=False, options={}) as writer:
        for source in dict.fromkeys(sample.source for sample in samples):
            for sample in samples:
                if sample.source == source:
                    writer.add(sample)
            writer.finish_source(source, {})
    return Dataset(folder)


def frames(sources: str = "abcde", count: int = 6, **options) -> list[Sample]:
    return [make_sample(source, index, **options) for source in sources for index in range(count)]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> tuple[Dataset, FitResult]:
    """Five sources with 2 % noise and 30 % outliers, fitted."""
    samples = frames(noise=0.02, outliers=0.3)
    dataset = write(tmp_path_factory.mktemp("noisy") / "data", samples)
    return dataset, fit_dataset(Network(), dataset, FitSettings(resamples=20))


def test_known_scale_and_shift_come_back(noisy):
    _, result = noisy
    spread = 1.0 - 1.0 / 12.0

    assert result.written.scale == pytest.approx(SCALE, rel=0.01)
    assert result.written.shift == pytest.approx(SHIFT, abs=0.01 * spread)
    average = result.lines.average
    assert average is not None
    assert average.scale == pytest.approx(SCALE, rel=0.02)
    assert average.shift == pytest.approx(SHIFT, abs=0.02 * spread)
    (low, high), (low_shift, high_shift) = result.intervals
    assert low < result.written.scale < high < 1.1 * low
    assert low_shift < result.written.shift < high_shift
    assert result.lines.inlier_share == pytest.approx(0.7, abs=0.06)
    least_squares = result.lines.by_method["least_squares"]
    assert isinstance(least_squares, ScaleShift)
    assert abs(least_squares.scale / SCALE - 1.0) > 0.05


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
    assert loaded.near_m == pytest.approx(1.0 / 1.25, rel=0.05)
    assert loaded.far_m == pytest.approx(12.0 * 1.25, rel=0.05)
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


def test_held_out_sources_take_no_part(tmp_path: Path):
    samples = [*frames("ab"), *frames("c", scale=2 * SCALE, shift=0.05)]
    dataset = write(tmp_path / "data", samples)
    settings = dataclasses.replace(QUICK, hold_out="c")
    result = fit_dataset(Network(), dataset, settings)

    assert result.written.scale == pytest.approx(SCALE, rel=1e-3)
    assert result.training.metrics["abs_rel"] < 1e-3
    assert result.held_out is not None and result.held_out.metrics["abs_rel"] > 0.3
    assert result.held_out.own_abs_rel < 1e-3
    assert result.held_out_sources == ["c"] and result.why_not_held_out == ""
    assert {entry.source for entry in result.frames if entry.is_held_out} == {"c"}


def test_another_data_set_can_be_held_out(tmp_path: Path):
    dataset = write(tmp_path / "data", frames("a"))
    write(tmp_path / "other", frames("z", count=2))
    settings = dataclasses.replace(QUICK, hold_out=str(tmp_path / "other"))
    result = fit_dataset(Network(), dataset, settings)

    assert result.training.frames == 6
    assert result.held_out is not None and result.held_out.frames == 2
    assert result.held_out_sources == ["z"]


def test_with_one_source_nothing_is_held_out_and_that_is_said(tmp_path: Path):
    result = fit_dataset(Network(), write(tmp_path / "data", frames("a")), QUICK)

    assert result.held_out is None
    assert "a single source" in result.calibration.fit["why_nothing_is_held_out"]
    assert any("Nothing was held out: there is a single source" in r for r in remarks(result))
    assert any("Only 6 frames" in remark for remark in remarks(result))


def test_frames_that_see_no_shift_count_in_the_joint_fit_alone(tmp_path: Path):
    walls = [make_sample("w", index, depths_m=(3.0, 3.3)) for index in range(5)]
    dataset = write(tmp_path / "data", [*frames("a", noise=0.01), *walls])
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, hold_out="0"))

    reasons = [entry.own for entry in result.frames if entry.source == "w"]
    assert all(isinstance(r, str) and "shift cannot be told from scale" in r for r in reasons)
    assert result.written.scale == pytest.approx(SCALE, rel=0.01)
    assert result.training.points > sum(e.points for e in result.frames if e.source == "a")
    assert any("5 of 11 frames cannot be fitted by themselves" in r for r in remarks(result))


def test_the_average_is_the_papers(tmp_path: Path):
    samples = [*frames("a", count=4), *frames("b", count=2, scale=2 * SCALE, shift=0.05)]
    dataset = write(tmp_path / "data", samples)
    settings = dataclasses.replace(QUICK, hold_out="0", write="average")
    result = fit_dataset(Network(), dataset, settings)

    assert result.written.scale == pytest.approx((4 * SCALE + 2 * 2 * SCALE) / 6, rel=1e-3)
    assert result.written.shift == pytest.approx((4 * SHIFT + 2 * 0.05) / 6, abs=1e-3)
    assert result.calibration.fit["written"] == "average: asked for"
    (low, high), _ = result.intervals
    assert low < result.written.scale < high


@pytest.mark.parametrize(("others", "expected"), [(0, "joint"), (4, "average")])
def test_the_better_of_joint_and_average_is_written(others: int, expected: str, tmp_path: Path):
    # The joint fit sides with the many and leaves the few. Frames of hardly any depth spoil the
    # average, and not the joint fit.
    samples = frames("a", 5, noise=0.05)
    samples += frames("b", others, scale=1.5 * SCALE, shift=0.02)
    if not others:
        samples += frames("b", 3, noise=0.05, depths_m=(4.0, 6.6))
    dataset = write(tmp_path / "data", samples)
    settings = dataclasses.replace(QUICK, write="best", hold_out="0")
    result = fit_dataset(Network(), dataset, settings)
    choices = {choice.name: choice for choice in result.alternatives}
    joint = choices["joint, robust"].training_abs_rel
    average = choices["average of frames, robust"].training_abs_rel

    assert result.which == expected
    assert (joint <= average) == (expected == "joint")
    assert result.training.metrics["abs_rel"] == min(joint, average)


@pytest.mark.parametrize("method", FIT_METHODS)
def test_every_method_fits_clean_data(method: str, tmp_path: Path):
    dataset = write(tmp_path / "data", frames("ab", count=2))
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, method=method))

    assert result.written.scale == pytest.approx(SCALE, rel=0.01)
    assert result.written.shift == pytest.approx(SHIFT, abs=0.01)


def test_relative_weighting_gives_smaller_relative_errors(tmp_path: Path):
    # The network compresses what is near: one line cannot be right everywhere.
    samples = []
    for sample in frames("abc", depths_m=(0.5, 30.0), coverage=1.0):
        inverse = (1.0 / sample.depth_m - SHIFT) / SCALE
        bent = np.minimum(inverse, 200.0 + 0.5 * (inverse - 200.0))
        samples.append(dataclasses.replace(sample, rgb=picture_of(bent)))
    dataset = write(tmp_path / "data", samples)
    abs_rel = {}
    for weighting in ("relative", "uniform"):
        settings = dataclasses.replace(QUICK, weighting=weighting, method="least_squares")
        result = fit_dataset(Network(), dataset, settings)
        abs_rel[weighting] = result.training.metrics["abs_rel"]
        assert result.calibration.fit["weighting"].startswith(f"{weighting}: residuals")

    assert abs_rel["relative"] < 0.8 * abs_rel["uniform"]


def test_the_same_points_are_taken_whatever_else_there_is(tmp_path: Path):
    settings = dataclasses.replace(QUICK, points_per_frame=200, hold_out="0")
    few = fit_dataset(Network(), write(tmp_path / "few", frames("b", noise=0.02)), settings)
    many = fit_dataset(Network(), write(tmp_path / "many", frames("ab", noise=0.02)), settings)

    assert [frame.truth_m.size for frame in few.pairs] == [200] * 6
    for one, other in zip(few.pairs, many.pairs[6:], strict=True):
        assert one.id == other.id
        np.testing.assert_array_equal(one.truth_m, other.truth_m)
        np.testing.assert_array_equal(one.inverse_depth, other.inverse_depth)
    again = fit_dataset(Network(), Dataset(tmp_path / "few"), settings)
    assert (again.lines, again.written) == (few.lines, few.written)


def test_truth_outside_of_the_depths_is_not_used(tmp_path: Path):
    dataset = write(tmp_path / "data", frames("ab"))
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, near_m=2.0, far_m=6.0))
    truth_m = np.concatenate([frame.truth_m for frame in result.pairs])

    assert truth_m.min() >= 2.0 and truth_m.max() <= 6.0


def test_what_cannot_be_read_or_predicted_is_counted_and_named(tmp_path: Path):
    samples = frames("a", count=8)
    for index, color in ((0, (255, 0, 255)), (1, (255, 255, 0))):
        samples[index].rgb[0, 0] = color
    samples[2] = make_sample("a", 2, coverage=0.01)
    dataset = write(tmp_path / "data", samples)
    (dataset.folder / dataset.records[3].image).write_bytes(b"broken")
    result = fit_dataset(Network(), dataset, QUICK)

    assert result.training.frames == 4
    by_reason = dict(result.left_out)
    assert by_reason["the network failed: out of memory"] == [samples[0].id]
    assert by_reason["the network's output is not finite"] == [samples[1].id]
    assert by_reason["fewer than 100 points between 0.1 and 80 m"] == [samples[2].id]
    assert [samples[3].id] in by_reason.values() and len(by_reason) == 4
    assert sum(f"1 frames were left out, {s.id}" in " ".join(remarks(result)) for s in samples) == 4


def test_scales_that_drift_are_told(tmp_path: Path):
    samples = [make_sample("a", i, scale=SCALE * (1 + 0.05 * i), shift=0.0) for i in range(12)]
    result = fit_dataset(Network(), write(tmp_path / "data", samples), QUICK)
    spread = frame_spread(result.frames)

    # Medians of the first and the last four: 1.075 and 1.475.
    assert spread is not None and spread.drift == pytest.approx(1.475 / 1.075 - 1, rel=0.02)
    assert any("changes by +37%" in remark for remark in remarks(result))


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (Network(), {"coverage": 0.01}, r"got 0 frames.*10 left out: fewer than 100.*record long"),
        (Network(), {"depths_m": (3.0, 3.01)}, r"everything at one distance.*record near and far"),
        (Network(), {"depths_m": (3.0, 3.6)}, r"3.* and 3.* m \(5 % to 95 %\).*record near and"),
        (Network(sign=-1.0), {}, r"got scale -.*expected above 0.*record near and far"),
        (Network(constant=True), {}, "does not tell near from far; use a trained model"),
        (Network(), {"noise": 30.0}, r"(prediction adds nothing|does not tell near from far)"),
    ],
    ids=["too few points", "one distance", "little spread", "negative", "constant", "random"],
)
def test_what_cannot_be_fitted_is_refused(network, options, message: str, tmp_path: Path):
    dataset = write(tmp_path / "data", frames("a", count=10, **options))

    with pytest.raises(FitError, match=message):
        fit_dataset(network, dataset, QUICK)


def test_one_calibration_is_for_one_camera(tmp_path: Path):
    wide = Camera(48, 36, 25.0, 25.0, 23.5, 17.5)
    long = Camera(60, 36, 50.0, 40.0, 29.5, 17.5)
    alike = dataclasses.replace(CAMERA, fx_px=40.1)
    samples = [*frames("ab"), *frames("w", 1, camera=wide), *frames("l", 1, camera=long)]
    dataset = write(tmp_path / "data", [*samples, *frames("s", 1, camera=alike)])

    with pytest.raises(FitError, match=r"256x192: a, b, s, w; 320x192: l.*--sources"):
        fit_dataset(Network(), dataset, QUICK)
    with pytest.raises(FitError, match=r"0.833 for most pictures and 0.521 in w; .*--sources"):
        fit_dataset(Network(), dataset.select("abws"), QUICK)
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, sources="a, b,s"))
    assert result.calibration.camera == CAMERA
    assert any("2 cameras with nearly the same field" in remark for remark in remarks(result))


def test_wrong_settings_say_what_there_is(tmp_path: Path):
    dataset = write(tmp_path / "data", frames("ab", count=1))
    with pytest.raises(DatasetError, match="no source 'x', expected some of a, b"):
        fit_dataset(Network(), dataset, FitSettings(sources="x"))
    with pytest.raises(ConfigError, match="hold-out: 'x' is no source.*sources: a, b"):
        fit_dataset(Network(), dataset, FitSettings(hold_out="x"))
    with pytest.raises(ConfigError, match="near_m 3 and far_m 2"):
        FitSettings(near_m=3.0, far_m=2.0)
    with pytest.raises(FitError, match="no sample: look at what its manifest says was rejected"):
        fit_dataset(Network(), write(tmp_path / "empty", []), QUICK)


def test_weights_without_a_file_get_no_calibration(tmp_path: Path):
    network = Network()
    network.checkpoint_sha256 = ""
    dataset = write(tmp_path / "data", frames("a", count=2))

    with pytest.raises(CalibrationError, match="checkpoint_sha256"):
        fit_dataset(network, dataset, QUICK)


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
