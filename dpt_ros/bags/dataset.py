"""A data set on disk: pictures with depth, read at random and written source by source.

    manifest.json                  format, options, one entry for every finished source
    samples.jsonl                  one sample a line
    images/SOURCE/STAMP.png        rgb, lossless
    depth/SOURCE/STAMP.tiff        float32 metres along the optical axis, NaN = unknown, lossless
    overlays/SOURCE/STAMP.jpg      pictures to look at, not read back

A source (a bag, a rendered scene) counts from the moment it is in the manifest, so a process that
is killed leaves a data set of the sources it had finished.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset_format import (
    FORMAT,
    MANIFEST,
    SAMPLES,
    DatasetError,
    Sample,
    SampleRecord,
    check_name,
    check_sample,
    encode_depth,
    encode_jpeg,
    encode_rgb,
    read_image,
    read_lines,
    read_manifest,
    record_of,
    sample_id,
    sizes_sha256,
    told_if_full,
)
from dpt_ros.bags.dataset_locks import PARTS, is_alone, locked
from dpt_ros.whole_file import write_json, write_whole

__all__ = [
    "FORMAT",
    "Dataset",
    "DatasetError",
    "DatasetWriter",
    "Sample",
    "SampleRecord",
    "sample_id",
]


class Dataset:
    """A data set in a folder. Samples are read from disk when they are asked for.

    Args:
        folder: what `dpt-ros dataset` or `dpt-ros synthetic dataset` wrote.

    Raises:
        DatasetError: there is no data set, it is of another version, or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._manifest = read_manifest(self.folder)
        self._lines = dict(sorted(read_lines(self.folder, self._manifest)))
        self.records: list[SampleRecord] = [record_of(line) for line in self._lines.values()]

    @functools.cached_property
    def name(self) -> str:
        """The folder's name, also where it was given as "." or by a link."""
        return self.folder.resolve().name

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]:
        """What the manifest says of each source: path, counts, what was rejected and why."""
        return MappingProxyType(self._manifest["sources"])

    @property
    def options(self) -> Mapping[str, Any]:
        """The options that it was built with."""
        return MappingProxyType(self._manifest["options"])

    @property
    def dense(self) -> bool:
        """Whether nearly every pixel's depth is known (rendered, not measured)."""
        return bool(self._manifest["dense"])

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the lines of samples.jsonl, in the order of their ids."""
        return hashlib.sha256("".join(f"{x}\n" for x in self._lines.values()).encode()).hexdigest()

    @functools.cached_property
    def files_sha256(self) -> str:
        """SHA-256 over the sizes of the samples' files: other pixels are packed to another size.

        The fingerprint has no pixels: a data set that was built anew may have the same.
        """
        return sizes_sha256(self.folder, (f for r in self.records for f in (r.image, r.depth)))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            IndexError: beyond the end.
            DatasetError: a file is missing, or is not what the record says.
        """
        record = self.records[index]
        bgr = read_image(self.folder / record.image, cv2.IMREAD_COLOR)
        size = (record.camera.height, record.camera.width)
        if bgr.shape[:2] != size:
            raise DatasetError(
                f"{self.folder}: {record.id} has a picture of {bgr.shape[:2]}, expected {size}: "
                "build the data set again"
            )
        return Sample(
            id=record.id,
            source=record.source,
            stamp_ns=record.stamp_ns,
            rgb=np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8),
            depth_m=self.depth(record),
            camera=record.camera,
            gap_ns=record.gap_ns,
        )

    def depth(self, record: SampleRecord) -> NDArray[np.float32]:
        """Read the depth of one of `records` alone: [H, W] metres, NaN where unknown.

        Raises:
            DatasetError: its file is missing, or is not what the record says.
        """
        depth_m = read_image(self.folder / record.depth, cv2.IMREAD_UNCHANGED)
        size = (record.camera.height, record.camera.width)
        if depth_m.dtype != np.float32 or depth_m.shape != size:
            raise DatasetError(
                f"{self.folder}: {record.id} has depth {depth_m.dtype} {depth_m.shape}, expected "
                f"float32 {size}: build the data set again"
            )
        return depth_m

    def __iter__(self) -> Iterator[Sample]:
        """Read all samples in the order of their ids."""
        return (self[index] for index in range(len(self)))

    def select(self, sources: Iterable[str]) -> Dataset:
        """The same data set with the samples of these sources only.

        Raises:
            DatasetError: an unknown source; lists those there are.
        """
        chosen = list(sources)
        if unknown := [name for name in chosen if name not in self.sources]:
            raise DatasetError(
                f"{self.folder} has no source {', '.join(map(repr, unknown))}, expected some of "
                f"{', '.join(self.sources)}"
            )
        part = object.__new__(Dataset)
        part.folder = self.folder
        kept = {name: info for name, info in self.sources.items() if name in chosen}
        part._manifest = {**self._manifest, "sources": kept}
        part.records = [record for record in self.records if record.source in kept]
        part._lines = {record.id: self._lines[record.id] for record in part.records}
        return part


