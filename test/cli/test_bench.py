from __future__ import annotations

import argparse
import json

import pytest
import torch

from dpt_ros.cli.bench import positive, size
from dpt_ros.cli.bench_network import matrix_rate
from dpt_ros.cli.main import main


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
    rate = matrix_rate(torch.device("cpu"), torch.float32)
    assert rate == pytest.approx(2 * 2048**3 / 0.5)


def test_a_folder_that_is_no_reference_is_refused(tmp_path, capsys):
    arguments = ["bench", "network", "--models", "dpt_large", "--size", "32x32"]
    assert main([*arguments, "--device", "cpu", "--isl-org", str(tmp_path)]) == 1
    assert "no clone of isl-org/DPT" in capsys.readouterr().err


def test_sizes_and_counts_are_checked():
    assert size("640x480") == (640, 480)
    for text in ("640", "0x3", "axb", "640x"):
        with pytest.raises(argparse.ArgumentTypeError, match="WIDTHxHEIGHT"):
            size(text)
    with pytest.raises(argparse.ArgumentTypeError):
        positive("0")


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
    parts = sum(stages[name]["p50"] for name in ("receive", "decode", "post", "publish"))
    assert stages["overhead"]["p50"] == pytest.approx(parts, rel=0.5)
    assert stages["network"]["p50"] > 0.0
    assert result["memory_mib"][-1][0] == 11 and result["memory_mib"][-1][1] > 50.0
    assert "overhead" in capsys.readouterr().out
