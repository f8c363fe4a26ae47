"""Weights from elsewhere: from a file or folder of this machine, or from a mirror."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.request
from pathlib import Path

import pytest
from weights_site import CONTENT, HALF, NAME, Site, make_card, payload, visible

from dpt_ros.model.download import record_path
from dpt_ros.model.integrity import CheckpointError
from dpt_ros.model.weights import pull

pytestmark = pytest.mark.usefixtures("folder")


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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_mirror_that_sends_on(site: Site, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of_python = urllib.request.HTTPRedirectHandler
    monkeypatch.delattr(of_python, "http_error_308", raising=False)  # as Python 3.10 is
    site.moved = status
    assert pull(make_card(), f"{site.url}/moved/v1/{NAME}").read_bytes() == CONTENT
    assert site.requests == [(f"/v1/{NAME}", None)]


@pytest.mark.parametrize("is_right", [True, False])
def test_an_interrupted_download_stays_until_a_right_file_is_there(
    tmp_path: Path, folder: Path, is_right: bool
) -> None:
    folder.mkdir()
    part = folder / f"{NAME}.part"
    part.write_bytes(CONTENT[:HALF])
    record_path(part).write_text(json.dumps({"url": "http://host/net.pt", "size": len(CONTENT)}))
    source = tmp_path / NAME
    source.write_bytes(CONTENT if is_right else payload(2))
    if is_right:
        pull(make_card(), source)
        assert visible(folder) == [NAME]
        return
    with pytest.raises(CheckpointError, match="wrong SHA-256"):
        pull(make_card(), source)
    assert visible(folder) == [part.name, record_path(part).name]
    assert part.read_bytes() == CONTENT[:HALF]


def test_a_copy_that_is_broken_off_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    source = tmp_path / NAME
    source.write_bytes(CONTENT)

    def interrupt(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(make_card(), source, interrupt)
    assert visible(folder) == []


def test_without_a_hash_a_named_source_is_always_taken(tmp_path: Path, folder: Path) -> None:
    card = dataclasses.replace(make_card("http://host"), sha256="")
    folder.mkdir()
    (folder / NAME).write_bytes(payload(2))
    assert pull(card).read_bytes() == payload(2)  # from nowhere in particular: what is there does
    source = tmp_path / NAME
    source.write_bytes(CONTENT)
    assert pull(card, source).read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["http://me:secret@127.0.0.1:9/v1", "https://me@host"])
def test_a_password_in_an_address_is_refused_and_not_shown(address: str) -> None:
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="not supported: download the file yourself") as told:
        pull(make_card(), address)
    assert "secret" not in str(told.value)
    assert time.monotonic() - start < 0.5


def test_an_at_sign_behind_the_host_is_no_password(site: Site) -> None:
    assert pull(make_card(), f"{site.url}/me@home/").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:9/my weights/net.pt", "is no address that can be asked for"),
        ("http://127.0.0.1:9/net\x7f.pt", "is no address that can be asked for"),
        ("http://127.0.0.1:9/n\u00e4t.pt", "is no address that can be asked for"),
        ("http://127.0.0.1:nine/net.pt", "is no address that can be asked for"),
        ("http://[::1/net.pt", "is no address: Invalid IPv6 URL"),
        ("http:///net.pt", "is no address: it names no host"),
    ],
)
def test_a_faulty_address_is_refused_at_once(
    folder: Path, address: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CheckpointError, match=message):
        pull(make_card(), address)
    assert "next attempt" not in caplog.text
