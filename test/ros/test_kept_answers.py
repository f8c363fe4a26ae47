"""What a replay in real time keeps on disk, and what it does where the disk is small."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from dpt_ros.ros.camera_recording import CameraRecording
from dpt_ros.ros.kept_answers import RESERVE_BYTES, KeptAnswers, check_room
from dpt_ros.ros.replay import Answer

START = 1_600_000_000_000_000_000
ONE = 32 * 24 * 8


def with_room(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    usage = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=room + RESERVE_BYTES))
    monkeypatch.setattr("dpt_ros.ros.kept_answers.shutil", usage)


def test_an_answer_is_kept_until_it_is_taken(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path)
    noise = np.random.default_rng(0).random((24, 32), np.float32)
    kept.keep(3, Answer(noise, None, 1.0, 2.0))
    kept.keep(4, Answer(noise + 1, noise + 2, 3.0, 4.0))
    found = kept.take(4)
    assert found is not None and found.depth_m is not None and found.heard_s == 4.0
    assert np.array_equal(found.inverse_depth, noise + 1)
    assert np.array_equal(found.depth_m, noise + 2)
    third = kept.take(3)
    assert third is not None and third.depth_m is None
    assert kept.take(3) is None and kept.take(9) is None
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_never_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptAnswers(tmp_path)
    answer = Answer(np.zeros((24, 32), np.float32), None, 1.0, 2.0)
    with_room(monkeypatch, ONE)
    kept.keep(0, answer)
    with_room(monkeypatch, ONE - 1)
    with pytest.raises(OSError, match="nearly full") as caught:
        kept.keep(1, answer)
    assert str(caught.value).startswith(
        "the disk is nearly full: an answer needs 0.0 MiB, and it has 50.0 MiB free, and "
        "50.0 MiB are to stay free. What was answered is scored; to have more, make room"
    )
    assert kept.take(0) is not None and kept.take(1) is None


def test_room_is_looked_for_beforehand(
    tmp_path: Path, recordings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = [START + index * 100_000_000 for index in range(5)]
    bag = recordings.write_bag(tmp_path / "drive", recordings.drive(stamps, size=(32, 24)))
    with CameraRecording(bag) as recording:
        with_room(monkeypatch, 5 * ONE)
        assert check_room(recording, 0, tmp_path) == ""
        with_room(monkeypatch, 3 * ONE)
        assert check_room(recording, 3, tmp_path) == ""
        warning = check_room(recording, 0, tmp_path)
        assert "5 pictures of 32x24" in warning and "--lockstep" in warning
        with_room(monkeypatch, ONE - 1)
        with pytest.raises(OSError, match="no room to keep answers: 5 pictures"):
            check_room(recording, 0, tmp_path)
    large = recordings.write_bag(tmp_path / "large", recordings.drive(stamps, size=(1024, 512)))
    with CameraRecording(large) as recording:
        with_room(monkeypatch, -12 * 2**20)
        with pytest.raises(OSError, match="no room") as caught:
            check_room(recording, 4, tmp_path)
        assert str(caught.value) == (
            "no room to keep answers: 4 pictures of 1024x512 need up to 16.0 MiB for "
            f"the node's answers (4.0 MiB each), and {tmp_path} has 38.0 MiB free, and "
            "50.0 MiB are to stay free; make room, name a folder on another disk with --out, play "
            "fewer with --frames, or use --lockstep, which keeps none"
        )
    broken = recordings.image(START, np.zeros((24, 32, 3), np.uint8))
    broken.encoding = "nonsense"
    drive = [(t, ns, broken if "image" in t else m) for t, ns, m in recordings.drive(stamps)]
    with CameraRecording(recordings.write_bag(tmp_path / "odd", drive)) as recording:
        assert check_room(recording, 0, tmp_path) == ""  # the node says what it can't read
