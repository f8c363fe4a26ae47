"""Samples as the network learns from them, in an order that a step's number alone decides.

Pictures go through the same input transform as at inference. Sparse truth is compared at its own
pixels; dense truth at the network's, by the nearest pixel. Nothing interpolates truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from dpt_ros.bags.dataset import Dataset, DatasetError
from dpt_ros.model.input_transform import InputTransform
from dpt_ros.training.augment import View, central_view, random_view, vary_colors
from dpt_ros.training.settings import AugmentSettings

Key = tuple[int, int]
"""Epoch and number of a sample; an epoch below 0 means: as it is, not varied."""


@dataclass
class TrainingItem:
    """One sample. `points` is None where truth is dense."""

    x: Tensor
    """[3, h, w] float32, normalised."""
    target: Tensor
    """Metric inverse depth in 1/m: [h, w], or [N] at `points`; 0 where there is none."""
    points: Tensor | None = None
    """[N, 2] float32: where truth lies in x, in pixels (x, y)."""
    problem: str = ""
    """Why there is no truth, if the sample could not be read."""


@dataclass
class TrainingBatch:
    """Samples of one size. Truth is [B, h, w], or [B, 1, N] at `points` with N the most of any."""

    x: Tensor
    target: Tensor
    valid: Tensor
    points: Tensor | None
    keys: list[Key]
    problems: list[str] = field(default_factory=list)

    def to(self, device: torch.device) -> TrainingBatch:
        """The batch on a device; images channels-last."""
        x = self.x.to(device, non_blocking=True, memory_format=torch.channels_last)
        points = None if self.points is None else self.points.to(device, non_blocking=True)
        return TrainingBatch(
            x,
            self.target.to(device, non_blocking=True),
            self.valid.to(device, non_blocking=True),
            points,
            self.keys,
            self.problems,
        )

    def pin_memory(self) -> TrainingBatch:
        """The batch in memory that a GPU reads by itself; torch's loader calls this."""
        points = None if self.points is None else self.points.pin_memory()
        return replace(
            self,
            x=self.x.pin_memory(),
            target=self.target.pin_memory(),
            valid=self.valid.pin_memory(),
            points=points,
        )

    def usable(self, minimum_points: int) -> Tensor:
        """[B] bool: which samples have truth enough."""
        return self.valid.flatten(1).sum(1) >= minimum_points

    def select(self, chosen: Tensor) -> TrainingBatch:
        """The samples that a mask [B] chooses."""
        points = None if self.points is None else self.points[chosen]
        keys = [key for key, is_in in zip(self.keys, chosen.tolist(), strict=True) if is_in]
        return TrainingBatch(
            self.x[chosen], self.target[chosen], self.valid[chosen], points, keys, self.problems
        )


class TrainingSamples(TorchDataset[TrainingItem]):
    """The samples of several data sets, by `Key`.

    Args:
        datasets: where they come from.
        transform: the model's.
        crop_size: (height, width) of what the network sees; see `common_crop`.
        is_dense: whether truth is compared at the network's pixels, or else at its own.
        augment: how samples are varied.
        seed: what, with epoch and number, decides how.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        transform: InputTransform,
        crop_size: tuple[int, int],
        *,
        is_dense: bool,
        augment: AugmentSettings,
        seed: int,
    ) -> None:
        self._datasets = list(datasets)
        self._transform = transform
        self._crop_size = crop_size
        self._is_dense = is_dense
        self._augment = augment
        self._seed = seed
        self._starts = np.cumsum([0, *(len(dataset) for dataset in datasets)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, key: Key) -> TrainingItem:
        """The sample as the epoch shows it; one that cannot be read has no truth."""
        epoch, number = key
        which = int(np.searchsorted(self._starts, number, side="right")) - 1
        try:
            sample = self._datasets[which][number - int(self._starts[which])]
        except DatasetError as error:
            return self._missing(str(error))
        picture_size = (sample.rgb.shape[0], sample.rgb.shape[1])
        network_size = self._transform.network_size(*picture_size)
        if epoch < 0:
            rgb, view = sample.rgb, central_view(picture_size, network_size, self._crop_size)
        else:
            random = np.random.default_rng((self._seed, epoch, number))
            view = random_view(picture_size, network_size, self._crop_size, self._augment, random)
            rgb = vary_colors(sample.rgb, self._augment, random)
        planes = self._transform.apply(torch.from_numpy(np.ascontiguousarray(rgb))[None])[0]
        x = torch.from_numpy(np.ascontiguousarray(view.cut(planes.numpy())))
        if self._is_dense:
            return TrainingItem(x, _dense_target(sample.depth_m, view))
        points, target = _point_target(sample.depth_m, view)
        return TrainingItem(x, target, points)

    def name(self, number: int) -> str:
        """The id of a sample."""
        which = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._datasets[which].records[number - int(self._starts[which])].id

    def _missing(self, problem: str) -> TrainingItem:
        x = torch.zeros(3, *self._crop_size, device="cpu")
        if self._is_dense:
            return TrainingItem(x, x.new_zeros(self._crop_size), None, problem)
        return TrainingItem(x, x.new_zeros(0), x.new_zeros(0, 2), problem)


class StepSampler(Sampler[list[Key]]):
    """Which samples each step takes, and of them which this process.

    Sample number p of the endless stream is `permutation(p // n)[p % n]`; step s takes the
    `batch_size` from p = s * batch_size on. A step's batch is the same for any number of
    processes and parts, so that a run may be resumed with others.

    Args:
        length: number of samples n.
        batch_size: samples of a step, over all processes.
        steps: the first step, and the one after the last.
        parts: parts that a process computes one after the other; each is yielded on its own.
        rank, processes: which process this is, of how many.

    Raises:
        ValueError: no samples, or a batch that cannot be divided.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        steps: tuple[int, int],
        *,
        parts: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if length < 1:
            raise ValueError("there are no samples to learn from")
        if batch_size % (parts * processes):
            raise ValueError(
                f"batch_size: got {batch_size}, expected a multiple of {parts * processes}: "
                f"{processes} processes, each with {parts} parts"
            )
        self._length, self._batch_size, self._seed = length, batch_size, seed
        self._steps, self._parts = steps, parts
        self._rank, self._processes = rank, processes

    def __len__(self) -> int:
        return max(0, self._steps[1] - self._steps[0]) * self._parts

    def __iter__(self) -> Iterator[list[Key]]:
        share = self._batch_size // (self._parts * self._processes)
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(*self._steps):
            keys: list[Key] = []
            for place in range(step * self._batch_size, (step + 1) * self._batch_size):
                if place // self._length != epoch:
                    epoch = place // self._length
                    order = np.random.default_rng((self._seed, epoch)).permutation(self._length)
                keys.append((epoch, int(order[place % self._length])))
            for part in range(self._parts):
                first = (part * self._processes + self._rank) * share
                yield keys[first : first + share]


