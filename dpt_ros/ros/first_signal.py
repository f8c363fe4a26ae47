"""The first SIGINT or SIGTERM ends a process; those that follow must not interrupt how it ends.

Ctrl-C in a terminal reaches every process of the group, and `ros2 launch` then sends one more.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupt(KeyboardInterrupt):
    """A signal came.

    Not KeyboardInterrupt itself: where one leaves `exec`, which imports often call (for dataclasses
    and such), Python ends the process with -2 although it was caught.
    """


class FirstSignal:
    """Ends the process at once for a signal while it loads; later raises Interrupt for the first.

    An exception must not come up while large packages are imported: their compiled code may abort.
    To be made in the main thread before rclpy.init(), whose handlers call those that were there.

    Args:
        loading_code: exit code where there is nothing to clean up yet.
    """

    def __init__(self, loading_code: int) -> None:
        self.came = False
        """Whether one came, so that no other interrupts; to be set where the end begins."""
        self._loading_code: int | None = loading_code
        for number in _NUMBERS:
            signal.signal(number, self._take)

    def loaded(self) -> None:
        """From now on there is something to clean up."""
        self._loading_code = None

    def ignore(self) -> None:
        """Take no more: Python restores what kills a process while it ends."""
        self.came = True
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            return
        self.came = True
        if self._loading_code is not None:
            os._exit(self._loading_code)
        raise Interrupt
