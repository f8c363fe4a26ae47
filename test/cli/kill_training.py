"""Runs `dpt-ros train` to its end, and again killed by SIGKILL at five random moments.

    python kill_training.py SEED train DATASET ...

A process that has loaded everything and begun nothing is forked for each attempt, so that the
attempts do not spend their time on loading. The runs are in the folders `whole` and `killed`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import accelerate  # noqa: F401  loaded before the forks, as all of these
import cv2  # noqa: F401
import matplotlib.figure  # noqa: F401
import torch
import torch.utils.tensorboard
import tqdm  # noqa: F401

import dpt_ros.training.run  # noqa: F401
from dpt_ros.cli.main import main

MOMENTS = 5
KILLED = Path("killed")


def begin(words: list[str], folder: Path) -> int:
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        os._exit(main([*words, "--out", str(folder)]))
    return child


def run(seed: int, words: list[str]) -> int:
    began = time.monotonic()
    if status := os.waitpid(begin(words, Path("whole")), 0)[1]:
        return os.waitstatus_to_exitcode(status)
    lasted_s = time.monotonic() - began
    moments = random.Random(seed)
    for _ in range(MOMENTS):
        child = begin(words, KILLED)
        time.sleep(moments.uniform(0.0, lasted_s / MOMENTS))
        os.kill(child, signal.SIGKILL)
        is_killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        left = sorted(path.name for path in KILLED.glob("checkpoints/*"))
        print("killed" if is_killed else "ended", ", ".join(left), flush=True)
    return os.waitstatus_to_exitcode(os.waitpid(begin(words, KILLED), 0)[1])


if __name__ == "__main__":
    print("seed", sys.argv[1], flush=True)
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
