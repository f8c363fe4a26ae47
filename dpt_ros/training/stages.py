"""Which parameters learn, and how fast: stages and parameter groups."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from dpt_ros.model.dpt import DPT
from dpt_ros.training.settings import TrainSettings


def choose_parameters(model: DPT, stage: str, mode: str) -> None:
    """Let the stage's parameters learn and hold all others: head, decoder (with it), or all.

    The `ssi` losses do not see a shift of the output, so that the last bias has no gradient but
    rounding, of which Adam makes full steps: in that mode it is held.

    Raises:
        ValueError: another stage.
    """
    parts: dict[str, tuple[nn.Module, ...]] = {
        "head": (model.head,),
        "decoder": (model.head, model.decoder, model.reassemble),
        "all": (model,),
    }
    if stage not in parts:
        raise ValueError(f"stage: got {stage!r}, expected one of {', '.join(parts)}")
    model.requires_grad_(False)
    for part in parts[stage]:
        part.requires_grad_(True)
    if mode == "ssi" and model.head.conv3.bias is not None:
        model.head.conv3.bias.requires_grad_(False)


def parameter_groups(model: DPT, settings: TrainSettings) -> list[dict[str, Any]]:
    """Groups for an optimiser: one a learning rate, with and without weight decay.

    Biases, norms, the class token and position embedding are not decayed. With `layer_decay`,
    block i of d learns at `backbone_lr * layer_decay ** (d - 1 - i)`, what comes before as
    block 0.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = _learning_rate(name, model.configuration.depth, settings)
        is_plain = parameter.ndim < 2 or name.endswith(("cls_token", "position"))
        decay = 0.0 if is_plain else settings.weight_decay
        group = groups.setdefault(
            (rate, decay), {"params": [], "lr": rate, "initial_lr": rate, "weight_decay": decay}
        )
        group["params"].append(parameter)
    return list(groups.values())


def make_optimizer(model: DPT, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser of the parameters that learn."""
    groups = parameter_groups(model, settings)
    betas = (0.9, settings.beta2)
    if settings.optimizer == "adam":
        for group in groups:
            group["weight_decay"] = 0.0
        return torch.optim.Adam(groups, lr=settings.decoder_lr, betas=betas, fused=True)
    return torch.optim.AdamW(groups, lr=settings.decoder_lr, betas=betas, fused=True)


def learning_rate_share(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """The share of the full learning rate in one step: linear warm-up, then half a cosine.

    Args:
        step: from 0.
        steps: of the whole run.
        warmup_steps: the first step that has it full is `warmup_steps - 1`.
        final: the share that the cosine would reach at `steps`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def set_learning_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group its learning rate for one step."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share


def _learning_rate(name: str, depth: int, settings: TrainSettings) -> float:
    if not name.startswith("encoder."):
        return settings.decoder_lr
    # A ResNet stem has blocks of its own, which come before the transformer's.
    _, _, block = name.partition("encoder.vit.blocks.")
    number = int(block.partition(".")[0]) if block else 0
    return float(settings.backbone_lr * settings.layer_decay ** (depth - 1 - number))
