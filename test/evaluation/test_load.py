"""What a process costs, as seen from outside. The GPU's library is a stand-in: CI has no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from dpt_ros.evaluation.gpu_load import GpuLoad, GpuUse
from dpt_ros.evaluation.load import LoadMonitor

MIB = 2**20
BUSY = "import time\nmemory = bytearray(200 * 2**20)\nend = time.monotonic() + 5\n"
BUSY += "while time.monotonic() < end: pass"


class Driver:
    """Two GPUs, of which the second computes for process 77."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 2) -> None:
        self.processes = {0: {}, 1: {77: 300 * MIB}}
        self.open = 0
        self.count = count
        for name in ("Init", "Shutdown", "DeviceGetCount", "DeviceGetHandleByIndex"):
            monkeypatch.setattr(pynvml, f"nvml{name}", getattr(self, name))
        for name in ("Name", "ComputeRunningProcesses", "UtilizationRates", "MemoryInfo"):
            monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", getattr(self, name))

    def Init(self) -> None:
        self.open += 1

    def Shutdown(self) -> None:
        self.open -= 1

    def DeviceGetCount(self) -> int:
        return self.count

    def DeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def Name(self, device: int) -> str:
        return f"GPU number {device}"

    def ComputeRunningProcesses(self, device: int) -> list[SimpleNamespace]:
        listed = self.processes[device].items()
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in listed]

    def UtilizationRates(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=10 + 50 * device)

    def MemoryInfo(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(used=(device + 1) * 500 * MIB)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


def test_cpu_and_memory_of_a_process_that_computes() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        with LoadMonitor(process.pid) as load:
            time.sleep(2.0)
        process.kill()
    summary = load.summary()
    assert 2.0 < summary["cpu_percent"]["max"] <= 110.0  # one thread, on a machine that is shared
    assert 200.0 < summary["memory_mib"]["max"] < 300.0
    assert summary["cpu_percent"]["mean"] <= summary["cpu_percent"]["max"]


def test_a_process_that_ends_while_it_is_watched() -> None:
    short = "import time; time.sleep(0.7)"
    with (
        subprocess.Popen([sys.executable, "-c", short]) as process,
        LoadMonitor(process.pid) as load,
    ):
        process.wait()
        time.sleep(0.6)
    assert load.summary()["memory_mib"]["mean"] > 0.0


def test_the_gpu_that_the_process_is_on_is_the_one_told(driver: Driver) -> None:
    assert GpuLoad(77).look() == GpuUse("GPU number 1", 60.0, 1000.0, 300.0)


def test_a_process_that_no_gpu_lists(driver: Driver) -> None:
    gpu = GpuLoad(5)
    assert gpu.look() is None
    assert gpu.missing == "not known: none of 2 GPUs lists process 5"


def test_an_only_gpu_is_told_where_a_container_hides_the_process(driver: Driver) -> None:
    driver.count = 1
    assert GpuLoad(77).look() == GpuUse("GPU number 0", 10.0, 500.0, None)


def test_what_a_gpu_does_not_tell_is_not_made_up(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_supported(device: int) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", not_supported)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", not_supported)
    driver.processes[1] = {77: None}
    assert GpuLoad(77).look() == GpuUse("GPU number 1", None, None, None)


def test_a_driver_that_fails_is_named(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(index: int) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lost)
    gpu = GpuLoad(77)
    assert gpu.look() is None
    assert gpu.missing == "not known: the NVIDIA driver gives no answer (GPU is lost)"


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_library)
    gpu = GpuLoad(77)
    assert gpu.look() is None
    assert gpu.missing == "none: no NVIDIA driver answers (NVML Shared Library Not Found)"
    gpu.close()


def test_the_gpu_inside_a_jetson(tmp_path: Path) -> None:
    for name, load in (("15340000.vic", "900"), ("17000000.ga10b", "437")):
        folder = tmp_path / "class" / "devfreq" / name / "device"
        folder.mkdir(parents=True)
        (folder / "load").write_text(f"{load}\n")
    assert GpuLoad(77, sys=tmp_path).look() == GpuUse("Jetson", 43.7, None, None)
    (tmp_path / "class/devfreq/17000000.ga10b/device/load").write_text("busy\n")
    gpu = GpuLoad(77, sys=tmp_path)
    assert gpu.look() is None
    assert "ga10b" in gpu.missing


def test_the_summary_has_the_gpu_and_lets_the_library_go(driver: Driver) -> None:
    driver.processes[1] = {os.getpid(): 300 * MIB}
    with LoadMonitor(os.getpid()) as load:
        time.sleep(0.7)
        assert driver.open == 1
    assert driver.open == 0
    assert load.summary()["gpu"] == {
        "name": "GPU number 1",
        "percent": {"mean": 60.0, "max": 60.0},
        "memory_mib": {"mean": 1000.0, "max": 1000.0},
        "own_memory_mib": {"mean": 300.0, "max": 300.0},
    }
