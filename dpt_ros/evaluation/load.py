"""What a process costs while it runs: CPU, memory and GPU, looked at from outside."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from types import TracebackType
from typing import Any

import psutil

PERIOD_S = 0.5
_GPU_EVERY = 4
_QUERY = ("--query-gpu=name,utilization.gpu,memory.used", "--format=csv,noheader,nounits")


class LoadMonitor:
    """Looks at a process twice a second while used as a context manager.

    Args:
        pid: of the process.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="load", daemon=True)
        self._cpu_percent: list[float] = []
        self._memory_mib: list[float] = []
        self._gpu: list[tuple[float, float]] = []
        self._gpu_name = ""
        self._no_gpu = ""

    def __enter__(self) -> LoadMonitor:
        self._thread.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if not self._cpu_percent:  # it was shorter than a period
            with contextlib.suppress(psutil.Error):
                self._sample()

    def summary(self) -> dict[str, Any]:
        """Mean and greatest CPU (100 is one core), memory in MiB, the GPU, or why there is none."""
        return {
            "cpu_percent": _mean_and_max(self._cpu_percent),
            "memory_mib": _mean_and_max(self._memory_mib),
            "gpu": {
                "name": self._gpu_name,
                "percent": _mean_and_max([percent for percent, _ in self._gpu]),
                "memory_mib": _mean_and_max([memory for _, memory in self._gpu]),
            }
            if self._gpu
            else self._no_gpu or "none seen",
        }

    def _watch(self) -> None:
        count = 0
        try:
            self._process.cpu_percent()  # the first call begins the first period
            while not self._stopping.wait(PERIOD_S):
                self._sample()
                if count % _GPU_EVERY == 0:
                    self._look_at_gpu()
                count += 1
        except psutil.Error:
            return  # the process has ended

    def _sample(self) -> None:
        self._cpu_percent.append(self._process.cpu_percent())
        self._memory_mib.append(self._process.memory_info().rss / 2**20)

    def _look_at_gpu(self) -> None:
        if self._no_gpu:
            return
        program = shutil.which("nvidia-smi")
        if program is None:
            self._no_gpu = "none: there is no nvidia-smi on this machine"
            return
        try:
            answer = subprocess.run(
                [program, *_QUERY], capture_output=True, text=True, timeout=10.0, check=True
            )
            name, percent, memory = answer.stdout.splitlines()[0].rsplit(",", 2)
            self._gpu.append((float(percent), float(memory)))
            self._gpu_name = name.strip()
        except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
            self._no_gpu = f"none: nvidia-smi does not answer ({error})"


def _mean_and_max(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"mean": round(sum(values) / len(values), 1), "max": round(max(values), 1)}
