"""What a training run can be told. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dpt_ros.config import ConfigError, setting
from dpt_ros.model.picture_size import parse_size

ALIGNMENTS = ("robust", "least_squares")
MODES = ("ssi", "metric")
STAGES = ("head", "decoder", "all")
OPTIMIZERS = ("adamw", "adam")
MIXED_PRECISIONS = ("no", "float16", "bfloat16")


@dataclass(frozen=True)
class AugmentSettings:
    """How a sample is varied, decided by seed, epoch and sample alone."""

    flip: float = setting(0.5, "How often it is mirrored.", minimum=0.0, maximum=1.0)
    brightness: float = setting(0.2, "Largest relative change.", minimum=0.0, maximum=1.0)
    contrast: float = setting(0.2, "Largest relative change.", minimum=0.0, maximum=1.0)
    saturation: float = setting(0.2, "Largest relative change.", minimum=0.0, maximum=1.0)
    hue: float = setting(10.0, "Largest turn of the hue.", unit="deg", minimum=0.0, maximum=180.0)
    gamma: float = setting(0.2, "Largest change of ln(gamma).", minimum=0.0, maximum=2.0)
    noise: float = setting(
        6.0, "Largest deviation of noise, of 255 levels.", minimum=0.0, maximum=100.0
    )
    blur: float = setting(
        0.1, "How often it is blurred, by up to a pixel and a half.", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class LossSettings:
    """Weights of the terms; a negative weight stands for the mode's usual one."""

    ssi: float = setting(
        -1.0,
        "Weight of the scale- and shift-invariant trimmed term (usual: 1 with ssi, 0 with metric).",
        minimum=-1.0,
    )
    gradient: float = setting(
        -1.0,
        "Weight of multi-scale gradient matching, which sparse truth switches off (usual: 0.5 "
        "with ssi, 0 with metric).",
        minimum=-1.0,
    )
    log: float = setting(
        -1.0,
        "Weight of Eigen's scale-invariant log term on metres (usual: 1 with metric; not for ssi).",
        minimum=-1.0,
    )
    l1: float = setting(
        -1.0,
        "Weight of the absolute error of metric inverse depth (usual: 0; not for ssi).",
        minimum=-1.0,
    )
    log_lambda: float = setting(
        0.5,
        "How much of a common factor the log term forgives: 0 nothing, 1 all.",
        minimum=0.0,
        maximum=1.0,
    )
    trim: float = setting(0.2, "Share of the largest residuals left out.", minimum=0.0, maximum=0.9)
    alignment: str = setting(
        "robust",
        "How ssi and gradient bring prediction and truth together: by median and mean absolute "
        "deviation, or by least squares.",
        choices=ALIGNMENTS,
    )


@dataclass(frozen=True)
class TrainSettings:
    """One run, apart from data, start and output folder."""

    mode: str = setting(
        "ssi",
        "ssi: any scale and shift, a picture at a time; metric: metres, with one scale and shift "
        "that are fitted at the start and stay.",
        choices=MODES,
    )
    stage: str = setting("all", "The part that learns; decoder includes the head.", choices=STAGES)
    size: str = setting(
        "", "Network input, WIDTHxHEIGHT, random crops of larger pictures; empty: the card's."
    )
    steps: int = setting(0, "Optimiser steps; 0: as many as `epochs` gives.", minimum=0)
    epochs: float = setting(10.0, "Passes over the training samples.", minimum=0.0)
    batch_size: int = setting(
        16, "Samples in one optimiser step, over all processes together.", minimum=1
    )
    accumulate: int = setting(
        1, "Parts a batch is computed in, one after the other, to save memory.", minimum=1
    )
    backbone_lr: float = setting(1e-5, "Learning rate of the encoder.", minimum=0.0)
    decoder_lr: float = setting(1e-4, "Learning rate of decoder and head.", minimum=0.0)
    layer_decay: float = setting(
        1.0,
        "Factor on the learning rate from each transformer block to the one before it.",
        minimum=0.01,
        maximum=1.0,
    )
    optimizer: str = setting("adamw", "The optimiser.", choices=OPTIMIZERS)
    beta2: float = setting(0.999, "Adam's average of squares.", minimum=0.0, maximum=0.999999)
    weight_decay: float = setting(
        0.01, "AdamW's decay; biases, norms and tokens have none.", minimum=0.0
    )
    warmup_steps: int = setting(
        -1, "Steps of linear warm-up; -1: 100, but at most a tenth of all steps.", minimum=-1
    )
    final_lr: float = setting(
        0.01, "Share of the learning rate that the cosine ends at.", minimum=0.0, maximum=1.0
    )
    clip: float = setting(1.0, "Largest gradient norm; 0: not clipped.", minimum=0.0)
    average: float = setting(
        0.999,
        "Decay of the averaged weights, which are the result; 0: the last weights are.",
        minimum=0.0,
        maximum=0.999999,
    )
    mixed_precision: str = setting(
        "no", "Number format of the network while it learns.", choices=MIXED_PRECISIONS
    )
    validation: str = setting(
        "0.1",
        "Sources held out: names separated by commas, the folder of a data set, or a share of the "
        "sources between 0 and 1; 0: none.",
    )
    validate_every: int = setting(500, "Steps between validations; 0: only at the end.", minimum=0)
    validation_samples: int = setting(
        200, "Samples of a validation at most, evenly chosen; 0: all.", minimum=0
    )
    patience: int = setting(
        0, "Validations without progress after which to stop; 0: never.", minimum=0
    )
    save_every: int = setting(250, "Steps between checkpoints.", minimum=1)
    bad_steps: int = setting(
        20,
        "Steps without truth, or without a finite loss, in a row, after which to give up.",
        minimum=1,
    )
    minimum_points: int = setting(50, "Pixels with truth that a picture needs to count.", minimum=3)
    workers: int = setting(1, "Processes that read samples; 0: none.", minimum=0)
    seed: int = setting(0, "Seed of everything random.", minimum=0, maximum=2**32 - 1)
    device: str = setting("auto", "auto, cpu, or cuda.", choices=("auto", "cpu", "cuda"))
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    def __post_init__(self) -> None:
        if self.size:
            parse_size(self.size, "size")
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"accumulate: got {self.accumulate}, expected a divisor of batch_size = "
                f"{self.batch_size}"
            )
        if self.mode == "ssi" and (self.loss.log > 0.0 or self.loss.l1 > 0.0):
            raise ConfigError(
                "loss.log, loss.l1: are about metres, which mode 'ssi' does not know; use --mode "
                "metric"
            )
        if self.steps == 0 and self.epochs == 0.0:
            raise ConfigError("steps and epochs: got 0 for both, expected one above 0")
        if self.patience and self.validate_every == 0:
            raise ConfigError(
                f"patience: got {self.patience} with validate_every = 0, which validates only at "
                "the end, when there is nothing left to stop; expected a validate_every above 0"
            )

    def with_warmup(self, steps: int) -> TrainSettings:
        """The same for a run of so many steps: with its usual warm-up, where none was named."""
        if self.warmup_steps >= 0:
            return self
        return replace(self, warmup_steps=min(100, steps // 10))
