"""Which device and precision are chosen, and why."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

from dpt_ros.inference import device as device_module
from dpt_ros.inference.device import (
    bfloat16_speedup,
    choose_device,
    choose_precision,
    cpu_bfloat16_flag,
    free_cached_memory,
    full_float32,
    rounds_float32,
)

CPU = torch.device("cpu")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")


@no_gpu
def test_auto_without_a_gpu_is_the_cpu_and_says_why():
    device, reason = choose_device("auto")

    assert device == "cpu"
    assert "GPU" in reason


def test_torchs_own_devices_are_taken():
    assert choose_device(torch.device("cpu"))[0] == "cpu"
    with pytest.raises(ValueError, match="device: got 'meta', expected 'auto', 'cpu'"):
        choose_device(torch.device("meta"))


def test_the_cpu_can_be_asked_for():
    assert choose_device("cpu") == ("cpu", "asked for")


@no_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(device: str):
    with pytest.raises(ValueError, match=f"got '{device}', but .*GPU.*use 'auto' or 'cpu'"):
        choose_device(device)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:x", "CUDA", "tpu"])
def test_unknown_devices_are_refused(device: str):
    with pytest.raises(ValueError, match=f"device: got '{device}', expected 'auto', 'cpu'"):
        choose_device(device)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
        ("fpu avx512f avx512_bf16", "avx512_bf16"),
        ("fpu avx512f avx512_vnni my_avx512_bf16", ""),
    ],
)
def test_bfloat16_hardware_is_read_from_the_flags(tmp_path: Path, flags: str, expected: str):
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(
        f"processor\t: 0\nmodel name\t: avx512_bf16?\nflags\t\t: {flags}\nbugs\t: \n"
    )

    assert cpu_bfloat16_flag(cpu_info) == expected


def test_no_cpu_info_is_no_bfloat16_hardware(tmp_path: Path):
    assert cpu_bfloat16_flag(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("flag", "speedup", "expected", "reason"),
    [
        ("amx_bf16", 0.0, "bfloat16", "computes with it (amx_bf16)"),
        ("avx512_bf16", 2.2, "bfloat16", "computes with it (avx512_bf16)"),
        ("avx512_bf16", 0.5, "float32", "has avx512_bf16, but is no faster with it"),
        ("", 2.2, "float32", "has none of amx_bf16, avx512_bf16"),
    ],
)
def test_auto_precision_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, flag: str, speedup: float, expected: str, reason: str
):
    monkeypatch.setattr(device_module, "cpu_bfloat16_flag", lambda: flag)
    monkeypatch.setattr(device_module, "bfloat16_speedup", lambda: speedup)
    precision, said = choose_precision("auto", CPU)

    assert precision == expected
    assert reason in said


def test_the_speed_of_bfloat16_is_measured_once(monkeypatch: pytest.MonkeyPatch):
    bfloat16_speedup.cache_clear()
    took_s = {torch.float32: 0.3, torch.bfloat16: 0.2}
    products: list[torch.dtype] = []
    now_s = 0.0

    def multiply(factor: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        nonlocal now_s
        now_s += took_s[factor.dtype] * (1.0 if len(products) > 1 else 9.0)
        products.append(factor.dtype)
        return factor

    monkeypatch.setattr(device_module.torch, "mm", multiply)
    monkeypatch.setattr(device_module.time, "perf_counter", lambda: now_s)

    assert bfloat16_speedup() == pytest.approx(1.5)
    assert set(products) == {torch.float32, torch.bfloat16}
    count = len(products)
    assert bfloat16_speedup() == pytest.approx(1.5)
    assert len(products) == count
    bfloat16_speedup.cache_clear()


def test_auto_precision_on_a_gpu():
    assert choose_precision("auto", torch.device("cuda"))[0] == "float16"


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_that_the_gpu_itself_does_not_compute_is_refused(
    monkeypatch: pytest.MonkeyPatch, has_it: bool
):
    asked: list[torch.device] = []

    @contextlib.contextmanager
    def current(device: torch.device):
        asked.append(device)
        yield
        asked.append(torch.device("cpu"))

    def is_supported(including_emulation: bool = True) -> bool:
        assert asked == [torch.device("cuda:1")]  # that GPU, not the process's current one
        return including_emulation or has_it

    monkeypatch.setattr(torch.cuda, "device", current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    monkeypatch.setattr(device_module, "_gpu_name", lambda index: f"GPU {index}")

    if has_it:
        assert choose_precision("bfloat16", torch.device("cuda:1"))[0] == "bfloat16"
    else:
        with pytest.raises(ValueError, match="GPU 1 can't compute with; use 'float16'"):
            choose_precision("bfloat16", torch.device("cuda:1"))


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cuda", torch.float32, True),
        ("cuda:1", torch.float32, True),
        ("cuda", torch.float16, False),
        ("cpu", torch.float32, False),
    ],
)
def test_float32_is_rounded_on_a_gpu_alone(device: str, dtype: torch.dtype, expected: bool):
    assert rounds_float32(torch.device(device), dtype) == expected


def test_full_float32_changes_one_flag_for_a_while():
    def flags() -> tuple[bool, ...]:
        cudnn = torch.backends.cudnn
        return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32

    with torch.backends.cudnn.flags(True, True, 7, True, True):
        with full_float32(torch.device("cuda"), torch.float32):
            assert flags() == (True, True, True, False)
        assert flags() == (True, True, True, True)


def test_a_gpu_that_fails_does_not_fail_again_when_memory_is_freed(
    monkeypatch: pytest.MonkeyPatch,
):
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    free_cached_memory()


def test_float16_on_a_cpu_is_refused():
    with pytest.raises(ValueError, match="'float16' on a CPU.*use 'auto', 'float32'"):
        choose_precision("float16", CPU)


def test_unknown_precisions_are_refused():
    with pytest.raises(ValueError, match="got 'half', expected one of auto, float32"):
        choose_precision("half", CPU)


def test_emulated_bfloat16_is_allowed_and_said_to_be_slow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_module, "cpu_bfloat16_flag", lambda: "")
    precision, reason = choose_precision("bfloat16", CPU)

    assert precision == "bfloat16"
    assert "slow" in reason
