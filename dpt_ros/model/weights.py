"""Where weights files lie on this machine, and how they get there. Knows no torch."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dpt_ros.model.cards import ModelCard, cards_folder
from dpt_ros.model.download import check_space, discard, download, record_path, write_error
from dpt_ros.model.integrity import (
    CHUNK_BYTES,
    KIND_NAMES,
    CheckpointError,
    Progress,
    check_sha256,
    file_kind,
    install_file,
)

_log = logging.getLogger(__name__)

WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def weights_folder() -> Path:
    """The folder weights are kept in; it may not exist yet.

    It is the environment variable DPT_ROS_WEIGHTS, else `dpt_ros` in the user's cache folder
    (XDG_CACHE_HOME, ~/.cache).

    Raises:
        CheckpointError: neither the variable nor a home folder is set.
    """
    if chosen := os.environ.get("DPT_ROS_WEIGHTS"):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if Path(cache).is_absolute():
        return Path(cache) / "dpt_ros"
    try:
        return Path.home() / ".cache" / "dpt_ros"
    except RuntimeError as error:
        raise CheckpointError(
            "there is no home folder to keep weights in; set the environment variable "
            "DPT_ROS_WEIGHTS to a folder"
        ) from error


def find_weights(card: ModelCard) -> Path:
    """The card's weights file on this machine.

    Raises:
        CheckpointError: it is not here (the message says how to get it), or none is published.
    """
    if not card.file:
        raise CheckpointError(
            f"{card.name}: no weights are published for it; train it, or name a checkpoint"
        )
    folders = (weights_folder(), cards_folder())
    for folder in folders:
        if (folder / card.file).is_file():
            return folder / card.file
    raise CheckpointError(
        f"{folders[0] / card.file}: the weights of {card.name} are not there; get them with "
        f"`dpt-ros models pull {card.name}`"
    )


def pull(
    card: ModelCard, source: str | Path | None = None, progress: Progress | None = None
) -> Path:
    """Get a card's weights file into the weights folder, unless it is there or comes with us.

    The file appears under its name only when it is whole and its hash is right. Several processes
    may pull the same file at once.

    Args:
        card: the model.
        source: a file, a folder that holds the file, or an http(s) or file address of either;
            None: where the card says it is published.
        progress: called while it goes.

    Returns:
        the file.

    Raises:
        CheckpointError: it could not be had, is another file than the card says, or could not be
            written. What was there before still is.
    """
    if card.file and not source:
        bundled = cards_folder() / card.file
        if bundled.is_file():
            check_sha256(bundled, card.sha256, progress)
            return bundled
    if not card.file or not (source or card.url):
        raise CheckpointError(
            f"{card.name}: no weights are published for it; train it, or name a checkpoint"
        )
    origin = _origin(card, str(source or card.url))
    target = weights_folder() / card.file
    if _is_installed(card, target, progress):
        return target
    with _lock(target):
        # Another process may have pulled it while this one waited.
        if not _is_installed(card, target, progress):
            part = target.with_name(f"{target.name}.part")
            _fetch(card, origin, part, progress)
            _install(part, target)
    return target


def _is_installed(card: ModelCard, target: Path, progress: Progress | None) -> bool:
    if not target.is_file():
        return False
    try:
        check_sha256(target, card.sha256, progress)
    except CheckpointError as error:
        _log.warning("%s; replacing it", error)
        return False
    return True


def _origin(card: ModelCard, source: str) -> str | Path:
    """Where exactly the file comes from: an address or a path."""
    scheme = urllib.parse.urlsplit(source).scheme
    if scheme in ("http", "https"):
        address = urllib.parse.urlsplit(source)
        if not address.query and not address.path.endswith(WEIGHTS_SUFFIXES):
            address = address._replace(path=f"{address.path.rstrip('/')}/{card.file}")
        return urllib.parse.urlunsplit(address)
    if scheme == "file":
        source = urllib.request.url2pathname(urllib.parse.urlsplit(source).path)
    path = Path(source).expanduser()
    if path.is_dir():
        path /= card.file
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no such file; expected {card.file}, a folder that holds it, or an "
            "http(s) address"
        )
    return path


def _fetch(card: ModelCard, origin: str | Path, part: Path, progress: Progress | None) -> None:
    """Make `part` the right file, or raise and leave at most what a later call can go on with."""
    if isinstance(origin, Path):
        discard(part)
        try:
            _copy(origin, part, progress)
            _check(card, origin, part, progress)
        except BaseException:
            discard(part)
            raise
        return
    is_continued = download(origin, part, progress)
    try:
        _check(card, origin, part, progress)
    except CheckpointError as error:
        discard(part)
        if not is_continued:
            raise
        # The first half may be from an interrupted write, or from a file that changed since.
        _log.warning("%s; fetching all of it again", error)
        _fetch(card, origin, part, progress)


def _check(card: ModelCard, origin: str | Path, part: Path, progress: Progress | None) -> None:
    kind = file_kind(part)
    if kind not in ("torch_zip", "torch_pickle", "safetensors"):
        raise CheckpointError(f"{origin}: is {KIND_NAMES[kind]}; expected {card.file}")
    try:
        check_sha256(part, card.sha256, progress)
    except CheckpointError as error:
        # The message names the partial file, which will be gone.
        raise CheckpointError(
            f"{str(error).replace(str(part), str(origin), 1)}; expected {card.file} of "
            f"{card.size_mb} MB. Nothing was installed"
        ) from error


def _copy(origin: Path, part: Path, progress: Progress | None) -> None:
    try:
        source = origin.open("rb")
    except OSError as error:
        raise CheckpointError(f"{origin}: cannot be read: {error.strerror}") from error
    with source:
        size = os.fstat(source.fileno()).st_size
        check_space(part.parent, size)
        try:
            with part.open("wb") as copy:
                while chunk := source.read(CHUNK_BYTES):
                    copy.write(chunk)
                    if progress is not None:
                        progress("copy", copy.tell(), size)
        except OSError as error:
            raise write_error(part, error) from error


def _install(part: Path, target: Path) -> None:
    try:
        install_file(part, target)
        record_path(part).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(target, error) from error


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Hold the right to write `target`; wait for a process that has it."""
    path = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise write_error(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another process is fetching %s; waiting for it", target.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
