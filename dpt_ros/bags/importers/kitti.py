"""KITTI, raw and object layout, as it is unpacked from the downloads (Geiger et al., 2012, 2013).

    raw      DATE/calib_cam_to_cam.txt and DATE/calib_velo_to_cam.txt, and for every drive
             DATE/DRIVE/image_02/data/0000000000.png, image_02/timestamps.txt,
             velodyne_points/data/0000000000.bin, velodyne_points/timestamps.txt
    object   training/image_2/000000.png, training/velodyne/000000.bin, training/calib/000000.txt

Pictures are rectified. Scans are taken as they are: no motion is compensated.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bags.dataset import Sample, sample_id
from dpt_ros.bags.importers.foreign import ForeignDataError, ForeignSource, read_rgb
from dpt_ros.bags.tally import Tally
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.lidar import project_scan
from dpt_ros.geometry.lidar_settings import LidarSettings

_Matrix = NDArray[np.float64]
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?")


def find_kitti(
    folder: str | Path,
    camera: int = 2,
    settings: LidarSettings | None = None,
    min_points: int = 50,
) -> list[ForeignSource]:
    """The drives (raw) or halves (object) in a folder.

    Args:
        folder: a drive, a date, a folder of dates; or a folder with `training`, or that itself.
        camera: 0 to 3; 2 is the left colour camera.
        settings: which points count; None is the defaults.
        min_points: pictures with fewer are left out.

    Raises:
        ForeignDataError: neither layout is found.
    """
    folder = Path(folder).expanduser().absolute()  # `.` has a name and a parent, too
    settings = settings or LidarSettings()
    points = [
        p
        for pattern in ("", "*/", "*/*/")
        for p in sorted(folder.glob(f"{pattern}velodyne_points"))
    ]
    raw = [_raw_source(p.parent, camera, settings, min_points) for p in points]
    halves = [
        p.parent
        for pattern in ("", "*/", "*/*/")
        for p in sorted(folder.glob(f"{pattern}velodyne"))
    ]
    found = raw + [_object_source(half, camera, settings, min_points) for half in halves]
    if not found:
        raise ForeignDataError(
            f"{folder} is not laid out as KITTI: expected DATE/DRIVE/velodyne_points with "
            "DATE/calib_cam_to_cam.txt (raw), or training/velodyne with training/calib (object)"
        )
    return found


def _raw_source(
    drive: Path, camera: int, settings: LidarSettings, min_points: int
) -> ForeignSource:
    pictures = sorted((drive / f"image_{camera:02d}" / "data").glob("*.png"))

    def read(tally: Tally) -> Iterator[Sample]:
        cam_to_cam = _read_calibration(drive.parent / "calib_cam_to_cam.txt")
        velo_to_cam = _read_calibration(drive.parent / "calib_velo_to_cam.txt")
        velo = np.eye(4)
        velo[:3, :3] = _matrix(velo_to_cam, "R", (3, 3), drive.parent)
        velo[:3, 3] = _matrix(velo_to_cam, "T", (3,), drive.parent)
        rectify = _matrix(cam_to_cam, "R_rect_00", (3, 3), drive.parent)
        projection = _matrix(cam_to_cam, f"P_rect_{camera:02d}", (3, 4), drive.parent)
        size = cam_to_cam.get(f"S_rect_{camera:02d}")
        picture_ns = _read_stamps(drive / f"image_{camera:02d}" / "timestamps.txt")
        scan_ns = _read_stamps(drive / "velodyne_points" / "timestamps.txt")
        for picture in pictures:
            tally.scans_read += 1
            if not picture.stem.isdecimal():
                tally.reject("picture whose name is no number", picture.name)
                continue
            index = int(picture.stem)
            stamps_ns = [at[index] if index < len(at) else None for at in (picture_ns, scan_ns)]
            stamp_ns, scan_stamp_ns = stamps_ns
            if stamp_ns is None or scan_stamp_ns is None:
                which = "picture" if stamp_ns is None else "scan"
                tally.reject(f"{which} without a time stamp", picture.name)
                continue
            scan = drive / "velodyne_points" / "data" / f"{picture.stem}.bin"
            sample = _sample(
                (drive.name, stamp_ns, abs(stamp_ns - scan_stamp_ns), picture, scan),
                (projection, rectify, velo),
                size,
                settings,
                min_points,
                tally,
            )
            if sample is not None:
                yield sample

    return ForeignSource(drive.name, drive, len(pictures), read)


def _object_source(
    half: Path, camera: int, settings: LidarSettings, min_points: int
) -> ForeignSource:
    pictures = sorted((half / f"image_{camera}").glob("*.png"))
    name = f"kitti_object_{half.resolve().name}"

    def read(tally: Tally) -> Iterator[Sample]:
        for picture in pictures:
            tally.scans_read += 1
            if not picture.stem.isdecimal():
                tally.reject("picture whose name is no number", picture.name)
                continue
            path = half / "calib" / f"{picture.stem}.txt"
            values = _read_calibration(path)
            velo = np.eye(4)
            velo[:3] = _matrix(values, "Tr_velo_to_cam", (3, 4), path)
            rectify = _matrix(values, "R0_rect", (3, 3), path)
            projection = _matrix(values, f"P{camera}", (3, 4), path)
            scan = half / "velodyne" / f"{picture.stem}.bin"
            sample = _sample(
                (name, int(picture.stem), 0, picture, scan),
                (projection, rectify, velo),
                None,
                settings,
                min_points,
                tally,
            )
            if sample is not None:
                yield sample

    return ForeignSource(name, half, len(pictures), read)


def _sample(
    frame: tuple[str, int, int, Path, Path],
    calibration: tuple[_Matrix, _Matrix, _Matrix],
    size: list[float] | None,
    settings: LidarSettings,
    min_points: int,
    tally: Tally,
) -> Sample | None:
    """One picture and scan; None, counted, where there is none.

    `size` is the (width, height) that the calibration was made for, where it says so.
    """
    source, stamp_ns, gap_ns, picture, scan = frame
    rgb = read_rgb(picture)
    if rgb is None:
        tally.reject("picture that cannot be decoded", picture.name)
        return None
    height, width = rgb.shape[:2]
    if not _fits(calibration[0], size, width, height):
        tally.reject("picture of another size than the calibration's", picture.name)
        return None
    if not scan.is_file() or scan.stat().st_size % 16:
        tally.reject("picture without a whole scan", scan.name)
        return None
    camera, transform = _camera_and_transform(calibration, width, height)
    points = np.fromfile(scan, "<f4").reshape(-1, 4)[:, :3]
    projection = project_scan(points, camera, transform, settings)
    count = int(np.isfinite(projection.depth_m).sum())
    tally.points["in_picture"] += projection.in_image
    tally.points["hidden"] += projection.hidden
    if not tally.calibration:
        tally.calibration = {
            "camera": asdict(camera),
            "transform_camera_lidar": transform.round(9).tolist(),
        }
    if count < min_points:
        tally.reject(f"fewer than {min_points} points in the picture", picture.name)
        return None
    identifier = sample_id(source, stamp_ns)
    return Sample(identifier, source, stamp_ns, rgb, projection.depth_m, camera, gap_ns)


def _fits(projection: _Matrix, size: list[float] | None, width: int, height: int) -> bool:
    """Whether a picture has the calibration's size; unknown, whether its middle is near P's."""
    if size is not None:
        return size == [width, height]
    return all(
        0.25 * side < centre < 0.75 * side
        for side, centre in ((width, projection[0, 2]), (height, projection[1, 2]))
    )


def _camera_and_transform(
    calibration: tuple[_Matrix, _Matrix, _Matrix], width: int, height: int
) -> tuple[Camera, _Matrix]:
    """The rectified camera, and transform_camera_lidar with the baseline that P hides.

    pixel ~ P [3,4] @ R_rect @ T_velo @ point; P = K [I | t] with t the place of camera 0.
    """
    projection, rectify, velo = calibration
    k = projection[:, :3]
    camera = Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    rectified, baseline = np.eye(4), np.eye(4)
    rectified[:3, :3] = rectify
    baseline[:3, 3] = np.linalg.solve(k, projection[:, 3])
    return camera, baseline @ rectified @ velo


def _read_calibration(path: Path) -> dict[str, list[float]]:
    """Lines of "NAME: numbers"; others, such as dates, are left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ForeignDataError(
            f"{path} cannot be read ({error}): unpack KITTI's calibration there"
        ) from error
    values: dict[str, list[float]] = {}
    for line in text.splitlines():
        name, _, numbers = line.partition(":")
        try:
            values[name.strip()] = [float(number) for number in numbers.split()]
        except ValueError:
            continue
    return values


def _matrix(
    values: dict[str, list[float]], name: str, shape: tuple[int, ...], path: Path
) -> _Matrix:
    numbers = values.get(name, [])
    if len(numbers) != int(np.prod(shape)):
        raise ForeignDataError(
            f"{path}: calibration {name}: got {len(numbers)} numbers, expected {np.prod(shape)}"
        )
    return np.array(numbers).reshape(shape)


def _read_stamps(path: Path) -> list[int | None]:
    """Lines such as "2011-09-26 13:02:25.964389445" -> nanoseconds, taken as UTC.

    An empty line stands for a scan that is missing, as in some drives: None.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ForeignDataError(
            f"{path} cannot be read ({error}): unpack the whole drive"
        ) from error
    stamps: list[int | None] = []
    for line in map(str.strip, lines):
        if not line:
            stamps.append(None)
            continue
        match = _STAMP.fullmatch(line)
        if match is None:
            raise ForeignDataError(f"{path}: got {line!r}, expected a date and time")
        seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%d %H:%M:%S"))
        stamps.append(seconds * 1_000_000_000 + int((match[2] or "0").ljust(9, "0")))
    return stamps
