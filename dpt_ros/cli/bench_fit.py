"""How long it takes to fit scale and shift to many points, and how exact that is."""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

SCALE, SHIFT = 0.37, 0.05
NOISE, OUTLIERS = 0.02, 0.3
_FARTHEST = 0.02  # 1/m


def run(options: argparse.Namespace) -> int:
    """Fit points of a known scale and shift by every method asked for; always 0."""
    from dpt_ros.cli.result_files import write_json
    from dpt_ros.geometry.scale_shift import fit_scale_shift

    x, y = points(options.points)
    valid = torch.ones(x.shape, dtype=torch.bool)
    rows = []
    for method in options.methods:
        seconds = []
        for _ in range(options.rounds):
            start_s = time.perf_counter()
            pair = fit_scale_shift(x, y, valid, method=method)
            seconds.append(time.perf_counter() - start_s)
        rows.append(
            {
                "method": method,
                "best_s": round(min(seconds), 4),
                "p50_s": round(statistics.median(seconds), 4),
                "scale_error": abs(pair.scale / SCALE - 1.0),
                "shift_error": abs(pair.shift - SHIFT) / (1.0 - _FARTHEST),
            }
        )
    print(
        f"{options.points} points, {NOISE:.0%} noise, {OUTLIERS:.0%} outliers, "
        f"{torch.get_num_threads()} threads; errors of scale, and of shift by the truth's spread"
    )
    print(f"{'method':<15}{'best s':>9}{'p50 s':>9}{'scale':>9}{'shift':>9}")
    for row in rows:
        print(
            f"{row['method']:<15}{row['best_s']:>9.3f}{row['p50_s']:>9.3f}"
            f"{row['scale_error']:>9.2%}{row['shift_error']:>9.2%}"
        )
    if options.json:
        write_json(options.json, "bench_fit", {"rows": rows})
    return 0


def points(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse depth with noise, and its truth with outliers that are too near: float32 [N] each."""
    generator = np.random.default_rng(0)
    truth = generator.uniform(_FARTHEST, 1.0, count)
    said = (truth - SHIFT) / SCALE * (1.0 + NOISE * generator.normal(size=count))
    wrong = generator.random(count) < OUTLIERS
    truth[wrong] += generator.random(np.count_nonzero(wrong)) * (1.0 - _FARTHEST)
    return torch.from_numpy(said).float(), torch.from_numpy(truth).float()
