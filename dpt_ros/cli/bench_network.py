"""Times the network beside other implementations of it, each round in turn."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

_MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
_WARM_UP = 2


@dataclasses.dataclass
class Contestant:
    """One implementation in one precision; `call` runs it once, without waiting for the device."""

    name: str
    precision: str
    call: Callable[[], Any]
    seconds: list[float] = dataclasses.field(default_factory=list)
    weights_mib: float = 0.0
    memory_mib: float | None = None
    """Device memory of its weights and of what a call needs at most; None on the CPU."""


def run(options: argparse.Namespace) -> int:
    """Time every model and print a table; always 0."""
    from dpt_ros.cli.result_files import write_json
    from dpt_ros.inference.device import choose_device

    device = torch.device(choose_device(options.device)[0])
    rates: dict[str, list[float]] = {}
    rows: list[dict[str, Any]] = []
    for structure in options.models:
        contestants = _contestants(structure, device, options)
        flops = _count_flops(structure, options.size)
        measured = _time(contestants, device, options.rounds)
        for dtype, values in measured.items():
            rates.setdefault(dtype, []).extend(values)
        base = _isl_org_float32(contestants)
        rows += [_row(structure, c, base, flops, measured[c.precision]) for c in contestants]
        _print(rows, structure)
        del contestants
    for dtype, values in rates.items():
        low, middle, high = (f"{v / 1e12:.3f}" for v in _spread(values))
        print(
            f"matrix-product rate of this machine in {dtype}: median {middle} TFLOP/s, "
            f"{low} to {high} over the rounds"
        )
    if options.json:
        write_json(options.json, "bench_network", {"matrix_flops": rates, "rows": rows})
    return 0


class MatrixProduct:
    """A large square matrix product, to measure what the machine can do at the moment."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._side = _MATRIX_SIDE[device.type]
        self._a = torch.randn(self._side, self._side, device=device).to(dtype)
        self._b = torch.randn(self._side, self._side, device=device).to(dtype)
        self._out = torch.empty_like(self._a)

    def rate(self) -> float:
        """FLOP/s now: the best of three."""
        call = lambda: torch.mm(self._a, self._b, out=self._out)  # noqa: E731
        return 2.0 * self._side**3 / min(_seconds(call, self._device) for _ in range(3))


def _spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def _contestants(
    structure: str, device: torch.device, options: argparse.Namespace
) -> list[Contestant]:
    from dpt_ros.cli.references import hugging_face, isl_org
    from dpt_ros.model.configurations import get_configuration

    width, height = options.size
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    result: list[Contestant] = []
    for precision in options.precisions:
        result += _ours(structure, x, precision, options)
    # The references in the precisions that ours were run in, and in float32.
    precisions = list(dict.fromkeys([*(c.precision for c in result), "float32"]))
    if device.type == "cpu":
        precisions = ["float32"]
    builders: list[tuple[str, Callable[[], Any]]] = []
    if options.isl_org:
        builders.append(("isl-org", lambda: isl_org(options.isl_org, structure)))
    if options.transformers:
        builders.append(("transformers", lambda: hugging_face(get_configuration(structure))))
    for name, build in builders:
        for precision in precisions:
            before_mib = _allocated_mib(device)
            model = build()
            if model is not None:
                dtype = getattr(torch, precision)
                layout = _reference_layout(device)
                model = model.to(device=device, dtype=dtype, memory_format=layout)
                typed = x.to(dtype, memory_format=layout)
                weights_mib = _allocated_mib(device) - before_mib
                call = lambda m=model, t=typed: m(t)  # noqa: E731
                result.append(Contestant(name, precision, call, weights_mib=weights_mib))
    return result


