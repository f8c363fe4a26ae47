"""Ctrl-C in `dpt-ros models pull`: what is kept is told where something is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpt_ros.cli.main import main
from dpt_ros.model import weights as weights_module
from dpt_ros.model.download import record_path

URL = "http://127.0.0.1:9/net.pt"


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a pull that is interrupted as soon as it has its lock; returns the exit status."""
    monkeypatch.setenv("DPT_ROS_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    card = tmp_path / "net.yaml"
    card.write_text(f"name: net\nstructure: dpt_tiny\nfile: net.pt\nsha256: 0123abcd\nurl: {URL}\n")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights_module, "_fetch_and_install", interrupt)
    return lambda *words: main(["models", "pull", str(card), *map(str, words)])


def keep(folder: Path, url: str) -> None:
    part = folder / "weights" / "net.pt.part"
    part.write_bytes(bytes(2_500_000))
    record_path(part).write_text(json.dumps({"url": url, "size": 5_000_000, "version": None}))


def test_nothing_is_kept(tmp_path: Path, pull, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull() == 130
    assert "kept" not in capsys.readouterr().err


def test_what_is_kept(tmp_path: Path, pull, capsys: pytest.CaptureFixture[str]) -> None:
    keep(tmp_path, URL)
    assert pull() == 130
    error = capsys.readouterr().err
    assert "the first 2.5 MB are kept: the same command goes on from there" in error


def test_what_is_kept_is_from_elsewhere(
    tmp_path: Path, pull, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, "http://127.0.0.1:9/mirror/net.pt")
    (tmp_path / "net.pt").write_bytes(b"PK")
    assert pull() == 130
    assert pull("--from", tmp_path / "net.pt") == 130
    assert "kept" not in capsys.readouterr().err
