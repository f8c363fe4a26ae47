"""Exports a network to ONNX, or to a torch program, with free batch, height and width."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from dpt_ros.model.dpt import DPT

MINIMUM_PATCHES = 3
"""Patches a side that an exported program needs at least; below, shapes degenerate."""

INPUT_NAME = "image"
OUTPUT_NAME = "inverse_depth"


def export_program(model: DPT) -> ExportedProgram:
    """Trace the network for inputs [B, 3, h, w] of any batch and any multiples of the patch.

    Sides are at least MINIMUM_PATCHES patches. A Hybrid exports smaller and runs faster after
    `model.prepare_for_inference()`.

    Raises:
        ValueError: the network is in training mode.
    """
    if model.training:
        raise ValueError(
            f"{model.configuration.name}: is in training mode; call eval() or "
            "prepare_for_inference() before an export"
        )
    parameter = next(model.parameters())
    # Unequal and none of them 1: sizes that meet in the example would be taken to be equal.
    example = torch.zeros(
        2,
        3,
        4 * model.patch_size,
        6 * model.patch_size,
        dtype=parameter.dtype,
        device=parameter.device,
    )
    dynamic = {
        0: Dim("batch"),
        2: model.patch_size * Dim("rows", min=MINIMUM_PATCHES),
        3: model.patch_size * Dim("columns", min=MINIMUM_PATCHES),
    }
    with torch.no_grad():
        return torch.export.export(model, (example,), dynamic_shapes=(dynamic,))


def export_onnx(model: DPT, path: str | Path, *, external_data: bool = False) -> None:
    """Write the network as ONNX: "image" [B, 3, h, w] to "inverse_depth" [B, h, w].

    Needs the packages onnx and onnxscript.

    Args:
        model: in eval mode; the weights' dtype becomes the input's.
        path: a name that ends in .onnx.
        external_data: put the weights in a second file beside it, named as it is with ".data"
            after; above 2 GB there is no other way, which no network here reaches.

    Raises:
        ValueError: another file name, or the network is in training mode.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: expected a name that ends in .onnx")
    program = torch.onnx.export(
        export_program(model),
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError(f"{path}: torch gave no ONNX program")
    program.save(path, external_data=external_data)
