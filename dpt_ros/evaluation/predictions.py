"""Predictions kept on disk, in a folder for each configuration that made them."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros import __version__
from dpt_ros.bags.dataset import Dataset
from dpt_ros.bags.dataset_format import sizes_sha256
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.whole_file import write_whole

FORMAT = "dpt_ros/predictions/1"
CONFIGURATION = "configuration.json"

_KEY_DIGITS = 16


class PredictionError(ValueError):
    """A folder of kept predictions is not what its name says."""


class KeptPredictions:
    """Arrays on disk by the id of their sample, made by one configuration.

    The folder's name holds a hash of the configuration, and the folder the configuration itself:
    what another one made is never found. Files are written whole or not at all; one that is
    damaged all the same counts as missing.

    Args:
        parent: the folder of all kept predictions; made when the first one is written.
        name: for people; the first part of the folder's name.
        configuration: everything that the arrays depend on; plain values that JSON can hold.

    Raises:
        PredictionError: the folder is there with another configuration.
    """

    def __init__(self, parent: Path, name: str, configuration: Mapping[str, Any]) -> None:
        self.configuration = {"format": FORMAT, **configuration}
        text = json.dumps(self.configuration, sort_keys=True, indent=1)
        key = hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
        self.folder = parent / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}-{key}"
        self._text = text
        self._is_begun = False
        path = self.folder / CONFIGURATION
        if path.exists():
            self._check(path)

    def read(self, identifier: str, shape: tuple[int, int]) -> NDArray[np.float32] | None:
        """The array of a sample, or None if it is missing, damaged or of another shape."""
        try:
            array = np.load(self._path(identifier), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if array.dtype != np.float32 or array.shape != shape:
            return None
        return np.asarray(array, np.float32)

    def write(self, identifier: str, array: NDArray[np.float32]) -> None:
        """Keep the array of a sample.

        Raises:
            OSError: it can't be written.
        """
        if not self._is_begun:
            write_whole(self.folder / CONFIGURATION, self._text.encode())
            self._is_begun = True
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_whole(self._path(identifier), buffer.getvalue())

    def missing(self, samples: Iterable[str]) -> list[str]:
        """Those of the samples' ids for which no file is there."""
        return [identifier for identifier in samples if not self._path(identifier).is_file()]

    def _path(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.npy"

    def _check(self, path: Path) -> None:
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            found = None
        if found != json.loads(self._text):
            raise PredictionError(
                f"{path} is damaged or was changed: it is not the configuration that its folder is "
                "named after; delete the folder"
            )


@dataclass(frozen=True)
class Runs:
    """How a network runs, as far as its output depends on it.

    Args:
        device: "cpu" or "cuda".
        precision: its number format.
        compile: whether it was to be compiled.
    """

    device: str
    precision: str
    compile: bool


def configuration_of(identity: ModelIdentity, runs: Runs, dataset: Dataset) -> dict[str, Any]:
    """Everything that the predictions of this network on this data set depend on."""
    sizes = sorted({(r.camera.height, r.camera.width) for r in dataset.records})
    return {
        "model": identity.model_name,
        "structure": identity.card.structure,
        "structure_overrides": dict(identity.card.structure_overrides),
        "checkpoint_sha256": identity.checkpoint_sha256,
        "input": asdict(identity.card.input),
        "network_sizes": {f"{w}x{h}": list(identity.network_size(h, w)) for h, w in sizes},
        **asdict(runs),
        "dataset": dataset.fingerprint,
        "pictures": sizes_sha256(dataset.folder, (record.image for record in dataset.records)),
        "dpt_ros": __version__,
        "torch": torch.__version__,
    }
