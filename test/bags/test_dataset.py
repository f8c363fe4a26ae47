from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest

from dpt_ros.bags.build import name_recordings, recording_sha256
from dpt_ros.bags.dataset import Dataset, DatasetError, DatasetWriter, Sample, sample_id
from dpt_ros.bags.dataset_format import check_name, name_of_recording
from dpt_ros.bags.reader import BagError
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.geometry.camera import Camera

CAMERA = Camera(6, 4, 5.0, 5.5, 2.5, 1.5, "plumb_bob", (0.1, -0.01, 0.001, 0.002, 0.0))
OPTIONS = {"max_gap_s": 0.05}


def sample(source="drive", stamp_ns=7, seed=0, **changes):
    rng = np.random.default_rng(seed)
    depth_m = rng.uniform(0.5, 80.0, (4, 6)).astype(np.float32)
    depth_m[rng.random((4, 6)) < 0.5] = np.nan
    rgb = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    values = Sample(sample_id(source, stamp_ns), source, stamp_ns, rgb, depth_m, CAMERA, gap_ns=3)
    return dataclasses.replace(values, **changes)


def write(folder, sources=("drive",), count=2, dense=False, options=OPTIONS):
    with DatasetWriter(folder, dense=dense, options=options) as writer:
        for source in sources:
            for index in range(count):
                writer.add(sample(source, index + 1, seed=index))
            writer.finish_source(source, {"path": f"/bags/{source}", "rejected": {"no scan": 2}})
    return folder


def test_every_recording_has_a_name_that_a_source_may_have(tmp_path, monkeypatch):
    folder = tmp_path / "my drive, 2024.05.01"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for path in (folder, Path()):
        assert name_of_recording(path) == "my_drive_2024.05.01"
    names = [name_of_recording(tmp_path / name) for name in ("a b.mcap", ".hidden.db3", "-.mcap")]
    assert names == ["a_b", "hidden", "bag"]
    for name in names:
        check_name(name)


def write_recording(folder, names=("drive_0.mcap",)):
    folder.mkdir()
    for name in ("metadata.yaml", *names):
        (folder / name).write_text(f"content of {name}")
    return folder


def finished(path, sources):
    return name_recordings([path], sources, SampleSettings())[1]


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "a.mcap.zstd", "a.db3.zstd"])
def test_what_lies_beside_a_recording_does_not_make_it_another_one(tmp_path, name):
    folder = write_recording(tmp_path / "drive", (name,))
    before = recording_sha256(folder)
    (folder / "notes.txt").write_text("sunny")
    (folder / "metadata.yaml").write_text("written anew")
    assert recording_sha256(folder) == recording_sha256(folder / name) == before
    with pytest.raises(BagError, match="is given twice"):
        name_recordings([folder, folder / name], {}, SampleSettings())
    (folder / name).write_text("another drive")
    assert recording_sha256(folder) != before
    parts = write_recording(tmp_path / "parts", ("p_0.mcap", "p_1.mcap"))
    assert recording_sha256(parts) != recording_sha256(parts / "p_0.mcap")


def test_a_recording_of_an_earlier_data_set_is_known_or_refused(tmp_path):
    """Then, metadata.yaml and all other files of a folder were hashed too."""
    folder = write_recording(tmp_path / "drive")
    digest = hashlib.sha256()
    for name in ("drive_0.mcap", "metadata.yaml"):
        content = f"content of {name}".encode()
        digest.update(f"{name} {len(content)}\n".encode() + content * 2)
    sources = {"drive": {"recording_sha256": digest.hexdigest(), "path": str(folder)}}
    assert finished(folder, sources) == finished(folder / "drive_0.mcap", sources) == ["drive"]
    (folder / "notes.txt").write_text("sunny")
    for path in (folder, folder / "drive_0.mcap"):
        with pytest.raises(DatasetError, match="not as it was when drive was made .* anew"):
            finished(path, sources)
    now = {"drive": {"storage_sha256": recording_sha256(folder), "path": str(folder)}}
    (folder / "notes.txt").write_text("rainy")
    assert finished(folder, now) == ["drive"]
    (folder / "drive_0.mcap").write_text("recorded anew in the same place")
    assert finished(folder, now) == []


