"""What a run minimises: prediction and truth of a batch to one number. Knows no network."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from dpt_ros.config import ConfigError
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.training.losses import (
    MIN_PAIR_DENSITY,
    SparseTruthWarning,
    metric_inverse_depth_l1,
    scale_invariant_log_loss,
    ssi_loss,
)
from dpt_ros.training.samples import TrainingBatch
from dpt_ros.training.settings import LossSettings

_USUAL = {
    "ssi": {"ssi": 1.0, "gradient": 0.5, "log": 0.0, "l1": 0.0},
    # DPT's paper, section 4.1: metric training on LiDAR has no gradient term.
    "metric": {"ssi": 0.0, "gradient": 0.0, "log": 1.0, "l1": 0.0},
}


def resolve_loss(settings: LossSettings, mode: str) -> LossSettings:
    """The settings with the mode's usual weight in place of every negative one."""
    given = {name: getattr(settings, name) for name in _USUAL[mode]}
    weights: dict[str, Any] = {
        name: _USUAL[mode][name] if value < 0.0 else value for name, value in given.items()
    }
    return dataclasses.replace(settings, **weights)


def check_terms(settings: LossSettings, why_no_gradient: str = "") -> None:
    """Refuse weights with which there is nothing to minimise.

    Args:
        settings: from `resolve_loss`.
        why_no_gradient: why truth switches gradient matching off; "" where it does not.

    Raises:
        ConfigError: every weight is 0, or all but that of gradient matching, which is off.
    """
    if any(weight > 0.0 for weight in (settings.ssi, settings.log, settings.l1)):
        return
    if not settings.gradient > 0.0:
        raise ConfigError("loss: every term has the weight 0; give one of them a positive one")
    if why_no_gradient:
        raise ConfigError(
            f"loss: gradient matching is the only term, and it is off: {why_no_gradient}; give "
            "--loss.ssi a weight"
        )


class Objective:
    """The weighted sum of the terms, a mean over the pictures of a batch.

    Args:
        settings: from `resolve_loss`.
        scale_shift: what makes the network's output metric; needed by the log and L1 terms.

    Raises:
        ConfigError: no term at all.
        ValueError: a term about metres without scale and shift.
    """

    def __init__(self, settings: LossSettings, scale_shift: ScaleShift | None) -> None:
        check_terms(settings)
        if scale_shift is None and (settings.log > 0.0 or settings.l1 > 0.0):
            raise ValueError("loss: the log and l1 terms need a scale and a shift")
        self._settings = settings
        self._scale_shift = scale_shift

    @property
    def names(self) -> list[str]:
        """The names of what a call gives: always the same, whatever the batch."""
        settings = self._settings
        names = ["ssi", "gradient"] if settings.ssi > 0.0 or settings.gradient > 0.0 else []
        names += ["gradient_share"] if settings.gradient > 0.0 else []
        names += [name for name in ("log", "l1") if getattr(settings, name) > 0.0]
        return [*names, "loss"]

    def __call__(self, inverse_depth: Tensor, batch: TrainingBatch) -> dict[str, Tensor]:
        """Terms of a batch and their weighted sum, "loss"; scalars with their graph.

        "gradient_share" is no term: the share of the pictures that gradient matching is on for.

        Args:
            inverse_depth: the network's output [B, h, w].
            batch: its samples, all with truth.
        """
        settings = self._settings
        predicted = at_truth(inverse_depth.float(), batch.points)
        terms: dict[str, Tensor] = {}
        loss = predicted.new_zeros(())
        if settings.ssi > 0.0 or settings.gradient > 0.0:
            # Points have no neighbours at all: nothing to match, and nothing to warn of each time.
            gradient_weight = 0.0 if batch.points is not None else settings.gradient
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SparseTruthWarning)  # told once, before the run
                parts = ssi_loss(
                    predicted,
                    batch.target,
                    batch.valid,
                    trim=settings.trim,
                    gradient_weight=gradient_weight,
                    alignment=settings.alignment,
                )
            terms |= {"ssi": parts.trimmed, "gradient": parts.gradient}
            loss = loss + settings.ssi * parts.trimmed + gradient_weight * parts.gradient
            if settings.gradient > 0.0:
                is_on = parts.pair_density >= MIN_PAIR_DENSITY
                terms["gradient_share"] = is_on.float().mean() * float(batch.points is None)
        if self._scale_shift is not None and (settings.log > 0.0 or settings.l1 > 0.0):
            metric = self._scale_shift.scale * predicted + self._scale_shift.shift
            if settings.log > 0.0:
                terms["log"] = scale_invariant_log_loss(
                    metric, batch.target, batch.valid, settings.log_lambda
                )
                loss = loss + settings.log * terms["log"]
            if settings.l1 > 0.0:
                terms["l1"] = metric_inverse_depth_l1(metric, batch.target, batch.valid)
                loss = loss + settings.l1 * terms["l1"]
        return {**terms, "loss": loss}


def at_truth(inverse_depth: Tensor, points: Tensor | None) -> Tensor:
    """The prediction where truth is: as it is, or [B, 1, N] at `points`.

    Bicubic with the kernel of `resize_output`, so that a point gets what inference would give its
    pixel.

    Args:
        inverse_depth: [B, h, w].
        points: [B, N, 2], pixels (x, y) of the network's picture; None: truth is on its grid.
    """
    if points is None:
        return inverse_depth
    height, width = inverse_depth.shape[-2:]
    grid = (2.0 * points + 1.0) / points.new_tensor((width, height)) - 1.0
    sampled = F.grid_sample(
        inverse_depth[:, None],
        grid[:, None],
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    return sampled[:, 0]
