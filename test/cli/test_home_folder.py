"""Paths in `--option=~/...`, which the shell leaves as they are."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from dpt_ros.bags.dataset import Dataset
from dpt_ros.cli.main import main

TRANSFORMS = """transforms:
  - {parent: lidar, child: camera, translation_m: [0, 0, 0],
     rotation_rpy_rad: [-1.5708, 0, -1.5708]}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's home, which is not the folder that commands run in."""
    folder, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(elsewhere)
    yield folder
    assert not any(elsewhere.iterdir())


def test_import_of_a_folder(home):
    for kind, pixels in (
        ("images", np.zeros((12, 16, 3), np.uint8)),
        ("depth", np.full((12, 16), 3000, np.uint16)),
    ):
        (home / "office" / kind).mkdir(parents=True)
        cv2.imwrite(str(home / "office" / kind / "0.png"), pixels)
    (home / "camera.yaml").write_text(
        "image_width: 16\nimage_height: 12\n"
        "camera_matrix: {data: [20, 0, 7.5, 0, 20, 5.5, 0, 0, 1]}\n"
    )
    words = ["--folder=~/office", "--camera=~/camera.yaml", "--out=~/out", "--json=~/out/a.json"]
    assert main(["dataset", "import", *words, "--depth-scale", "0.001"]) == 0
    assert len(Dataset(home / "out")) == 1
    assert json.loads((home / "out" / "a.json").read_text())["samples"] == 1


def test_an_import_tells_of_a_result_that_cannot_be_written_before_it_begins(home, capsys):
    test_import_of_a_folder(home)
    words = ["--folder=~/office", "--camera=~/camera.yaml", "--out=~/two", "--json=~/none/a.json"]
    assert main(["dataset", "import", *words, "--depth-scale", "0.001"]) == 1
    assert "--json ~/none/a.json: its folder does not exist" in capsys.readouterr().err
    assert not (home / "two").exists()


def test_build_and_evaluate(home, drive, evaluate):
    (home / "transforms.yaml").write_text(TRANSFORMS)
    transforms = "--transforms=~/transforms.yaml"
    words = [transforms, "--out=~/drives", "--json=~/build.json"]
    assert main(["dataset", "build", str(drive), *words]) == 0
    assert len(Dataset(home / "drives")) == 3
    assert (home / "build.json").exists()
    places = ["--keep=~/keep", "--json=~/a.json", "--csv=~/a.csv", "--html=~/a.html"]
    assert evaluate(drive, transforms, "--baseline=~/drives", *places, out="~/evaluation") == 0
    assert (home / "evaluation" / "evaluation.json").exists()
    assert any((home / "keep").rglob("*.npy"))
    assert all((home / f"a.{kind}").exists() for kind in ("json", "csv", "html"))


def test_replay(home, drive, capsys):
    (home / "transforms.yaml").write_text("transforms: none\n")
    words = ["--transforms=~/transforms.yaml", "--model", "dpt_tiny"]
    assert main(["replay", str(drive), *words]) == 1
    assert f"{home / 'transforms.yaml'}: expected one key" in capsys.readouterr().err
