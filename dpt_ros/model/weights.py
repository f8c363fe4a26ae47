"""Where weights files lie on this machine, and how they get there. Knows no torch."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dpt_ros.model.cards import CardInFile, ModelCard, cards_folder, list_cards
from dpt_ros.model.download import (
    check_space,
    discard,
    download,
    kept_bytes,
    write_error,
)
from dpt_ros.model.integrity import (
    CHUNK_BYTES,
    KIND_NAMES,
    CheckpointError,
    Progress,
    check_sha256,
    file_kind,
)
from dpt_ros.whole_file import install

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


def own_places(card: ModelCard) -> list[Path]:
    """Where a card's own file may lie, in the order in which it is looked for."""
    return [weights_folder() / card.file, cards_folder() / card.file]


def find_weights(card: ModelCard) -> Path:
    """The card's weights file on this machine; `check_weights` tells whether it is the right one.

    The file that a card came out of is its own.

    Raises:
        CheckpointError: it is not here (the message says how to get it), or none is published.
    """
    if isinstance(card, CardInFile):
        return card.path
    _refuse_unpublished(card, card.file)
    places = own_places(card)
    for path in places:
        if path.is_file():
            return path
    remedy = "put them there, or name them with --checkpoint (checkpoint:=)"
    if _is_ours(card) or card.url:
        remedy = f"get them with `{pull_command(card)}`"
    raise CheckpointError(f"{places[0]}: the weights of {card.name} are not there; {remedy}")


def pull_command(card: ModelCard) -> str:
    """The command that gets a card's weights; a card of the user's own is named by its file."""
    return f"dpt-ros models pull {card.name}{'' if _is_ours(card) else '.yaml'}"


def check_weights(card: ModelCard, path: Path, progress: Progress | None = None) -> str:
    """Compare the card's own file with the hash that the card says.

    Returns:
        the file's SHA-256; unchecked where the card says none.

    Raises:
        CheckpointError: it is another file, or can't be read.
    """
    try:
        return check_sha256(path, card.sha256, progress)
    except CheckpointError as error:
        remedy = "put the file there that the card means, or correct the card's sha256"
        if _is_ours(card) or card.url:
            remedy = f"`{pull_command(card)}` gets the right one"
        raise CheckpointError(f"{error}; {remedy}") from error


def pull(
    card: ModelCard, source: str | Path | None = None, progress: Progress | None = None
) -> Path:
    """Get a card's weights file into the weights folder, unless it is there or comes with us.

    The file appears under its name only when it is whole and its hash is right. Several processes
    may pull the same file at once. Where the card says no hash, a named source is always taken. A
    card that came out of a weights file has its weights there: nothing is got for it.

    Args:
        card: the model.
        source: a file, a folder that holds the file, or an http(s) or file address of either;
            None: where the card says it is published.
        progress: called while it goes.

    Returns:
        the file, which `find_weights` gives from now on.

    Raises:
        CheckpointError: it could not be had, is another file than the card says, or could not be
            written. What was there before still is.
    """
    if isinstance(card, CardInFile):
        return card.path
    _refuse_unpublished(card, card.file and (source or card.url or _bundled(card)))
    target = weights_folder() / card.file
    if not source and (bundled := _bundled(card)):
        return _use_bundled(card, bundled, target, progress)
    origin = _origin(card, str(source or card.url))
    if _is_enough(card, target, source, progress):
        return target
    with _lock(target):
        # Another process may have pulled it while this one waited.
        if not _is_enough(card, target, source, progress):
            _fetch_and_install(card, origin, target, progress)
    return target


def kept_of_pull(card: ModelCard, source: str | Path | None = None) -> int:
    """How much of an interrupted pull is kept, for `pull` with the same arguments to go on with."""
    address = str(source or card.url)
    if not card.file or not _is_remote(address):
        return 0
    return kept_bytes(_address(card, address), _part(card))


def _refuse_unpublished(card: ModelCard, published: object) -> None:
    if not published:
        raise CheckpointError(
            f"{card.name}: no weights are published for it; train it, or name a checkpoint"
        )


