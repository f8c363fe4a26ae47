from __future__ import annotations

import argparse
import json

import pytest
import torch

from dpt_ros.cli.bench_network import MatrixProduct, _reference_layout
from dpt_ros.cli.main import main
from dpt_ros.cli.numbers import positive, size


def test_the_network_is_timed_beside_the_matrix_product_rate(tmp_path, capsys):
    path = tmp_path / "result.json"
    arguments = ["bench", "network", "--models", "dpt_tiny", "--size", "64x64", "--rounds", "3"]
    assert main([*arguments, "--device", "cpu", "--json", str(path)]) == 0
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["model"], row["implementation"]) == ("dpt_tiny", "dpt_ros")
    assert 0.0 < row["p50_ms"] <= row["p95_ms"]
    assert 0.0 < row["share_of_matrix_rate"] < 1.5
    assert "dpt_tiny" in capsys.readouterr().out


def test_the_matrix_rate_counts_two_operations_a_product(monkeypatch):
    monkeypatch.setattr("dpt_ros.cli.bench_network._seconds", lambda call, device: 0.5)
    product = MatrixProduct(torch.device("cpu"), torch.float32)
    assert product.rate() == pytest.approx(2 * 2048**3 / 0.5)


def test_a_folder_that_is_no_reference_is_refused(tmp_path, capsys):
    arguments = ["bench", "network", "--models", "dpt_large", "--size", "32x32"]
    assert main([*arguments, "--device", "cpu", "--isl-org", str(tmp_path)]) == 1
    assert "no clone of isl-org/DPT" in capsys.readouterr().err


class Recorder(torch.nn.Module):
    """A reference that keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3)
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return self.convolution(x)


@pytest.mark.parametrize(
    ("device", "channels_last"),
    [
        ("cpu", False),
        pytest.param(
            "cuda",
            True,
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
        ),
        ("cpu as cuda", True),
    ],
)
def test_references_on_a_gpu_are_channels_last(monkeypatch, capsys, device, channels_last):
    if device == "cpu as cuda":  # the same path where there is no GPU
        layout = _reference_layout(torch.device("cuda"))
        monkeypatch.setattr("dpt_ros.cli.bench_network._reference_layout", lambda _: layout)
    recorder = Recorder()
    monkeypatch.setattr("dpt_ros.cli.references.isl_org", lambda *_: recorder)
    arguments = ["bench", "network", "--models", "dpt_tiny", "--size", "64x32", "--rounds", "1"]
    arguments += ["--precisions", "float32", "--isl-org", "anywhere"]
    assert main([*arguments, "--device", device.split()[0]]) == 0
    assert recorder.seen
    for tensor in (recorder.seen[-1], recorder.convolution.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert tensor.is_contiguous() != channels_last


def test_sizes_and_counts_are_checked():
    assert size("640x480") == (640, 480)
    for text in ("640", "0x3", "axb", "640x"):
        with pytest.raises(argparse.ArgumentTypeError, match="WIDTHxHEIGHT"):
            size(text)
    with pytest.raises(argparse.ArgumentTypeError):
        positive("0")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["network", "--models", "dpt_tiny", "--size", "100x96"],
            "--size: got 100x96, expected multiples of 16, which dpt_tiny takes; such as 96x96",
        ),
        (
            ["node", "--network-size", "64x100"],
            "--network-size: got 64x100, expected multiples of 32, which dpt_tiny takes; such as "
            "64x96",
        ),
        (["fit", "--points", "2"], "--points: got 2, expected at least 3"),
    ],
)
def test_what_cannot_be_timed_is_refused_by_its_option(words, told, capsys):
    assert main(["bench", *words]) == 1
    assert capsys.readouterr().err == f"dpt-ros bench: {told}\n"


def test_fits_are_timed_and_compared_with_the_truth(tmp_path, capsys):
    path = tmp_path / "result.json"
    arguments = ["bench", "fit", "--points", "20000", "--rounds", "2", "--json", str(path)]
    assert main([*arguments, "--methods", "robust", "least_squares"]) == 0
    robust, plain = json.loads(path.read_text())["rows"]
    assert 0.0 < robust["best_s"] <= robust["p50_s"]
    assert max(robust["scale_error"], robust["shift_error"]) < 0.01
    assert max(plain["scale_error"], plain["shift_error"]) > 0.05
    assert "least_squares" in capsys.readouterr().out


def test_scoring_is_timed_without_a_network(tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a network was loaded: not all predictions are kept")

    monkeypatch.setattr("dpt_ros.inference.DepthPredictor.from_model", refuse)
    path = tmp_path / "result.json"
    arguments = ["bench", "score", "--frames", "4", "--size", "64x48", "--json", str(path)]
    assert main([*arguments, "--points", "500", "--protocol", "full", "--protocol", "kitti"]) == 0
    result = json.loads(path.read_text())
    assert result["frames"] == result["frames_scored"] == 4
    assert result["alignments"] == ["calibration", "least_squares", "median"]
    assert result["protocols"] == ["full", "kitti"] and result["truth"] == "500 points"
    assert result["frames_per_s"] == pytest.approx(4 / result["seconds"], rel=0.05)
    assert result["thousand_frames_s"] == pytest.approx(250 * result["seconds"], rel=0.05)
    assert "1000 frames take" in capsys.readouterr().out
    assert not list(tmp_path.glob("dpt_ros_score_*"))


@pytest.mark.node
def test_the_node_is_measured_over_dds(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    path = tmp_path / "result.json"
    arguments = ["bench", "node", "--frames", "12", "--size", "64x48", "--network-size", "64x64"]
    arguments += ["--device", "cpu"]
    assert main([*arguments, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["answered"] == result["frames"] == 12
    stages = result["stages_ms"]
    parts = [stages[name] for name in ("receive", "decode", "post", "publish")]
    # A sum is at least its largest part; few of twelve frames have a part beyond its p95.
    assert stages["overhead"]["p50"] >= max(part["p50"] for part in parts)
    assert stages["overhead"]["p50"] <= sum(part["p95"] for part in parts)
    assert stages["network"]["p50"] > 0.0
    assert result["memory_mib"][-1][0] == 11 and result["memory_mib"][-1][1] > 50.0
    assert "overhead" in capsys.readouterr().out


@pytest.mark.node
def test_the_replay_is_measured_beside_a_bare_camera(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    bag, path = tmp_path / "bag", tmp_path / "result.json"
    assert main(["synthetic", "bag", "--out", str(bag), "--seconds", "1", "--size", "160x120"]) == 0
    arguments = ["bench", "replay", str(bag), "--frames", "8", "--rounds", "1", "--rate", "0.5"]
    assert main([*arguments, "--device", "cpu", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["frames"] == 8
    (bare,), (replayed,) = (result["response_p50_ms"][name] for name in ("bare", "replay"))
    assert bare > 1.0 and replayed > 1.0
    assert result["added_p50_ms"] == pytest.approx(replayed - bare, abs=0.011)
    assert "the replay adds" in capsys.readouterr().out
