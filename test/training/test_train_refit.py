"""The fit that follows a run: what it finds, and what judges it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from dpt_ros.bags.dataset import Dataset, DatasetWriter, Sample, sample_id
from dpt_ros.config import ConfigError
from dpt_ros.geometry.calibration import load_calibration
from dpt_ros.geometry.camera import Camera
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.inference.metres import Metres
from dpt_ros.model.checkpoints import file_sha256, save_checkpoint
from dpt_ros.training import refit
from dpt_ros.training.fit_settings import FitSettings
from dpt_ros.training.refit import fit_again
from dpt_ros.training.run import train
from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.split import split_sources
from dpt_ros.training.start import load_start

CAMERA = Camera(32, 32, 30.0, 30.0, 15.5, 15.5)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    """And few points: of intervals that nothing here looks at."""
    monkeypatch.setattr(
        refit, "FitSettings", functools.partial(FitSettings, resamples=20, points_per_frame=200)
    )


@pytest.fixture(scope="module")
def start(nano_card):
    return load_start("scratch", nano_card, "", seed=1)


@pytest.fixture(scope="module")
def written(start):
    """Writes a data set whose truth is what the network says, at a known scale and shift."""
    return writer_of(start)


def writer_of(start):
    predictor = DepthPredictor(start.model, start.card, device="cpu", precision="float32")
    pictures = np.random.default_rng(0).integers(0, 255, (18, 32, 32, 3), dtype=np.uint8)
    said = predictor.predict(pictures)
    scale = 0.9 / float(said.max() - said.min())
    shift = 0.1 - scale * float(said.min())

    def write(folder, sources, part=0, factor=1.0, camera=CAMERA):
        """Of six pictures, others in each part; `factor` is what every depth is longer by."""
        chosen = slice(6 * part, 6 * part + 6)
        with DatasetWriter(folder, dense=True, options={}) as writer:
            pairs = zip(pictures[chosen], said[chosen], strict=True)
            for index, (rgb, inverse_depth) in enumerate(pairs):
                source = sources[index % len(sources)]
                depth_m = factor / (scale * inverse_depth + shift)
                name = sample_id(source, index)
                writer.add(Sample(name, source, index, rgb, depth_m.astype(np.float32), camera))
            for source in sources:
                writer.finish_source(source, {})
        return Dataset(folder)

    return write, scale, shift


def fitted(start, folder, datasets, validation):
    file = folder / "model.safetensors"
    save_checkpoint(start.model, file, start.card)
    split = split_sources(datasets, validation, seed=0)
    return fit_again(start.model, start.card, file, file_sha256(file), split, "cpu")


def test_it_finds_the_scale_and_shift_there_are(tmp_path, start, written):
    write, scale, shift = written
    made = fitted(start, tmp_path, [write(tmp_path / "data", ("s0", "s1"))], "s1")["data"]
    assert (made["scale"], made["shift"]) == pytest.approx((scale, shift), rel=1e-3)
    assert made["held_out_abs_rel"] == pytest.approx(0.0, abs=1e-3)
    assert made["why_not_held_out"] == ""
    calibration = load_calibration(tmp_path / "calibration.yaml")
    assert calibration.model == "nano"
    assert calibration.checkpoint_sha256 == file_sha256(tmp_path / "model.safetensors")
    assert calibration.fit["held_out_sources"] == ["s1"]


def test_another_data_set_that_was_held_out_judges_it(tmp_path, start, written):
    """Where every depth is a quarter longer, each is said to be a fifth too short."""
    write, scale, shift = written
    datasets = [
        write(tmp_path / name, ("s0", "s1"), part) for part, name in ((0, "one"), (1, "two"))
    ]
    write(tmp_path / "other", ("s7",), 2, factor=1.25)
    made = fitted(start, tmp_path, datasets, str(tmp_path / "other"))
    for name in ("one", "two"):
        assert (made[name]["scale"], made[name]["shift"]) == pytest.approx((scale, shift), rel=1e-3)
        assert made[name]["held_out_abs_rel"] == pytest.approx(0.2, abs=1e-3)
        evidence = load_calibration(tmp_path / f"calibration_{name}.yaml").fit
        assert evidence["held_out"]["frames"] == 6
        assert evidence["held_out"]["abs_rel"] == pytest.approx(0.2, abs=1e-3)
        assert evidence["held_out_sources"] == ["s7"]


def test_pictures_of_another_camera_do_not_judge_it_and_it_is_fitted_all_the_same(
    tmp_path, start, written
):
    write, scale, _ = written
    data = write(tmp_path / "data", ("s0", "s1"))
    other = dataclasses.replace(CAMERA, fx_px=50.0, fy_px=50.0)
    write(tmp_path / "other", ("s7",), 1, camera=other)
    made = fitted(start, tmp_path, [data], str(tmp_path / "other"))["data"]
    assert made["scale"] == pytest.approx(scale, rel=1e-3)
    assert made["held_out_abs_rel"] is None
    told = "cannot judge it: the cameras see different fields: in s7 (held out) fx / width is 1.5"
    assert told in made["why_not_held_out"]
    evidence = load_calibration(tmp_path / "calibration.yaml").fit
    assert evidence["why_nothing_is_held_out"] == made["why_not_held_out"]
    assert made["why_not_held_out"] in evidence["remarks"][0]


def test_pictures_of_two_cameras_are_fitted_with_the_command_that_is_told(tmp_path, start, written):
    """A training takes both, and has no option to choose among their sources."""
    write, _, _ = written
    other = dataclasses.replace(CAMERA, fx_px=50.0, fy_px=50.0)
    first = write(tmp_path / "far", ("a", "b"))
    with DatasetWriter(tmp_path / "my data", dense=True, options={}) as writer:
        for sample in first:
            writer.add(sample)
            name = sample_id("wide", sample.stamp_ns)
            if sample.source == "a":
                writer.add(dataclasses.replace(sample, id=name, source="wide", camera=other))
        for source in ("a", "b", "wide"):
            writer.finish_source(source, {})
    made = fitted(start, tmp_path, [Dataset(tmp_path / "my data")], "0")["my data"]
    told = f"`dpt-ros fit '{tmp_path}/my data' --model {tmp_path}/model.safetensors --sources a,b`"
    assert made["why_not"].endswith(f"fit sources that go together with {told}")
    assert (
        "expected 0.9375 as for most pictures to fit; a calibration holds for one"
        in made["why_not"]
    )


def test_a_data_set_of_which_nothing_is_held_out_says_so(tmp_path, start, written):
    """A source of one data set that is learned from does not judge the other's fit."""
    write, _, _ = written
    datasets = [write(tmp_path / "one", ("a", "b")), write(tmp_path / "two", ("c", "d"), 1)]
    made = fitted(start, tmp_path, datasets, "b")
    assert made["one"]["held_out_abs_rel"] == pytest.approx(0.0, abs=1e-3)
    assert made["two"]["held_out_abs_rel"] is None
    assert made["two"]["why_not_held_out"] == "no source of this data set was held out"