@pytest.mark.parametrize("dense", [False, True])
def test_a_sample_comes_back_bit_by_bit(tmp_path, dense):
    given = sample()
    given.depth_m[0, :4] = [np.nan, np.inf, 1e-40, -0.0]
    with DatasetWriter(tmp_path / "new" / "set", dense=dense, options={}) as writer:
        writer.add(given)
        writer.finish_source("drive", {})
    dataset = Dataset(tmp_path / "new" / "set")
    (read,) = dataset
    assert dataset.dense is dense
    assert read.depth_m.dtype == np.float32
    np.testing.assert_array_equal(read.depth_m.view(np.uint32), given.depth_m.view(np.uint32))
    np.testing.assert_array_equal(read.rgb, given.rgb)
    assert (read.id, read.source, read.stamp_ns) == ("drive/00000000000000000007", "drive", 7)
    assert (read.camera, read.gap_ns) == (CAMERA, 3)


def test_files_are_where_the_format_says(tmp_path):
    write(tmp_path, count=1)
    name = "drive/00000000000000000001"
    line = json.loads((tmp_path / "samples.jsonl").read_text())
    assert line["image"] == f"images/{name}.png"
    assert line["depth"] == f"depth/{name}.tiff"
    assert line["points"] == int(np.isfinite(sample(seed=0).depth_m).sum())
    assert line["camera"]["distortion"] == [0.1, -0.01, 0.001, 0.002, 0.0]
    bgr = cv2.imread(str(tmp_path / line["image"]))
    np.testing.assert_array_equal(bgr[..., ::-1], sample(seed=0).rgb)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["format"] == "dpt_ros/dataset/1"
    assert manifest["options"] == OPTIONS
    assert manifest["sources"]["drive"] == {
        "path": "/bags/drive",
        "rejected": {"no scan": 2},
        "samples": 1,
    }


def test_records_tell_without_reading_pixels(tmp_path):
    dataset = Dataset(write(tmp_path, ("b", "a")))
    for file in [*tmp_path.rglob("*.png"), *tmp_path.rglob("*.tiff")]:
        file.unlink()
    assert [(r.source, r.stamp_ns) for r in dataset.records] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
        ("b", 2),
    ]
    assert len(dataset) == 4
    with pytest.raises(DatasetError, match=r"png cannot be read"):
        dataset[0]


def test_fingerprint_is_of_the_lines_whatever_the_order_of_writing(tmp_path):
    first = Dataset(write(tmp_path / "1", ("a", "b")))
    second = Dataset(write(tmp_path / "2", ("b", "a")))
    lines = (tmp_path / "1" / "samples.jsonl").read_bytes()
    assert first.fingerprint == second.fingerprint == hashlib.sha256(lines).hexdigest()
    assert Dataset(write(tmp_path / "3", ("a",))).fingerprint == first.select(["a"]).fingerprint
    assert first.fingerprint != first.select(["a"]).fingerprint


def test_select_keeps_some_sources(tmp_path):
    dataset = Dataset(write(tmp_path, ("a", "b", "c"))).select(["c", "a"])
    assert [record.source for record in dataset.records] == ["a", "a", "c", "c"]
    assert set(dataset.sources) == {"a", "c"}
    assert dataset[3].source == "c"
    with pytest.raises(DatasetError, match="no source 'z', expected some of a, c"):
        dataset.select(["z"])


def test_an_unfinished_source_does_not_count_and_is_begun_anew(tmp_path):
    write(tmp_path, ("a",))
    with DatasetWriter(tmp_path, dense=False, options=OPTIONS) as writer:
        assert list(writer.sources) == ["a"]
        writer.add(sample("b", 5))
    assert [record.source for record in Dataset(tmp_path).records] == ["a", "a"]
    with DatasetWriter(tmp_path, dense=False, options=OPTIONS) as writer:
        writer.add(sample("b", 6))
        writer.finish_source("b", {})
    assert [record.id for record in Dataset(tmp_path).select(["b"]).records] == [sample_id("b", 6)]
    assert [path.name for path in (tmp_path / "images" / "b").iterdir()] == [
        "00000000000000000006.png"
    ]


