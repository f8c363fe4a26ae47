"""Files that options such as --json name for results: they can be written, and nothing is lost."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpt_ros import whole_file


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
    from dpt_ros.cli.options import replaceable, writable

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
