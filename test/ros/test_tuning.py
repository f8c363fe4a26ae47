"""The node's process keeps freed memory for its next frame, and hands over between threads soon."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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
