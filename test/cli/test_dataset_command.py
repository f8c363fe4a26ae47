from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from dpt_ros.bags.dataset import Dataset, DatasetWriter
from dpt_ros.bags.importers.foreign import read_rgb
from dpt_ros.cli import dataset_build
from dpt_ros.cli.main import main

SECOND = 1_000_000_000
START = 1_600_000_000 * SECOND
STAMPS = [START + index * SECOND // 10 for index in range(3)]
KITTI = Path(__file__).parents[3] / "shared" / "data"


def build(out, *bags, more=()):
    return main(["dataset", "build", *map(str, bags), "--out", str(out), *more])


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_builds_bags_and_tells_of_them(bags, tmp_path, capsys, jobs):
    out, report = tmp_path / "out", tmp_path / "report.json"
    assert build(out, *bags, more=["--jobs", jobs, "--json", str(report)]) == 0
    dataset = Dataset(out)
    assert [(r.source, r.stamp_ns) for r in dataset.records] == [
        (name, ns) for name in ("drive_1", "drive_2") for ns in STAMPS
    ]
    assert np.nanmax(dataset[4].depth_m) == pytest.approx(9.0)
    assert not dataset.dense
    assert dataset.options["max_gap_s"] == 0.05
    assert dataset.options["lidar.far_m"] == 200.0
    source = dataset.sources["drive_1"]
    assert source["path"] == str(bags[0].absolute())
    assert len(source["calibration_sha256"]) == 64
    assert len(list((out / "overlays").rglob("*.jpg"))) == 6
    said = capsys.readouterr()
    assert "6 samples of 2 bags" in said.out
    assert "6/6" in said.err
    assert json.loads(report.read_text())["built"]["drive_2"]["samples"] == 3


def test_goes_on_where_it_stopped(bags, tmp_path, capsys):
    out = tmp_path / "out"
    assert build(out, bags[0]) == 0
    before = Dataset(out).fingerprint
    images = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert build(out, *bags) == 0
    assert "drive_1: is finished already" in capsys.readouterr().out
    assert Dataset(out).select(["drive_1"]).fingerprint == before
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in images.items())
    assert len(Dataset(out)) == 6


def test_a_finished_bag_is_not_taken_for_one_with_other_options(bags, tmp_path, capsys):
    """A mask drawn after a look at the overlays, or an edited file, is to change something."""
    out, file = tmp_path / "out", tmp_path / "transforms.yaml"
    line = "  - {parent: lidar, child: camera, translation_m: [0.1, 0, 0], "
    file.write_text("transforms:\n" + line + "rotation_rpy_rad: [-1.5708, 0, -1.5708]}\n")
    given = ["--transforms", str(file)]
    assert build(out, bags[0], more=given) == 0
    mask = ["--body-polygon", "0 0, 9 0, 9 9"]
    assert build(out, bags[0], more=[*given, *mask]) == 1
    assert "drive_1 is finished already, with body_polygon" in capsys.readouterr().err
    assert build(out, bags[1], more=[*given, *mask]) == 0
    assert build(out, bags[0], more=["--transforms", f"{tmp_path}/./transforms.yaml"]) == 0
    file.write_text(file.read_text().replace("0.1", "0.2"))
    assert build(out, bags[0], more=given) == 1
    assert "transforms_sha256" in capsys.readouterr().err


