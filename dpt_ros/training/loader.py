"""Reads the batches of a run, in other processes, while the network learns."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from dpt_ros.training.samples import KeyedSamples, TrainingSamples, collate


def load_batches(
    samples: TrainingSamples, batches: Any, workers: int, device: torch.device
) -> DataLoader[Any]:
    """Batches of samples, read in processes of their own.

    Args:
        samples: where they come from.
        batches: a list of keys for each batch.
        workers: how many processes; 0: this one.
        device: where the batches will go.
    """
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
