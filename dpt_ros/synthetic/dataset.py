"""Render a data set: pictures with exact depth, a source a scene, in parallel, resumable."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.bags.dataset import DatasetWriter, Sample, sample_id
from dpt_ros.config import values_of
from dpt_ros.geometry.camera import Camera
from dpt_ros.synthetic.drive import drive_path
from dpt_ros.synthetic.render import Renderer
from dpt_ros.synthetic.rig import RigSettings, transform_base_camera
from dpt_ros.synthetic.scenes import make_scene
from dpt_ros.synthetic.seeds import split_seed
from dpt_ros.synthetic.settings import KINDS, SyntheticSettings

_FRAMES_A_DRIVE = 2
_SPACING_S = 2.5
_ATTEMPTS = 4


@dataclass(frozen=True)
class _Task:
    settings: SyntheticSettings
    rig: RigSettings
    camera: Camera
    folder: Path
    options: dict[str, Any]
    index: int
    device: str


def source_name(settings: SyntheticSettings, index: int) -> str:
    """The data set's name of scene `index`."""
    return f"{settings.split}_{settings.seed}_{index:06d}_{kind_of(settings, index)}"


def kind_of(settings: SyntheticSettings, index: int) -> str:
    """The kind of scene `index`: each in turn, or always the one chosen."""
    return KINDS[index % len(KINDS)] if settings.kind == "all" else settings.kind


def build_dataset(
    folder: str | Path,
    settings: SyntheticSettings,
    camera: Camera,
    scenes: int,
    *,
    rig: RigSettings | None = None,
    jobs: int = 1,
    device: str = "cpu",
) -> Iterator[str]:
    """Render scenes 0 to `scenes` into a data set; those that it has already are skipped.

    Args:
        folder: of the data set.
        settings: what to render.
        camera: of the stored pictures; see `rig.rig_camera`.
        scenes: how many the data set is to have.
        rig: where the camera sits.
        jobs: processes.
        device: where pictures are rendered. Another device rounds otherwise, so that a grey level
            here and there differs; it is no option of the data set.

    Yields:
        The source's name when a scene is finished or found finished.

    Raises:
        DatasetError: the folder holds something else.
        ValueError: scenes or jobs below 1.
        RuntimeError: a process was ended from outside.
    """
    if scenes < 1 or jobs < 1:
        raise ValueError(f"got {scenes} scenes and {jobs} jobs, expected at least 1 of each")
    rig = rig or RigSettings()
    options = _options(settings, rig, camera)
    with DatasetWriter(folder, dense=True, options=options) as writer:
        finished = set(writer.sources)
    tasks = []
    for index in range(scenes):
        if (name := source_name(settings, index)) in finished:
            yield name
        else:
            tasks.append(_Task(settings, rig, camera, Path(folder), options, index, device))
    if jobs == 1 or len(tasks) < 2:
        yield from map(_write_scene, tasks)
        return
    # Spawned, not forked: a fork of a process with torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, _use_one_thread)
    try:
        for done in as_completed([pool.submit(_write_scene, task) for task in tasks]):
            yield done.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"a process that rendered was ended from outside, for want of memory perhaps; what is "
            f"finished is in {folder}: run the same command again, with fewer jobs than {jobs}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def scene_samples(
    settings: SyntheticSettings,
    camera: Camera,
    index: int,
    rig: RigSettings | None = None,
    device: str = "cpu",
) -> Iterator[Sample]:
    """The samples of one scene, the same every time.

    The robot starts anew at a random place for every two pictures and drives; pictures that a wall
    fills from near are left out.
    """
    rig = rig or RigSettings()
    stream = split_seed(settings.seed, settings.split, index)
    scene_stream, drive_stream = stream.spawn(2)
    scene = make_scene(kind_of(settings, index), scene_stream)
    rng = np.random.default_rng(drive_stream)
    renderer = Renderer(scene, device)
    source = source_name(settings, index)
    mount = transform_base_camera(rig)
    count, tries = 0, settings.frames_per_scene * _ATTEMPTS
    while count < settings.frames_per_scene and tries > 0:
        wanted = min(_FRAMES_A_DRIVE, settings.frames_per_scene - count)
        path = drive_path(scene, rng, wanted * _SPACING_S)
        for number in range(wanted):
            tries -= 1
            pose = path.pose_at(float(number + rng.uniform(0.2, 0.8)) * _SPACING_S) @ mount
            rgb, depth_m = renderer.render(camera, pose, int(rng.integers(2**31)))
            if not shows_room(depth_m):
                continue
            stamp_ns = count * 1_000_000_000
            depth_m[~(depth_m <= settings.far_m)] = np.nan
            yield Sample(sample_id(source, stamp_ns), source, stamp_ns, rgb, depth_m, camera)
            count += 1


def shows_room(depth_m: NDArray[np.float32]) -> bool:
    """Whether a picture is more than a near surface: a tenth of its upper part is 1.2 m away."""
    known = np.nan_to_num(depth_m, nan=1e3)
    upper = known[: len(known) // 2]
    return bool(np.quantile(upper, 0.9) >= 1.2 and np.quantile(known, 0.02) >= 0.25)


def _write_scene(task: _Task) -> str:
    name = source_name(task.settings, task.index)
    with DatasetWriter(task.folder, dense=True, options=task.options) as writer:
        samples = scene_samples(task.settings, task.camera, task.index, task.rig, task.device)
        for sample in samples:
            writer.add(sample)
        writer.finish_source(
            name, {"path": name, "kind": kind_of(task.settings, task.index), "rejected": {}}
        )
    return name


def _use_one_thread() -> None:
    torch.set_num_threads(1)


def _options(settings: SyntheticSettings, rig: RigSettings, camera: Camera) -> dict[str, Any]:
    rig_values = {f"rig.{name}": value for name, value in values_of(rig).items()}
    values = values_of(settings)
    scenes = {"kind": "synthetic", "scenes": values.pop("kind")}
    return {**scenes, **values, **rig_values, "camera": asdict(camera)}
