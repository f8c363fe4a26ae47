"""What the node's process is told about memory and threads before anything large is loaded."""

from __future__ import annotations

import ctypes
import os
import sys

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 256 * 2**20
_LARGEST_BLOCK = 32 * 2**20
"""The most that glibc takes for M_MMAP_THRESHOLD."""

WORKER_THREAD, LOADER_THREAD = "dpt_worker", "dpt_loader"
"""How the names of the threads begin that run and that load the network."""

SWITCH_INTERVAL_S = 0.0001
SPIN_COUNT = "10000"


def keep_freed_memory() -> bool:
    """Let malloc keep up to 256 MiB of freed memory, in one arena.

    By default glibc gives the network's intermediate results and the messages back to the system
    after every frame, and takes them anew, zeroed page by page, for the next: 2,000 page faults
    a frame.

    Returns:
        Whether it was done; not with another C library than glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    values = {
        _M_TRIM_THRESHOLD: _KEPT_BYTES,
        _M_MMAP_THRESHOLD: _LARGEST_BLOCK,
        _M_ARENA_MAX: 1,
    }
    return all(mallopt(name, value) == 1 for name, value in values.items())


def switch_threads_soon() -> None:
    """Let the worker start on an image while the executor still tidies up: after 0.1, not 5 ms."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def spin_briefly() -> None:
    """Let torch's threads wait for the next operation for 0.2 ms before they sleep.

    GNU OpenMP's default is 5 ms of waiting, which keeps the other cores from those who receive what
    is published after the network has run; much less, and waking them costs more than the
    operations of a small network. To be called before torch is imported; what the user set stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