def test_a_data_set_without_a_source_takes_other_options(bags, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert build(out, bags[0], more=["--min-points", "100000"]) == 1
    assert build(out, bags[0], more=["--min-points", "60"]) == 0
    assert Dataset(out).options["min_points"] == 60
    assert build(out, bags[1], more=["--min-points", "70"]) == 1
    assert "min_points 60, not 70" in capsys.readouterr().err


def test_a_killed_build_keeps_the_finished_bags(bags, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    added = DatasetWriter.add

    def add(writer, sample):
        added(writer, sample)
        if sample.source == "drive_2" and sample.stamp_ns == STAMPS[1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(DatasetWriter, "add", add)
    assert build(out, *bags) == 130
    monkeypatch.undo()
    assert set(Dataset(out).sources) == {"drive_1"}
    assert build(out, *bags) == 0
    whole = tmp_path / "whole"
    assert build(whole, *bags) == 0
    assert Dataset(out).fingerprint == Dataset(whole).fingerprint
    capsys.readouterr()


def test_a_bag_that_fails_leaves_the_others(bags, tmp_path, capsys):
    out = tmp_path / "out"
    (storage,) = bags[0].glob("*.mcap")
    storage.write_bytes(storage.read_bytes()[:3000])
    assert build(out, *bags) == 1
    assert "drive_1: failed:" in capsys.readouterr().err
    assert set(Dataset(out).sources) == {"drive_2"}


@pytest.mark.parametrize("when", ["submit", "wait"])
def test_a_killed_process_is_told_and_the_rest_is_too(bags, tmp_path, monkeypatch, capsys, when):
    """As the system does when memory runs out: at once, or while bags are read."""
    out, report = tmp_path / "out", tmp_path / "report.json"
    owner = dataset_build if when == "wait" else dataset_build.ProcessPoolExecutor
    original = getattr(owner, when)

    def kill_first(*args):
        for process in multiprocessing.active_children()[:1]:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            time.sleep(0.5)  # until the pool has seen it
        return original(*args)

    monkeypatch.setattr(owner, when, kill_first)
    assert build(out, *bags, more=["--jobs", "2", "--json", str(report)]) == 1
    monkeypatch.undo()
    said = capsys.readouterr()
    for name in ("drive_1", "drive_2"):
        assert f"{name}: failed: a process was killed before this bag was finished" in said.err
    assert "fewer --jobs" in said.err and "0 samples of 0 bags" in said.out
    assert set(json.loads(report.read_text())["failed"]) == {"drive_1", "drive_2"}
    assert build(out, *bags) == 0
    assert len(Dataset(out)) == 6


def test_a_wrong_topic_lists_the_right_ones(bags, tmp_path, capsys):
    assert build(tmp_path / "out", bags[0], more=["--points-topic", "/lidar"]) == 1
    said = capsys.readouterr().err
    assert "got topic '/lidar'" in said
    assert "/points (sensor_msgs/msg/PointCloud2, 3)" in said


def test_the_same_name_and_the_same_bag(bags, tmp_path, recordings, capsys):
    other = recordings.write_bag(tmp_path / "other" / "drive_1", recordings.drive(STAMPS[:2]))
    out = tmp_path / "out"
    assert build(out, bags[0], other) == 0
    assert {n: s["samples"] for n, s in Dataset(out).sources.items()} == {
        "drive_1": 3,
        "drive_1_2": 2,
    }
    moved = bags[0].rename(tmp_path / "moved")
    assert build(out, moved) == 0
    assert "drive_1: is finished already" in capsys.readouterr().out
    assert build(tmp_path / "twice", moved, moved) == 1
    assert "is given twice" in capsys.readouterr().err
    assert build(out, tmp_path / "nowhere") == 1
    assert "there is no recording" in capsys.readouterr().err


def test_the_output_of_something_else_is_left_alone(bags, tmp_path, capsys):
    out = tmp_path / "out"
    assert build(out, bags[0]) == 0
    assert build(out, bags[1], more=["--max-gap-s", "0.2"]) == 1
    assert "max_gap_s 0.05, not 0.2" in capsys.readouterr().err
    manifest = out / "manifest.json"
    manifest.write_text(manifest.read_text().replace("dataset/1", "dataset/9"))
    assert build(out, bags[1]) == 1
    assert "'dpt_ros/dataset/9'" in capsys.readouterr().err


def test_a_full_disk_stops_and_keeps_what_is_finished(bags, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert build(out, bags[0]) == 0

    def full(writer, sample):
        raise OSError(errno.ENOSPC, "No space left on device", str(out))

    monkeypatch.setattr(DatasetWriter, "add", full)
    assert build(out, *bags) == 1
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    assert set(Dataset(out).sources) == {"drive_1"}


def test_settings_come_from_options(bags, tmp_path, capsys):
    out = tmp_path / "out"
    more = ["--interval-s", "0.2", "--lidar.far-m", "4.5", "--body-polygon", "0 0, 31 0, 31 5, 0 5"]
    assert build(out, bags[0], more=[*more, "--raw", "--min-points", "1"]) == 0
    dataset = Dataset(out)
    assert [record.stamp_ns for record in dataset.records] == [STAMPS[0]]  # 5 m is too far
    assert not np.isfinite(dataset[0].depth_m[:6]).any()
    assert dataset.sources["drive_1"]["options"]["pictures"] == "raw"
    with pytest.raises(SystemExit):
        build(out, bags[0], more=["--max-gap-s", "-1"])
    assert "expected 0 to 10" in capsys.readouterr().err


def test_show_tells_what_there_is(bags, tmp_path, capsys):
    out = tmp_path / "out"
    build(out, *bags, more=["--interval-s", "0.15"])
    capsys.readouterr()
    assert main(["dataset", "show", str(out), "--json", str(tmp_path / "show.json")]) == 0
    said = capsys.readouterr().out
    assert "4 samples, sparse depth, 2 sources" in said
    assert "rejected 1: less than 0.15 s after the sample before" in said
    shown = json.loads((tmp_path / "show.json").read_text())
    assert shown["fingerprint"] == Dataset(out).fingerprint
    assert main(["dataset", "show", str(tmp_path)]) == 1
    assert "is no data set" in capsys.readouterr().err


def test_imports_folders(tmp_path, capsys):
    for name in ("a", "b"):
        for kind, pixels in (
            ("images", np.zeros((12, 16, 3), np.uint8)),
            ("depth", np.full((12, 16), 3000, np.uint16)),
        ):
            (tmp_path / name / kind).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / name / kind / "0.png"), pixels)
    camera = tmp_path / "camera.yaml"
    camera.write_text(
        "image_width: 16\nimage_height: 12\n"
        "camera_matrix: {data: [20, 0, 7.5, 0, 20, 5.5, 0, 0, 1]}\n"
    )
    out = tmp_path / "out"
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    words = ["dataset", "import", "--folder", *folders, "--out", str(out)]
    assert main(words) == 1
    assert "needs --depth-scale" in capsys.readouterr().err
    words += ["--depth-scale", "0.001", "--camera", str(camera), "--dense"]
    assert main(words) == 0
    assert "2 samples of 2 sources" in capsys.readouterr().out
    assert Dataset(out).dense
    assert (Dataset(out)[1].depth_m == 3.0).all()
    assert main(words) == 0
    assert "a: is finished already" in capsys.readouterr().out
    result = tmp_path / "result.json"  # only of what is asked for
    again = [word for word in words if word != str(tmp_path / "b")]
    assert main([*again, "--json", str(result)]) == 0
    assert "b: is finished already" not in capsys.readouterr().out
    assert json.loads(result.read_text())["finished_before"] == ["a"]
    camera.write_text(camera.read_text().replace("[20,", "[30,"))
    assert main(words) == 1
    assert "a is finished already, with camera" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--folder", "a", "--kitti-camera", "0", "--lidar.near-m", "3"],
            "--kitti-camera, --lidar.near-m: of --kitti, and has no effect with --folder",
        ),
        (["--kitti", "a", "--dense", "--images", "x"], "--images, --dense: of --folder"),
        (["--kitti", "a", "--out", "file"], "file is a file, expected a folder"),
    ],
)
def test_what_does_not_go_with_an_import_is_refused(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    assert main(["dataset", "import", "--out", "out", *words]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_that_become_one_source_are_both_named(tmp_path, capsys):
    """Letters of other scripts are not in a source's name."""
    for name in ("küche", "k啊che"):
        for kind in ("images", "depth"):
            (tmp_path / name / kind).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / name / kind / "0.png"), np.zeros((12, 16), np.uint16))
    camera = tmp_path / "camera.yaml"
    camera.write_text(
        "image_width: 16\nimage_height: 12\n"
        "camera_matrix: {data: [20, 0, 7.5, 0, 20, 5.5, 0, 0, 1]}\n"
    )
    words = ["dataset", "import", "--folder", f"{tmp_path}/küche", f"{tmp_path}/k啊che"]
    words += ["--depth-scale", "0.001", "--camera", str(camera), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    told = f"{tmp_path}/küche and {tmp_path}/k啊che both become the source 'k_che'"
    assert told in capsys.readouterr().err


def test_a_picture_is_taken_as_the_sensor_saw_it(tmp_path):
    """Depth knows nothing of the orientation that a JPEG notes; here: upside down."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    orientation = struct.pack("<HHII", 0x0112, 3, 1, 3)
    tiff = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + orientation + bytes(4)
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(tiff) + 2) + tiff + data[2:])
    assert cv2.imread(str(path))[0, 0, 0] < 20, "OpenCV itself turns it"
    assert read_rgb(path)[0, 0, 0] > 235


@pytest.mark.skipif(not KITTI.is_dir(), reason="the KITTI bags are not there")
def test_the_real_bags(tmp_path, capsys):
    """In the picture by KITTI's pixel (0 <= u < width) are 20,285 and 18,630; ours reaches from
    -0.5 to width - 0.5, as ROS's pixel centres do. No depth is changed, few are hidden."""
    out = tmp_path / "out"
    assert build(out, KITTI / "kitti_000000", KITTI / "kitti_000001") == 0
    capsys.readouterr()
    dataset = Dataset(out)
    for name, size, points, near_m, far_m in (
        ("kitti_000000", (370, 1224), 20_285, 4.2, 72.7),
        ("kitti_000001", (375, 1242), 18_630, 4.8, 76.7),
    ):
        (sample,) = dataset.select([name])
        counts = dataset.sources[name]["points"]
        assert sample.rgb.shape == (*size, 3)
        assert sample.gap_ns == 0
        assert counts["in_picture"] == pytest.approx(points, rel=0.002)
        assert 0.005 < counts["hidden"] / counts["in_picture"] < 0.1
        assert np.nanmin(sample.depth_m) == pytest.approx(near_m, abs=0.1)
        assert far_m - 2.0 < np.nanmax(sample.depth_m) < far_m + 0.1
        assert len(list((out / "overlays" / name).iterdir())) == 1


def test_help_says_that_a_bag_is_the_unit_of_jobs_and_of_going_on(capsys):
    with pytest.raises(SystemExit):
        main(["dataset", "build", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "bag by bag: finished bags are skipped, one that was not is begun anew" in told
    assert "--jobs reads several bags at once" in told


def test_numbers_that_mean_nothing_are_refused(bags, tmp_path, capsys):
    for option in ("--jobs", "--overlays"):
        with pytest.raises(SystemExit):
            build(tmp_path / "out", bags[0], more=[option, "-1"])
        assert f"{option}: got '-1', expected a whole number" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build(tmp_path / "out", bags[0], more=["--jobs", "0"])
    assert build(tmp_path / "out", bags[0], more=["--overlays", "0"]) == 0


def test_places_that_cannot_be_written_are_told_before_a_bag_is_read(bags, tmp_path, capsys):
    out, file = tmp_path / "out", tmp_path / "file"
    file.write_text("mine")
    assert build(file, bags[0]) == 1
    error = capsys.readouterr().err
    assert f"--out {file}" in error and "is a file" in error and file.read_text() == "mine"
    nowhere = tmp_path / "none" / "x.json"
    assert build(out, bags[0], more=["--json", str(nowhere)]) == 1
    assert "its folder does not exist" in capsys.readouterr().err
    assert not out.exists()
    assert build(out, bags[0], more=["--json", str(out / "x.json")]) == 0
    capsys.readouterr()
    assert main(["dataset", "show", str(out), "--json", str(nowhere)]) == 1
    said = capsys.readouterr()
    assert "its folder does not exist" in said.err and not said.out
    assert not nowhere.parent.exists()


def test_a_data_set_whose_bags_all_failed_says_how_to_learn_why(bags, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert build(out, bags[0], more=["--min-points", "100000"]) == 1
    capsys.readouterr()
    assert main(["dataset", "show", str(out)]) == 0
    said = capsys.readouterr().out
    assert "0 sources" in said and "nothing was finished" in said
    assert f"dpt-ros dataset build BAG --out {out}" in said
