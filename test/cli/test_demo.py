from __future__ import annotations

import contextlib
import json

import cv2
import numpy as np
import pytest
import torch
from std_msgs.msg import Header

from dpt_ros.cli import demo
from dpt_ros.cli.main import main
from dpt_ros.geometry.calibration import Calibration, save_calibration
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.colormap import ColormapSettings, color_range, colorize
from dpt_ros.messages.encode import rgb_to_image
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.ros import node_process, player
from dpt_ros.ros.node_process import NodeError

CAMERA = """
image_width: 64
image_height: 48
camera_matrix: {rows: 3, cols: 3, data: [60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


@pytest.mark.node
def test_the_demo_writes_what_the_real_node_publishes(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    torch.manual_seed(1)
    checkpoint, calibration = tmp_path / "tiny.safetensors", tmp_path / "calibration.yaml"
    save_checkpoint(create_model("dpt_tiny"), checkpoint)
    predictor = DepthPredictor.from_model("dpt_tiny", checkpoint=checkpoint, device="cpu")
    height, width = predictor.network_size(48, 64)
    sha256 = predictor.checkpoint_sha256
    pair = ScaleShift(0.01, 0.5)
    save_calibration(
        Calibration(pair, "dpt_tiny", sha256, height, width, None, 0.1, 100.0), calibration
    )
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    bgr = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(pictures / "a.png"), bgr)
    (pictures / "b.png").write_bytes(b"broken")
    (tmp_path / "camera.yaml").write_text(CAMERA)
    out = tmp_path / "out"
    arguments = ["demo", str(pictures), "--model", "dpt_tiny", "--checkpoint", str(checkpoint)]
    arguments += ["--calibration", str(calibration), "--camera", str(tmp_path / "camera.yaml")]
    arguments += ["--json", str(tmp_path / "found.json")]
    assert main([*arguments, "--device", "cpu", "--out", str(out)]) == 0

    found = json.loads((tmp_path / "found.json").read_text())
    assert found["answered"] == 1 and "b.png" in found["skipped"][0]
    assert float(found["node"]["network p50 ms"]) > 0.0 and found["model"] == "dpt_tiny"
    printed = capsys.readouterr()
    assert "1 picture -> " in printed.out and "b.png" in printed.err
    both = cv2.cvtColor(cv2.imread(str(out / "a_demo.png")), cv2.COLOR_BGR2RGB)
    rgb = bgr[..., ::-1]
    assert np.array_equal(both[:, :64], rgb)
    inverse_depth = torch.from_numpy(predictor.predict(np.ascontiguousarray(rgb)))[None]
    settings = ColormapSettings()
    expected = colorize(inverse_depth, settings, color_range(inverse_depth, settings))[0].numpy()
    difference = np.abs(both[:, 64:].astype(int) - expected)
    assert difference.max() <= 6  # one step of the colour map
    assert (out / "a_demo.ply").read_bytes().startswith(b"ply\n")


@pytest.mark.node
def test_a_node_that_cannot_start_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((48, 64, 3), np.uint8))
    missing = tmp_path / "missing.safetensors"
    arguments = ["demo", str(picture), "--model", "dpt_tiny", "--checkpoint", str(missing)]
    assert main([*arguments, "--device", "cpu", "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "the node did not start" in error and "missing.safetensors" in error


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--kind", "yard", "--rate", "3"], "--kind, --rate: of the synthetic drive"),
        (["--force"], "--force: of the synthetic drive"),
        (["--image-topic", "/x"], "only a bag has topics"),
        (["--out", "pictures"], "--out pictures: holds pictures of the input"),
        (["--out", "file"], "is a file, expected a folder"),
    ],
)
def test_what_does_not_go_with_pictures_is_refused(tmp_path, capsys, monkeypatch, more, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "file").write_text("mine")
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    monkeypatch.setattr(demo, "weights_of", lambda model: pytest.fail("weights are fetched"))
    assert main(["demo", "pictures", *more]) == 1
    assert told in capsys.readouterr().err


def test_what_cannot_be_opened_is_told_before_anything_is_fetched(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "weights_of", lambda model: pytest.fail("weights are fetched"))
    (tmp_path / "x.mp4").touch()
    assert main(["demo", str(tmp_path / "x.mp4"), "--out", str(tmp_path / "out")]) == 1
    assert "x.mp4: is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [(KeyboardInterrupt(), 130, "interrupted"), (NodeError("it ended"), 1, "broken off")],
)
def test_a_demo_that_ends_early_tells_what_it_wrote(
    tmp_path, capsys, monkeypatch, error, status, told
):
    """The node answers the first of two pictures."""

    class OneAnswer(contextlib.nullcontext):
        def __init__(self, *_):
            super().__init__(self)
            self.diagnostics, self.played = {}, 0

        def wait_for_node(self, *_):
            pass

        def check(self):
            pass

        def play(self, rgb, *_):
            self.played += 1
            if self.played > 1:
                raise error
            return {"color": rgb_to_image(rgb, Header())}

    monkeypatch.setattr(node_process, "NodeProcess", OneAnswer)
    monkeypatch.setattr(node_process, "isolate", lambda: None)
    monkeypatch.setattr(player, "Player", OneAnswer)
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "pictures" / name), np.zeros((48, 64, 3), np.uint8))
    out = tmp_path / "out"
    arguments = ["demo", str(tmp_path / "pictures"), "--checkpoint", "none", "--out", str(out)]
    assert main(arguments) == status
    assert f"1 of 2 pictures, {told} -> {out}" in capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == ["a_demo.png"]
