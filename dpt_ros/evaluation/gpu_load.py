"""How busy the GPU is that a process computes on.

NVIDIA's management library tells it; of the GPU inside a Jetson board the kernel does, in
thousandths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pynvml

JETSON_GPUS = ("gpu", "ga10b", "gv11b", "gp10b")
"""How the kernel names the GPU inside a Jetson board, after its address: 17000000.ga10b."""


class GpuUse(NamedTuple):
    """One look at a GPU; what its driver does not tell is None.

    `percent` is how long it was busy, `memory_mib` what is taken, both by all processes together;
    `own_memory_mib` is what the process in question takes.
    """

    name: str
    percent: float | None
    memory_mib: float | None
    own_memory_mib: float | None


class GpuLoad:
    """Looks at the GPU of a process.

    With several GPUs it is the one that lists the process; a container hides that, for the driver
    knows the process by another number there.

    Args:
        pid: of the process.
        sys: where the kernel's own files are.

    Attributes:
        missing: why there is nothing to see, or empty.
    """

    def __init__(self, pid: int, sys: Path = Path("/sys")) -> None:
        self._pid = pid
        loads = (sys / "class" / "devfreq").glob("*/device/load")
        self._jetson = next((f for f in loads if f.parts[-3].split(".")[-1] in JETSON_GPUS), None)
        self._count = 0
        self.missing = ""
        if self._jetson is not None:
            return
        try:
            pynvml.nvmlInit()
            self._count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self.missing = f"none: no NVIDIA driver answers ({error})"
            return
        if not self._count:
            self.missing = "none: the NVIDIA driver knows no GPU"

    def look(self) -> GpuUse | None:
        """The GPU now; None where nothing is known of it, or not which of several it is."""
        if self._jetson is not None:
            return self._look_at_jetson(self._jetson)
        try:
            return self._look_at_devices()
        except pynvml.NVMLError as error:
            self.missing = f"not known: the NVIDIA driver gives no answer ({error})"
            return None

    def close(self) -> None:
        """Let the library go."""
        if self._count:
            self._count = 0
            pynvml.nvmlShutdown()

    def _look_at_devices(self) -> GpuUse | None:
        for index in range(self._count):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            running = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
            own = next((process for process in running if process.pid == self._pid), None)
            if own is not None or self._count == 1:
                name = pynvml.nvmlDeviceGetName(device)
                own_bytes = None if own is None else own.usedGpuMemory
                return GpuUse(name, _percent(device), _memory_mib(device), _mib(own_bytes))
        if self._count > 1:
            self.missing = f"not known: none of {self._count} GPUs lists process {self._pid}"
        return None

    def _look_at_jetson(self, file: Path) -> GpuUse | None:
        try:
            return GpuUse("Jetson", int(file.read_text()) / 10.0, None, None)
        except (OSError, ValueError) as error:
            self.missing = f"not known: {file} cannot be read ({error})"
            return None


def _percent(device: Any) -> float | None:
    try:
        return float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)
    except pynvml.NVMLError_NotSupported:  # a part of a GPU (MIG) has no figure of its own
        return None


def _memory_mib(device: Any) -> float | None:
    try:
        return _mib(pynvml.nvmlDeviceGetMemoryInfo(device).used)
    except pynvml.NVMLError_NotSupported:  # it shares the computer's memory
        return None


def _mib(count: int | None) -> float | None:
    return None if count is None else count / 2**20
