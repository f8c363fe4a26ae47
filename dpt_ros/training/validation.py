"""The loss of the pictures held out, and why there is none where that is no number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from dpt_ros.training.loader import load_batches
from dpt_ros.training.objective import Objective
from dpt_ros.training.processes import sum_over_processes
from dpt_ros.training.samples import TrainingSamples
from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.split import evenly

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Validated:
    """What a validation gave.

    Attributes:
        loss: mean over the pictures with truth; NaN if there is none, or one's loss is no number.
        why_not: why the loss is no number; "" where it is one.
    """

    loss: float
    why_not: str = ""


@torch.no_grad()
def validate(
    accelerator: Accelerator,
    model: nn.Module,
    objective: Objective,
    samples: TrainingSamples,
    settings: TrainSettings,
) -> Validated:
    """The loss of a network on pictures held out; all processes have to call this.

    Args:
        accelerator: whose processes share the pictures.
        model: the network; in its mode of before when this returns.
        objective: what is measured.
        samples: the pictures, of which `validation_samples` are taken, evenly chosen.
        settings: the run's.
    """
    was_training = model.training
    model.eval()
    device = torch.device(accelerator.device)
    sums = torch.zeros(3)  # of losses, pictures, and pictures in batches whose loss is no number
    spoilt: list[str] = []
    keys = [(-1, number) for number in evenly(len(samples), settings.validation_samples)]
    size = max(1, settings.batch_size // (accelerator.num_processes * settings.accumulate))
    share = keys[accelerator.process_index :: accelerator.num_processes]
    lists = [share[place : place + size] for place in range(0, len(share), size)]
    for part in load_batches(samples, lists, 0, device):
        chosen = part.select(part.usable(settings.minimum_points))
        if not chosen.keys:
            continue
        batch = chosen.to(device)
        with accelerator.autocast():
            output = model(batch.x)
        loss = objective(output, batch)["loss"].cpu()
        count = len(chosen.keys)
        is_number = bool(loss.isfinite())
        sums += torch.tensor([count * float(loss), count, 0.0 if is_number else count])
        spoilt += [] if is_number else [samples.name(number) for _, number in chosen.keys]
    model.train(was_training)
    total, pictures, not_finite = sum_over_processes(accelerator, sums).tolist()
    if not pictures:
        least = settings.minimum_points
        return Validated(float("nan"), f"no picture held out has {least} pixels with truth")
    if not_finite:
        named = ", ".join(spoilt[:4]) + (" ..." if len(spoilt) > 4 else "")
        why_not = f"it is not finite for {not_finite:.0f} of {pictures:.0f} pictures"
        return Validated(float("nan"), f"{why_not}{': ' * bool(named)}{named}")
    return Validated(total / pictures)
