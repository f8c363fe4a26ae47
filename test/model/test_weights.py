"""Getting weights files, from a real HTTP server on this machine that can misbehave."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dpt_ros.model import download as download_module
from dpt_ros.model.cards import ModelCard, card_from_mapping
from dpt_ros.model.download import download, record_path
from dpt_ros.model.integrity import CheckpointError, file_sha256
from dpt_ros.model.weights import find_weights, pull, weights_folder

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
    content_type: str = "application/octet-stream"
    with_length: bool = True
    delay_s: float = 0.0
    requests: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    """Path and Range of each request for the file."""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        site.requests.append((self.path, wanted))
        if site.status != 200:
            self.send_error(site.status)
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
            self.send_header("Content-Length", str(size - start))
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


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "FIRST_WAIT_S", 0.01)
    site = Site()
    handler = type("SiteHandler", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPT_ROS_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


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


# ---- the good case ----


@pytest.mark.parametrize("digits", [8, 64])
def test_pull_installs_the_file_alone(site: Site, folder: Path, digits: int) -> None:
    calls: list[tuple[str, int, int | None]] = []
    path = pull(make_card(site.url, digits=digits), progress=lambda *call: calls.append(call))
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert visible(folder) == [NAME]
    assert calls[-1] == ("check", len(CONTENT), len(CONTENT))
    downloaded = [done for what, done, total in calls if what == "download"]
    assert downloaded[-1] == len(CONTENT)
    assert downloaded == sorted(downloaded)


def test_what_is_here_is_not_fetched_again(site: Site) -> None:
    card = make_card(site.url)
    pull(card)
    pull(card)
    assert len(site.requests) == 1


def test_a_damaged_file_is_replaced(site: Site, folder: Path) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT[:-1] + b"!")
    pull(make_card(site.url))
    assert (folder / NAME).read_bytes() == CONTENT


def test_without_a_hash_the_kind_is_checked(site: Site, folder: Path) -> None:
    card = dataclasses.replace(make_card(site.url), sha256="")
    site.content = b"\n<!DOCTYPE html><title>Sign in</title>"
    with pytest.raises(CheckpointError, match=r"is a web page"):
        pull(card)
    assert visible(folder) == []
    site.content = CONTENT
    assert pull(card).read_bytes() == CONTENT


# ---- resuming ----


def test_a_cut_connection_goes_on_by_itself(site: Site, folder: Path) -> None:
    site.cut_after = HALF
    pull(make_card(site.url))
    assert (folder / NAME).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [None, f"bytes={HALF}-"]


def test_a_later_call_goes_on(site: Site, folder: Path) -> None:
    begin(site, folder)
    site.requests.clear()
    first_done = []
    pull(make_card(site.url), progress=lambda what, done, _: first_done.append((what, done)))
    assert (folder / NAME).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [f"bytes={HALF}-"]
    assert first_done[0][1] > HALF
    assert visible(folder) == [NAME]


def begin(site: Site, folder: Path) -> Path:
    """Leave half a file behind, as an interrupted pull does."""
    folder.mkdir(exist_ok=True)
    part = folder / f"{NAME}.part"
    site.cut_after = HALF

    def unplug(what: str, done: int, total: int | None) -> None:
        if done >= HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{site.url}/v1/{NAME}", part, unplug)
    assert part.read_bytes() == CONTENT[:HALF]
    return part


def test_a_server_that_goes_away_leaves_what_came(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    site.status = 503
    with pytest.raises(CheckpointError, match=r"503 .*1\.5 MB .*run the same command again"):
        pull(make_card(site.url))
    assert part.read_bytes() == CONTENT[:HALF]
    site.status = 200
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert site.requests[-1][1] == f"bytes={HALF}-"


def test_a_server_that_ignores_range_sends_all(site: Site, folder: Path) -> None:
    begin(site, folder)
    site.obeys_range = False
    assert pull(make_card(site.url)).read_bytes() == CONTENT


def test_a_server_that_never_gets_further_is_given_up(site: Site, folder: Path) -> None:
    site.obeys_range = False
    site.cut_after, site.cuts_always = HALF, True
    with pytest.raises(CheckpointError, match=r"cut after 1500000 of 3000000 bytes"):
        pull(make_card(site.url))
    assert len(site.requests) == download_module.ATTEMPTS
    assert not (folder / NAME).exists()


@pytest.mark.parametrize("obeys_if_range", [True, False])
def test_a_file_that_changed_is_fetched_anew(
    site: Site, folder: Path, obeys_if_range: bool
) -> None:
    part = begin(site, folder)
    site.content, site.etag, site.obeys_if_range = payload(2), '"two"', obeys_if_range
    download(f"{site.url}/v1/{NAME}", part)  # by itself: a card's hash would mend the mixture
    assert part.read_bytes() == payload(2)


def test_a_range_that_begins_elsewhere_is_not_appended(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    site.start_shift = -100
    download(f"{site.url}/v1/{NAME}", part)
    assert part.read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [None, f"bytes={HALF}-", None]


def test_a_changed_file_without_version_is_found_by_its_hash(site: Site, folder: Path) -> None:
    site.etag = None
    begin(site, folder)
    site.content = payload(2)
    assert pull(make_card(site.url, payload(2))).read_bytes() == payload(2)
    assert [wanted for _, wanted in site.requests] == [None, f"bytes={HALF}-", None]


def test_a_shorter_new_file(site: Site, folder: Path) -> None:
    begin(site, folder)
    site.content, site.etag, site.obeys_if_range = payload(2, 5000), '"two"', False
    assert pull(make_card(site.url, payload(2, 5000))).read_bytes() == payload(2, 5000)


def test_a_damaged_beginning_is_fetched_anew(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    part.write_bytes(bytes(HALF))  # a power cut can leave zeros
    assert pull(make_card(site.url)).read_bytes() == CONTENT


def test_a_whole_part_is_not_fetched_again(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    part.write_bytes(CONTENT)
    site.requests.clear()
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert site.requests == []


def test_a_whole_part_of_unknown_size(site: Site, folder: Path) -> None:
    site.with_length = False
    part = begin(site, folder)
    part.write_bytes(CONTENT)
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert site.requests[-1][1] == f"bytes={len(CONTENT)}-"


def test_half_a_file_from_elsewhere_is_not_continued(site: Site, folder: Path) -> None:
    begin(site, folder)
    site.requests.clear()
    assert pull(make_card(site.url), f"{site.url}/mirror/").read_bytes() == CONTENT
    assert site.requests == [(f"/mirror/{NAME}", None)]


def test_resuming_across_a_redirect(site: Site, folder: Path) -> None:
    site.cut_after = HALF
    pull(make_card(), f"{site.url}/moved/v1/{NAME}")
    assert (folder / NAME).read_bytes() == CONTENT
    assert site.requests[-1] == (f"/v1/{NAME}", f"bytes={HALF}-")


def test_a_silent_server(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_S", 0.2)
    site.hang_after = HALF
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert site.requests[-1][1] == f"bytes={HALF}-"


# ---- what is refused ----


def test_wrong_file(site: Site, folder: Path) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(b"the old one")
    expected, got = (hashlib.sha256(c).hexdigest() for c in (CONTENT, payload(2)))
    site.content = payload(2)
    with pytest.raises(CheckpointError) as caught:
        pull(make_card(site.url))
    for words in (f"got {got}", f"expected {expected}", f"{site.url}/v1/{NAME}", "3.0 MB"):
        assert words in str(caught.value)
    assert visible(folder) == [NAME]
    assert (folder / NAME).read_bytes() == b"the old one"


def test_not_found(site: Site, folder: Path) -> None:
    site.status = 404
    with pytest.raises(CheckpointError, match=r"v1/net\.pt: the server answered 404.*--from"):
        pull(make_card(site.url))
    assert len(site.requests) == 1
    assert visible(folder) == []


def test_a_login_page_keeps_what_came(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    site.content, site.content_type, site.etag = b"<html>Sign in</html>", "text/html", None
    with pytest.raises(CheckpointError, match="a web page .*behind a login page"):
        pull(make_card(site.url))
    assert part.read_bytes() == CONTENT[:HALF]


def test_no_connection(folder: Path, site: Site) -> None:
    with pytest.raises(CheckpointError, match=r"no connection: .*refused.*--from"):
        pull(make_card("http://127.0.0.1:9"))
    assert visible(folder) == []


def test_no_room(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = (10**9, 10**9 - 1000, 1000)
    real = download_module.shutil.disk_usage(folder.parent)
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: type(real)(*usage))
    with pytest.raises(CheckpointError, match=r"3 MB are needed, 0 MB are free.*DPT_ROS_WEIGHTS"):
        pull(make_card(site.url))
    assert not (folder / NAME).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_disk_that_fills_up(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "net.pt.part"
    part.symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"net.pt.part: cannot be written: No space.*room"):
        download(f"{site.url}/v1/{NAME}", part)


def test_folder_that_cannot_be_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DPT_ROS_WEIGHTS", str(tmp_path / "file" / "weights"))
    with pytest.raises(CheckpointError, match=r"cannot be written.*DPT_ROS_WEIGHTS"):
        pull(make_card(site.url))


def test_card_without_weights() -> None:
    card = dataclasses.replace(make_card(), file="", sha256="")
    with pytest.raises(CheckpointError, match="net: no weights are published for it"):
        pull(card)
    with pytest.raises(CheckpointError, match="net: no weights are published for it"):
        find_weights(card)


# ---- other sources ----


@pytest.mark.parametrize("kind", ["file", "folder", "address"])
def test_from_this_machine(tmp_path: Path, folder: Path, kind: str) -> None:
    source = tmp_path / "my stick" / NAME
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    names = {"file": source, "folder": source.parent, "address": source.as_uri()}
    assert pull(make_card(), names[kind]).read_bytes() == CONTENT
    assert visible(folder) == [NAME]
    assert source.exists()


def test_from_the_wrong_file(tmp_path: Path, folder: Path) -> None:
    source = tmp_path / NAME
    source.write_bytes(payload(2))
    with pytest.raises(CheckpointError) as caught:
        pull(make_card(), source)
    assert str(source) in str(caught.value)
    assert "wrong SHA-256" in str(caught.value)
    assert visible(folder) == []


def test_from_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such file; expected net\.pt, a folder"):
        pull(make_card(), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("source", "asked_for"),
    [
        ("/weights", f"/weights/{NAME}"),
        ("/weights/", f"/weights/{NAME}"),
        ("/other/name.pt", "/other/name.pt"),
        ("/get?id=7", "/get?id=7"),
    ],
)
def test_from_a_mirror(site: Site, source: str, asked_for: str) -> None:
    assert pull(make_card(), site.url + source).read_bytes() == CONTENT
    assert site.requests == [(asked_for, None)]


# ---- several at once ----


def test_two_pulls_at_once_fetch_once(site: Site, folder: Path) -> None:
    site.delay_s = 0.3
    paths: list[bytes] = []
    card = make_card(site.url)
    threads = [
        threading.Thread(target=lambda: paths.append(pull(card).read_bytes())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert paths == [CONTENT] * 3
    assert len(site.requests) == 1


# ---- folders and hashes ----


def test_weights_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DPT_ROS_WEIGHTS", "~/nets")
    assert weights_folder() == tmp_path / "nets"
    monkeypatch.delenv("DPT_ROS_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache" / "dpt_ros"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the XDG specification: to be ignored
    assert weights_folder() == tmp_path / ".cache" / "dpt_ros"


def test_missing_weights_say_how_to_get_them(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="`dpt-ros models pull net`") as caught:
        find_weights(make_card())
    assert str(folder / NAME) in str(caught.value)
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    assert find_weights(make_card()) == folder / NAME


def test_file_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == digest


def test_file_sha256_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "net"
    path.write_bytes(b"abc")
    an_hour_ago = time.time() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
    calls: list[tuple[str, int, int | None]] = []
    first = file_sha256(path, lambda *call: calls.append(call))
    assert calls == [("check", 3, 3)]
    assert file_sha256(path, lambda *call: calls.append(call)) == first
    assert len(calls) == 1
    path.write_bytes(b"abd")
    assert file_sha256(path) == hashlib.sha256(b"abd").hexdigest()


def test_note_of_an_unreadable_kind_is_ignored(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    record_path(part).write_text("[1, 2")
    assert pull(make_card(site.url)).read_bytes() == CONTENT
