"""The first signal ends a process, and only that one, whatever the process does at the time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, signal, sys
from dpt_ros.ros.first_signal import FirstSignal

def interrupt():
    os.kill(os.getpid(), signal.{name})

signals = FirstSignal(loading_code=7)
try:
    {do}
    print("loaded", flush=True)
    signals.loaded()
    {do_later}
except KeyboardInterrupt:
    interrupt()
    print("cleaned up", flush=True)
signals.ignore()
interrupt()
sys.exit(0)
"""


def run(folder: Path, **parts: str) -> tuple[int, str]:
    """Exit code and output of a program with those parts, run as the node is: with -m."""
    given = {"name": "SIGINT", "do": "pass", "do_later": "pass", **parts}
    (folder / "program.py").write_text(_PROGRAM.format(**given))
    result = subprocess.run(
        [sys.executable, "-m", "program"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not result.stderr
    return result.returncode, result.stdout


def test_while_it_loads_the_process_ends_at_once(tmp_path: Path) -> None:
    for name in ("SIGINT", "SIGTERM"):
        assert run(tmp_path, name=name, do="interrupt()") == (7, "")
        # What an import does with an exception does not matter.
        swallowed = "try: interrupt()\n    except BaseException: pass"
        assert run(tmp_path, name=name, do=swallowed) == (7, "")


def test_later_it_is_interrupted_once(tmp_path: Path) -> None:
    for name in ("SIGINT", "SIGTERM"):
        assert run(tmp_path, name=name, do_later="interrupt()") == (0, "loaded\ncleaned up\n")
    assert run(tmp_path) == (0, "loaded\n")


def test_an_interrupt_within_exec_is_no_other_exit_code(tmp_path: Path) -> None:
    """Python remembers a KeyboardInterrupt that leaves `exec`, though it is caught."""
    ended = run(tmp_path, do_later="exec('interrupt()')")
    assert ended == (0, "loaded\ncleaned up\n")
