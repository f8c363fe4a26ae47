"""Fetches one file over HTTP, and goes on where an earlier attempt ended. Knows no weights.

urllib, because none of the libraries at hand does this whole job: `torch.hub` and pooch do not
resume, and huggingface_hub does so only for its own site.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import http.client
import json
import logging
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dpt_ros.model.integrity import CHUNK_BYTES, CheckpointError, Progress

_log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Attempts in a row that may fail without a new byte."""

FIRST_WAIT_S = 1.0
"""Pause before the second attempt; each further one waits twice as long."""

LONGEST_WAIT_S = 120.0
"""The longest pause that a server may ask for."""

TIMEOUT_S = 30.0
"""How long the server may be silent."""

_REDIRECTS = (301, 302, 303, 307, 308)
_WORTH_ANOTHER_TRY = (408, 429, 500, 502, 503, 504)


class _InterruptedError(Exception):
    """The transfer broke off; another attempt may do, once `wait_s` is over."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def download(url: str, part: Path, progress: Progress | None = None) -> bool:
    """Make `part` hold the whole file at `url`.

    What `part` already holds of this very file is kept: a note beside it (`record_path`) names
    the address, size and version (ETag or date) it came from. If the file changed, or the server
    cannot send the rest alone, it starts again from the first byte.

    Args:
        url: an http or https address.
        part: the file to write. After an error it stays, if a later call can go on with it.
        progress: called while it goes.

    Returns:
        whether part of the file is from an earlier call.

    Raises:
        CheckpointError: no connection, an HTTP error, a web page in place of the file, a disk that
            is full or cannot be written.
    """
    failures = 0
    _ask_for_the_rest_again(url, part)
    most = kept_bytes(url, part)
    is_continued = most > 0
    while True:
        try:
            _attempt(url, part, progress)
            return is_continued
        except _InterruptedError as error:
            size = kept_bytes(url, part)
            failures = failures + 1 if size <= most else 1
            most = max(most, size)
            if failures >= ATTEMPTS or error.wait_s > LONGEST_WAIT_S:
                remedy = "check the network, or name a copy of the file with --from"
                if _read_record(part, url).get("resumes") is False:
                    remedy = (
                        "this server cannot send the rest alone, so that every attempt begins "
                        "anew: name another mirror or a copy of the file with --from"
                    )
                if size:
                    remedy = f"the first {size / 1e6:.1f} MB are kept: run the same command again"
                elif error.wait_s > LONGEST_WAIT_S:
                    remedy = "run the command again then, or name a copy of the file with --from"
                raise CheckpointError(f"{url}: {error}; {remedy}") from error
            wait = max(FIRST_WAIT_S * 2 ** (failures - 1), error.wait_s)
            _log.warning("%s: %s; next attempt in %.0f s", url, error, wait)
            time.sleep(wait)


def kept_bytes(url: str, part: Path) -> int:
    """How many bytes of `part` are of the file at `url`, so that a later call goes on with them.

    None where the server was asked for the rest alone, and sent the same file from its beginning.
    """
    record = _read_record(part, url)
    return _size(part) if record.get("resumes", bool(record)) else 0


def _ask_for_the_rest_again(url: str, part: Path) -> None:
    """Forget that an earlier call was sent the whole file: the server may have learned since."""
    record = _read_record(part, url)
    if record.pop("resumes", True) is False:
        _write_record(part, record)


def discard(part: Path) -> None:
    """Delete a partial file and the note on where it came from."""
    record_path(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def record_path(part: Path) -> Path:
    """Where the origin of a partial file is noted."""
    return part.with_name(f"{part.name}.json")


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        CheckpointError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{folder}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free; make room, "
            "or choose another folder with the environment variable DPT_ROS_WEIGHTS"
        )


def write_error(path: Path, error: OSError) -> CheckpointError:
    """Say why a file could not be written, and what to do."""
    remedy = "choose another folder with the environment variable DPT_ROS_WEIGHTS"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"make room (deleting {path.name} is safe) or {remedy}"
    return CheckpointError(f"{path}: cannot be written: {error.strerror or error}; {remedy}")


def _attempt(url: str, part: Path, progress: Progress | None) -> None:
    record = _read_record(part, url)
    have = kept_bytes(url, part)
    total = record.get("size")
    if total and _size(part) == total:
        return
    with _open(url, part, have, record) as response:
        if response is None:
            return
        _refuse_web_page(url, response)
        start, total = _position(response, have, record, part)
        if start == 0:
            is_same = record.get("version") == _version(response)
            resumes = not is_same or (record.get("resumes", True) and not have)
            _start_record(part, url, total, response, resumes=resumes)
        if total is not None:
            check_space(part.parent, total - start)
        end = _receive(response, part, start, total, progress)
    if total is not None and end != total:
        raise _InterruptedError(f"the connection was cut after {end} of {total} bytes")


@contextlib.contextmanager
def _open(
    url: str, part: Path, have: int, record: dict[str, Any]
) -> Iterator[http.client.HTTPResponse | None]:
    """The server's answer; None if it says that `part` is whole already."""
    headers = {"User-Agent": "dpt_ros", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if record.get("version"):
            headers["If-Range"] = record["version"]
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (http or https: see pull)
    try:
        response = _opener().open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # the range begins at or after the end
                if error.headers.get("Content-Range") == f"bytes */{have}":
                    yield None
                    return
                discard(part)
                raise _InterruptedError("the file on the server changed") from error
            if error.code in _REDIRECTS:
                is_circle = str(error.reason).startswith(_Redirects.inf_msg)
                raise _not_followed(url, error.headers.get("Location", ""), is_circle) from error
            message = f"the server answered {error.code} {error.reason}"
            if error.code in _WORTH_ANOTHER_TRY:
                wait_s = _wanted_wait_s(error.headers.get("Retry-After", ""))
                asks = f", and asks to wait for {wait_s:.0f} s" if wait_s else ""
                raise _InterruptedError(f"{message}{asks}", wait_s) from error
            raise CheckpointError(
                f"{url}: {message}; check the address, or name a copy of the file with --from"
            ) from error
    except CheckpointError:  # a redirect that is not followed
        raise
    except (http.client.InvalidURL, ValueError) as error:
        raise CheckpointError(
            f"{url!r}: is no address that can be asked for: {error}; expected an http or https "
            "address with every space and special character as %XX"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise CheckpointError(
                f"{url}: {reason.verify_message}; is this machine's clock right?"
            ) from error
        raise _InterruptedError(f"no connection: {reason}") from error
    with response:
        yield response


def _wanted_wait_s(retry_after: str) -> float:
    """Of the header of that name: seconds, or a date; 0 where it says neither."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to another http or https address alone; urllib goes to ftp too."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # new in Python 3.11

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        address = urllib.parse.urlsplit(newurl)
        if address.scheme not in ("http", "https") or "@" in address.netloc:
            fp.close()
            raise _not_followed(req.full_url, newurl)
        known = 307 if code == 308 else code  # which mean the same; Python 3.10 takes no 308 here
        return super().redirect_request(req, fp, known, msg, headers, newurl)


def _not_followed(url: str, target: str, is_circle: bool = False) -> CheckpointError:
    """Say where a server sends on to, and why that is not gone to; no user name in it is shown."""
    address = urllib.parse.urlsplit(target)
    where = f"to {address.scheme}://{address.hostname or ''}"
    if is_circle or not target:
        where = "in a circle" if is_circle else "and does not say where to"
    return CheckpointError(
        f"{url}: the server sends on {where}; expected an http or https address without a user "
        "name: check the address, or name a copy of the file with --from"
    )


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects)


def _refuse_web_page(url: str, response: http.client.HTTPResponse) -> None:
    content_type = response.headers.get_content_type()
    if content_type in ("text/html", "application/xhtml+xml"):
        raise CheckpointError(
            f"{url}: a web page ({content_type}) came in place of the file; is this network behind "
            "a login page? Otherwise check the address, or name a copy of the file with --from"
        )
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise CheckpointError(f"{url}: came as {encoding}, expected the file as it is")


def _position(
    response: http.client.HTTPResponse, have: int, record: dict[str, Any], part: Path
) -> tuple[int, int | None]:
    """First byte of the answer's body within the file, and the file's size if known."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "").strip()
        # What is no number says nothing, as if it were missing; the hash tells what came.
        return 0, int(length) if re.fullmatch(r"[0-9]+", length) else None
    content_range = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
    known = record.get("size")  # None where the first answer did not tell
    total = int(match[2]) if match and match[2] != "*" else known
    same = record.get("version") in (None, _version(response)) and known in (None, total)
    if not match or int(match[1]) != have or not same:
        discard(part)
        raise _InterruptedError("the file on the server changed")
    return have, total


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int | None,
    progress: Progress | None,
) -> int:
    """Append the body to `part`, and return the size it has then."""
    done = start
    try:
        with part.open("ab") as file:
            while chunk := _read(response):
                file.write(chunk)
                file.flush()  # what has come is kept, however this ends
                done += len(chunk)
                if progress is not None:
                    progress("download", done, total)
    except OSError as error:
        raise write_error(part, error) from error
    return done


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)  # what has arrived, without waiting for more
    except TimeoutError as error:
        raise _InterruptedError("the server fell silent") from error
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection was cut: {error}") from error


def _version(response: http.client.HTTPResponse) -> str | None:
    """What If-Range takes: a strong ETag or else the date."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return response.headers.get("Last-Modified")


def _start_record(
    part: Path, url: str, total: int | None, response: http.client.HTTPResponse, *, resumes: bool
) -> None:
    try:
        part.write_bytes(b"")
    except OSError as error:
        raise write_error(part, error) from error
    version = _version(response)
    _write_record(part, {"url": url, "size": total, "version": version, "resumes": resumes})


def _write_record(part: Path, record: dict[str, Any]) -> None:
    try:
        record_path(part).write_text(json.dumps(record), encoding="utf-8")
    except OSError as error:
        raise write_error(record_path(part), error) from error


def _read_record(part: Path, url: str) -> dict[str, Any]:
    """The note on `part`; empty if there is none for this address."""
    try:
        record = json.loads(record_path(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and record.get("url") == url else {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
