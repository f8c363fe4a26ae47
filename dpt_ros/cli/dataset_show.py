"""`dpt-ros dataset show`: the sources of a data set, what they hold and what was rejected."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from dpt_ros.cli.numbers import counted


def run(options: argparse.Namespace) -> int:
    """Print a data set's sources; always 0."""
    from dpt_ros.bags.dataset import Dataset
    from dpt_ros.cli.result_files import check_files, json_of, write_json

    check_files(options, {"json": json_of("dataset_show")})
    dataset = Dataset(options.dataset)
    kind = "dense" if dataset.dense else "sparse"
    sources = counted(len(dataset.sources), "source")
    print(f"{counted(len(dataset), 'sample')}, {kind} depth, {sources}")
    for name, info in sorted(dataset.sources.items()):
        print_source(name, info)
    if not dataset.sources:
        print(
            f"nothing was finished in {dataset.folder}: `dpt-ros dataset build BAG --out "
            f"{dataset.folder}` makes sources of bags, and tells why one cannot be made"
        )
    if options.json:
        write_json(
            options.json,
            "dataset_show",
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
    print(f"{name}: {counted(info['samples'], 'sample')}")
    for reason, count in info.get("rejected", {}).items():
        example = info.get("examples", {}).get(reason)
        print(f"  rejected {count}: {reason}" + (f" (such as: {example})" if example else ""))
    for warning in info.get("warnings", ()):
        print(f"  warning: {warning}")
