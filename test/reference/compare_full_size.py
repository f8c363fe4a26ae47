"""Compares the full-size networks with isl-org/DPT and transformers; same weights, same input.

Too large for the tests, which use small networks of the same code. To run it, in the project's
environment:

    git clone https://github.com/isl-org/DPT ~/DPT
    pip install --no-deps --target ~/timm-0.4.5 timm==0.4.5
    pip install --no-deps --target ~/transformers transformers tokenizers regex
    PYTHONPATH=. python test/reference/compare_full_size.py --isl-org ~/DPT --timm ~/timm-0.4.5 \
        --transformers ~/transformers

`--timm` may be left out: isl-org's code runs with this environment's timm too, but then its Hybrid
uses the newer formula of weight standardisation, and ours is compared with that formula.
`--transformers` without a folder takes the transformers of this environment. `--time` measures
ours and isl-org's in turns. `--double` compares in float64 instead, where what is left is not
rounding, and prints how far each implementation's float32 is from the reference's float64.
`--large-branches` takes Hybrid weights with which rounding errors grow most. Needs 8 GB of memory
and, for everything, some ten minutes.

Prints one line a comparison; exits with 1 if isl-org differs by more than 1e-5 or transformers by
more than 1e-4, relative (the larger of the Euclidean norm's and the maximum's).
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

import formula
import references
import torch
from torch import Tensor, nn

from dpt_ros.model.configurations import READOUTS, DPTConfiguration, get_configuration
from dpt_ros.model.dpt import DPT
from dpt_ros.model.foreign_keys import rename_hugging_face, rename_isl_org

STRUCTURES = ("dpt_base", "dpt_large", "dpt_hybrid")
SIZES = ((384, 384), (384, 672), (384, 512), (384, 1280))  # height, width
ISL_ORG_LIMIT = 1e-5
TRANSFORMERS_LIMIT = 1e-4


def main() -> int:
    """Run what the command line asks for."""
    arguments = _arguments()
    torch.set_grad_enabled(False)
    worst = {"isl-org": 0.0, "transformers": 0.0}
    for structure in arguments.structures:
        for readout in arguments.readouts:
            if arguments.isl_org:
                difference = compare_isl_org(structure, readout, arguments)
                worst["isl-org"] = max(worst["isl-org"], difference)
            if arguments.transformers is not None:
                difference = compare_transformers(structure, readout, arguments)
                worst["transformers"] = max(worst["transformers"], difference)
    print(f"worst: {worst}", flush=True)
    good = worst["isl-org"] <= ISL_ORG_LIMIT and worst["transformers"] <= TRANSFORMERS_LIMIT
    return 0 if good else 1


def compare_isl_org(structure: str, readout: str, arguments: argparse.Namespace) -> float:
    """The worst relative difference over the sizes, both before and after preparation."""
    formula_used = "sigma" if arguments.timm else "variance"
    configuration = get_configuration(
        structure, readout=readout, weight_standardization=formula_used
    )
    reference = references.isl_org(configuration, arguments.isl_org, arguments.timm)
    ours = _same_weights(reference, configuration, rename_isl_org, arguments.large_branches)
    if arguments.double:
        return _compare_in_double(f"isl-org {structure} {readout}", ours, reference)
    worst = 0.0
    for prepared in (False, True):
        if prepared:
            ours.prepare_for_inference()
        # Without a ResNet, preparation changes no arithmetic: one size shows it.
        sizes = SIZES if configuration.resnet_layers or not prepared else SIZES[:1]
        for height, width in sizes:
            x = formula.picture(height, width)
            difference = formula.relative_difference(ours(x), reference(x))
            state = "prepared" if prepared else "as built"
            print(
                f"isl-org {structure} {readout} {width}x{height} {state}: {difference:.2e}",
                flush=True,
            )
            worst = max(worst, difference)
    if arguments.time:
        _time_in_turns(ours, reference, formula.picture(384, 384), arguments.time)
    return worst


def compare_transformers(structure: str, readout: str, arguments: argparse.Namespace) -> float:
    """The relative difference at 384x384, the only size that transformers takes."""
    configuration = get_configuration(structure, readout=readout, weight_standardization="variance")
    if configuration.resnet_layers and readout != "project":
        return 0.0  # transformers' Hybrid has no other read
    reference = references.transformers_dpt(configuration, _folder(arguments.transformers))
    ours = _same_weights(reference, configuration, rename_hugging_face, arguments.large_branches)
    x = formula.picture(384, 384)
    difference = formula.relative_difference(ours(x), reference(x).predicted_depth)
    print(f"transformers {structure} {readout} 384x384: {difference:.2e}", flush=True)
    return difference


def _compare_in_double(name: str, ours: nn.Module, reference: nn.Module) -> float:
    """The worst relative difference in float64 over the sizes; prints the rounding of float32."""
    single = [(ours(x), reference(x)) for x in (formula.picture(*size) for size in SIZES)]
    ours.double()
    reference.double()
    worst = 0.0
    for (height, width), (ours_single, reference_single) in zip(SIZES, single, strict=True):
        x = formula.picture(height, width).double()
        exact = reference(x)
        difference = formula.relative_difference(ours(x), exact)
        print(
            f"{name} {width}x{height} in float64: {difference:.2e}; from that, ours in float32 "
            f"{formula.relative_difference(ours_single, exact):.2e}, the reference in float32 "
            f"{formula.relative_difference(reference_single, exact):.2e}",
            flush=True,
        )
        worst = max(worst, difference)
    return worst


def _folder(path: Path) -> Path | None:
    """`--transformers` without a folder is an empty path: the environment's own."""
    return None if path == Path() else path


def _same_weights(
    reference: nn.Module,
    configuration: DPTConfiguration,
    rename: Callable[[dict[str, Tensor], DPTConfiguration], dict[str, Tensor]],
    large_branches: bool,
) -> DPT:
    shapes = {name: tuple(value.shape) for name, value in reference.state_dict().items()}
    state_dict = formula.weights(shapes, large_branches)
    reference.load_state_dict(state_dict)
    ours = DPT(configuration).eval()
    ours.load_state_dict(rename(state_dict, configuration))
    gc.collect()
    return ours


def _time_in_turns(ours: nn.Module, reference: nn.Module, x: Tensor, rounds: int) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "isl-org": []}
    for _ in range(rounds + 1):
        for name, model in (("ours", ours), ("isl-org", reference)):
            start = time.perf_counter()
            model(x)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: sorted(taken[1:])[rounds // 2] for name, taken in seconds.items()}
    ratio = medians["ours"] / medians["isl-org"]
    print(
        f"time, {torch.get_num_threads()} threads, {list(x.shape)}: ours {medians['ours']:.3f} s, "
        f"isl-org {medians['isl-org']:.3f} s, ratio {ratio:.3f}",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--isl-org", type=Path, help="a clone of isl-org/DPT")
    parser.add_argument("--timm", type=Path, help="a folder with timm 0.4.5")
    parser.add_argument(
        "--transformers", type=Path, nargs="?", const=Path(), help="compare with transformers"
    )
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    parser.add_argument("--readouts", nargs="+", choices=READOUTS, default=READOUTS)
    parser.add_argument("--double", action="store_true", help="compare isl-org in float64")
    parser.add_argument("--large-branches", action="store_true", help="Hybrid's harder weights")
    parser.add_argument("--time", type=int, default=0, metavar="ROUNDS", help="also measure time")
    arguments = parser.parse_args()
    if arguments.isl_org is None and arguments.transformers is None:
        parser.error("name a reference: --isl-org FOLDER or --transformers")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
