"""Files and folders that options name for results: they can be written, and nothing is lost."""

from __future__ import annotations

import argparse
import itertools
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpt_ros import whole_file

_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Kind:
    """What a file holds.

    Args:
        what: its name, for people.
        known_by: what an earlier one has in its head; a regular expression, see `is_known_by`.
    """

    what: str
    known_by: bytes


def json_of(name: str) -> Kind:
    """The kind of what `write_json` writes under that name."""
    return Kind(
        f"JSON file of the format dpt_ros/{name}",
        rb'\A\s*\{\s*"format": *"dpt_ros/' + name.encode() + b"/",
    )


def check_files(
    options: argparse.Namespace, kinds: Mapping[str, Kind], made: Path | None = None
) -> None:
    """Look, before the long part, at the files that options name; expand ~ in their paths.

    Args:
        options: what was parsed; an option without a file is left alone.
        kinds: by the option's name, what it writes.
        made: a folder that the command makes, so that a file may lie in it.

    Raises:
        OSError: a file cannot be written.
        ValueError: two of them are one file.
        FileExistsError: something else is there than an earlier result of that kind.
    """
    named = {name: text for name in kinds if (text := getattr(options, name))}
    for name, text in named.items():
        path = Path(text).expanduser()
        is_to_come = made is not None and not made.exists()
        if is_to_come and made is not None and path.resolve().parent == made.resolve():
            named[name] = str(path)
        else:
            named[name] = writable(name, text)
        setattr(options, name, named[name])
    for (first, path_1), (second, path_2) in itertools.combinations(named.items(), 2):
        if Path(path_1).resolve() == Path(path_2).resolve():
            raise ValueError(
                f"--{first} and --{second} are one file, {path_1}: name another one for --{second}"
            )
    for name, text in named.items():
        replaceable(name, text, kinds[name].what, kinds[name].known_by)


def write_json(path: str | Path, name: str, values: Mapping[str, Any]) -> None:
    """Write a command's result for scripts, whole or not at all, so that `json_of` knows it."""
    whole_file.write_json(path, {"format": f"dpt_ros/{name}/1", **values})


def folder(option: str, text: str) -> Path:
    """The path of an output folder, with ~ expanded; it is there, or can be made.

    Args:
        option: its name without dashes, for the message.
        text: the path.

    Raises:
        NotADirectoryError: it is a file, or lies in one.
    """
    path = Path(text).expanduser()
    for place in (path, *path.parents):
        if place.is_dir():
            break
        if place.exists() or place.is_symlink():
            raise NotADirectoryError(
                f"--{option} {text}: {place} is a file, expected a folder; name another one"
            )
    return path


def writable(option: str, text: str) -> str:
    """A result's path with ~ expanded, looked at before the long part that makes the result.

    Args:
        option: its name without dashes, for the message.
        text: the path.

    Raises:
        OSError: it is a folder, or lies in one that is not there or cannot be written.
    """
    path = Path(text).expanduser()
    folder = path.absolute().parent
    if path.is_dir():
        raise IsADirectoryError(f"--{option} {text}: is a folder; name a file in it")
    if not folder.is_dir():
        raise FileNotFoundError(f"--{option} {text}: its folder does not exist; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"--{option} {text}: {folder} cannot be written ({error.strerror}); name a file in "
            "another folder"
        ) from error
    return str(path)


def replaceable(option: str, text: str, what: str, known_by: bytes) -> None:
    """Let a result overwrite an earlier one, and nothing else.

    Args:
        option: its name without dashes, for the message.
        text: the result's path.
        what: what the result is, for the message.
        known_by: see `is_known_by`.

    Raises:
        FileExistsError: something else is there.
    """
    if Path(text).exists() and not is_known_by(Path(text), known_by):
        raise FileExistsError(
            f"--{option} {text}: is there and is no {what}, and would be lost; name another "
            "file, or remove it first"
        )


def is_known_by(path: Path, pattern: bytes) -> bool:
    """Whether a file's head has the pattern, or the file is empty."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head or re.search(pattern, head, re.MULTILINE) is not None
