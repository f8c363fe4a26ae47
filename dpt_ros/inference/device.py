"""Which device and which number format the network gets, and why."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dpt_ros.inference.settings import PRECISIONS

_AMX = "amx_bf16"
_BFLOAT16_FLAGS = (_AMX, "avx512_bf16")
_WORTHWHILE = 1.2
"""Times as fast that bfloat16 products must be: the rest of a network gains less."""
_PRODUCT_SIZE, _PRODUCT_REPEATS = 768, 5


def choose_device(device: str | torch.device) -> tuple[str, str]:
    """Resolve "auto", "cpu", "cuda" or "cuda:N", or such a torch.device.

    Returns:
        the device and the reason for it, in words.

    Raises:
        ValueError: something else, or a GPU that is asked for and can't be used.
    """
    device = str(device)
    if device == "auto":
        obstacle = _why_no_cuda(0)
        return ("cpu", obstacle) if obstacle else ("cuda", f"{_gpu_name(0)} is there")
    if device == "cpu":
        return device, "asked for"
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise ValueError(f"device: got {device!r}, expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    index = int(match[1] or 0)
    if obstacle := _why_no_cuda(index):
        raise ValueError(f"device: got {device!r}, but {obstacle}; use 'auto' or 'cpu'")
    return device, f"asked for: {_gpu_name(index)}"


def choose_precision(precision: str, device: torch.device) -> tuple[str, str]:
    """Resolve "auto", "float32", "float16" or "bfloat16" for a device.

    Returns:
        the name of the torch dtype and the reason for it, in words.

    Raises:
        ValueError: something else, or a format that the device computes slowly or not at all.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: got {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        if precision == "auto":
            return "float16", "a GPU computes fastest with it"
        if precision == "bfloat16" and not _computes_bfloat16(device):
            raise ValueError(
                f"precision: got 'bfloat16', which {_gpu_name(device.index or 0)} can't compute "
                "with; use 'float16'"
            )
        return precision, "asked for"
    flag = cpu_bfloat16_flag()
    if precision == "auto":
        if not flag:
            return "float32", f"this CPU has none of {', '.join(_BFLOAT16_FLAGS)}"
        if flag == _AMX or bfloat16_speedup() >= _WORTHWHILE:
            return "bfloat16", f"this CPU computes with it ({flag})"
        return "float32", f"this CPU has {flag}, but is no faster with it, as measured just now"
    if precision == "float16":
        raise ValueError(
            "precision: got 'float16' on a CPU, where it is slower than 'float32'; use 'auto', "
            "'float32' or 'bfloat16'"
        )
    if precision == "bfloat16" and not flag:
        return precision, "asked for; slow, since this CPU only emulates it"
    return precision, "asked for"


def cpu_bfloat16_flag(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU flag that says bfloat16 products are computed in hardware; "" if there is none."""
    try:
        text = cpu_info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    line = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    flags = line[1].split() if line else []
    return next((flag for flag in _BFLOAT16_FLAGS if flag in flags), "")


@functools.cache
def bfloat16_speedup() -> float:
    """How many times as fast this CPU's matrix products are in bfloat16 as in float32.

    Measured once in a process, within a tenth of a second. The flag alone does not tell: with
    avx512_bf16, an AMD Zen 4 is 2.2 times as fast, an Intel Sapphire Rapids without its AMX takes
    twice the time.
    """
    factors = [
        torch.ones(_PRODUCT_SIZE, _PRODUCT_SIZE, device="cpu", dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    fastest_s = [float("inf"), float("inf")]
    with torch.inference_mode():
        for _ in range(1 + _PRODUCT_REPEATS):  # the first is slow, and loses against the others
            for place, factor in enumerate(factors):
                began_s = time.perf_counter()
                torch.mm(factor, factor)
                fastest_s[place] = min(fastest_s[place], time.perf_counter() - began_s)
    return fastest_s[0] / fastest_s[1]


def rounds_float32(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch would round the network's float32 to TF32, with 10 bits in place of 23."""
    return device.type == "cuda" and dtype == torch.float32


@contextlib.contextmanager
def full_float32(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Keep a float32 network's products and convolutions from rounding, whatever is set elsewhere.

    By default cuDNN's convolutions are the only ones that do. A program around us may have allowed
    more, with `torch.set_float32_matmul_precision` or torch 2.9's `fp32_precision`.
    """
    if dtype != torch.float32:
        yield
        return
    with contextlib.ExitStack() as stack:
        if _is_set_by_operation():
            stack.enter_context(_each_operation_exact())
        else:
            stack.enter_context(_exact_products())
            if rounds_float32(device, dtype):
                kept = dict.fromkeys(("enabled", "benchmark", "benchmark_limit", "deterministic"))
                # None leaves a flag as it is.
                stack.enter_context(torch.backends.cudnn.flags(**kept, allow_tf32=False))
        yield


def _is_set_by_operation() -> bool:
    """Whether this process uses torch 2.9's names, after which the older ones raise."""
    if not hasattr(torch.backends, "fp32_precision"):
        return False
    try:
        torch.get_float32_matmul_precision()
        _ = torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return True
    return bool(torch.backends.fp32_precision != "none")


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    kept = torch.get_float32_matmul_precision()
    if kept == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(kept)


@contextlib.contextmanager
def _each_operation_exact() -> Iterator[None]:
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    operations = (cudnn.conv, cudnn.rnn, backends.cuda.matmul, mkldnn.conv, mkldnn.matmul)
    kept = [operation.fp32_precision for operation in operations]
    try:
        for operation in operations:
            operation.fp32_precision = "ieee"
        yield
    finally:
        for operation, precision in zip(operations, kept, strict=True):
            operation.fp32_precision = precision


def free_cached_memory() -> None:
    """Give the memory back that torch's allocators hold on GPUs for no tensor.

    Without effect where there is no GPU, and on one that fails: what made it fail is told already.
    """
    with contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()


def _computes_bfloat16(device: torch.device) -> bool:
    """Whether a GPU does so itself; torch emulates it on others, several times slower."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _why_no_cuda(index: int) -> str:
    """Why GPU number `index` can't be used; "" if it can."""
    if torch.version.cuda is None and torch.version.hip is None:
        return "this build of torch knows no GPU"
    if not torch.cuda.is_available():
        return "torch finds no GPU (is there one, and does its driver run?)"
    if index >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} GPUs, counted from 0"
    try:
        torch.zeros(1, device=f"cuda:{index}").add_(1.0).item()
    except RuntimeError as error:
        return f"{_gpu_name(index)} does not compute: {str(error).splitlines()[0]}"
    return ""


def _gpu_name(index: int) -> str:
    return torch.cuda.get_device_name(index)
