"""The folder of a report: whole or not at all, and nothing in it that was somebody's is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dpt_ros.evaluation.output_folder import OutputFolder


def test_an_output_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(RuntimeError, match="broken"), OutputFolder(path) as folder:
        (folder.work / "half").write_text("half")
        raise RuntimeError("broken")
    assert list(tmp_path.iterdir()) == []
    with OutputFolder(path) as folder:
        (folder.work / "a").write_text("1")
        assert not path.exists()
    assert (path / "a").read_text() == "1" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileExistsError, match="--force"):
        OutputFolder(path)
    (path / "mine").write_text("kept")
    with OutputFolder(path, force=True) as folder:
        (folder.work / "a").write_text("2")
    assert {p.name: p.read_text() for p in path.iterdir()} == {"a": "2", "mine": "kept"}


def test_the_folder_that_one_is_in_can_be_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with OutputFolder(".") as folder:
        (folder.work / "a.txt").write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("is_there", [True, False], ids=["to a folder", "to nothing yet"])
def test_an_output_folder_may_be_a_link(tmp_path, is_there):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "results", tmp_path / "out"
    if is_there:
        target.mkdir()
    link.symlink_to(target)
    with OutputFolder(link) as folder:
        (folder.work / "a").write_text("1")
    assert link.is_symlink() and (link / "a").read_text() == "1"
    assert list(target.parent.iterdir()) == [target]


def test_an_output_folder_may_be_a_mount_point(tmp_path, monkeypatch):
    """It can't be removed, and what lies beside it is on another disk."""
    path = tmp_path / "out"
    path.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == path)
    monkeypatch.setattr(Path, "rmdir", lambda _: pytest.fail("a mount point is not removed"))
    with OutputFolder(path) as folder:
        assert folder.work.parent == path
        (folder.work / "sub").mkdir()
        (folder.work / "sub" / "a").write_text("1")
    assert [p.name for p in path.iterdir()] == ["sub"] and (path / "sub" / "a").read_text() == "1"


def test_results_that_cannot_be_moved_are_kept(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(OSError, match=r"they are in .*\.part"), OutputFolder(path) as folder:
        (folder.work / "a").write_text("1")
        path.write_text("in the way")
    assert (folder.work / "a").read_text() == "1"


def test_a_place_that_cannot_be_written_is_told_beforehand(tmp_path, monkeypatch):
    full = tmp_path / "full"
    full.mkdir()
    (full / "a").write_text("1")
    for closed, asked in ((tmp_path, tmp_path / "new" / "out"), (full, full)):
        monkeypatch.setattr(os, "access", lambda path, _, closed=closed: path != closed)
        with pytest.raises(PermissionError, match="name another folder"):
            OutputFolder(asked, force=True)
