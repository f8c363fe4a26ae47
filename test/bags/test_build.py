"""Which files of a folder are a recording's, and which of its samples are drawn."""

from __future__ import annotations

import pytest
from drive_samples import MS, START

from dpt_ros.bags.build import build_source, dataset_options, name_recordings, storage_files
from dpt_ros.bags.dataset import DatasetWriter
from dpt_ros.bags.sample_settings import SampleSettings


def test_storage_files_are_those_with_messages(tmp_path):
    for name in ("b.mcap", "a.db3", "c.mcap.zstd", "metadata.yaml", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "evaluation").mkdir()
    assert [path.name for path in storage_files(tmp_path)] == ["a.db3", "b.mcap", "c.mcap.zstd"]


@pytest.mark.parametrize(
    ("overlays", "expected"),
    [(0, []), (3, [0, 13, 27]), (5, [0, 8, 16, 24, 32]), (99, range(0, 40, 4))],
)
def test_overlays_are_spread_over_the_scans_whatever_the_samples(
    tmp_path, recordings, overlays, expected
):
    """Forty scans, a picture for each fourth: no overlay is further off than to the next one."""
    messages = [
        (topic, ns, message)
        for topic, ns, message in recordings.drive([START + i * 100 * MS for i in range(40)])
        if topic != "/camera/image_raw" or (ns - START) % (400 * MS) == 0
    ]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    settings = SampleSettings(min_points=1)
    (recording,), _ = name_recordings([bag], {}, settings)
    with DatasetWriter(tmp_path / "out", dense=False, options=dataset_options(settings)) as writer:
        info = build_source(recording, writer, settings, overlays, lambda done, total: None)
    assert info["samples"] == 10
    stamps = sorted(int(path.stem) for path in (tmp_path / "out").glob("overlays/bag/*.jpg"))
    drawn = [(stamp_ns - START) // (100 * MS) for stamp_ns in stamps]
    assert len(drawn) == len(expected)
    assert all(abs(a - b) <= 4 for a, b in zip(drawn, expected, strict=True))
