"""Weights on this machine: the folder where they are looked for, and their hash."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from weights_site import CONTENT, NAME, make_card

from dpt_ros.model.cards import load_card
from dpt_ros.model.integrity import CheckpointError, file_sha256
from dpt_ros.model.weights import find_weights, weights_folder

pytestmark = pytest.mark.usefixtures("folder")


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
    with pytest.raises(CheckpointError, match=r"`dpt-ros models pull net\.yaml`") as caught:
        find_weights(make_card("https://example.org"))
    assert str(folder / NAME) in str(caught.value)
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    assert find_weights(make_card()) == folder / NAME


def test_missing_weights_of_a_card_with_our_name_or_without_a_url() -> None:
    with pytest.raises(CheckpointError, match="`dpt-ros models pull dpt_large`"):
        find_weights(load_card("dpt_large"))
    with pytest.raises(CheckpointError, match="put them there, or name them with --checkpoint"):
        find_weights(make_card())


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
