"""A real HTTP server on this machine that offers a weights file and can misbehave."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from dpt_ros.model.cards import ModelCard, card_from_mapping

NAME = "net.pt"


def payload(seed: int, size: int = 3_000_000) -> bytes:
    """Bytes that begin as a PyTorch file does."""
    return b"PK\x03\x04" + hashlib.shake_128(bytes([seed])).digest(size - 4)


CONTENT = payload(1)
HALF = len(CONTENT) // 2


@dataclasses.dataclass
class Site:
    """What the server serves, and how; changed by the tests while it runs."""

    url: str = ""
    content: bytes = CONTENT
    etag: str | None = '"one"'
    obeys_range: bool = True
    obeys_if_range: bool = True
    start_shift: int = 0
    """Added to where a range begins."""
    cut_after: int | None = None
    """Bytes of a body after which the next answer is cut; then forgotten."""
    cuts_always: bool = False
    hang_after: int | None = None
    status: int = 200
    retry_after: str = ""
    """That header of the next answer that is an error; from the one after it on all is well."""
    content_type: str = "application/octet-stream"
    with_length: bool = True
    length: str = ""
    """What Content-Length says in place of the size."""
    location: str = ""
    """Where every request is sent on to."""
    moved: int = 302
    """Status of an answer that sends on."""
    delay_s: float = 0.0
    requests: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    """Path and Range of each request for the file."""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        if self.path.startswith("/moved/"):
            self.send_response(site.moved)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        if site.location:
            self.send_response(site.moved)
            self.send_header("Location", site.location)
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        site.requests.append((self.path, wanted))
        if site.status != 200:
            if not site.retry_after:
                self.send_error(site.status)
                return
            self.send_response(site.status)
            self.send_header("Retry-After", site.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            site.status, site.retry_after = 200, ""
            return
        time.sleep(site.delay_s)
        if_range = self.headers.get("If-Range")
        may_continue = not site.obeys_if_range or if_range in (None, site.etag)
        start = 0
        if wanted and site.obeys_range and may_continue:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + site.start_shift
        size = len(site.content)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Type", site.content_type)
        if site.with_length:
            self.send_header("Content-Length", site.length or str(size - start))
        self.end_headers()
        self.send_body(site.content[start:])

    def send_body(self, body: bytes) -> None:
        site = self.site
        limit = next((n for n in (site.cut_after, site.hang_after) if n is not None), len(body))
        hangs, site.hang_after = site.hang_after is not None, None
        if not site.cuts_always:
            site.cut_after = None
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[:limit])
            if hangs:
                time.sleep(1.5)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


def make_card(url: str = "", content: bytes = CONTENT, digits: int = 64) -> ModelCard:
    values = {
        "name": "net",
        "structure": "dpt_tiny",
        "file": NAME,
        "url": f"{url}/v1/{NAME}" if url else "",
        "sha256": hashlib.sha256(content).hexdigest()[:digits],
        "size_mb": 3,
    }
    return card_from_mapping(values, "test")


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
