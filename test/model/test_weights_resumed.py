"""A download that was cut goes on where it ended, and never mixes two files."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest
from weights_site import CONTENT, HALF, NAME, Site, make_card, payload, visible

from dpt_ros.model import download as download_module
from dpt_ros.model.download import download, record_path
from dpt_ros.model.integrity import CheckpointError
from dpt_ros.model.weights import kept_of_pull, pull

pytestmark = pytest.mark.usefixtures("folder")


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


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_that_asks_to_wait_is_asked_again_after_that(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, status: int, as_date: bool
) -> None:
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append, time=time.time)
    monkeypatch.setattr(download_module, "time", clock)
    site.status, site.retry_after = status, formatdate(time.time() + 50.5) if as_date else "50"
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert len(waits) == 1 and 48.0 < waits[0] <= 50.5 and len(site.requests) == 2


def test_a_server_that_asks_to_wait_for_long_is_told(site: Site, folder: Path) -> None:
    site.status, site.retry_after = 429, "3600"
    told = r"429 Too Many Requests, and asks to wait for 3600 s; run the command again then, or"
    with pytest.raises(CheckpointError, match=told):
        pull(make_card(site.url))
    assert len(site.requests) == 1


@pytest.mark.parametrize("said", ["", "soon", "-5", "Wed, 99 Foo 2020", "1.5"])
def test_a_wish_that_says_nothing_is_none(said: str) -> None:
    assert download_module._wanted_wait_s(said) == 0.0


def test_a_first_answer_without_a_length_is_continued(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As proxies send; the size comes with the answer to the second request."""
    monkeypatch.setattr(download_module, "TIMEOUT_S", 0.2)
    site.with_length, site.hang_after = False, HALF
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [None, f"bytes={HALF}-"]


def test_a_server_that_ignores_range_sends_all(site: Site, folder: Path) -> None:
    begin(site, folder)
    site.obeys_range = False
    assert pull(make_card(site.url)).read_bytes() == CONTENT


def test_a_server_that_never_gets_further_is_given_up(site: Site, folder: Path) -> None:
    site.obeys_range = False
    site.cut_after, site.cuts_always = HALF, True
    told = r"cut after 1500000 of 3000000 bytes; this server cannot send the rest alone, .*--from"
    with pytest.raises(CheckpointError, match=told) as caught:
        pull(make_card(site.url))
    assert "are kept" not in str(caught.value)
    assert kept_of_pull(make_card(site.url)) == 0
    assert len(site.requests) == download_module.ATTEMPTS
    assert not (folder / NAME).exists()


def test_a_server_that_ignored_range_is_not_asked_for_it_again(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    site.requests.clear()
    site.obeys_range, site.cut_after = False, HALF
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [f"bytes={HALF}-", None]
    assert not record_path(part).exists()


def test_a_later_call_asks_again_a_server_that_ignored_range(site: Site, folder: Path) -> None:
    site.obeys_range = False
    site.cut_after, site.cuts_always = HALF, True
    with pytest.raises(CheckpointError, match="this server cannot send the rest alone"):
        pull(make_card(site.url))
    site.requests.clear()
    site.obeys_range, site.cut_after = True, None
    assert pull(make_card(site.url)).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [f"bytes={HALF}-"]


def test_every_call_tells_of_a_server_that_ignores_range(site: Site, folder: Path) -> None:
    site.obeys_range = False
    site.cut_after, site.cuts_always = HALF, True
    for first in (None, f"bytes={HALF}-"):
        site.requests.clear()
        with pytest.raises(CheckpointError, match="this server cannot send the rest alone"):
            pull(make_card(site.url))
        assert site.requests[0][1] == first
        assert [wanted for _, wanted in site.requests[2:]] == [None, None]


def test_of_another_version_the_rest_is_asked_for(site: Site, folder: Path) -> None:
    """A server that ignored Range for one file may obey it for the one that follows."""
    part = begin(site, folder)
    site.requests.clear()
    site.obeys_range, site.cut_after = False, HALF

    def change(what: str, done: int, total: int | None) -> None:
        if done == HALF and site.etag == '"one"':
            site.content, site.etag, site.cut_after = payload(2), '"two"', HALF
            site.obeys_range = True

    download(f"{site.url}/v1/{NAME}", part, change)
    assert part.read_bytes() == payload(2)
    assert [wanted for _, wanted in site.requests] == [f"bytes={HALF}-", None, f"bytes={HALF}-"]


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


def test_half_a_file_from_elsewhere_is_not_said_to_be_kept(site: Site, folder: Path) -> None:
    begin(site, folder)
    site.status = 503
    with pytest.raises(CheckpointError, match=r"check the network, or name a copy") as caught:
        pull(make_card(site.url), f"{site.url}/mirror/")
    assert "are kept" not in str(caught.value)


def test_what_is_kept_is_told_of_the_same_address_alone(site: Site, folder: Path) -> None:
    card = make_card(site.url)
    assert kept_of_pull(card) == 0
    begin(site, folder)
    assert kept_of_pull(card) == HALF
    assert kept_of_pull(card, f"{site.url}/mirror/") == 0
    assert kept_of_pull(card, folder) == 0
    site.cut_after = None
    pull(card)
    assert kept_of_pull(card) == 0


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


def test_a_login_page_keeps_what_came(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    site.content, site.content_type, site.etag = b"<html>Sign in</html>", "text/html", None
    with pytest.raises(CheckpointError, match="a web page .*behind a login page"):
        pull(make_card(site.url))
    assert part.read_bytes() == CONTENT[:HALF]


def test_note_of_an_unreadable_kind_is_ignored(site: Site, folder: Path) -> None:
    part = begin(site, folder)
    record_path(part).write_text("[1, 2")
    assert pull(make_card(site.url)).read_bytes() == CONTENT
