"""Dispatches `dpt-ros COMMAND`; only this module turns an error into an exit status."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from dpt_ros import __version__

_COMMANDS = ("models", "predict", "demo", "bench")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `dpt-ros`; those of the process if None.

    Returns:
        The exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage,
        130 interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "func"):
        parser.print_help()
        return 2
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO, format="%(message)s"
    )
    try:
        return int(options.func(options) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `dpt-ros ... | head`: the reader has gone, which is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError, RuntimeError) as error:
        if options.verbose:
            raise
        print(f"dpt-ros {options.command}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dpt-ros", description="Depth from a camera with DPT, outside and beside ROS 2."
    )
    parser.add_argument("--version", action="version", version=f"dpt-ros {__version__}")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="log more, and show an error's traceback"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in _COMMANDS:
        importlib.import_module(f"dpt_ros.cli.{name}").add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
