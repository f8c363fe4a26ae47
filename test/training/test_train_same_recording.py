"""What is known to be of one recording though it shares no picture."""

from __future__ import annotations

import json

import pytest

from dpt_ros.bags.dataset import Dataset
from dpt_ros.config import ConfigError
from dpt_ros.training.same_recording import same_recordings
from dpt_ros.training.split import split_sources


def data_of(folder, write_dataset, paths):
    """A data set of the recordings at these paths, by their sources' names."""
    manifest = write_dataset(folder, tuple(paths)) / "manifest.json"
    told = json.loads(manifest.read_text())
    for name, path in paths.items():
        told["sources"][name]["path"] = path
    manifest.write_text(json.dumps(told))
    return Dataset(folder)


def test_the_files_of_a_split_recording_stay_together(tmp_path, write_dataset):
    paths = {f"run_{number}": f"/bags/run/run_{number}.mcap" for number in range(3)}
    data = data_of(tmp_path / "data", write_dataset, {**paths, "other": "/bags/other"})
    for seed in range(4):
        split = split_sources([data], "0.5", seed=seed)
        sides = [set(part.sources) for part in (*split.training, *split.validation)]
        assert sorted(sides, key=len) == [{"other"}, set(paths)]
    with pytest.raises(ConfigError, match=r"both learned from and held out: run_2 \(as run_0\);"):
        split_sources([data], "run_2", seed=0)


@pytest.mark.parametrize(
    "paths",
    [
        {"drive_1": "/bags/drive_1.mcap", "drive_2": "/bags/drive_2.mcap"},
        {"bags_1": "/bags/bags_1", "bags_2": "/bags/bags_2"},
    ],
    ids=["files of another name", "folders"],
)
def test_recordings_in_one_folder_are_not_of_one(tmp_path, write_dataset, paths):
    data = data_of(tmp_path / "data", write_dataset, paths)
    assert same_recordings([data]) == [[(0, name)] for name in sorted(paths)]
