"""What `dpt-ros predict` says of an input that could not be read as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dpt_ros.cli.main import main


@pytest.fixture
def predict(tmp_path, checkpoint, capsys):
    """Runs it with small random weights; returns status, output, errors and predictions.json."""

    def run(path: Path) -> tuple[int, str, str, dict]:
        out = tmp_path / "out"
        model = ["--model", "dpt_tiny", "--checkpoint", str(checkpoint), "--device", "cpu"]
        status = main(["predict", str(path), "--out", str(out), *model])
        printed = capsys.readouterr()
        manifest = json.loads((out / "predictions.json").read_text())
        return status, printed.out.replace(str(out), "OUT"), printed.err, manifest

    return run


def test_of_a_damaged_bag_all_that_can_be_read_is_written(tmp_path, recordings, predict):
    rgb, stamps = np.zeros((48, 64, 3), np.uint8), recordings.STAMPS[:2]
    messages = [("/image_raw", stamp_ns, recordings.image(stamp_ns, rgb)) for stamp_ns in stamps]
    bag = recordings.write_bag(tmp_path / "bag", messages)
    metadata = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(metadata.replace("bag.mcap", "bag.mcap\n  - lost.mcap"))
    status, told, errors, manifest = predict(bag)
    assert status == 1 and "everything else was read" in errors
    assert "2 of 2 pictures, of a damaged recording -> OUT" in told
    assert manifest["complete"] is False and len(manifest["pictures"]) == 2


def test_the_frames_of_a_cut_off_video_that_came_are_the_pictures(tmp_path, predict):
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for seed in range(8):
        writer.write(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 2])
    status, told, errors, manifest = predict(video)
    count = len(manifest["pictures"])
    note = f"drive.avi: {count} of about 8 frames could be read: was it cut off?"
    assert status == 0 and told.startswith(f"{count} pictures -> OUT")
    assert f"note: {note}\n" in errors and manifest["notes"] == [note]
    assert manifest["skipped"] == []


def test_frames_that_are_not_taken_count_nothing(tmp_path, predict):
    frames = [Image.new("RGB", (64, 48), (shade, 0, 0)) for shade in (50, 100)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    status, told, errors, manifest = predict(tmp_path / "a.webp")
    assert status == 0 and "1 of 1 picture -> OUT" in told
    assert "note: a.webp has 2 frames: the first is taken\n" in errors
    assert manifest["notes"] == ["a.webp has 2 frames: the first is taken"]
