"""What a trained network's card says of its training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def training_data(result: Mapping[str, Any]) -> str:
    """Data, start, seed, time, hardware, figures and command, in one paragraph.

    Args:
        result: what result.json holds.
    """
    data = ", ".join(
        f"{part['name']} ({part['samples']} samples of {len(part['sources'])} sources)"
        for part in result["training"]
    )
    figures = "; ".join(
        f"{row['data']}, {row['alignment']}: abs_rel {row['metrics']['abs_rel']:.3f}, "
        f"delta1 {row['metrics']['delta1']:.3f}"
        for row in result["rows"]
        if row["model"] == "trained"
    )
    return (
        f"{data}. Started from {result['init']}, {result['steps']} steps, seed "
        f"{result['settings']['seed']}, {result['progress']['seconds'] / 60.0:.0f} minutes on "
        f"{result['hardware']}. {figures}. Command: {_without_folders(result['command'])}"
    )


def _without_folders(command: str) -> str:
    """A command without the folders of the machine it ran on."""
    try:
        words = shlex.split(command)
    except ValueError:  # not a shell's words: a caller may say anything
        words = command.split()
    return shlex.join(_without_folder(word) for word in words)


def _without_folder(word: str) -> str:
    """A word, or the value of an --option=value, without the folder it begins with."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{value.rstrip('/').rpartition('/')[2] or value}"
