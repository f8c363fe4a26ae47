"""A pull that cannot succeed says why and what to do, and leaves nothing half done."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
from pathlib import Path

import pytest
from weights_site import CONTENT, NAME, Site, make_card, payload, visible

from dpt_ros.model import download as download_module
from dpt_ros.model import weights as weights_module
from dpt_ros.model.download import download
from dpt_ros.model.integrity import CheckpointError
from dpt_ros.model.weights import find_weights, pull

pytestmark = pytest.mark.usefixtures("folder")


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


def test_folder_without_locks(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(weights_module.fcntl, "flock", flock)
    with pytest.raises(CheckpointError, match=r"lock: .*No locks available; .*DPT_ROS_WEIGHTS"):
        pull(make_card(site.url))


@pytest.mark.parametrize(
    "location",
    ["ftp://127.0.0.1:9/net.pt", "http://me:secret@127.0.0.1:9/", "file://127.0.0.1/etc/net.pt"],
)
def test_redirect_elsewhere_than_to_http(site: Site, folder: Path, location: str) -> None:
    site.location = location
    scheme = location.partition(":")[0]
    expected = rf"v1/net\.pt: the server sends on to {scheme}://127\.0\.0\.1; expected an http"
    with pytest.raises(CheckpointError, match=expected) as caught:
        pull(make_card(site.url))
    assert "secret" not in str(caught.value)


def test_redirect_in_a_circle(site: Site, folder: Path) -> None:
    site.location = f"{site.url}/again/{NAME}"
    with pytest.raises(
        CheckpointError, match=r"net\.pt: the server sends on in a circle; "
    ) as caught:
        pull(make_card(site.url))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", ["3000000, 3000000", "many", "-3"])
def test_length_that_is_no_number_says_nothing(site: Site, folder: Path, length: str) -> None:
    site.length = length
    assert pull(make_card(site.url)).read_bytes() == CONTENT


def test_card_without_weights() -> None:
    card = dataclasses.replace(make_card(), file="", sha256="")
    with pytest.raises(CheckpointError, match="net: no weights are published for it"):
        pull(card)
    with pytest.raises(CheckpointError, match="net: no weights are published for it"):
        find_weights(card)
