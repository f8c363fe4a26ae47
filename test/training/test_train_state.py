from __future__ import annotations

import errno
import os

import pytest
import torch

from dpt_ros.training.state import RunFolder, TrainingError


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"seed": 1, "settings": {"mode": "ssi"}})
    return folder


def names(folder):
    return sorted(path.name for path in folder.checkpoints.iterdir())


def test_the_last_two_checkpoints_are_kept_and_the_last_is_loaded(folder):
    assert folder.load_last() is None
    for step in (1, 2, 100_000_000):
        folder.save({"value": torch.tensor(float(step))}, step)
    assert names(folder) == ["step_00000002.pt", "step_100000000.pt"]
    assert float(folder.load_last()["value"]) == 1e8


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(folder):
    folder.save({"value": 1}, 1)
    folder.save({"value": 2}, 2).write_bytes(b"half a file")
    assert folder.load_last() == {"value": 1}
    (folder.checkpoints / "step_00000001.pt").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"no checkpoint.*another folder"):
        folder.load_last()


def test_a_full_disk_leaves_the_last_good_checkpoint(folder, monkeypatch):
    folder.save({"value": 1}, 1)

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TrainingError, match=r"disk is full.*step_00000001\.pt.*Make room"):
        folder.save({"value": 2}, 2)
    assert names(folder) == ["step_00000001.pt"]
    assert folder.load_last() == {"value": 1}


def test_a_file_system_without_room_is_told(tmp_path):
    """/dev/full takes no byte, as a full disk does."""
    folder = RunFolder(tmp_path / "run")
    folder.begin({})
    folder.checkpoints.mkdir()
    (folder.checkpoints / ".step_00000001.pt.part").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="disk is full.*none before it.*Make room"):
        folder.save({"value": torch.zeros(100_000)}, 1)


def test_the_same_run_is_found_and_another_one_refused(folder):
    folder.save({"value": 1}, 1)
    assert folder.begin({"seed": 1, "settings": {"mode": "ssi"}})
    with pytest.raises(TrainingError, match=r"settings\.mode 'ssi', not 'metric'"):
        folder.begin({"seed": 1, "settings": {"mode": "metric"}})


def test_a_run_begun_before_the_alignment_was_noted_goes_on_with_what_it_had(folder):
    folder.save({"value": 1}, 1)
    same = {"mode": "ssi", "alignment": "robust"}
    assert folder.begin({"seed": 1, "settings": same})
    with pytest.raises(TrainingError, match=r"settings\.alignment 'robust', not 'least_squares'"):
        folder.begin({"seed": 1, "settings": {**same, "alignment": "least_squares"}})


def test_a_changed_data_set_is_told_briefly(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"training": [{"name": "a", "samples": 3, "sources": ["s1"]}]})
    folder.save({"value": 1}, 1)
    with pytest.raises(TrainingError, match=r"training\.0\.samples 3, not 4: give the same"):
        folder.begin({"training": [{"name": "a", "samples": 4, "sources": ["s1"]}]})
    with pytest.raises(TrainingError) as told:
        folder.begin({"training": [{"name": "a", "samples": 3, "sources": ["s" * 9] * 999}]})
    assert len(str(told.value)) < 400


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(TrainingError, match="new or an empty folder"):
        RunFolder(tmp_path).begin({})
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_process_killed_as_it_began_leaves_a_folder_to_begin_in(tmp_path):
    (tmp_path / ".run.json.123.part").write_text('{"format": "dpt')
    assert not RunFolder(tmp_path).begin({})
    assert RunFolder(tmp_path).begin({})


def test_a_run_of_another_version_is_refused(folder):
    (folder.path / "run.json").write_text('{"format": "dpt_ros/training/9"}')
    with pytest.raises(TrainingError, match=r"training/9.*training/1"):
        folder.begin({})
