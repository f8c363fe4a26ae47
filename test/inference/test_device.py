"""Which device and precision are chosen, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dpt_ros.inference import device as device_module
from dpt_ros.inference.device import choose_device, choose_precision, cpu_bfloat16_flag

CPU = torch.device("cpu")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")


@no_gpu
def test_auto_without_a_gpu_is_the_cpu_and_says_why():
    device, reason = choose_device("auto")

    assert device == "cpu"
    assert "GPU" in reason


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
    ("flag", "expected"), [("amx_bf16", "bfloat16"), ("avx512_bf16", "bfloat16"), ("", "float32")]
)
def test_auto_precision_on_a_cpu(monkeypatch: pytest.MonkeyPatch, flag: str, expected: str):
    monkeypatch.setattr(device_module, "cpu_bfloat16_flag", lambda: flag)
    precision, reason = choose_precision("auto", CPU)

    assert precision == expected
    assert (flag or "none of amx_bf16, avx512_bf16") in reason


def test_auto_precision_on_a_gpu():
    assert choose_precision("auto", torch.device("cuda"))[0] == "float16"


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
