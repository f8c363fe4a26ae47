"""`dpt-ros dataset show`: the sources of a data set, what they hold and what was rejected."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run(options: argparse.Namespace) -> int:
    """Print a data set's sources; always 0."""
    from dpt_ros.bags.dataset import Dataset
    from dpt_ros.cli.options import writable

    if options.json:
        options.json = writable("json", options.json)
    dataset = Dataset(options.dataset)
    kind = "dense" if dataset.dense else "sparse"
    print(f"{len(dataset)} samples, {kind} depth, {len(dataset.sources)} sources")
    for name, info in sorted(dataset.sources.items()):
        print_source(name, info)
    if not dataset.sources:
        print(
            f"nothing was finished in {dataset.folder}: `dpt-ros dataset build BAG --out "
            f"{dataset.folder}` makes sources of bags, and tells why one cannot be made"
        )
    if options.json:
        write_json(
            Path(options.json),
            {
                "samples": len(dataset),
                "dense": dataset.dense,
                "fingerprint": dataset.fingerprint,
                "sources": dict(dataset.sources),
            },
        )
    return 0


def print_source(name: str, info: Mapping[str, Any]) -> None:
    """One source: samples, what was rejected and why, warnings."""
    print(f"{name}: {info['samples']} samples")
    for reason, count in info.get("rejected", {}).items():
        example = info.get("examples", {}).get(reason)
        print(f"  rejected {count}: {reason}" + (f" (such as: {example})" if example else ""))
    for warning in info.get("warnings", ()):
        print(f"  warning: {warning}")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a result for scripts, whole or not at all."""
    from dpt_ros.bags.dataset_format import write_atomically

    write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())
