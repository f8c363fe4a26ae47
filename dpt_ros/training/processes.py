"""The processes of a run, one or many (Accelerate): what each of them is, and that they agree."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.state import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = datetime.timedelta(days=1)
"""How long processes wait for the main one, which alone fits, compares and writes the report."""


def make_accelerator(settings: TrainSettings) -> Accelerator:
    """The engine that runs the loop here, alone or as one process of `torchrun`.

    Raises:
        TrainingError: a GPU is asked for and there is none.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: got 'cuda', but torch finds no GPU; use 'auto' or 'cpu'")
    # Else the precision of this process's first run would be that of all.
    AcceleratorState._reset_state()
    names = {"no": "no", "float16": "fp16", "bfloat16": "bf16"}
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    return Accelerator(
        cpu=on_cpu,
        mixed_precision=names[settings.mixed_precision],
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )


def sum_over_processes(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Summed over the processes, on the CPU."""
    if accelerator.num_processes == 1:
        return values
    summed: Any = accelerator.reduce(values.to(accelerator.device), reduction="sum")
    return torch.as_tensor(summed).cpu()


def require_agreement(accelerator: Accelerator, folder: Path, has: str) -> None:
    """Refuse processes that found different states of the run, as without a shared folder.

    They would wait for each other forever, or learn from different weights. All processes have to
    call this.

    Args:
        accelerator: of the processes.
        folder: where this process looks for the run.
        has: what it found there.

    Raises:
        TrainingError: in every process; says which has what.
    """
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    found: list[tuple[int, str, str, str]] = gather_object(
        [(accelerator.process_index, platform.node(), str(folder.absolute()), has)]
    )
    if len({each[-1] for each in found}) == 1:
        return
    listed = "; ".join(
        f"process {rank} on {host} has {what} in {path}" for rank, host, path, what in found
    )
    raise TrainingError(
        f"the processes do not go on from the same state: {listed}. Name a folder with --out that "
        "all machines share, or copy process 0's to the same path on the others"
    )
