"""Weights are pulled whole, checked and installed, once even when several ask for them."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from weights_site import CONTENT, NAME, Site, make_card, visible

from dpt_ros.model.integrity import CheckpointError
from dpt_ros.model.weights import pull

pytestmark = pytest.mark.usefixtures("folder")


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
