"""The files of a recording: where they are, and whether its metadata.yaml tells of them all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

import yaml

_SUFFIXES = (".mcap", ".db3")
_PACKED = ".zstd"
_ENDINGS = (*_SUFFIXES, *(f"{suffix}{_PACKED}" for suffix in _SUFFIXES))
_NUMBERED = re.compile(r"(.+)_(\d+)")


class StorageError(ValueError):
    """There is no recording, or it is of another kind."""


def find_storage(path: Path) -> Path:
    """What to hand to rosbags: the folder, or a storage file.

    Raises:
        StorageError: there is no recording at `path`; says what to do.
    """
    if not path.exists():
        raise StorageError(
            f"there is no recording at {path}: give a rosbag2 folder, .mcap or .db3 file"
        )
    if path.is_file():
        if path.suffix.lower() == ".bag":
            raise StorageError(f"{path} is a ROS 1 bag: convert it with `rosbags-convert`")
        if path.suffix not in _SUFFIXES:
            raise StorageError(
                f"got {path}, expected a rosbag2 folder or a {' or '.join(_SUFFIXES)} file"
                " (of a compressed recording: its folder)"
            )
        return path
    if (path / "metadata.yaml").exists():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    packed = [f for f in path.glob(f"*{_PACKED}") if not f.with_suffix("").exists()]
    if len(files) == 1 and not packed:
        return files[0]
    if not packed and are_of_one_recording(files):
        return path
    remedy = "write its metadata with `ros2 bag reindex`, or give one of the files"
    if packed:
        files += packed
        remedy = "unpack its files with `unzstd *.zstd` there, and give the folder again"
    elif not files and any(file.suffix == ".bag" for file in path.iterdir()):
        remedy = "convert the ROS 1 bag in it with `rosbags-convert`"
    elif not files:
        remedy = "give a folder as `ros2 bag record` writes it, or an .mcap or .db3 file"
    raise StorageError(
        f"{path} has no metadata.yaml and {len(files)} storage files, expected a rosbag2 recording:"
        f" {remedy}"
    )


def files_of(storage: Path, with_empty: bool = True) -> list[Path]:
    """The recording's files, where they can be read without its metadata.yaml.

    Args:
        storage: see `find_storage`.
        with_empty: also the empty ones that its metadata.yaml may list.
    """
    if storage.is_file():
        return [storage]
    # Of messages that are compressed one by one, only the metadata tells.
    metadata = storage / "metadata.yaml"
    if metadata.exists() and "zstd" in metadata.read_text(encoding="utf-8", errors="replace"):
        return []
    files = sorted(file for file in storage.iterdir() if file.suffix in _SUFFIXES)
    # What a recorder has just begun when it is killed is empty.
    if metadata.exists() and with_empty:
        return files
    return [file for file in files if file.stat().st_size]


def unlisted_files(folder: Path) -> list[Path]:
    """Files with messages that a recording's metadata.yaml does not list.

    None where it can't be read, or lists files that are not there: that is told on opening.
    """
    try:
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
        listed = metadata["rosbag2_bagfile_information"]["relative_file_paths"]
        names = [PurePath(name).name for name in listed]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return []
    if not all((folder / name).exists() for name in names):
        return []
    known = {name.removesuffix(_PACKED) for name in names}  # players unpack files beside them
    return sorted(
        file
        for file in folder.iterdir()
        if file.name.endswith(_ENDINGS)
        and file.name.removesuffix(_PACKED) not in known
        and file.stat().st_size
    )


def is_later_part(path: Path) -> bool:
    """Whether a file is one of a split recording, and not its first, which has what comes once."""
    numbered = _NUMBERED.fullmatch(path.stem)
    if numbered is None or int(numbered[2]) == 0 or not path.is_file():
        return False
    parts = [
        file
        for file in path.parent.glob(f"*{path.suffix}")
        if (match := _NUMBERED.fullmatch(file.stem)) and match[1] == numbered[1]
    ]
    return are_of_one_recording(parts)


def are_of_one_recording(files: Sequence[Path]) -> bool:
    """Whether a recorder named files as those of one recording: NAME_0, NAME_1, ... of one kind.

    A recorder that was killed leaves them without a metadata.yaml to tell.
    """
    named = [_NUMBERED.fullmatch(file.stem) for file in files]
    names = {(match[1], file.suffix) for match, file in zip(named, files, strict=True) if match}
    numbers = sorted(int(match[2]) for match in named if match)
    return len(names) == 1 and numbers == list(range(len(files)))
