"""A float32 network is not rounded, whatever the program around it has allowed torch to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from dpt_ros.inference.device import full_float32

# The settings hold for a process, and torch 2.9's make the older ones raise: each has its own.
_SCRIPT = """
import json, sys, torch
from dpt_ros.inference.device import full_float32
b = torch.backends
operations = (b.cudnn.conv, b.cuda.matmul, b.mkldnn.conv, b.mkldnn.matmul)
state = lambda: [operation.fp32_precision for operation in operations]
exec(sys.argv[1])
before = state()
seen = []
for device in ("cpu", "cuda", "cuda"):
    with full_float32(torch.device(device), torch.float32):
        seen.append(state())
print(json.dumps({"before": before, "seen": seen, "after": state()}))
"""


@pytest.mark.skipif(
    not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9 has one set of names"
)
@pytest.mark.parametrize(
    "setting",
    [
        "torch.set_float32_matmul_precision('high')",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    ],
)
def test_what_a_program_allows_does_not_round_the_network(setting: str):
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT, setting], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    states = json.loads(result.stdout)
    on_cpu, *on_gpu = states["seen"]
    assert set(on_cpu[2:]) <= {"ieee", "none"}  # of mkldnn, which computes on a CPU
    for seen in on_gpu:
        assert set(seen[:2]) <= {"ieee", "none"}
    assert states["after"] == states["before"]


def test_products_are_exact_for_a_while():
    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with full_float32(torch.device("cpu"), torch.float32):
            assert torch.get_float32_matmul_precision() == "highest"
        with full_float32(torch.device("cpu"), torch.bfloat16):
            assert torch.get_float32_matmul_precision() == "medium"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(kept)
