"""A plain folder: pictures, and 16-bit depth images of the same names and a stated scale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Sample, sample_id
from dpt_ros.bags.importers.foreign import ForeignDataError, ForeignSource, read_rgb
from dpt_ros.bags.tally import Tally
from dpt_ros.geometry.camera import Camera
from dpt_ros.messages.tiff import without_orientation

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_DEPTHS = (".png", ".tif", ".tiff", ".pgm")


def find_folder(
    folder: str | Path,
    camera: Camera,
    depth_scale_m: float,
    images: str = "images",
    depth: str = "depth",
    min_points: int = 50,
) -> ForeignSource:
    """The pictures and depth images in a folder.

    Args:
        folder: what holds the two folders; its name is the source's.
        camera: of the pictures, distortion included.
        depth_scale_m: metres of one unit of depth; 0 in a depth image is unknown.
        images: the folder of pictures, in `folder`.
        depth: the folder of depth images, along the optical axis, of the pictures' names and size.
        min_points: pictures with fewer known depths are left out.

    Raises:
        ForeignDataError: a folder is missing or empty, or a scale that is not positive.
    """
    folder = Path(folder)
    if not (np.isfinite(depth_scale_m) and depth_scale_m > 0.0):
        raise ForeignDataError(f"got the depth scale {depth_scale_m}, expected metres above 0")
    depths = _by_stem(_files(folder / depth, _DEPTHS)[0])
    files, no_files = _files(folder / images, _PICTURES)
    pictures = _by_stem(files)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", folder.resolve().name).lstrip(".-") or "folder"
    stamps = _stamps(list(pictures))

    def read(tally: Tally) -> Iterator[Sample]:
        tally.calibration = {"camera": asdict(camera), "depth_scale_m": depth_scale_m}
        for path in no_files:
            tally.reject("folder, or link to nothing, with a picture's name", path.name)
        for (stem, same), stamp_ns in zip(pictures.items(), stamps, strict=True):
            tally.scans_read += len(same)
            pair = _only_pair(same, depths.get(stem, []), tally)
            if pair is None:
                continue
            picture, of_depth = pair
            rgb, depth_m = read_rgb(picture), _read_depth(of_depth, depth_scale_m)
            if rgb is None:
                tally.reject("picture that cannot be decoded", picture.name)
                continue
            if depth_m is None:
                tally.reject("depth that is no 16-bit image of one channel", of_depth.name)
                continue
            if rgb.shape[:2] != depth_m.shape or depth_m.shape != (camera.height, camera.width):
                tally.reject(
                    "sizes that do not fit",
                    f"{picture.name}: picture {rgb.shape[1]}x{rgb.shape[0]}, depth "
                    f"{depth_m.shape[1]}x{depth_m.shape[0]}, camera {camera.width}x{camera.height}",
                )
                continue
            if int(np.isfinite(depth_m).sum()) < min_points:
                tally.reject(f"fewer than {min_points} known depths", picture.name)
                continue
            yield Sample(sample_id(name, stamp_ns), name, stamp_ns, rgb, depth_m, camera)

    options = {"images": images, "depth": depth, "camera": asdict(camera)}
    return ForeignSource(name, folder, len(files), read, options)


def _by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Files by their names without the endings; more than one of a name is for `_only_pair`."""
    named: dict[str, list[Path]] = {}
    for path in paths:
        named.setdefault(path.stem, []).append(path)
    return named


def _only_pair(pictures: list[Path], depths: list[Path], tally: Tally) -> tuple[Path, Path] | None:
    """The picture and the depth image of one name; None, counted, where there are not just two."""
    listed = ", ".join(path.name for path in pictures)
    if len(pictures) > 1:
        for _ in pictures:
            tally.reject("several pictures of one name", listed)
    elif not depths:
        tally.reject("picture without a depth image", listed)
    elif len(depths) > 1:
        tally.reject("several depth images of one name", ", ".join(path.name for path in depths))
    else:
        return pictures[0], depths[0]
    return None


def _stamps(stems: list[str]) -> list[int]:
    """The names themselves where all are different whole numbers, else 0, 1, 2, ..."""
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers) and max(numbers) < 1 << 63:
            return numbers
    return list(range(len(stems)))


def _read_depth(path: Path, scale_m: float) -> NDArray[np.float32] | None:
    """Metres, NaN where unknown; None where it is no 16-bit image of one channel."""
    try:
        data = np.fromfile(path, np.uint8)  # OpenCV ends the process at a name that is not UTF-8
    except OSError:  # a folder of that name, or one that may not be read
        return None
    values = cv2.imdecode(without_orientation(data), cv2.IMREAD_UNCHANGED) if data.size else None
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        return None
    metres: NDArray[np.float32] = (values * np.float64(scale_m)).astype(np.float32)
    metres[values == 0] = np.nan
    return metres


def _files(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """What has one of these suffixes: files, at least one, and what is no file."""
    if not folder.is_dir():
        raise ForeignDataError(
            f"there is no folder {folder}: name those of the pictures and of the depth images "
            "(--images, --depth)"
        )
    named = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    files = [path for path in named if path.is_file()]
    if not files:
        raise ForeignDataError(f"{folder} holds none of {', '.join(suffixes)}")
    return files, [path for path in named if path not in set(files)]
