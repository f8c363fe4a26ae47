"""What came of `dpt-ros dataset build` and `import`: told, written, and not left behind empty."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Result:
    """Sources by name.

    Args:
        built: what the manifest says of those that are new.
        finished: the same of those that were there before.
        failed: why there is none.
    """

    built: dict[str, Any] = field(default_factory=dict)
    finished: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def tell(self, out: Path, noun: str) -> None:
        """Print all of it; a source is called `noun`."""
        from dpt_ros.cli.dataset_show import print_source
        from dpt_ros.cli.numbers import counted

        for name in self.finished:
            print(f"{name}: is finished already")
        for name, info in self.built.items():
            print_source(name, info)
        for name, reason in self.failed.items():
            print(f"{name}: failed: {reason}", file=sys.stderr)
        asked = [*self.finished.values(), *self.built.values()]
        samples = counted(_samples(asked), "sample")
        where = f" -> {out}" if asked else ""
        new = _samples(self.built.values()) or "none"
        told_new = f" ({new} new)" if self.finished else ""
        print(f"{samples} of {counted(len(asked), noun)}{where}{told_new}")

    def write(self, path: str, name: str) -> None:
        """Write it as JSON; `samples` counts the new ones."""
        from dpt_ros.cli.result_files import write_json

        found = {
            "built": self.built,
            "finished_before": [*self.finished],
            "failed": self.failed,
            "samples": _samples(self.built.values()),
        }
        write_json(path, name, found)


def _samples(infos: Any) -> int:
    return sum(int(info["samples"]) for info in infos)


@contextlib.contextmanager
def removed_if_empty(out: Path) -> Iterator[None]:
    """Remove in the end a data set that was not there before, and in which nothing was finished."""
    from dpt_ros.bags.dataset_format import MANIFEST
    from dpt_ros.bags.dataset_locks import remove_if_empty

    is_new = not out.exists()
    try:
        yield
    finally:
        if is_new and (out / MANIFEST).exists():
            remove_if_empty(out)


def refuse_damaged(out: Path) -> None:
    """Refuse to go on with a data set that nobody could read.

    Raises:
        DatasetError: says what is damaged and what to do.
    """
    from dpt_ros.bags.dataset import Dataset, DatasetError

    try:
        Dataset(out)
    except DatasetError as error:
        raise DatasetError(
            f"{error}; for that, remove the folder, or name another one with --out"
        ) from error
