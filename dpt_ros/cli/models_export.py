"""`dpt-ros models export`: a model as ONNX, with what a user of the file has to know."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dpt_ros.cli.result_files import Kind

if TYPE_CHECKING:
    from dpt_ros.inference.identity import ModelIdentity
    from dpt_ros.model.dpt import DPT

_FORMAT = "dpt_ros/onnx/1"
_ONNX = Kind("network exported by dpt-ros", _FORMAT.encode())
_PICTURE = (480, 640)
"""Height and width of the picture whose network size is told, and checked where none is fixed."""
_TOLERANCE = 1e-3
"""Of the largest output; rounding leaves a hundredth of it."""


def run(options: argparse.Namespace) -> int:
    """Export, compare with the network, and tell how to use the file; always 0."""
    from dpt_ros.cli.result_files import check_files
    from dpt_ros.model.export import OPSET, export_onnx, onnx_difference, require_onnx
    from dpt_ros.whole_file import install

    check_files(options, {"out": _ONNX})
    out = Path(options.out)
    if out.suffix != ".onnx":
        raise ValueError(f"--out {out}: expected a name that ends in .onnx")
    require_onnx()
    for chatty in ("onnx_ir", "onnxscript"):  # tell of every step, and warn of what stays as it is
        logging.getLogger(chatty).setLevel(logging.ERROR)
    model, identity = _load(options)
    size = None if options.size is None else (options.size[1], options.size[0])
    usage = _usage(identity, model.patch_size, size)
    print(f"exporting {identity.model_name}: half a minute or more", file=sys.stderr)
    part = out.with_name(f".{out.stem}.{os.getpid()}.part.onnx")
    try:
        description = f"{_FORMAT}\n{identity.model_name}\n{usage}"
        export_onnx(model, part, size, description=description)
        checked_size = size or identity.network_size(*_PICTURE)
        checked = _checked(onnx_difference(model, part, checked_size), checked_size)
        install(part, out)
    except OSError as error:
        raise OSError(
            f"--out {out}: cannot be written: {error.strerror or error}; make room, or name a file "
            "on another disk"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    size_mb = out.stat().st_size / 1e6
    print(f"{out}: {identity.model_name}, {size_mb:.1f} MB, ONNX of operator set {OPSET}")
    print(f"{usage}\n{checked}")
    return 0


def _load(options: argparse.Namespace) -> tuple[DPT, ModelIdentity]:
    """The network, ready for inference, and what its card says.

    Raises:
        ValueError: a size that the network does not take.
        ConfigError: there is no such model.
        CheckpointError: there are no weights, or not the model's.
    """
    import torch

    from dpt_ros.cli.models import ProgressBars
    from dpt_ros.inference.identity import ModelIdentity
    from dpt_ros.model.cards import load_card
    from dpt_ros.model.checkpoints import load_checkpoint
    from dpt_ros.model.dpt import create_model
    from dpt_ros.model.picture_size import check_multiple

    card = load_card(options.model)
    with torch.device("meta"):
        model = create_model(card.structure, **card.structure_overrides)
    if options.size is not None:
        check_multiple("--size", options.size, model.patch_size, card.name)
    identity = ModelIdentity.of(options.model, options.checkpoint or None)
    with ProgressBars() as bars:
        load_checkpoint(model, identity.checkpoint_path, progress=bars)
    return model.prepare_for_inference(), identity


def _usage(identity: ModelIdentity, patch: int, size: tuple[int, int] | None) -> str:
    """What goes in and what comes out, in lines."""
    from dpt_ros.model.export import INPUT_NAME, MINIMUM_PATCHES, OUTPUT_NAME

    card = identity.card
    batch, sides = ("batch", "height, width") if size is None else ("1", f"{size[0]}, {size[1]}")
    multiples = f", height and width multiples of {patch}, from {MINIMUM_PATCHES * patch}"
    mean, std = (
        ", ".join(f"{v:g}" for v in values) for values in (card.input.mean, card.input.std)
    )
    height, width = size or identity.network_size(*_PICTURE)
    resized = (
        f"a picture is to be resized to {width}x{height}"
        if size
        else f"dpt_ros resizes a picture of {_PICTURE[1]}x{_PICTURE[0]} to {width}x{height}"
    )
    metric = identity.metric_scale_shift
    meaning = (
        "relative, without unit; larger is nearer"
        if metric is None
        else f"depth is 1 / ({metric.scale:.6g} * {OUTPUT_NAME} + {metric.shift:.6g}) metres"
    )
    return (
        f"input {INPUT_NAME}: float32 [{batch}, 3, {sides}]{'' if size else multiples}\n"
        f"  (rgb / 255 - mean) / std, with mean {mean} and std {std} of red, green and blue\n"
        f"  {resized} (cubic)\n"
        f"output {OUTPUT_NAME}: float32 [{batch}, {sides}], {meaning}"
    )


def _checked(found: tuple[float, float] | None, size: tuple[int, int]) -> str:
    """What the comparison with the network found.

    Raises:
        RuntimeError: the export says something else than the network.
    """
    if found is None:
        return "not checked: onnxruntime is not installed"
    difference, largest = found
    text = (
        f"differs from the network by {difference:.1e} at most, of outputs up to {largest:.2g} "
        f"(onnxruntime on a CPU, at {size[1]}x{size[0]})"
    )
    if not difference <= _TOLERANCE * largest:
        raise RuntimeError(
            f"the export {text}: nothing was written; install other versions of torch and "
            "onnxscript"
        )
    return f"checked: {text}"
