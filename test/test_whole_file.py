from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dpt_ros.whole_file import json_text, part_beside, write_json, write_whole


@pytest.mark.parametrize("is_lasting", [False, True])
def test_a_file_is_written_with_its_folder_and_replaced(tmp_path, is_lasting):
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, b"first", is_lasting=is_lasting)
    write_whole(str(path), b"second", is_lasting=is_lasting)
    assert path.read_bytes() == b"second"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("is_lasting", [False, True])
def test_what_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch, is_lasting):
    path = tmp_path / "file"
    path.write_bytes(b"first")

    def fail(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no"):
        write_whole(path, b"second", is_lasting=is_lasting)
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_the_disk_is_waited_for_where_it_is_to_last(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(os, "fsync", waited.append)
    write_whole(tmp_path / "file", b"", is_lasting=False)
    assert waited == []
    write_whole(tmp_path / "file", b"", is_lasting=True)
    assert len(waited) == 2  # the file and its folder


def test_the_part_of_a_file_is_hidden_beside_it(tmp_path):
    part = part_beside(tmp_path / "file.mcap")
    assert part.parent == tmp_path and part.name.startswith(".file.mcap.")


def test_json_has_null_where_there_is_no_number(tmp_path):
    values = {"a": [float("nan"), 1.5], "b": {"c": float("inf"), "d": (-float("inf"), "x")}}
    write_json(tmp_path / "x.json", values)
    text = (tmp_path / "x.json").read_text()
    assert text == json_text(values) and text.endswith("}\n")
    assert json.loads(text) == {"a": [None, 1.5], "b": {"c": None, "d": [None, "x"]}}
