"""Exports a network to ONNX, or to a torch program: for any batch, height and width, or for one."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from dpt_ros.config import ConfigError
from dpt_ros.model.dpt import DPT

MINIMUM_PATCHES = 3
"""Patches a side that a program of any size needs at least; below, shapes degenerate."""

INPUT_NAME = "image"
OUTPUT_NAME = "inverse_depth"

OPSET = 18
"""ONNX operator set: the oldest that torch writes, for the older runtimes of robots. From 20 on
there would be Gelu, which they may lack."""


def export_program(model: DPT, size: tuple[int, int] | None = None) -> ExportedProgram:
    """Trace the network.

    A Hybrid exports smaller and runs faster after `model.prepare_for_inference()`.

    Args:
        model: in eval mode; the weights' dtype and device become the input's.
        size: (h, w), for inputs [1, 3, h, w] alone; None: for inputs [B, 3, h, w] of any batch and
            any multiples of the patch, at least MINIMUM_PATCHES of them a side.

    Raises:
        ValueError: the network is in training mode, or a side is no multiple of the patch.
    """
    if model.training:
        raise ValueError(
            f"{model.configuration.name}: is in training mode; call eval() or "
            "prepare_for_inference() before an export"
        )
    parameter = next(model.parameters())
    patch = model.patch_size
    # Unequal and none of them 1: sizes that meet in the example would be taken to be equal.
    shape = (2, 3, 4 * patch, 6 * patch) if size is None else (1, 3, *size)
    example = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
    free = {
        0: Dim("batch"),
        2: patch * Dim("rows", min=MINIMUM_PATCHES),
        3: patch * Dim("columns", min=MINIMUM_PATCHES),
    }
    with torch.no_grad():
        return torch.export.export(
            model, (example,), dynamic_shapes=(free,) if size is None else None
        )


def require_onnx() -> None:
    """Refuse to go on without the packages onnx and onnxscript.

    Raises:
        ConfigError: one of them is not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if not importlib.util.find_spec(name)]
    if missing:
        raise ConfigError(
            f"an export to ONNX takes the packages onnx and onnxscript; {' and '.join(missing)} "
            "not installed: pip install 'dpt_ros[onnx]', or pip install onnx onnxscript"
        )


def export_onnx(
    model: DPT,
    path: str | Path,
    size: tuple[int, int] | None = None,
    *,
    description: str = "",
) -> None:
    """Write the network as ONNX: "image" [B, 3, h, w] to "inverse_depth" [B, h, w].

    Args:
        model: as for `export_program`.
        path: a name that ends in .onnx.
        size: as for `export_program`.
        description: what the file says of itself (its `doc_string`), near its begin.

    Raises:
        ConfigError: onnx or onnxscript is not installed.
        ValueError: another file name, the network is in training mode, or a side is no multiple of
            the patch.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: expected a name that ends in .onnx")
    require_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
        program = torch.onnx.export(
            export_program(model, size),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"{path}: torch gave no ONNX program")
    program.model.doc_string = description
    program.save(path)


@torch.no_grad()
def onnx_difference(
    model: DPT, path: str | Path, size: tuple[int, int]
) -> tuple[float, float] | None:
    """How far an exported file's answer to noise is from the network's.

    Args:
        model: the network that was exported, float32 on a CPU.
        path: the file.
        size: (h, w) of the noise.

    Returns:
        the largest difference and the network's largest output, in units of inverse depth; None
        where onnxruntime, which computes it, is not installed.
    """
    if not importlib.util.find_spec("onnxruntime"):
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = model(noise)
    (said,) = session.run(None, {INPUT_NAME: noise.numpy()})
    return float((torch.from_numpy(said) - expected).abs().max()), float(expected.max())