def test_what_was_appended_but_not_put_into_the_manifest_goes(tmp_path):
    """As a process leaves it that is killed between the two writes of finish_source."""
    write(tmp_path, ("a",))
    with (tmp_path / "samples.jsonl").open("a") as samples:
        samples.write('{"id": "b/1", "source": "b"}\n{"id": "b/')
    assert len(Dataset(tmp_path)) == 2
    write(tmp_path, ("c",))
    assert [record.source for record in Dataset(tmp_path).records] == ["a", "a", "c", "c"]
    assert '"b"' not in (tmp_path / "samples.jsonl").read_text()


def _write_one(folder, source):
    write(folder, (source,), count=3)


def test_processes_write_their_own_sources(tmp_path):
    names = [f"s{index}" for index in range(4)]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_one, args=(tmp_path, name)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    dataset = Dataset(tmp_path)
    assert sorted(dataset.sources) == names
    assert [record.source for record in dataset.records] == [n for n in names for _ in range(3)]


def test_a_source_has_one_writer(tmp_path):
    """A worker of a killed command may still be at it when the command is run again."""
    with DatasetWriter(tmp_path, dense=False, options={}) as first:
        first.add(sample(stamp_ns=1))
        with DatasetWriter(tmp_path, dense=False, options={}) as second:
            with pytest.raises(DatasetError, match="being written by another process"):
                second.add(sample(stamp_ns=2))
            second.add(sample("other", stamp_ns=2))
        first.finish_source("drive", {})
    assert [record.id for record in Dataset(tmp_path).records] == [sample_id("drive", 1)]
    with DatasetWriter(tmp_path, dense=False, options={}) as third:  # and what was left goes on
        third.add(sample("other", stamp_ns=3))
        third.finish_source("other", {})
    assert len(Dataset(tmp_path)) == 2


def test_a_source_without_samples_is_told(tmp_path):
    with DatasetWriter(tmp_path, dense=False, options={}) as writer:
        writer.finish_source("empty", {"rejected": {"no scan near": 9}})
    assert len(Dataset(tmp_path)) == 0
    assert Dataset(tmp_path).sources["empty"]["samples"] == 0


def test_refuses_what_does_not_belong_together(tmp_path):
    writer = DatasetWriter(tmp_path, dense=False, options={})
    for changes, match in [
        ({"rgb": np.zeros((4, 6), np.uint8)}, r"rgb uint8 \(4, 6\), expected uint8 \(4, 6, 3\)"),
        ({"depth_m": np.zeros((4, 6))}, "depth_m float64"),
        ({"depth_m": np.zeros((5, 6), np.float32)}, r"\(5, 6\), expected float32 \(4, 6\)"),
        ({"id": "other/1"}, "expected drive/NAME"),
        ({"id": "drive/../1"}, "expected drive/NAME"),
        ({"id": "../1", "source": ".."}, r"source name '\.\.'"),
    ]:
        with pytest.raises(DatasetError, match=match):
            writer.add(sample(**changes))
    writer.add(sample())
    with pytest.raises(DatasetError, match="two samples"):
        writer.add(sample())
    writer.finish_source("drive", {})
    with pytest.raises(DatasetError, match="finished source 'drive'"):
        writer.add(sample())
    with pytest.raises(DatasetError, match="finished source 'drive'"):
        writer.finish_source("drive", {})


def test_another_data_set_is_not_continued(tmp_path):
    write(tmp_path)
    with pytest.raises(DatasetError, match=r"max_gap_s 0\.05, not 0\.1.*name another folder"):
        DatasetWriter(tmp_path, dense=False, options={"max_gap_s": 0.1})
    with pytest.raises(DatasetError, match="dense False, not True"):
        DatasetWriter(tmp_path, dense=True, options=OPTIONS)


def test_options_that_nothing_came_of_are_replaced_and_never_mixed(tmp_path):
    early = DatasetWriter(tmp_path, dense=False, options=OPTIONS)
    late = DatasetWriter(tmp_path, dense=False, options={"max_gap_s": 0.1})
    late.add(sample("late"))
    with pytest.raises(DatasetError, match="max_gap_s 0.1, not"):
        DatasetWriter(tmp_path, dense=False, options=OPTIONS)  # somebody is writing
    early.add(sample("early"))
    with pytest.raises(DatasetError, match="max_gap_s 0.1, not"):
        early.finish_source("early", {})
    late.finish_source("late", {})
    assert Dataset(tmp_path).options == {"max_gap_s": 0.1}
    assert [record.source for record in Dataset(tmp_path).records] == ["late"]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DatasetError, match=r"holds thesis\.tex and no data set"):
        DatasetWriter(tmp_path, dense=False, options={})
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["thesis.tex"]


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_goes_on_after_a_kill_before_the_first_manifest(tmp_path):
    (tmp_path / "samples.jsonl").touch()

    with DatasetWriter(tmp_path, dense=True, options={}) as writer:
        writer.finish_source("a", {})
    assert len(Dataset(tmp_path)) == 0