class DatasetWriter:
    """Writes samples, source by source; several processes may each write their own sources.

        with DatasetWriter(folder, dense=False, options=options) as writer:
            for sample in samples:
                writer.add(sample)
            writer.finish_source(name, {"path": ..., "rejected": ...})

    An existing data set of the same options is continued: skip what is in `sources`.

    Args:
        folder: where; made if missing, with its parents.
        dense: see `Dataset.dense`.
        options: how the samples were made; plain values that JSON can hold.

    Raises:
        DatasetError: the folder holds something else, or a data set of other options.
        OSError: it can't be written.
    """

    def __init__(self, folder: str | Path, *, dense: bool, options: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._wanted = {"dense": dense, "options": json.loads(json.dumps(dict(options)))}
        with told_if_full(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder):
                self._begin()
        self._dense = dense
        self._ids: dict[str, set[str]] = {}
        self._parts: dict[str, BinaryIO] = {}

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave unfinished sources as they are: they don't count, and are begun anew."""
        for part in self._parts.values():
            part.close()
        self._parts.clear()
        self._ids.clear()

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]:
        """What the manifest says, now, of each finished source."""
        return MappingProxyType(read_manifest(self.folder)["sources"])

    def add(self, sample: Sample) -> None:
        """Write a sample.

        Raises:
            DatasetError: arrays that don't belong together, an id that is no "SOURCE/NAME" or
                is there already, or a source that is finished or written by another process.
            OSError: it can't be written; a full disk says what to do.
        """
        check_sample(sample)
        with told_if_full(self.folder):
            if sample.source not in self._ids:
                self._begin_source(sample.source)
            if sample.id in self._ids[sample.source]:
                raise DatasetError(f"{self.folder}: got two samples {sample.id!r}")
            image, depth = f"images/{sample.id}.png", f"depth/{sample.id}.tiff"
            write_whole(self.folder / image, encode_rgb(sample.rgb))
            write_whole(self.folder / depth, encode_depth(sample.depth_m, self._dense))
            line = {
                "id": sample.id,
                "source": sample.source,
                "stamp_ns": int(sample.stamp_ns),
                "image": image,
                "depth": depth,
                "camera": asdict(sample.camera),
                "points": int(np.isfinite(sample.depth_m).sum()),
                "gap_ns": int(sample.gap_ns),
            }
            part = self._parts[sample.source]
            part.write((json.dumps(line) + "\n").encode())
            part.flush()
        self._ids[sample.source].add(sample.id)

    def add_overlay(self, identifier: str, rgb: NDArray[np.uint8]) -> None:
        """Write a picture, uint8 [H, W, 3], for people to look at beside the sample of this id."""
        with told_if_full(self.folder):
            write_whole(self.folder / f"overlays/{identifier}.jpg", encode_jpeg(rgb))

    def finish_source(self, name: str, info: Mapping[str, Any]) -> None:
        """Make a source's samples part of the data set.

        Args:
            name: the samples' `source`; a source may have no sample.
            info: what the manifest is to say of it; `samples` is filled in.

        Raises:
            DatasetError: it is finished already, or the data set has other options by now.
            OSError: it can't be written; a full disk says what to do.
        """
        with told_if_full(self.folder):
            if name not in self._ids:
                self._begin_source(name)
            lines = self._part(name).read_bytes()
            with locked(self.folder):
                manifest = read_manifest(self.folder)
                _refuse_finished(self.folder, name, manifest)
                self._refuse_others(manifest)
                with (self.folder / SAMPLES).open("r+b") as samples:
                    # What a killed process appended but never put into the manifest goes.
                    samples.truncate(manifest["samples_bytes"])
                    samples.seek(0, os.SEEK_END)
                    samples.write(lines)
                manifest["sources"][name] = {**info, "samples": lines.count(b"\n")}
                manifest["samples_bytes"] += len(lines)
                self._write_manifest(manifest)
        self._part(name).unlink()
        self._parts.pop(name).close()
        del self._ids[name]

    def _begin(self) -> None:
        if not (self.folder / MANIFEST).exists():
            samples = self.folder / SAMPLES
            # A process that was killed before it wrote the manifest leaves an empty list.
            is_begun = samples.is_file() and samples.stat().st_size == 0
            names = {p.name for p in self.folder.iterdir()} - ({SAMPLES} if is_begun else set())
            if others := [name for name in names if not name.startswith(".")]:
                raise DatasetError(
                    f"{self.folder} holds {', '.join(sorted(others)[:3])} and no data set: "
                    "name an empty or a new folder"
                )
            samples.write_bytes(b"")
            begun = {"format": FORMAT, **self._wanted, "sources": {}, "samples_bytes": 0}
            self._write_manifest(begun)
            return
        manifest = read_manifest(self.folder)
        try:
            self._refuse_others(manifest)
        except DatasetError:
            if manifest["sources"] or not is_alone(self.folder):
                raise
            # Nothing came of the options it was begun with.
            self._write_manifest({**manifest, **self._wanted})

    def _refuse_others(self, manifest: Mapping[str, Any]) -> None:
        """Refuse a data set that is made with other options than this writer's."""
        for key, value in self._wanted.items():
            if manifest[key] != value:
                raise DatasetError(
                    f"{self.folder} holds a data set with {_difference(key, manifest[key], value)}:"
                    " name another folder, or give the same options to continue it"
                )

    def _begin_source(self, name: str) -> None:
        check_name(name)
        path = self._part(name)
        path.parent.mkdir(exist_ok=True)
        part = path.open("ab")
        try:
            # One writer a source: a worker may have outlived the command that started it.
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _refuse_finished(self.folder, name, read_manifest(self.folder))
        except BlockingIOError as error:
            part.close()
            raise DatasetError(
                f"{self.folder}: source {name!r} is being written by another process: wait for it"
            ) from error
        except BaseException:
            part.close()
            raise
        part.truncate(0)
        for kind in ("images", "depth", "overlays"):  # of a process that was killed
            shutil.rmtree(self.folder / kind / name, ignore_errors=True)
        self._parts[name] = part
        self._ids[name] = set()

    def _part(self, name: str) -> Path:
        return self.folder / PARTS / f"{name}.jsonl"

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        write_json(self.folder / MANIFEST, manifest)


def _refuse_finished(folder: Path, name: str, manifest: Mapping[str, Any]) -> None:
    if name in manifest["sources"]:
        raise DatasetError(f"{folder} has a finished source {name!r}: skip it, or rename yours")


def refuse_other_options(source: str, info: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse to take a finished source for one made with other options.

    Args:
        source: its name.
        info: what the manifest says of it; "options" are those it was made with, if it has them.
        options: those that are asked for now.

    Raises:
        DatasetError: they differ.
    """
    before = info.get("options", {})
    wanted = {name: json.loads(json.dumps(options[name])) for name in options if name in before}
    there = {name: before[name] for name in wanted}
    if there != wanted:
        raise DatasetError(
            f"{source} is finished already, with {_difference('options', there, wanted)}: name "
            "another folder to make it anew, or give the same options"
        )


def _difference(key: str, there: Any, wanted: Any) -> str:
    """What differs between the options of a data set and those that are asked for."""
    if not isinstance(there, dict):
        return f"{key} {there}, not {wanted}"
    names = sorted(n for n in {*there, *wanted} if there.get(n) != wanted.get(n))
    return ", ".join(f"{name} {there.get(name)!r}, not {wanted.get(name)!r}" for name in names)
