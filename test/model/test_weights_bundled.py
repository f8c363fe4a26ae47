"""A file that comes with the package is used; another in the weights folder does not hide it."""

from __future__ import annotations

from pathlib import Path

import pytest
from weights_site import CONTENT, NAME, make_card, payload, visible

from dpt_ros.model import weights as weights_module
from dpt_ros.model.integrity import CheckpointError
from dpt_ros.model.weights import find_weights, pull


@pytest.fixture
def bundled(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "models" / NAME
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    monkeypatch.setattr(weights_module, "cards_folder", lambda: path.parent)
    return path


@pytest.mark.parametrize("stale", [payload(2), CONTENT[:1000], b""])
def test_a_wrong_file_in_its_place_is_deleted(
    bundled: Path, folder: Path, stale: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(stale)
    assert pull(make_card()) == bundled
    assert find_weights(make_card()) == bundled
    assert visible(folder) == []
    assert f"{folder / NAME}: wrong SHA-256" in caplog.text
    assert f"{folder / NAME}: deleted; the file that comes with dpt_ros is used" in caplog.text


def test_the_right_file_in_its_place_is_kept(bundled: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    assert pull(make_card()) == folder / NAME
    assert visible(folder) == [NAME]


def test_a_damaged_bundled_file_deletes_nothing(bundled: Path, folder: Path) -> None:
    bundled.write_bytes(CONTENT[:1000])
    folder.mkdir()
    (folder / NAME).write_bytes(payload(2))
    with pytest.raises(CheckpointError, match=r"models/net\.pt: wrong SHA.*install dpt_ros again"):
        pull(make_card())
    assert visible(folder) == [NAME]
