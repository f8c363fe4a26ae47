"""Data sets, cameras and settings that a fit refuses, and what it says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fit_data import CAMERA, QUICK, Network, frames, write

from dpt_ros.bags.dataset import DatasetError
from dpt_ros.config import ConfigError
from dpt_ros.geometry.calibration import CalibrationError
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.fit import FitError
from dpt_ros.training.fit import fit_dataset
from dpt_ros.training.fit_settings import FitSettings
from dpt_ros.training.fit_summary import remarks

WIDE = Camera(48, 36, 25.0, 25.0, 23.5, 17.5)
LONG = Camera(60, 36, 50.0, 40.0, 29.5, 17.5)


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
    alike = dataclasses.replace(CAMERA, fx_px=40.1)
    samples = [*frames("ab"), *frames("w", 1, camera=WIDE), *frames("l", 1, camera=LONG)]
    dataset = write(tmp_path / "data", [*samples, *frames("s", 1, camera=alike)])

    with pytest.raises(FitError, match=r"256x192: a, b, s, w; 320x192: l\).*--sources a,b,s$"):
        fit_dataset(Network(), dataset, QUICK)
    with pytest.raises(
        FitError, match=r"in w fx / width is 0.5208, expected 0.8333 as.*--sources a,b,s$"
    ):
        fit_dataset(Network(), dataset.select("abws"), QUICK)
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, sources="a, b,s"))
    assert result.calibration.camera == CAMERA
    assert any("2 cameras with nearly the same field" in remark for remark in remarks(result))


@pytest.mark.parametrize(
    ("sources", "hold_out", "message"),
    [
        ("a", "l", r"320x192: l \(held out\).*: hold out another with --hold-out$"),
        ("a", "w", r"in w \(held out\) fx / width is 0.52.*: hold out another with --hold-out$"),
        ("l", "a,b", r"256x192: a \(held out\), b \(held.*: hold out another with --hold-out$"),
        ("a", "other", r"256x192: a; 320x192: z \(held out\).*: hold out another with --hold-out$"),
        ("a,b,w", "c", r"in w fx / width .*: choose sources .*, such as --sources a,b$"),
        ("a,b,w", "l", r"320x192: l \(held.*: hold out another .*, and choose .*--sources a,b$"),
        ("a,b,w,l", "0.5", r"\(256x192: a, b, w; 320x192: l\).*: choose .*--sources l$"),
    ],
)
def test_another_camera_is_told_with_what_to_change(
    tmp_path: Path, monkeypatch, sources: str, hold_out: str, message: str
):
    """Only what is fitted can be chosen with --sources; what is held out, in its place."""
    samples = [*frames("abc"), *frames("w", camera=WIDE), *frames("l", count=20, camera=LONG)]
    dataset = write(tmp_path / "data", samples)
    write(tmp_path / "other", frames("z", count=20, camera=LONG))
    monkeypatch.chdir(tmp_path)
    settings = dataclasses.replace(QUICK, sources=sources, hold_out=hold_out)
    with pytest.raises(FitError, match=message):
        fit_dataset(Network(), dataset, settings)


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


@pytest.mark.parametrize(
    ("hold_out", "message"),
    [
        ("x", "hold-out: 'x' is no source and no data set's folder; sources: a, b, c$"),
        ("b,x", "hold-out: 'x' is no source.*; sources: a, b, c$"),
        ("a,b", "^both to be fitted and held out: a; nothing is left to fit: name other sources"),
        ("", "hold-out: got '', expected sources"),
    ],
)
def test_a_source_that_cannot_be_held_out_is_named(tmp_path: Path, hold_out: str, message: str):
    dataset = write(tmp_path / "data", frames("abc", count=1))
    with pytest.raises(ConfigError, match=message):
        fit_dataset(Network(), dataset, FitSettings(sources="a", hold_out=hold_out))


def test_a_text_of_commas_names_no_source(tmp_path: Path):
    dataset = write(tmp_path / "data", frames("a", count=1))
    with pytest.raises(ConfigError, match=r"sources: got ' ,', expected sources separated by"):
        fit_dataset(Network(), dataset, FitSettings(sources=" ,"))


def test_weights_without_a_file_get_no_calibration(tmp_path: Path):
    network = Network()
    network.checkpoint_sha256 = ""
    dataset = write(tmp_path / "data", frames("a", count=2))

    with pytest.raises(CalibrationError, match="checkpoint_sha256"):
        fit_dataset(network, dataset, QUICK)