@pytest.mark.parametrize("source", [3, {}, {"samples": "many"}])
def test_refuses_a_manifest_whose_sources_are_none(tmp_path, source):
    with DatasetWriter(tmp_path, dense=True, options={}) as writer:
        writer.finish_source("a", {})
    edit_manifest(tmp_path, sources={"a": source})

    with pytest.raises(DatasetError, match="is damaged"):
        Dataset(tmp_path)


def test_refuses_what_is_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match=r"no data set .*dpt-ros dataset build"):
        Dataset(tmp_path)
    write(tmp_path)
    edit_manifest(tmp_path, format="dpt_ros/dataset/2")
    with pytest.raises(DatasetError, match=r"'dpt_ros/dataset/2', expected 'dpt_ros/dataset/1'"):
        Dataset(tmp_path)
    with pytest.raises(DatasetError, match="dataset/2"):
        DatasetWriter(tmp_path, dense=False, options=OPTIONS)
    edit_manifest(tmp_path, format="dpt_ros/dataset/1", sources=[])
    with pytest.raises(DatasetError, match=r"sources: got \[\], expected dict"):
        Dataset(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": ')
    with pytest.raises(DatasetError, match="damaged"):
        Dataset(tmp_path)


def test_refuses_damaged_files(tmp_path):
    write(tmp_path)
    path = tmp_path / "samples.jsonl"
    lines = path.read_bytes()
    path.write_bytes(lines[: len(lines) // 2])
    with pytest.raises(DatasetError, match="build the data set again"):
        Dataset(tmp_path)
    path.write_bytes(lines)
    dataset = Dataset(tmp_path)
    depth = tmp_path / dataset.records[0].depth
    whole = depth.read_bytes()
    depth.write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match="is damaged"):
        dataset[0]
    depth.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"tiff"):
        dataset[0]
    other = cv2.imencode(".tiff", np.zeros((2, 2), np.float32))[1]
    depth.write_bytes(other.tobytes())
    for read in (dataset.__getitem__, lambda index: dataset.depth(dataset.records[index])):
        with pytest.raises(DatasetError, match=r"depth float32 \(2, 2\), expected .* \(4, 6\)"):
            read(0)
    depth.write_bytes(whole)
    picture = tmp_path / dataset.records[0].image
    whole = picture.read_bytes()
    picture.write_bytes(cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes())
    with pytest.raises(DatasetError, match=r"picture of \(2, 2\), expected \(4, 6\): build"):
        dataset[0]
    np.testing.assert_array_equal(dataset.depth(dataset.records[0]), sample("a").depth_m)
    picture.write_bytes(whole)
    assert dataset[0].id == dataset.records[0].id


def test_a_full_disk_is_explained_and_keeps_what_is_finished(tmp_path, monkeypatch):
    write(tmp_path, ("a",))
    writer = DatasetWriter(tmp_path, dense=False, options=OPTIONS)
    written = Path.write_bytes

    def full(path, data):
        written(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="finished sources are kept: make room") as error:
        writer.add(sample("b"))
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert not list((tmp_path / "images" / "b").iterdir())
    assert len(Dataset(tmp_path)) == 2
    writer.add(sample("b"))
    writer.finish_source("b", {})
    assert len(Dataset(tmp_path)) == 3


def test_overlays_lie_beside_their_samples(tmp_path):
    writer = DatasetWriter(tmp_path, dense=False, options={})
    writer.add(sample())
    writer.add_overlay(sample().id, np.full((8, 8, 3), (200, 30, 10), np.uint8))
    bgr = cv2.imread(str(tmp_path / "overlays" / f"{sample().id}.jpg"))
    np.testing.assert_allclose(bgr[4, 4], [10, 30, 200], atol=4)
