"""Calibration files: what is written is read; what is wrong is refused with a reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from dpt_ros.geometry.calibration import (
    Calibration,
    CalibrationError,
    check_calibration,
    load_calibration,
    save_calibration,
)
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift

SHA256 = "0123456789abcdef" * 4


def make_calibration() -> Calibration:
    return Calibration(
        scale_shift=ScaleShift(6.016e-05, 0.00579),
        model="dpt_large",
        checkpoint_sha256=SHA256,
        network_height=384,
        network_width=512,
        camera=Camera(640, 480, 500.5, 501.0, 319.5, 239.5, "plumb_bob", (-0.3, 0.1, 1e-5, 0.0)),
        near_m=0.3,
        far_m=12.5,
        fit={"method": "robust", "frames": 20, "abs_rel": 0.08, "bags": ["a", "b"]},
    )


@pytest.fixture
def values(tmp_path: Path) -> dict:
    save_calibration(make_calibration(), tmp_path / "calibration.yaml")
    return yaml.safe_load((tmp_path / "calibration.yaml").read_text())


def load(folder: Path, values: dict) -> Calibration:
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_calibration(path)


@pytest.mark.parametrize("camera", [True, False])
def test_what_is_written_is_read(tmp_path: Path, camera: bool):
    calibration = make_calibration()
    if not camera:
        calibration = dataclasses.replace(calibration, camera=None)
    path = tmp_path / "calibration.yaml"
    save_calibration(calibration, path)

    assert load_calibration(path) == calibration
    assert [item.name for item in tmp_path.iterdir()] == ["calibration.yaml"]


def test_numbers_of_numpy_are_written_as_plain_ones(tmp_path: Path):
    matrix = np.array([[500.5, 0, 319.5], [0, 501.0, 239.5], [0, 0, 1]])
    bent = tuple(np.array([-0.3, 0.1, 1e-5, 0.0]))
    size, focal, centre = np.array([640, 480]), matrix.diagonal()[:2], matrix[:2, 2]
    calibration = dataclasses.replace(
        make_calibration(),
        scale_shift=ScaleShift(np.float64(6.016e-05), np.float32(0.5)),
        network_height=np.int64(384),
        near_m=np.float32(0.5),
        far_m=np.float64(12.5),
        camera=Camera(*size, *focal, *centre, "plumb_bob", bent),
    )
    save_calibration(calibration, tmp_path / "calibration.yaml")

    plain = dataclasses.replace(
        make_calibration(), scale_shift=ScaleShift(6.016e-05, 0.5), near_m=0.5
    )
    assert load_calibration(tmp_path / "calibration.yaml") == plain


def test_the_file_says_what_it_is(values: dict):
    assert values["format"] == "dpt_ros/calibration/1"
    assert (values["scale"], values["shift"]) == (6.016e-05, 0.00579)
    assert (values["network_height"], values["network_width"]) == (384, 512)
    assert values["camera"]["distortion"] == [-0.3, 0.1, 1e-5, 0.0]


def test_a_hand_written_file_needs_no_camera_and_no_fit(tmp_path: Path):
    path = tmp_path / "calibration.yaml"
    path.write_text(
        f"format: dpt_ros/calibration/1\nmodel: dpt_tiny\ncheckpoint_sha256: '{SHA256}'\n"
        "network_height: 384\nnetwork_width: 512\nscale: 2\nshift: 0\nnear_m: 1\nfar_m: 20\n"
    )
    calibration = load_calibration(path)

    assert calibration.scale_shift == ScaleShift(2.0, 0.0)
    assert calibration.camera is None
    assert calibration.fit == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dpt_ros/calibration/2"}, "format: got 'dpt_ros/calibration/2', expected"),
        ({"sclae": 1.0}, "unknown key 'sclae'.*did you mean 'scale'"),
        ({"scale": None}, "scale: got None, expected a number"),
        ({"scale": "6e-5"}, "scale: got '6e-5', expected a number.*6.0e-05"),
        ({"scale": True}, "scale: got True"),
        ({"scale": -1.0}, "scale: got -1.0, expected above 0"),
        ({"scale": 0.0}, "scale: got 0.0, expected above 0"),
        ({"shift": float("nan")}, "shift: got nan, expected a finite number"),
        ({"model": ""}, "model: got an empty name"),
        ({"model": 7}, "model: got 7, expected a text"),
        ({"checkpoint_sha256": "0123"}, "checkpoint_sha256: got '0123', expected 64"),
        ({"network_height": 384.0}, "network_height: got 384.0, expected a whole number"),
        ({"network_width": 0}, "network size: got height 384, width 0"),
        ({"near_m": 20.0}, "near_m=20.0, far_m=12.5, expected"),
        ({"camera": [1]}, r"camera: got \[1\], expected a mapping"),
        ({"camera": {"width": 3}}, "missing: camera.height, camera.fx_px"),
        ({"fit": "robust"}, "fit: got 'robust', expected a mapping"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, values: dict, changes: dict, message: str):
    with pytest.raises(CalibrationError, match=message) as caught:
        load(tmp_path, {**values, **changes})
    assert "changed.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"focal": 1.0}, "unknown key 'camera.focal'"),
        ({"fx_px": "500"}, "camera.fx_px: got '500'"),
        ({"distortion": ["a"] * 5}, r"camera.distortion\[0\]: got 'a'"),
        ({"distortion_model": "fov"}, "distortion model: got 'fov'"),
        ({"fx_px": 0.0}, "focal lengths 0.0"),
    ],
)
def test_wrong_cameras_are_refused(tmp_path: Path, values: dict, changes: dict, message: str):
    values["camera"].update(changes)
    with pytest.raises(CalibrationError, match=message):
        load(tmp_path, values)


def test_a_missing_value_is_named(tmp_path: Path, values: dict):
    del values["shift"], values["far_m"]
    with pytest.raises(CalibrationError, match="missing: shift, far_m"):
        load(tmp_path, values)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", "", "\x00"])
def test_no_calibration_at_all(tmp_path: Path, text: str):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=r"x\.yaml"):
        load_calibration(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CalibrationError, match=r"nowhere\.yaml"):
        load_calibration(tmp_path / "nowhere.yaml")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "calibration.yaml"
    save_calibration(make_calibration(), path)
    before = path.read_bytes()
    bad = dataclasses.replace(make_calibration(), fit={"object": object()})

    with pytest.raises(CalibrationError, match="fit: expected plain"):
        save_calibration(bad, path)
    assert path.read_bytes() == before
    with pytest.raises(CalibrationError, match="cannot be written"):
        save_calibration(make_calibration(), path / "in a file" / "calibration.yaml")
    assert path.read_bytes() == before


def test_a_calibration_made_for_this_network_is_accepted():
    check_calibration(
        make_calibration(), model="dpt_large", checkpoint_sha256=SHA256, network_size=(384, 512)
    )


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"model": "dpt_base"}, "model dpt_large, but dpt_base runs"),
        ({"checkpoint_sha256": "f" * 64}, f"{SHA256}, but {'f' * 64} runs"),
        ({"checkpoint_sha256": ""}, f"{SHA256}, but (none|unknown)"),
        ({"network_size": (384, 672)}, "384 x 512, but 384 x 672 runs"),
        ({"model": "a", "network_size": (1, 2)}, "model dpt_large.*size.*1 x 2.*new calibration"),
    ],
)
def test_a_calibration_for_something_else_is_refused(runs: dict, message: str):
    fitting = {"model": "dpt_large", "checkpoint_sha256": SHA256, "network_size": (384, 512)}
    with pytest.raises(CalibrationError, match=message):
        check_calibration(make_calibration(), **{**fitting, **runs})
