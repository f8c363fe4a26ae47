"""What is evaluated: networks with their kept predictions, and the baseline, behind one face."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Dataset, DatasetError, SampleRecord
from dpt_ros.bags.dataset_format import sizes_sha256
from dpt_ros.evaluation.alignment import Known
from dpt_ros.evaluation.baseline import GRID, MeanInverseDepth
from dpt_ros.evaluation.known import KnownMetres, listed
from dpt_ros.evaluation.predictions import KeptPredictions, Runs, configuration_of
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference.device import choose_device, choose_precision
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.inference.metres import MetresOfImage
from dpt_ros.inference.predictor import DepthPredictor, InferenceError
from dpt_ros.inference.settings import InferenceSettings

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
"""Shows how far an iteration is: takes it and what it does, gives it back."""


class EvaluatedModel(Protocol):
    """Something that says inverse depth of a sample."""

    label: str
    is_baseline: bool
    description: dict[str, Any]
    failures: dict[str, str]
    """Frames without a prediction, by id, and why."""

    def known(self, camera: Camera) -> Known:
        """Scale and shift for a camera without looking at truth, or why there are none."""
        ...

    def doubt(self, sources: Iterable[str]) -> str:
        """That it knows the truth of some of these recordings; "" if it does not."""
        ...

    def prepare(self, dataset: Dataset, progress: Progress) -> None:
        """Have a prediction of every sample ready."""
        ...

    def prediction(self, dataset: Dataset, record: SampleRecord) -> NDArray[np.float32] | None:
        """Inverse depth [H,W] of a sample; None if it is damaged or the network failed on it."""
        ...


class NetworkModel:
    """A network; its predictions are made once and kept, and it is loaded when one is missing.

    Args:
        identity: which model with which weights.
        inference: how it runs.
        label: what to call it in tables.
        calibration: its calibration file, "bundled", or "" for none.
        keep: the folder of all kept predictions.

    Raises:
        CalibrationError: the calibration can't be read, or belongs to something else.
        ValueError: a device or precision that can't be had here.
    """

    is_baseline = False

    def __init__(
        self,
        identity: ModelIdentity,
        inference: InferenceSettings,
        label: str,
        calibration: str,
        keep: Path,
    ) -> None:
        self.label = label
        self.failures: dict[str, str] = {}
        self._identity = identity
        self._inference = inference
        self._metres = KnownMetres(identity, calibration)
        self._keep = keep
        self._kept: dict[Path, KeptPredictions] = {}
        self._predictor: DepthPredictor | None = None
        self._lock = threading.Lock()  # frames are scored in threads, the network knows one
        device = torch.device(choose_device(inference.device)[0])
        self._runs = Runs(
            device.type, choose_precision(inference.precision, device)[0], inference.compile
        )
        self.description: dict[str, Any] = {
            "model": identity.model_name,
            "checkpoint": str(identity.checkpoint_path),
            "checkpoint_sha256": identity.checkpoint_sha256,
            "precision": self._runs.precision,
            "device": self._runs.device,
            "metres": self._metres.source,
        }

    def known(self, camera: Camera) -> Known:
        """See `EvaluatedModel`."""
        return self._metres.of_camera(camera)

    def doubt(self, sources: Iterable[str]) -> str:
        """See `EvaluatedModel`."""
        return self._metres.doubt(sources)

    def prepare(self, dataset: Dataset, progress: Progress) -> None:
        """Predict what is not kept yet.

        Raises:
            CheckpointError: weights that do not fit.
            OSError: predictions can't be written.
        """
        configuration = configuration_of(self._identity, self._runs, dataset)
        kept = KeptPredictions(self._keep, self._identity.model_name, configuration)
        self._kept[dataset.folder] = kept
        missing = set(kept.missing(record.id for record in dataset.records))
        chosen = [i for i, record in enumerate(dataset.records) if record.id in missing]
        for index in progress(chosen, f"predict {self.label}") if chosen else ():
            self._predict(dataset, index, kept)

    def prediction(self, dataset: Dataset, record: SampleRecord) -> NDArray[np.float32] | None:
        """See `EvaluatedModel`; a kept one that is damaged is made again."""
        kept = self._kept[dataset.folder]
        array = kept.read(record.id, (record.camera.height, record.camera.width))
        if array is None and record.id not in self.failures:
            array = self._predict(dataset, dataset.records.index(record), kept)
        return array

    def _predict(
        self, dataset: Dataset, index: int, kept: KeptPredictions
    ) -> NDArray[np.float32] | None:
        identifier = dataset.records[index].id
        try:
            sample = dataset[index]
            with self._lock:
                array = np.asarray(self._loaded().predict(sample.rgb), np.float32)
        except (DatasetError, InferenceError) as error:
            self.failures[identifier] = str(error)
            return None
        kept.write(identifier, array)
        return array

    def _loaded(self) -> DepthPredictor:
        if self._predictor is None:
            inference = self._inference
            self._predictor = DepthPredictor.from_model(
                inference.model,
                checkpoint=inference.checkpoint or None,
                device=inference.device,
                precision=inference.precision,
                compile=inference.compile,
            )
        return self._predictor


class BaselineModel:
    """A training set's mean inverse depth at every pixel, in metres as it comes.

    Args:
        training: the data set.
        keep: the folder of all kept predictions; the mean is kept there too.
        progress: shows how far it is.

    Raises:
        BaselineError: the data set holds no truth.
    """

    label = "baseline"
    is_baseline = True

    def __init__(self, training: Dataset, keep: Path, progress: Progress) -> None:
        configuration = {
            "baseline": "mean",
            "grid": list(GRID),
            "dataset": training.fingerprint,
            "truth": sizes_sha256(training.folder, (record.depth for record in training.records)),
        }
        kept = KeptPredictions(keep, "baseline", configuration)
        grid = kept.read("mean", GRID)
        if grid is None:
            records = progress(training.records, "baseline")
            grid = MeanInverseDepth.of(training.depth(record) for record in records).grid
            kept.write("mean", grid)
        self.failures: dict[str, str] = {}
        self._sources = {record.source for record in training.records}
        self._mean = MeanInverseDepth(grid)
        self._resized: dict[tuple[int, int], NDArray[np.float32]] = {}
        self.description: dict[str, Any] = {
            "model": "mean inverse depth per pixel",
            "training_set": str(training.folder),
            "training_set_fingerprint": training.fingerprint,
            "samples": len(training),
        }

    def known(self, camera: Camera) -> Known:
        """It is metric already, for every camera."""
        metres = MetresOfImage(ScaleShift(1.0, 0.0))
        return {"none": metres, "calibration": metres}

    def doubt(self, sources: Iterable[str]) -> str:
        """See `EvaluatedModel`."""
        seen = sorted(self._sources.intersection(sources))
        if not seen:
            return ""
        return (
            f"it is the mean of the truth of {listed(seen)}, by name, on which it is scored: name "
            "another data set with --baseline"
        )

    def prepare(self, dataset: Dataset, progress: Progress) -> None:
        """Nothing is to be done."""

    def prediction(self, dataset: Dataset, record: SampleRecord) -> NDArray[np.float32] | None:
        """The mean, resized; the same array for all images of a size."""
        size = (record.camera.height, record.camera.width)
        if size not in self._resized:
            self._resized[size] = self._mean.at(*size)
        return self._resized[size]
