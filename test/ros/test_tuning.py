"""What the node's process is told about threads, and that it keeps to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dpt_ros.ros.tuning import SWITCH_INTERVAL_S, spin_briefly, switch_threads_soon


def test_threads_are_switched_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(sys, "setswitchinterval", told.append)
    switch_threads_soon()
    assert told == [SWITCH_INTERVAL_S]
    assert SWITCH_INTERVAL_S < 0.001


_LOAD = """
import os, sys, time
import torch
from dpt_ros.ros.network import Network
from dpt_ros.ros.settings import NodeSettings

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
network = Network.load(NodeSettings(model="dpt_tiny", checkpoint=sys.argv[1], device="cpu"))
end_s = time.monotonic() + 10.0  # the team takes a moment to go
while (loaded := threads()) > before and time.monotonic() < end_s:
    time.sleep(0.01)
network.predictor.run_network(torch.zeros(1, 3, 96, 128))
print(before, loaded, threads())
"""


def test_loading_leaves_no_team_of_threads_behind(tiny_checkpoint: Path) -> None:
    """A second OpenMP team takes the spinning from the worker's, and a frame 1.6 times as long."""
    command = [sys.executable, "-c", _LOAD, str(tiny_checkpoint)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    before, loaded, ran = map(int, result.stdout.split())
    assert loaded == before
    assert ran > before  # else the threads were not seen at all


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "5"}, "5"),
        ({"OMP_WAIT_POLICY": "passive"}, None),
    ],
)
def test_threads_spin_briefly_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str | None
) -> None:
    monkeypatch.setattr(os, "environ", dict(given))
    spin_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
