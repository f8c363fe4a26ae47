"""The loop: steps, averaged weights, validation, checkpoints; one process or many (Accelerate)."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from dpt_ros.model.dpt import DPT
from dpt_ros.training.objective import Objective
from dpt_ros.training.samples import (
    KeyedSamples,
    StepSampler,
    TrainingBatch,
    TrainingSamples,
    collate,
)
from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.split import evenly
from dpt_ros.training.stages import (
    choose_parameters,
    learning_rate_share,
    make_optimizer,
    set_learning_rates,
)
from dpt_ros.training.state import Progress, RunFolder, TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator

_log = logging.getLogger(__name__)

LOG_EVERY = 10

PATIENCE = datetime.timedelta(days=1)
"""How long processes wait for the main one, which alone fits, compares and writes the report."""

Monitor = Callable[[Progress], None]


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


class Trainer:
    """One run, from its first or a later step to its last.

    Args:
        accelerator: from `make_accelerator`.
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
            TrainingError: too many steps without a finite loss, or a checkpoint that cannot be
                written or read.
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
        return iter(_loader(self._samples, sampler, self._settings.workers, self._device))

    def _step(self, parts: Sequence[TrainingBatch]) -> None:
        """One optimiser step, or none where the batch has no truth or no finite loss."""
        self._note_unreadable(parts)
        minimum = self._settings.minimum_points
        chosen = [part.select(part.usable(minimum)) for part in parts]
        count = int(self._sum(torch.tensor(float(sum(len(part.keys) for part in chosen)))))
        if count == 0:
            self.progress.without_truth += 1
            _log.warning(
                "step %d skipped: no picture has %d pixels with truth: %s",
                *(self.progress.step, minimum, self._names(parts)),
            )
            return
        share = learning_rate_share(
            self.progress.step, self._steps, self._settings.warmup_steps, self._settings.final_lr
        )
        set_learning_rates(self._optimizer, share)
        self._optimizer.zero_grad()
        terms = self._backward(parts, chosen, count)
        if not self._update(terms["loss"]):
            self._skip_not_finite(parts)
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
        means = self._sum(torch.stack([sums.get(name, torch.zeros(())) for name in names]))
        return dict(zip(names, means.tolist(), strict=True))

    def _backward_nothing(self, part: TrainingBatch, *, is_last: bool) -> None:
        """Take part in the exchange of gradients without adding to them."""
        if self._processes > 1 and is_last:
            output = self._model(part.to(self._device).x)
            self._accelerator.backward(output.sum() * 0.0)

    def _update(self, loss: float) -> bool:
        """Step the optimiser unless loss or gradient are no numbers; whether it did."""
        if not math.isfinite(loss):
            self._optimizer.zero_grad()
            return False
        limit = self._settings.clip or float("inf")
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), limit)
        has_scaler = self._accelerator.scaler is not None
        # With float16 an overflow now and then is how the scaler finds its factor.
        if not has_scaler and norm is not None and not math.isfinite(float(norm)):
            self._optimizer.zero_grad()
            return False
        self._optimizer.step()
        return True

    def _skip_not_finite(self, parts: Sequence[TrainingBatch]) -> None:
        progress = self.progress
        progress.not_finite += 1
        progress.not_finite_in_row += 1
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
        loss = self.validation_loss(self._averaged())
        progress.validations.append({"step": float(progress.step), "loss": loss})
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

    @torch.no_grad()
    def validation_loss(self, model: nn.Module) -> float:
        """Mean loss of a network over the pictures held out; NaN if none of them has truth."""
        if self._validation is None:
            return float("nan")
        was_training = model.training
        model.eval()
        total, count = torch.zeros(()), torch.zeros(())
        numbers = evenly(len(self._validation), self._settings.validation_samples)
        keys = [(-1, number) for number in numbers]
        size = max(1, self._settings.batch_size // (self._processes * self._settings.accumulate))
        share = keys[self._rank :: self._processes]
        lists = [share[place : place + size] for place in range(0, len(share), size)]
        for part in _loader(self._validation, lists, 0, self._device):
            chosen = part.select(part.usable(self._settings.minimum_points))
            if chosen.keys:
                batch = chosen.to(self._device)
                with self._accelerator.autocast():
                    output = model(batch.x)
                total += len(chosen.keys) * self._objective(output, batch)["loss"].cpu()
                count += len(chosen.keys)
        model.train(was_training)
        both = self._sum(torch.stack((total, count)))
        return float(both[0] / both[1])

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

    def _sum(self, values: Tensor) -> Tensor:
        """Summed over the processes, on the CPU."""
        if self._processes == 1:
            return values
        summed: Any = self._accelerator.reduce(values.to(self._device), reduction="sum")
        return torch.as_tensor(summed).cpu()

    def _note_unreadable(self, parts: Sequence[TrainingBatch]) -> None:
        for problem in (problem for part in parts for problem in part.problems):
            if problem not in self.progress.unreadable:
                _log.warning("a sample is left out: %s", problem)
            self.progress.unreadable[problem] = self.progress.unreadable.get(problem, 0) + 1

    def _names(self, parts: Sequence[TrainingBatch]) -> str:
        names = [self._samples.name(number) for part in parts for _, number in part.keys]
        return ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")


def _loader(
    samples: TrainingSamples, batches: Any, workers: int, device: torch.device
) -> DataLoader[Any]:
    return DataLoader(
        KeyedSamples(samples),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_keep_to_one_thread,
        # A forked process would inherit locks of cv2's and torch's threads, and could wait forever.
        multiprocessing_context="forkserver" if workers else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it would draw from everybody's
    )


def _keep_to_one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)  # torch does so by itself


def _averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential average that is short at first: decay min(d, (1 + n) / (10 + n))."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        updates = float(count)
        kept = min(decay, (1.0 + updates) / (10.0 + updates))
        torch._foreach_lerp_(list(averaged), list(current), 1.0 - kept)

    return update
