"""A size as a user writes it, WIDTHxHEIGHT, and whether a network takes it. Knows no torch."""

from __future__ import annotations

import re

from dpt_ros.config import ConfigError


def parse_size(text: str, name: str = "") -> tuple[int, int]:
    """Parse "640x480" into (width, height).

    Args:
        text: what was given.
        name: of the setting, as a message begins with it; "" where the caller tells it.

    Raises:
        ConfigError: it does not look like that, or has no pixels.
    """
    match = re.fullmatch(r"([0-9]+)x([0-9]+)", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if width < 1 or height < 1:
        whose = f"{name}: " if name else ""
        raise ConfigError(f"{whose}got {text!r}, expected WIDTHxHEIGHT such as 640x480")
    return width, height


def check_multiple(name: str, size: tuple[int, int], multiple: int, model: str) -> None:
    """Refuse a size (width, height) of the network's input that the network does not take.

    Raises:
        ConfigError: a side is no multiple; names the nearest size that is.
    """
    if all(side % multiple == 0 for side in size):
        return
    nearest = [max(1, round(side / multiple)) * multiple for side in size]
    raise ConfigError(
        f"{name}: got {_text(*size)}, expected multiples of {multiple}, which {model} takes; such "
        f"as {_text(*nearest)}"
    )


def _text(width: int, height: int) -> str:
    return f"{width}x{height}"