@pytest.mark.parametrize(("held_out", "judge"), [("s1", "s1"), ("./s1", "s7")])
def test_a_folder_named_like_a_source_is_not_taken_for_it(
    tmp_path, start, written, monkeypatch, held_out, judge
):
    write, scale, _ = written
    data = write(tmp_path / "data", ("s0", "s1"))
    write(tmp_path / "s1", ("s7",), 1)
    monkeypatch.chdir(tmp_path)
    made = fitted(start, tmp_path, [data], held_out)["data"]
    assert made["scale"] == pytest.approx(scale, rel=1e-3)
    evidence = load_calibration(tmp_path / "calibration.yaml").fit
    assert evidence["held_out_sources"] == [judge]
    assert evidence["training"]["frames"] == (3 if judge == "s1" else 6)


def test_a_fit_that_is_refused_for_its_settings_ends_no_run(tmp_path, start, written, monkeypatch):
    def refusing(*_, **__):
        raise ConfigError("there are no samples to learn from")

    write, _, _ = written
    monkeypatch.setattr(refit, "fit_dataset", refusing)
    made = fitted(start, tmp_path, [write(tmp_path / "data", ("s0", "s1"))], "s1")
    assert made == {"data": {"why_not": "there are no samples to learn from"}}


@pytest.mark.parametrize("named", ["", "dpt_tiny"])
def test_the_node_takes_the_calibration_of_a_named_result_that_was_fine_tuned(tmp_path, named):
    """Its card, named yard, is in its file alone; a node is given that, or dpt_tiny with it."""
    start = load_start("scratch", "dpt_tiny", "32x32", seed=1)
    yard = dataclasses.replace(start.card, name="yard", file="", url="", sha256="")
    save_checkpoint(start.model, tmp_path / "yard.safetensors", yard)
    write, scale, _ = writer_of(start)
    write(tmp_path / "data", ("s0", "s1"))
    still = TrainSettings(
        steps=1, batch_size=1, backbone_lr=0.0, decoder_lr=0.0, workers=0, device="cpu"
    )
    out = tmp_path / "run"
    init = str(tmp_path / "yard.safetensors")
    result = train([tmp_path / "data"], init, out, still, model_name=named)
    assert result["name"] == "yard"
    file = out / "model.safetensors"
    for identity in (ModelIdentity.of("dpt_tiny", file), ModelIdentity.of(str(file))):
        assert identity.model_name == "yard"
        earned = Metres(identity, str(out / "calibration.yaml")).of_image(32, 32, CAMERA)
        assert earned.scale_shift.scale == pytest.approx(scale, rel=0.01)
