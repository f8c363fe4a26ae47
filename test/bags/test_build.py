"""Which files of a folder are a recording's."""

from __future__ import annotations

from dpt_ros.bags.build import storage_files


def test_storage_files_are_those_with_messages(tmp_path):
    for name in ("b.mcap", "a.db3", "c.mcap.zstd", "metadata.yaml", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "evaluation").mkdir()
    assert [path.name for path in storage_files(tmp_path)] == ["a.db3", "b.mcap", "c.mcap.zstd"]
