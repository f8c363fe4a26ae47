"""What the node's process is told about memory and threads, and that it keeps to it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from dpt_ros.ros.tuning import spin_briefly

SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from dpt_ros.ros.tuning import keep_freed_memory, switch_threads_soon

if sys.argv[1] == "tuned":
    switch_threads_soon()
    assert keep_freed_memory()

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

before = resident_mib()
blocks = [np.ones(2**20, np.uint8) for _ in range(100)]
del blocks
print(resident_mib() - before, sys.getswitchinterval())
"""


def run(how: str) -> tuple[float, float]:
    command = [sys.executable, "-c", SCRIPT, how]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    kept_mib, switch_interval_s = map(float, result.stdout.split())
    return kept_mib, switch_interval_s


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_stays_with_the_process():
    assert run("as it is")[0] < 10.0
    kept_mib, switch_interval_s = run("tuned")
    assert kept_mib > 90.0
    assert switch_interval_s < 0.001


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
