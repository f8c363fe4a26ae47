"""Records what the reference implementations say on small networks, for the tests.

    PYTHONPATH=. python test/reference/record_golden.py --isl-org ~/DPT --timm ~/timm-0.4.5 \
        --transformers ~/transformers

Folders as in compare_full_size.py; here `--timm` is needed. Weights and pictures come from
formula.py; of each output every third row and column is kept, in golden.npz: under
"<reference> <network> <readout> <height>x<width>", with the names and shapes of the reference's
weights under "<reference> <network> <readout>".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import formula
import numpy as np
import references
import torch

from dpt_ros.model.configurations import READOUTS, get_configuration

SIZES = {"isl_org": ((64, 64), (64, 96), (160, 96)), "transformers": ((64, 64),)}


def main() -> None:
    """Write golden.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isl-org", type=Path, required=True)
    parser.add_argument("--timm", type=Path, required=True)
    parser.add_argument("--transformers", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    golden: dict[str, np.ndarray] = {}
    for network, (structure, overrides) in formula.SMALL_STRUCTURES.items():
        for readout in READOUTS:
            configuration = get_configuration(structure, **overrides, readout=readout)
            authors = references.isl_org(configuration, arguments.isl_org, arguments.timm)
            golden |= record(f"isl_org {network} {readout}", authors)
            if network == "hybrid" and readout != "project":
                continue  # transformers' Hybrid has no other read
            folder = arguments.transformers
            golden |= record(
                f"transformers {network} {readout}",
                references.transformers_dpt(configuration, folder),
            )
    path = Path(__file__).with_name("golden.npz")
    np.savez_compressed(path, **golden)
    print(f"{path}: {len(golden)} entries, {path.stat().st_size} bytes")


def record(name: str, reference: torch.nn.Module) -> dict[str, np.ndarray]:
    """Its weights' shapes, and its outputs with the formula's weights."""
    shapes = {key: list(value.shape) for key, value in reference.state_dict().items()}
    reference.load_state_dict(formula.weights(shapes))
    manifest = np.frombuffer(json.dumps(shapes).encode(), dtype=np.uint8)
    entries: dict[str, np.ndarray] = {name: manifest}
    for height, width in SIZES[name.split()[0]]:
        output = reference(formula.picture(height, width))
        inverse_depth = getattr(output, "predicted_depth", output)
        entries[f"{name} {height}x{width}"] = inverse_depth[:, ::3, ::3].numpy()
    return entries


if __name__ == "__main__":
    main()
