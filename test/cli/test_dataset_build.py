"""What `dpt-ros dataset build` refuses, says in the end, and leaves behind where it fails."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from dpt_ros.bags.dataset import Dataset, DatasetWriter
from dpt_ros.cli.main import main

SECOND = 1_000_000_000
START = 1_600_000_000 * SECOND
STAMPS = [START + index * SECOND // 10 for index in range(3)]


def build(out, *bags, more=()):
    return main(["dataset", "build", *map(str, bags), "--out", str(out), *more])


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\0" * 50_000, None], ids=["cut", "ids", "zeros", "gone"]
)
def test_a_damaged_data_set_is_not_gone_on_with(bags, tmp_path, capsys, content):
    """Cut off, without ids, overwritten, gone: whichever bag is asked for."""
    out = tmp_path / "out"
    assert build(out, bags[0]) == 0
    samples = out / "samples.jsonl"
    samples.unlink()
    if content is not None:
        samples.write_bytes(content)
    before = (out / "manifest.json").read_bytes()
    for bag in bags:
        capsys.readouterr()
        assert build(out, bag) == 1
        said = capsys.readouterr()
        assert "samples.jsonl" in said.err and "build the data set again" in said.err
        assert "remove the folder, or name another one with --out" in said.err
        assert "finished already" not in said.out
    assert (out / "manifest.json").read_bytes() == before


def test_the_last_line_counts_what_was_there_before(bags, tmp_path, capsys):
    out = tmp_path / "out"
    for asked, told in (
        (bags[:1], f"3 samples of 1 bag -> {out}"),
        (bags[:1], f"3 samples of 1 bag -> {out} (none new)"),
        (bags, f"6 samples of 2 bags -> {out} (3 new)"),
    ):
        assert build(out, *asked) == 0
        assert capsys.readouterr().out.splitlines()[-1] == told


def test_one_is_told_as_one(bags, tmp_path, capsys):
    out = tmp_path / "out"
    assert build(out, bags[0], more=["--interval-s", "10"]) == 0
    assert main(["dataset", "show", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"1 sample of 1 bag -> {out}" in said and "drive_1: 1 sample\n" in said
    assert "1 sample, sparse depth, 1 source\n" in said


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("given", "more"),
    [("bag", ["--min-points", "100000"]), ("bag", ["--points-topic", "/x"]), ("nowhere", [])],
)
def test_a_build_of_nothing_leaves_no_new_folder(bags, tmp_path, capsys, jobs, given, more):
    out = tmp_path / "sets" / "out"
    bag = bags[0] if given == "bag" else tmp_path / "nowhere"
    assert build(out, bag, more=[*more, "--jobs", jobs]) == 1
    assert not out.exists()
    assert str(out) not in capsys.readouterr().out
    out.mkdir(parents=True)
    (out / ".hidden").write_text("mine")
    assert build(out, bag, more=more) == 1
    assert (out / ".hidden").read_text() == "mine"


def test_a_failed_build_leaves_a_folder_with_other_files(bags, tmp_path, monkeypatch):
    """Somebody puts a file there meanwhile."""
    out = tmp_path / "out"
    added = DatasetWriter.add

    def add(writer, sample):
        added(writer, sample)
        (out / "notes.txt").write_text("mine")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(DatasetWriter, "add", add)
    assert build(out, bags[0]) == 1
    assert (out / "notes.txt").read_text() == "mine" and not Dataset(out).sources


def test_an_interrupted_build_of_a_first_bag_leaves_nothing(bags, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DatasetWriter, "add", interrupt)
    assert build(tmp_path / "out", bags[0]) == 130
    assert not (tmp_path / "out").exists()


def test_a_log_is_not_filled_with_bars(tmp_path, recordings, capsys):
    stamps = [START + index * SECOND // 10 for index in range(40)]
    bag = recordings.write_bag(tmp_path / "bag", recordings.drive(stamps))
    assert build(tmp_path / "out", bag) == 0
    said = capsys.readouterr().err
    assert "40/40" in said and said.count("scan/s") <= 2


def test_depth_images_are_not_taken_for_pictures(tmp_path, recordings, capsys):
    """An RGB-D camera's, and its colours as CompressedImage."""
    messages = [m for m in recordings.drive(STAMPS) if m[0] != "/camera/image_raw"]
    for ns in STAMPS:
        rgb = np.full((24, 32, 3), 90, np.uint8)
        image = recordings.image(ns, rgb[..., :2])
        image.encoding, image.step = "16UC1", 64
        messages.append(("/camera/image_rect/compressed", ns, recordings.compressed(ns, rgb)))
        messages.append(("/camera/depth/image_rect", ns, image))
    bag = recordings.write_bag(tmp_path / "bag", messages)
    assert build(tmp_path / "out", bag) == 0
    info = Dataset(tmp_path / "out").sources["bag"]
    assert (Dataset(tmp_path / "out")[0].rgb == 90).all() and info["samples"] == 3
    second = [("/other/image_raw", ns, recordings.image(ns, rgb)) for ns in STAMPS]
    two = recordings.write_bag(tmp_path / "two", [*messages, *second])
    assert build(tmp_path / "out", two) == 1, "two cameras remain a choice"
    assert "no topic was chosen with --image-topic" in capsys.readouterr().err