def _reference_layout(device: torch.device) -> torch.memory_format:
    """How a reference's images lie in memory: as isl-org's run_monodepth.py has them."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _ours(
    structure: str, x: torch.Tensor, precision: str, options: argparse.Namespace
) -> list[Contestant]:
    from dpt_ros.inference import DepthPredictor
    from dpt_ros.model import create_model

    result = []
    for compiled in [False, True] if options.compile else [False]:
        before_mib = _allocated_mib(x.device)
        predictor = DepthPredictor(
            create_model(structure), device=str(x.device), precision=precision, compile=compiled
        )
        name = "dpt_ros, compiled" if compiled else "dpt_ros"
        call = lambda p=predictor: p.run_network(x)  # noqa: E731
        weights_mib = _allocated_mib(x.device) - before_mib
        result.append(Contestant(name, predictor.precision, call, weights_mib=weights_mib))
    return result


def _count_flops(structure: str, size: tuple[int, int]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    from dpt_ros.model import create_model

    with torch.device("meta"):
        model = create_model(structure).eval()
        x = torch.empty(1, 3, size[1], size[0])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return int(counter.get_total_flops())


@torch.inference_mode()
def _time(
    contestants: list[Contestant], device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Time each in turn; returns each round's matrix-product rate, of every precision in use.

    The rate is taken in the rounds, as machines change their pace from one minute to the next.
    """
    from dpt_ros.cli.progress import progress

    precisions = dict.fromkeys(contestant.precision for contestant in contestants)

    for contestant in contestants:
        before_mib = _allocated_mib(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for _ in range(_WARM_UP):
            _seconds(contestant.call, device)
        if device.type == "cuda":
            peak_mib = torch.cuda.max_memory_allocated(device) / 2**20
            contestant.memory_mib = contestant.weights_mib + peak_mib - before_mib
    products = {name: MatrixProduct(device, getattr(torch, name)) for name in precisions}
    rates: dict[str, list[float]] = {name: [] for name in precisions}
    for _ in progress(range(rounds), unit="round", leave=False):
        for contestant in contestants:
            contestant.seconds.append(_seconds(contestant.call, device))
        for name, product in products.items():
            rates[name].append(product.rate())
    return rates


def _allocated_mib(device: torch.device) -> float:
    return torch.cuda.memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _isl_org_float32(contestants: list[Contestant]) -> Contestant | None:
    """Beside whom all are put, if he is there."""
    return next((c for c in contestants if (c.name, c.precision) == ("isl-org", "float32")), None)


def _row(
    structure: str,
    contestant: Contestant,
    base: Contestant | None,
    flops: int,
    rates: list[float],
) -> dict[str, Any]:
    p50 = statistics.median(contestant.seconds)
    ordered = sorted(contestant.seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return {
        "model": structure,
        "implementation": contestant.name,
        "precision": contestant.precision,
        "p50_ms": 1e3 * p50,
        "p95_ms": 1e3 * p95,
        # Each run beside the rate, and the run of isl-org, of its own round.
        "share_of_matrix_rate": statistics.median(
            flops / seconds / rate for seconds, rate in zip(contestant.seconds, rates, strict=True)
        ),
        "times_isl_org_float32": None
        if base is None
        else statistics.median(
            reference / seconds
            for reference, seconds in zip(base.seconds, contestant.seconds, strict=True)
        ),
        "memory_mib": contestant.memory_mib,
    }


def _print(rows: list[dict[str, Any]], structure: str) -> None:
    print(
        f"{structure:<12}{'':<20}{'p50 ms':>10}{'p95 ms':>10}{'of matrix rate':>16}"
        f"{'x isl-org fp32':>16}{'MiB':>9}"
    )
    for row in (row for row in rows if row["model"] == structure):
        ratio, memory = row["times_isl_org_float32"], row["memory_mib"]
        print(
            f"  {row['implementation']:<18}{row['precision']:<12}{row['p50_ms']:>10.1f}"
            f"{row['p95_ms']:>10.1f}{100 * row['share_of_matrix_rate']:>15.0f}%"
            f"{'-' if ratio is None else format(ratio, '.2f'):>16}"
            f"{'-' if memory is None else format(memory, '.0f'):>9}"
        )
