"""Freed memory stays with a process that runs a network."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from dpt_ros.inference.freed_memory import keep_freed_memory

if sys.argv[1] == "tuned":
    assert keep_freed_memory()

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

before = resident_mib()
blocks = [np.ones(int(sys.argv[2]) * 2**20, np.uint8) for _ in range(int(sys.argv[3]))]
del blocks
print(resident_mib() - before)
"""


def kept_mib(how: str, block_mib: int, blocks: int) -> float:
    command = [sys.executable, "-c", SCRIPT, how, str(block_mib), str(blocks)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return float(result.stdout)


NAME, VERSION = platform.libc_ver()


@pytest.mark.skipif(NAME != "glibc", reason="another C library than glibc")
@pytest.mark.parametrize(("block_mib", "blocks"), [(1, 100), (40, 2)])
def test_freed_memory_stays_with_the_process(block_mib: int, blocks: int) -> None:
    if block_mib > 32 and tuple(map(int, VERSION.split("."))) < (2, 35):
        pytest.skip("glibc keeps no larger blocks than 32 MiB before 2.35")
    assert kept_mib("as it is", block_mib, blocks) < 10.0
    assert kept_mib("tuned", block_mib, blocks) > 0.9 * block_mib * blocks
