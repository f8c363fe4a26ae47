"""Numbers on the command line: read, and refused where they mean nothing; and told."""

from __future__ import annotations

import argparse
import math

from dpt_ros.config import ConfigError
from dpt_ros.model.picture_size import parse_size


def count(text: str) -> int:
    """Parse a whole number from 0.

    Raises:
        argparse.ArgumentTypeError: something else.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 0")
    return int(text)


def positive(text: str) -> int:
    """Parse a whole number above 0.

    Raises:
        argparse.ArgumentTypeError: something else.
    """
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number above 0")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """Parse "640x480" into (width, height).

    Raises:
        argparse.ArgumentTypeError: something else.
    """
    try:
        return parse_size(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def counted(number: int, noun: str) -> str:
    """Such as "1 bag" and "2 bags"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def seconds(text: str) -> float:
    """Parse a time that lasts.

    Raises:
        argparse.ArgumentTypeError: not a number above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of seconds above 0")
    return value


def playback_rate(text: str) -> float:
    """Parse how fast to play: 2 is twice as fast as recorded.

    Raises:
        argparse.ArgumentTypeError: not a number from 0.01 to 100.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.01 <= rate <= 100.0:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0.01 to 100")
    return rate
