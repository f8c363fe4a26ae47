"""What the node's process is told about threads before anything large is loaded."""

from __future__ import annotations

import os
import sys

WORKER_THREAD, LOADER_THREAD = "dpt_worker", "dpt_loader"
"""How the names of the threads begin that run and that load the network."""

SWITCH_INTERVAL_S = 0.0001
SPIN_COUNT = "10000"


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