def _is_ours(card: ModelCard) -> bool:
    """Whether a card of that name comes with the package."""
    return card.name in [known.name for known in list_cards()]


def _bundled(card: ModelCard) -> Path | None:
    """The card's file that comes with the package."""
    path = cards_folder() / card.file
    return path if path.is_file() else None


def _use_bundled(card: ModelCard, bundled: Path, target: Path, progress: Progress | None) -> Path:
    """The bundled file, or the same in the weights folder, where it is looked for first.

    Another file there would hide it, and goes once the bundled one is known to be right.
    """
    if target.is_file() and _is_right(card, target, progress):
        return target
    try:
        check_sha256(bundled, card.sha256, progress)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; install dpt_ros again, or name a copy of the file with --from"
        ) from error
    if not target.is_file():
        return bundled
    with _lock(target):
        if target.is_file() and _is_right(card, target, progress):
            return target
        try:
            target.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(target, error) from error
    _log.warning("%s: deleted; the file that comes with dpt_ros is used: %s", target, bundled)
    return bundled


def _part(card: ModelCard) -> Path:
    """What a download of the card's file is written to until it is whole."""
    return weights_folder() / f"{card.file}.part"


def _is_enough(
    card: ModelCard, target: Path, source: str | Path | None, progress: Progress | None
) -> bool:
    """Whether nothing is to be fetched. Without a hash, nothing says that a named source is."""
    may_be = target.is_file() and bool(card.sha256 or not source)
    return may_be and _is_right(card, target, progress)


def _is_right(card: ModelCard, target: Path, progress: Progress | None) -> bool:
    try:
        check_sha256(target, card.sha256, progress)
    except CheckpointError as error:
        _log.warning("%s; replacing it", error)
        return False
    return True


def _is_remote(source: str) -> bool:
    return source.partition(":")[0].lower() in ("http", "https")


def _origin(card: ModelCard, source: str) -> str | Path:
    """Where exactly the file comes from: an address or a path."""
    if _is_remote(source):
        return _address(card, source)
    if source.partition(":")[0].lower() == "file":
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


def _address(card: ModelCard, source: str) -> str:
    if "@" in re.split(r"[/?#]", source.partition("://")[2])[0]:
        # Not shown: it holds a password.
        raise CheckpointError(
            f"the address to get {card.file} from has a user name or password before the host, "
            "which is not supported: download the file yourself, and name it with --from"
        )
    try:
        address = urllib.parse.urlsplit(source)
        if not address.hostname:
            raise ValueError("it names no host")
    except ValueError as error:
        raise CheckpointError(
            f"{source}: is no address: {error}; expected one such as https://HOST/FOLDER"
        ) from error
    if not address.query and not address.path.endswith(WEIGHTS_SUFFIXES):
        address = address._replace(path=f"{address.path.rstrip('/')}/{card.file}")
    return urllib.parse.urlunsplit(address)


def _fetch_and_install(
    card: ModelCard, origin: str | Path, target: Path, progress: Progress | None
) -> None:
    """Make `target` the right file, or raise and leave at most what a later call can go on with."""
    part = _part(card)
    # Beside an interrupted download, which stays until the right file is there.
    copy = target.with_name(f"{target.name}.copy.part")
    try:
        if isinstance(origin, Path):
            _copy(origin, copy, progress)
            _check(card, origin, copy, progress)
            _install(copy, target)
        else:
            _fetch(card, origin, part, progress)
            _install(part, target)
        discard(part)
    finally:
        copy.unlink(missing_ok=True)


def _fetch(card: ModelCard, origin: str, part: Path, progress: Progress | None) -> None:
    """Make `part` the right file."""
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
        install(part, target)
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
            _wait_for_lock(path, file)
        except OSError as error:  # a file system without locks, as some network folders are
            raise write_error(path, error) from error
        yield


def _wait_for_lock(path: Path, file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise write_error(path, error) from error
