"""`dpt-ros models`, as a user calls it."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_checkpoints import make, small_as_yaml

from dpt_ros.cli import models as models_command
from dpt_ros.model.checkpoints import load_checkpoint, read_card
from dpt_ros.model.integrity import CheckpointError, file_sha256


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPT_ROS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "weights"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint of a small network, as training leaves it."""
    torch.manual_seed(0)
    path = tmp_path / "stick" / "small-weights.pt"
    path.parent.mkdir()
    torch.save({"model": make().state_dict(), "optimizer": {}}, path)
    return path


def write_card(folder: Path, source: Path, sha256: str | None = None, url: str = "") -> Path:
    path = folder / "small.yaml"
    overrides = "\n".join(f"  {key}: {value}" for key, value in small_as_yaml().items())
    sha256 = file_sha256(source) if sha256 is None else sha256
    path.write_text(
        f"name: small\nstructure: dpt_base\nstructure_overrides:\n{overrides}\n"
        f"file: {source.name}\nsha256: '{sha256}'\nlicense: MIT (me)\n"
        f"output: {{kind: metric_inverse_depth, scale: 0.5, shift: 0.1}}\n"
        + (f"url: {url}\n" if url else "")
    )
    return path


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    models_command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["models", *map(str, words)])
    return int(options.func(options) or 0)


def test_list(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    folder.mkdir()
    (folder / "dpt_hybrid_kitti-cb926ef4.pt").write_bytes(bytes(2_000_000))
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "STRUCTURE", "OUTPUT", "SIZE", "LICENSE", "HERE"]
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1:] if line}
    assert rows["dpt_large"] == "dpt_large relative 1.38 GB MIT no"
    assert rows["dpt_hybrid_kitti"] == "dpt_hybrid metres 2 MB MIT yes"
    assert rows["dpt_base"] == "dpt_base relative - - none published"
    assert str(folder) in lines[-1]


def test_show_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "dpt_hybrid_nyu") == 0
    text = capsys.readouterr().out
    assert "kind: metric_inverse_depth" in text
    assert "scale: 0.000305" in text
    assert "dpt-ros models pull dpt_hybrid_nyu" in text


def test_show_own_card(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tmp_path / "mine.yaml"
    card.write_text("name: mine\nstructure: dpt_tiny\nfile: a.pt\nurl: https://example.org/a.pt\n")
    assert run("show", card) == 0
    assert "get it with: dpt-ros models pull mine.yaml" in capsys.readouterr().out


def test_pull_verify_convert(
    tmp_path: Path, folder: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = write_card(tmp_path, source)
    assert run("pull", card, "--from", source.parent) == 0
    pulled = folder / source.name
    assert pulled.read_bytes() == source.read_bytes()
    assert f"small: ready in {pulled}" in capsys.readouterr().out

    assert run("pull", card, "--from", source) == 0
    assert "was here already" in capsys.readouterr().out

    assert run("verify", card) == 0
    text = capsys.readouterr().out
    assert "ok: dpt_base, readout project" in text
    assert file_sha256(source) in text

    output = tmp_path / "small.safetensors"
    assert run("convert", pulled, output, "--card", card) == 0
    converted = make()
    load_checkpoint(converted, output)
    original = make()
    load_checkpoint(original, source)
    for key, value in original.state_dict().items():
        assert torch.equal(value, converted.state_dict()[key]), key
    inside = read_card(output)
    assert inside is not None
    assert (inside.output.scale, inside.output.shift, inside.file) == (0.5, 0.1, "")

    capsys.readouterr()
    with pytest.raises(ValueError, match="holds the weights of small; there is nothing to get"):
        run("pull", output)
    assert run("show", output) == 0
    assert "scale: 0.5" in capsys.readouterr().out
    assert run("verify", output) == 0
    assert "no published file" in capsys.readouterr().out


def test_convert_to_half_takes_the_card_from_the_file(tmp_path: Path, source: Path) -> None:
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    run("convert", source, full, "--card", write_card(tmp_path, source))
    assert run("convert", full, half, "--half") == 0
    header = 8 + int.from_bytes(half.read_bytes()[:8], "little")
    full_header = 8 + int.from_bytes(full.read_bytes()[:8], "little")
    assert 2 * (half.stat().st_size - header) == full.stat().st_size - full_header
    assert read_card(half) == read_card(full)
    model, exact = make(), make()
    load_checkpoint(model, half)
    load_checkpoint(exact, source)
    for key, value in exact.state_dict().items():
        assert torch.equal(model.state_dict()[key], value.half().float()), key


def test_convert_does_not_overwrite(tmp_path: Path, source: Path) -> None:
    card, output = write_card(tmp_path, source), tmp_path / "small.safetensors"
    output.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"small\.safetensors: exists already; --force"):
        run("convert", source, output, "--card", card)
    assert output.read_bytes() == b"mine"
    assert run("convert", source, output, "--card", card, "--force") == 0
    assert read_card(output) is not None


def test_convert_needs_to_know_the_model(tmp_path: Path, source: Path) -> None:
    with pytest.raises(CheckpointError, match=r"--card NAME \(dpt_base, .*dpt_large"):
        run("convert", source, tmp_path / "small.safetensors")
    with pytest.raises(CheckpointError, match="there is no such file"):
        run("convert", tmp_path / "nothing.pt", tmp_path / "small.safetensors")


def test_verify_reports_each_and_fails(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.safetensors"
    run("convert", source, good, "--card", write_card(tmp_path, source))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-100])
    faulty = tmp_path / "faulty.safetensors"
    with safe_open(good, "pt") as file:
        save_file(load_file(good), faulty, {**file.metadata(), "card": "{"})
    assert run("verify", cut, good, faulty, "dpt_large", tmp_path / "none.pt", "dpt_huge") == 1
    captured = capsys.readouterr()
    assert f"{faulty}: FAILED: {faulty}: the card inside is damaged" in captured.err
    assert f"{good}: ok" in captured.out
    assert f"{cut}: FAILED" in captured.err
    assert "truncated" in captured.err
    assert "`dpt-ros models pull dpt_large`" in captured.err
    assert "there is no such file" in captured.err
    assert "there is no model 'dpt_huge'" in captured.err


