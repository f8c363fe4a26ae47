"""The loop: steps, averaged weights, validation, checkpoints; one process or many (Accelerate)."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dpt_ros.model.dpt import DPT
from dpt_ros.training.loader import load_batches
from dpt_ros.training.objective import Objective
from dpt_ros.training.processes import require_agreement, sum_over_processes
from dpt_ros.training.samples import StepSampler, TrainingBatch, TrainingSamples
from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.stages import (
    choose_parameters,
    learning_rate_share,
    make_optimizer,
    set_learning_rates,
)
from dpt_ros.training.state import Progress, RunFolder, TrainingError
from dpt_ros.training.validation import validate

if TYPE_CHECKING:
    from accelerate import Accelerator

_log = logging.getLogger(__name__)

LOG_EVERY = 10

Monitor = Callable[[Progress], None]


class Trainer:
    """One run, from its first or a later step to its last.

    Args:
        accelerator: from `processes.make_accelerator`.
        model: the network; it is trained in place.
        objective: what is minimised.
        samples: what is learned from.
        validation: what is held out, or None.
        steps: of the whole run.
        settings: the rest.
        folder: where checkpoints go.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: DPT,
        objective: Objective,
        samples: TrainingSamples,
        validation: TrainingSamples | None,
        steps: int,
        settings: TrainSettings,
        folder: RunFolder,
    ) -> None:
        self._accelerator = accelerator
        self._settings, self._steps, self._folder = settings, steps, folder
        self._objective, self._samples, self._validation = objective, samples, validation
        choose_parameters(model, settings.stage, settings.mode)
        model.to(accelerator.device).use_channels_last()
        self._average = AveragedModel(model, multi_avg_fn=_averaging(settings.average))
        self._average.requires_grad_(False)
        self._best: dict[str, Tensor] | None = None
        self._plain_model = model
        self._model: nn.Module
        self._model, self._optimizer = accelerator.prepare(model, make_optimizer(model, settings))
        self._processes, self._rank = accelerator.num_processes, accelerator.process_index
        self.progress = Progress()

    def run(self, monitor: Monitor | None = None) -> DPT:
        """Train up to the last step, from the folder's last checkpoint if there is one.

        Args:
            monitor: called in the main process after each step.

        Returns:
            the network with its result: averaged weights, or the best of them with `patience`.

        Raises:
            TrainingError: too many steps in a row without truth or without a finite loss or
                gradient, no step at all that changed the weights, a checkpoint that cannot be
                written or read, or processes that found different ones.
        """
        self._resume()
        batches = self._batches()
        self._plain_model.train()
        while self.progress.step < self._steps and not self.progress.is_stopped:
            began = time.perf_counter()
            parts = [next(batches) for _ in range(self._settings.accumulate)]
            self._step(parts)
            self.progress.step += 1
            self._close_window()
            self._validate_if_due()
            self.progress.seconds += time.perf_counter() - began
            if monitor is not None and self._accelerator.is_main_process:
                monitor(self.progress)
            self._save_if_due()
        self._require_learned()
        return self._result()

    def _batches(self) -> Iterator[TrainingBatch]:
        sampler = StepSampler(
            len(self._samples),
            self._settings.batch_size,
            self._settings.seed,
            (self.progress.step, self._steps),
            parts=self._settings.accumulate,
            rank=self._rank,
            processes=self._processes,
        )
        return iter(load_batches(self._samples, sampler, self._settings.workers, self._device))

    def _step(self, parts: Sequence[TrainingBatch]) -> None:
        """One optimiser step, or none where the batch has no truth or no finite loss."""
        self._note_unreadable(parts)
        chosen = [part.select(part.usable(self._settings.minimum_points)) for part in parts]
        own_count = torch.tensor(float(sum(len(part.keys) for part in chosen)))
        count = int(sum_over_processes(self._accelerator, own_count))
        if count == 0:
            self._skip_without_truth(parts)
            return
        self.progress.without_truth_in_row = 0
        share = learning_rate_share(
            self.progress.step, self._steps, self._settings.warmup_steps, self._settings.final_lr
        )
        set_learning_rates(self._optimizer, share)
        self._optimizer.zero_grad()
        terms = self._backward(parts, chosen, count)
        if not self._update(terms["loss"]):
            self._skip_not_finite(parts, terms["loss"])
            return
        self.progress.not_finite_in_row = 0
        self._average.update_parameters(self._plain_model)
        window = self.progress.window
        for name, value in {**terms, "lr_share": share, "steps": 1.0}.items():
            window[name] = window.get(name, 0.0) + value

    def _backward(
        self, parts: Sequence[TrainingBatch], chosen: Sequence[TrainingBatch], count: int
    ) -> dict[str, float]:
        """Gradients of the mean over the `count` pictures of all processes; means of the terms."""
        sums: dict[str, Tensor] = {}
        for number, part in enumerate(chosen):
            is_last = number == len(chosen) - 1
            with contextlib.ExitStack() as stack:
                if not is_last:
                    stack.enter_context(self._accelerator.no_sync(self._model))
                if not part.keys:
                    self._backward_nothing(parts[number], is_last=is_last)
                    continue
                batch = part.to(self._device)
                terms = self._objective(self._model(batch.x), batch)
                weight = len(part.keys) / count
                # Gradients are averaged over the processes, hence the factor.
                self._accelerator.backward(terms["loss"] * (weight * self._processes))
                for name, term in terms.items():
                    sums[name] = sums.get(name, torch.zeros(())) + weight * term.detach().cpu()
        # All processes exchange the same terms, also one without any picture.
        names = self._objective.names
        own_means = torch.stack([sums.get(name, torch.zeros(())) for name in names])
        means = sum_over_processes(self._accelerator, own_means)
        return dict(zip(names, means.tolist(), strict=True))

    def _backward_nothing(self, part: TrainingBatch, *, is_last: bool) -> None:
        """Take part in the exchange of gradients without adding to them."""
        if self._processes > 1 and is_last:
            output = self._model(part.to(self._device).x)
            self._accelerator.backward(output.sum() * 0.0)

    def _update(self, loss: float) -> bool:
        """Step the optimiser unless loss or gradient are no numbers; whether the weights moved."""
        if not math.isfinite(loss):
            self._optimizer.zero_grad()
            return False
        limit = self._settings.clip or float("inf")
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), limit)
        is_finite = norm is None or math.isfinite(float(norm))
        if not is_finite and self._accelerator.scaler is None:
            self._optimizer.zero_grad()
            return False
        # float16's scaler passes over a gradient that is not finite, and has to see it: an overflow
        # now and then is how it finds its factor.
        self._optimizer.step()
        return is_finite

    def _skip_without_truth(self, parts: Sequence[TrainingBatch]) -> None:
        progress, minimum = self.progress, self._settings.minimum_points
        progress.without_truth += 1
        progress.without_truth_in_row += 1
        _log.warning(
            "step %d skipped: no picture has %d pixels with truth: %s",
            *(progress.step, minimum, self._names(parts)),
        )
        if progress.without_truth_in_row >= self._settings.bad_steps:
            raise TrainingError(
                f"no picture had {minimum} pixels with truth in {progress.without_truth_in_row} "
                f"steps in a row, the last at step {progress.step}: lower --minimum-points, or "
                "look at the data set's overlays"
            )

    def _skip_not_finite(self, parts: Sequence[TrainingBatch], loss: float) -> None:
        progress = self.progress
        progress.not_finite_in_row += 1
        if self._accelerator.scaler is not None and math.isfinite(loss):
            progress.overflowed += 1
            factor = self._accelerator.scaler.get_scale()
            _log.info(
                "step %d skipped: the gradient overflowed float16, or is not finite; its factor is "
                "now %g",
                *(progress.step, factor),
            )
        else:
            progress.not_finite += 1
            _log.warning(
                "step %d skipped: loss or gradient is not finite: %s",
                *(progress.step, self._names(parts)),
            )
        if progress.not_finite_in_row >= self._settings.bad_steps:
            raise TrainingError(
                f"loss or gradient were not finite in {progress.not_finite_in_row} steps in a row, "
                f"the last at step {progress.step}: lower --decoder-lr and --backbone-lr, or use "
                "--mixed-precision no"
            )

    def _close_window(self) -> None:
        progress = self.progress
        count = progress.window.get("steps", 0.0)
        if (progress.step % LOG_EVERY and progress.step != self._steps) or not count:
            return
        means = {name: value / count for name, value in progress.window.items() if name != "steps"}
        progress.history.append({"step": float(progress.step), **means})
        progress.window = {}

    def _validate_if_due(self) -> None:
        every, progress = self._settings.validate_every, self.progress
        is_due = progress.step == self._steps or (every > 0 and progress.step % every == 0)
        if self._validation is None or not is_due:
            return
        found = validate(
            self._accelerator, self._averaged(), self._objective, self._validation, self._settings
        )
        loss = found.loss
        progress.validations.append({"step": float(progress.step), "loss": loss})
        if found.why_not:
            progress.validations_without_loss += 1
            progress.why_no_validation_loss = found.why_not
            _log.warning(
                "the validation at step %d gives no loss: %s; it is neither progress nor the lack "
                "of it",
                *(progress.step, found.why_not),
            )
            return
        if loss < progress.best:
            progress.best, progress.best_step, progress.since_best = loss, progress.step, 0
            if self._settings.patience:
                self._best = copy.deepcopy(self._averaged().state_dict())
            return
        progress.since_best += 1
        if self._settings.patience and progress.since_best >= self._settings.patience:
            _log.info(
                "stopped at step %d: no progress in %d validations; step %d was best",
                *(progress.step, progress.since_best, progress.best_step),
            )
            progress.is_stopped = True

    def _require_learned(self) -> None:
        """Weights that no step has changed, in this process or before it, are no result."""
        if int(self._average.n_averaged):
            return
        progress = self.progress
        reasons = {
            "had no truth": progress.without_truth,
            "had no finite loss or gradient": progress.not_finite,
            "overflowed float16": progress.overflowed,
        }
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        remedy = "use --mixed-precision no, or look at the data set's overlays"
        if progress.without_truth:
            remedy = "lower --minimum-points, or look at the data set's overlays"
        raise TrainingError(f"none of {progress.step} steps changed the weights: {told}; {remedy}")

    def _result(self) -> DPT:
        # Not a copy of the model itself, whose forward pass Accelerate has wrapped.
        model: Any = copy.deepcopy(self._average.module)
        model.load_state_dict(self._best or self._averaged().state_dict())
        return model.cpu().requires_grad_(True)  # type: ignore[no-any-return]

    def _averaged(self) -> DPT:
        averaged: Any = self._average.module if self._settings.average else self._plain_model
        return averaged  # type: ignore[no-any-return]

    def _save_if_due(self) -> None:
        step = self.progress.step
        is_last = step == self._steps or self.progress.is_stopped
        if not is_last and step % self._settings.save_every:
            return
        if self._accelerator.is_main_process:
            self._folder.save(self._state(), step)
        self._accelerator.wait_for_everyone()

    def _state(self) -> dict[str, Any]:
        scaler = self._accelerator.scaler
        return {
            "progress": dataclasses.asdict(self.progress),
            "model": self._plain_model.state_dict(),
            "average": self._average.state_dict(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "random": torch.get_rng_state(),
        }

    def _resume(self) -> None:
        state = self._folder.load_last()
        has = "no checkpoint" if state is None else f"step {state['progress']['step']}"
        require_agreement(self._accelerator, self._folder.path, has)
        if state is None:
            return
        self.progress = Progress(**state["progress"])
        self._plain_model.load_state_dict(state["model"])
        self._average.load_state_dict(state["average"])
        self._best = state["best"]
        self._optimizer.load_state_dict(state["optimizer"])
        scaler = self._accelerator.scaler
        if scaler is not None and state["scaler"]:
            scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        _log.info("resumed at step %d of %d", self.progress.step, self._steps)

    @property
    def _device(self) -> torch.device:
        return torch.device(self._accelerator.device)

    def _note_unreadable(self, parts: Sequence[TrainingBatch]) -> None:
        for problem in (problem for part in parts for problem in part.problems):
            if problem not in self.progress.unreadable:
                _log.warning("a sample is left out: %s", problem)
            self.progress.unreadable[problem] = self.progress.unreadable.get(problem, 0) + 1

    def _names(self, parts: Sequence[TrainingBatch]) -> str:
        names = [self._samples.name(number) for part in parts for _, number in part.keys]
        return ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")


def _averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential average that is short at first: decay min(d, (1 + n) / (10 + n))."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        updates = float(count)
        kept = min(decay, (1.0 + updates) / (10.0 + updates))
        torch._foreach_lerp_(list(averaged), list(current), 1.0 - kept)

    return update
