"""Dispatches `dpt-ros COMMAND`; only this module turns an error into an exit status."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from dpt_ros import __version__
from dpt_ros.inference.freed_memory import keep_freed_memory

_COMMANDS = (
    "models",
    "predict",
    "demo",
    "dataset",
    "fit",
    "train",
    "evaluate",
    "replay",
    "bench",
    "synthetic",
)
_NETWORK_COMMANDS = ("predict", "fit", "evaluate", "bench")
"""Those that run a network in their own process, image after image."""
_ROS_MODULES = ("rclpy", "ament_index_python", "rosidl_parser", "rpyutils")
_OF_BINDINGS = (RuntimeError, SystemError)
"""What a KeyboardInterrupt can come out as of C++ that calls Python, such as rclpy's."""
_PIP_NAMES = {"cv2": "opencv-python", "yaml": "PyYAML"}
"""Of modules that pip knows under another name."""
_CV2_LIBRARIES = "apt install libgl1 libglib2.0-0"


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
    for chatty in ("matplotlib", "PIL"):  # tell of every font and every chunk of a file
        logging.getLogger(chatty).setLevel(logging.INFO)
    signals: list[int] = []
    if arguments is None:  # a process of its own: what it started ends with it
        _interrupt_on_signals(signals)
        if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be UTF-8
            sys.stdout.reconfigure(errors="backslashreplace")
        if options.command in _NETWORK_COMMANDS:
            keep_freed_memory()
    try:
        return int(options.func(options) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `dpt-ros ... | head`: the reader has gone, which is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if signals and type(error) in _OF_BINDINGS:
            logging.debug("what the interrupt became", exc_info=error)
            print("interrupted", file=sys.stderr)
            return 130
        # cv2's error is told by its name: cv2 is not to be imported for it.
        is_expected = isinstance(error, (ImportError, OSError, ValueError, RuntimeError))
        if options.verbose or not (is_expected or type(error).__module__ == "cv2"):
            raise
        reason = _missing(error) if isinstance(error, ImportError) else str(error).strip()
        print(f"dpt-ros {options.command}: {reason}", file=sys.stderr)
        return 1


def _interrupt_on_signals(came: list[int]) -> None:
    """SIGTERM and SIGINT raise KeyboardInterrupt; `came` is told of them."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, interrupt)


def _missing(error: ImportError) -> str:
    """What to do about a module that this Python lacks, or whose libraries this system lacks."""
    name = (error.name or "").partition(".")[0]
    if name == "cv2" and not isinstance(error, ModuleNotFoundError):
        return f"opencv-python lacks a library of the system ({error}): {_CV2_LIBRARIES}"
    if not name or not isinstance(error, ModuleNotFoundError):
        return str(error)
    if name in _ROS_MODULES or name.endswith(("_msgs", "_interfaces")):
        remedy = "make setup, or source a ROS 2 installation"
    elif name == "dpt_ros":
        remedy = "the installation of dpt_ros is incomplete; install it again"
    else:
        remedy = f"pip install {_PIP_NAMES.get(name, name)}"
    return f"{error.name} is not installed for {sys.executable}: {remedy}"


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
