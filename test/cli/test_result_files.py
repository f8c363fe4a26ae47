"""A result that an option names may replace an earlier one of its kind, and nothing else."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dpt_ros.bags.dataset import Dataset
from dpt_ros.cli.main import main
from dpt_ros.cli.replay import _FOXGLOVE
from dpt_ros.cli.result_files import Kind, check_files, json_of, write_json
from dpt_ros.evaluation.foxglove_file import FoxgloveFile

CAMERA = (
    "image_width: 16\nimage_height: 12\ncamera_matrix: {data: [20, 0, 7.5, 0, 20, 5.5, 0, 0, 1]}\n"
)


@pytest.fixture
def dataset(tmp_path, recordings) -> Path:
    """A data set of one bag, both beside each other."""
    recordings.write_bag(tmp_path / "bag", recordings.drive())
    out = tmp_path / "dataset"
    assert main(["dataset", "build", str(tmp_path / "bag"), "--out", str(out)]) == 0
    return out


def named(**files: object) -> argparse.Namespace:
    return argparse.Namespace(**{name: file and str(file) for name, file in files.items()})


@pytest.mark.parametrize(
    "content", ['{"format": "dpt_ros/this/1", "a": 1}', '{\n "format":"dpt_ros/this/2"}', ""]
)
def test_an_earlier_result_and_an_empty_file_may_be_replaced(tmp_path, content):
    file = tmp_path / "a.json"
    file.write_text(content)
    check_files(named(json=file), {"json": json_of("this")})


@pytest.mark.parametrize(
    "content",
    ['{"format": "dpt_ros/other/1"}', '{"a": 1, "format": "dpt_ros/this/1"}', "[]", "a picture"],
)
def test_anything_else_may_not(tmp_path, content):
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(FileExistsError, match="is no JSON file of the format dpt_ros/this"):
        check_files(named(json=file), {"json": json_of("this")})
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(FileExistsError, match="would be lost"):
        check_files(named(json=tmp_path / "link"), {"json": json_of("this")})
    assert file.read_text() == content


def test_two_results_do_not_go_into_one_file(tmp_path):
    kinds = {"json": json_of("this"), "csv": Kind("table", b"a,b"), "html": Kind("page", b"<")}
    options = named(json=tmp_path / "a", csv=None, html=tmp_path / "b" / ".." / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="--json and --html are one file"):
        check_files(options, kinds)


def test_a_result_may_lie_in_a_folder_that_the_command_makes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = named(json="~/new/a.json")
    check_files(options, {"json": json_of("this")}, made=tmp_path / "new")
    write_json(options.json, "this", {"a": 1})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {
        "format": "dpt_ros/this/1",
        "a": 1,
    }
    check_files(options, {"json": json_of("this")}, made=tmp_path / "new")
    (tmp_path / "new" / "b.json").write_text("mine")
    with pytest.raises(FileExistsError):
        check_files(
            named(json=tmp_path / "new" / "b.json"), {"json": json_of("this")}, tmp_path / "new"
        )


COMMANDS = (
    ["dataset", "show", "dataset"],
    ["dataset", "build", "bag", "--out", "dataset"],
    ["dataset", "build", "bag", "--out", "new"],
    ["dataset", "import", "--folder", "rooms", "--out", "rooms_dataset", "--depth-scale", "0.001"],
    ["bench", "fit", "--points", "2000", "--rounds", "1"],
    ["bench", "score", "--frames", "1", "--size", "32x24", "--jobs", "1"],
)


@pytest.fixture
def rooms(tmp_path) -> None:
    for kind, pixels in (
        ("images", np.zeros((12, 16, 3), np.uint8)),
        ("depth", np.full((12, 16), 3000, np.uint16)),
    ):
        (tmp_path / "rooms" / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "rooms" / kind / "0.png"), pixels)
    (tmp_path / "camera.yaml").write_text(CAMERA)


def with_camera(words: list[str]) -> list[str]:
    return [*words, "--camera", "camera.yaml"] if "import" in words else words


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", ["dataset/manifest.json", "dataset/samples.jsonl"])
def test_no_command_writes_its_json_over_a_data_set(
    dataset, rooms, tmp_path, monkeypatch, capsys, words, name
):
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / name).read_bytes()
    capsys.readouterr()
    assert main([*with_camera(words), "--json", name]) == 1
    said = capsys.readouterr()
    assert f"--json {name}: is there and is no JSON file of the format" in said.err
    assert not said.out, "told before the long part"
    assert (tmp_path / name).read_bytes() == before
    assert len(Dataset(dataset)) == 3 and not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_replaces_its_own_earlier_json(dataset, rooms, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([*with_camera(words), "--json", "result.json"]) == 0
    kind = words[1] if words[0] == "dataset" else f"{words[1]}"
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["format"] == f"dpt_ros/{words[0]}_{kind}/1"
    other = ["bench", "fit"] if words[0] == "dataset" else ["dataset", "show", "dataset"]
    assert main([*other, "--json", "result.json"]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["replay", "none"],
        ["demo", "none"],
        ["demo", "--calibration", "none.yaml"],
        ["bench", "replay", "none"],
    ],
    ids=" ".join,
)
def test_commands_with_a_node_look_first_too(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("mine")
    assert main([*words, "--json", "x.txt"]) == 1
    assert "--json x.txt: is there and is no JSON file" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["json", "csv", "html"])
def test_an_evaluation_replaces_nothing_but_an_earlier_one(
    evaluate, real_report, dataset, tmp_path, monkeypatch, capsys, option
):
    monkeypatch.chdir(tmp_path)
    titles = {"fit": "Scale and shift of a on b", "replay": "a on b, played through the node"}
    for name, title in titles.items():
        page = f'<title>{title}</title>\n<link rel="icon" href="data:,">'
        (tmp_path / f"{name}.html").write_text(page)
    names = ("dataset/manifest.json", "dataset/samples.jsonl", "fit.html", "replay.html")
    victims = [tmp_path / name for name in names]
    before = [victim.read_bytes() for victim in victims]
    for victim in victims:
        assert evaluate(dataset, f"--{option}", victim, out=tmp_path / "out") == 1
        assert f"--{option} {victim}: is there and is no" in capsys.readouterr().err
    assert [victim.read_bytes() for victim in victims] == before
    assert not (tmp_path / "out").exists()
    mine = tmp_path / f"mine.{option}"
    for _ in range(2):
        assert evaluate(dataset, f"--{option}", mine, out=tmp_path / "out") == 0


def test_a_file_for_foxglove_replaces_no_recording(tmp_path, recordings, capsys):
    foxglove = pytest.importorskip("foxglove")
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive())
    (storage,) = bag.glob("*.mcap")
    size = storage.stat().st_size
    mine = tmp_path / "mine.mcap"  # the same library, another program
    foxglove.open_mcap(mine, context=foxglove.Context()).close()
    words = ["replay", str(bag), "--model", "none", "--out", str(tmp_path / "out")]
    assert main([*words, "--foxglove", str(storage)]) == 1
    assert f"--foxglove {storage}: is there and is no file for Foxglove" in capsys.readouterr().err
    assert storage.stat().st_size == size
    with pytest.raises(FileExistsError, match="is no file for Foxglove"):
        check_files(named(foxglove=mine), {"foxglove": _FOXGLOVE})
    earlier = tmp_path / "earlier.mcap"
    with FoxgloveFile(earlier):
        pass
    check_files(named(foxglove=earlier), {"foxglove": _FOXGLOVE})


def test_a_data_set_s_own_json_in_a_new_folder_is_written(recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recordings.write_bag(tmp_path / "bag", recordings.drive())
    words = ["dataset", "build", "bag", "--out", "new", "--json", "new/x.json"]
    assert main([*words, "--min-points", "100000"]) == 1
    assert json.loads((tmp_path / "new" / "x.json").read_text())["failed"]
    assert main(words) == 0, "it can go on beside that file"
    assert len(json.loads((tmp_path / "new" / "x.json").read_text())["built"]) == 1
    shutil.rmtree(tmp_path / "new")
