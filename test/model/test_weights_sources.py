"""Weights from elsewhere: from a file or folder of this machine, or from a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest
from weights_site import CONTENT, NAME, Site, make_card, payload, visible

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