def test_verify_finds_a_wrong_hash(
    tmp_path: Path, folder: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = write_card(tmp_path, source, sha256="0123abcd")
    folder.mkdir()
    (folder / source.name).write_bytes(source.read_bytes())
    assert run("verify", card) == 1
    assert f"wrong SHA-256: got {file_sha256(source)[:8]}" in capsys.readouterr().err


def test_verify_with_nothing_here(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dpt_ros.model.weights.cards_folder", lambda: tmp_path)  # no bundled ones
    assert run("verify") == 0
    assert f"there are no weights in {folder}" in capsys.readouterr().out


# ---- in a process of its own ----


class SlowHandler(SimpleHTTPRequestHandler):
    """Serves files; without Range; stops half way through the first body until released."""

    release: threading.Event

    def copyfile(self, source: object, outputfile: object) -> None:
        content = source.read()  # type: ignore[attr-defined]
        try:
            outputfile.write(content[: len(content) // 2])  # type: ignore[attr-defined]
            self.release.wait(20)
            outputfile.write(content[len(content) // 2 :])  # type: ignore[attr-defined]
        except ConnectionError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(source: Path) -> Iterator[tuple[str, threading.Event]]:
    release = threading.Event()
    members = {"release": release}
    handler = type("Handler", (SlowHandler,), members)

    def make_handler(*args: object) -> SimpleHTTPRequestHandler:
        return handler(*args, directory=str(source.parent))

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), make_handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}/{source.name}", release
    release.set()
    httpd.shutdown()
    httpd.server_close()


COMMAND = [sys.executable, "-m", "dpt_ros.cli.main", "models"]


def test_errors_are_one_line_and_a_status(folder: Path) -> None:
    result = subprocess.run([*COMMAND, "pull", "dpt_huge"], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "there is no model 'dpt_huge'; there are dpt_base" in result.stderr
    assert not folder.exists()


def test_killed_while_pulling(
    tmp_path: Path, folder: Path, source: Path, server: tuple[str, threading.Event]
) -> None:
    url, release = server
    card = write_card(tmp_path, source, url=url)
    command = [*COMMAND, "pull", str(card)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    part = folder / f"{source.name}.part"
    half = source.stat().st_size // 2
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= half // 2):
        assert time.monotonic() < deadline, "the pull did not begin"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert part.exists()
    assert not (folder / source.name).exists()

    release.set()
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert (folder / source.name).read_bytes() == source.read_bytes()
    assert not part.exists()
    assert "download: 100%" in result.stderr
    assert "check: 100%" in result.stderr
