"""What `dpt-ros predict` says of an input that could not be read as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

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
