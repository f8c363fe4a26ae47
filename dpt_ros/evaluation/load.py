"""What a process costs while it runs: CPU, memory and GPU, looked at from outside."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import psutil

from dpt_ros.evaluation.gpu_load import GpuLoad, GpuUse

PERIOD_S = 0.5


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
        self._gpu = GpuLoad(pid)
        self._gpu_uses: list[GpuUse] = []

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
        self._gpu.close()

    def summary(self) -> dict[str, Any]:
        """Mean and greatest CPU (100 is one core), memory in MiB, the GPU, or why there is none.

        Of the GPU, `percent` and `memory_mib` are of all processes on it together, and
        `own_memory_mib` of this one.
        """
        return {
            "cpu_percent": _mean_and_max(self._cpu_percent),
            "memory_mib": _mean_and_max(self._memory_mib),
            "gpu": {
                "name": self._gpu_uses[-1].name,
                "percent": _mean_and_max(use.percent for use in self._gpu_uses),
                "memory_mib": _mean_and_max(use.memory_mib for use in self._gpu_uses),
                "own_memory_mib": _mean_and_max(use.own_memory_mib for use in self._gpu_uses),
            }
            if self._gpu_uses
            else self._gpu.missing or "none seen",
        }

    def _watch(self) -> None:
        try:
            self._process.cpu_percent()  # the first call begins the first period
            while not self._stopping.wait(PERIOD_S):
                self._sample()
        except psutil.Error:
            return  # the process has ended

    def _sample(self) -> None:
        self._cpu_percent.append(self._process.cpu_percent())
        self._memory_mib.append(self._process.memory_info().rss / 2**20)
        if (use := self._gpu.look()) is not None:
            self._gpu_uses.append(use)


def _mean_and_max(values: Iterable[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": round(sum(known) / len(known), 1), "max": round(max(known), 1)}
