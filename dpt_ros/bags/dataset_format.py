"""What a data set looks like on disk: its names, records and files. Knows no order of writing."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpt_ros.geometry.camera import Camera

FORMAT = "dpt_ros/dataset/1"
MANIFEST = "manifest.json"
SAMPLES = "samples.jsonl"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)
# Deflate reads as quickly as LZW and is smaller; differences of neighbours pay for dense depth.
_DEFLATE, _NO_PREDICTOR, _DIFFERENCES = 8, 1, 2


class DatasetError(ValueError):
    """A data set is missing, damaged, of another version, or not the one that is being built."""


@dataclass(frozen=True)
class Sample:
    """A picture with the depth that is known of it.

    Args:
        id: "SOURCE/STAMP", unique in its data set.
        source: the bag or scene that it is from.
        stamp_ns: when the picture was taken.
        rgb: uint8 [H, W, 3].
        depth_m: float32 [H, W], metres along the optical axis, NaN where unknown.
        camera: the camera of the picture, distortion included.
        gap_ns: time between the picture and the scan that depth is from.
    """

    id: str
    source: str
    stamp_ns: int
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    camera: Camera
    gap_ns: int = 0


@dataclass(frozen=True)
class SampleRecord:
    """What is known of a sample without reading its pixels; paths are relative to the folder."""

    id: str
    source: str
    stamp_ns: int
    image: str
    depth: str
    camera: Camera
    points: int
    gap_ns: int = 0


def sample_id(source: str, stamp_ns: int) -> str:
    """The id of a sample: ids of one source sort by time."""
    return f"{source}/{stamp_ns:020d}"


@contextlib.contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Say of a full disk what is kept and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)}; the finished sources are kept: make room, then run the "
            "same command again to go on",
            str(folder),
        ) from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a data set.

    Raises:
        DatasetError: there is none, it is of another version, or damaged.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{folder} is no data set (it has no {MANIFEST}): make one with `dpt-ros dataset "
            "build` or `dpt-ros synthetic dataset`"
        ) from error
    except ValueError as error:
        raise DatasetError(f"{path} is damaged ({error}): build the data set again") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DatasetError(
            f"{path} has the format {found!r}, expected {FORMAT!r}: build the data set again with "
            "this version"
        )
    kinds = {"dense": bool, "options": dict, "sources": dict, "samples_bytes": int}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise DatasetError(
                f"{path} is damaged: {key}: got {manifest.get(key)!r}, expected {kind.__name__}; "
                "build the data set again"
            )
    return dict(manifest)


def read_lines(folder: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Id and line of every sample of a finished source."""
    path = folder / SAMPLES
    size = manifest["samples_bytes"]
    try:
        expected = sum(int(info["samples"]) for info in manifest["sources"].values())
        with path.open("rb") as file:
            lines = file.read(size).decode().splitlines()
        found = [(str(json.loads(line)["id"]), line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is damaged ({error!r}): build the data set again") from error
    if len(found) != expected:
        raise DatasetError(
            f"{path} has {len(found)} samples, expected the {expected} of {MANIFEST}: it was cut "
            "off or changed; build the data set again"
        )
    yield from found


def record_of(line: str) -> SampleRecord:
    """A line of samples.jsonl.

    Raises:
        DatasetError: it has other fields or values.
    """
    values = json.loads(line)
    try:
        values["camera"] = _camera(json.dumps(values["camera"]))
        return SampleRecord(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{SAMPLES} is damaged at {values.get('id')!r} ({error}): build the data set again"
        ) from error


@functools.lru_cache(maxsize=64)
def _camera(text: str) -> Camera:
    return Camera(**json.loads(text))


def read_image(path: Path, flags: int) -> NDArray[Any]:
    """Decode a picture or depth image with cv2.

    Raises:
        DatasetError: it is missing or damaged.
    """
    try:
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    except (OSError, cv2.error) as error:
        raise DatasetError(f"{path} cannot be read ({error}): build the data set again") from error
    if pixels is None:
        raise DatasetError(f"{path} is damaged: build the data set again")
    return pixels


def encode_rgb(rgb: NDArray[np.uint8]) -> bytes:
    """A picture, uint8 [H, W, 3], as PNG."""
    return _encoded(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _PNG_OPTIONS)


def encode_depth(depth_m: NDArray[np.float32], dense: bool) -> bytes:
    """Depth, float32 [H, W], as TIFF, every bit kept."""
    predictor = _DIFFERENCES if dense else _NO_PREDICTOR
    compression = (cv2.IMWRITE_TIFF_COMPRESSION, _DEFLATE)
    return _encoded(".tiff", depth_m, (*compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor))


def encode_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """A picture to look at, uint8 [H, W, 3], as JPEG."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return _encoded(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 90))


def _encoded(suffix: str, pixels: NDArray[Any], options: tuple[int, ...]) -> bytes:
    is_encoded, data = cv2.imencode(suffix, pixels, options)
    if not is_encoded:
        raise DatasetError(f"got {pixels.dtype} {pixels.shape}, which cannot be stored as {suffix}")
    return bytes(data.data)


def name_of_recording(path: Path) -> str:
    """What the source of a recording (a folder, or a file) is called: its name, made allowable."""
    path = path.resolve()
    name = path.name if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-") or "bag"


def check_name(name: str) -> None:
    """Refuse a source's name that is no name of a file.

    Raises:
        DatasetError: other characters than letters, digits, '.', '_' and '-'.
    """
    if not _NAME.fullmatch(name):
        raise DatasetError(
            f"got the source name {name!r}, expected letters, digits, '.', '_' and '-'"
        )


def check_sample(sample: Sample) -> None:
    """Refuse a sample whose parts do not belong together.

    Raises:
        DatasetError: shapes, types or an id that do not fit.
    """
    rgb, depth_m, camera = sample.rgb, sample.depth_m, sample.camera
    size = (camera.height, camera.width)
    if rgb.dtype != np.uint8 or rgb.shape != (*size, 3):
        raise DatasetError(
            f"{sample.id}: got rgb {rgb.dtype} {rgb.shape}, expected uint8 {(*size, 3)}"
        )
    if depth_m.dtype != np.float32 or depth_m.shape != size:
        raise DatasetError(
            f"{sample.id}: got depth_m {depth_m.dtype} {depth_m.shape}, expected float32 {size}"
        )
    source, _, name = sample.id.partition("/")
    if source != sample.source or not _NAME.fullmatch(name):
        raise DatasetError(
            f"got the sample id {sample.id!r}, expected {sample.source}/NAME with a name of "
            "letters, digits, '.', '_' and '-'"
        )


def sizes_sha256(folder: Path, files: Iterable[str]) -> str:
    """SHA-256 over the names and sizes of files in a folder; a missing one has the size 0."""
    digest = hashlib.sha256()
    for file in files:
        path = folder / file
        digest.update(f"{file} {path.stat().st_size if path.exists() else 0}\n".encode())
    return digest.hexdigest()