def collate(keyed: Sequence[tuple[Key, TrainingItem]]) -> TrainingBatch:
    """Items of one size to a batch; lists of points are filled up to the longest."""
    items = [item for _, item in keyed]
    keys = [key for key, _ in keyed]
    x = torch.stack([item.x for item in items])
    problems = [item.problem for item in items if item.problem]
    if items[0].points is None:
        target = torch.stack([item.target for item in items])
        return TrainingBatch(x, target, target > 0.0, None, keys, problems)
    longest = max(1, max(item.target.shape[0] for item in items))
    target = x.new_zeros(len(items), 1, longest)
    points = x.new_zeros(len(items), longest, 2)
    for row, item in enumerate(items):
        count = item.target.shape[0]
        target[row, 0, :count] = item.target
        if item.points is not None:
            points[row, :count] = item.points
    return TrainingBatch(x, target, target > 0.0, points, keys, problems)


class KeyedSamples(TorchDataset[tuple[Key, TrainingItem]]):
    """Samples with their keys, for `collate`."""

    def __init__(self, samples: TrainingSamples) -> None:
        self._samples = samples

    def __getitem__(self, key: Key) -> tuple[Key, TrainingItem]:
        return key, self._samples[key]


def common_crop(
    datasets: Sequence[Dataset], transform: InputTransform, size: tuple[int, int]
) -> tuple[int, int]:
    """The largest (height, width) within `size` that every picture has at the network's scale."""
    sizes = {
        transform.network_size(record.camera.height, record.camera.width)
        for dataset in datasets
        for record in dataset.records
    }
    height = min([size[0], *(network[0] for network in sizes)])
    width = min([size[1], *(network[1] for network in sizes)])
    return height, width


def _dense_target(depth_m: NDArray[np.float32], view: View) -> Tensor:
    """[h, w] inverse depth of the nearest pixel; 0 where there is none."""
    if view.picture_size != view.network_size:
        rows, columns = (
            ((np.arange(network) + 0.5) * (picture / network)).astype(np.int64)
            for network, picture in zip(view.network_size, view.picture_size, strict=True)
        )
        depth_m = depth_m[rows[:, None], columns]
    return torch.from_numpy(_inverse(np.asarray(view.cut(depth_m), dtype=np.float32)))


def _point_target(depth_m: NDArray[np.float32], view: View) -> tuple[Tensor, Tensor]:
    """Where truth lies in the view [N, 2], and its inverse depth [N]."""
    inverse = _inverse(depth_m)
    v, u = np.nonzero(inverse)
    x, y = view.position(u, v)
    height, width = view.crop_size
    is_inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    points = np.stack((x, y), axis=-1)[is_inside].astype(np.float32)
    return torch.from_numpy(points), torch.from_numpy(inverse[v, u][is_inside])


def _inverse(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / depth where depth is positive and finite, else 0."""
    is_known = np.isfinite(depth_m) & (depth_m > 0.0)
    return np.divide(1.0, depth_m, out=np.zeros_like(depth_m), where=is_known, dtype=np.float32)
