"""What an image's stamp tells: its age on the node's clock, and whether time makes sense."""

from __future__ import annotations

import dataclasses

NANOSECONDS = 1_000_000_000
PLAUSIBLE_AGE_S = 60.0
"""An older image comes from a recording that is played without simulated time."""

_FUTURE_S = 0.1
"""Clocks of two machines may differ by so much without a word."""


@dataclasses.dataclass(frozen=True)
class StampVerdict:
    """An image's age in seconds (None if its stamp tells none), and what is odd about it."""

    age_s: float | None
    oddity: str = ""


class StampWatch:
    """Looks at the stamps of one stream in the order they are processed."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self.oddity = ""

    def forget(self) -> None:
        """Start anew, after a clock that jumped."""
        self._last_ns = None
        self.oddity = ""

    def look(self, stamp_ns: int, now_ns: int) -> StampVerdict:
        """Judge a stamp.

        Args:
            stamp_ns: of the image.
            now_ns: the node's clock; 0 while simulated time has not begun.
        """
        last_ns, self._last_ns = self._last_ns, stamp_ns
        age_s = (now_ns - stamp_ns) / NANOSECONDS
        verdict = StampVerdict(age_s)
        if stamp_ns == 0:
            verdict = StampVerdict(None, "image stamps are zero: latency and age are not known")
        elif last_ns is not None and stamp_ns < last_ns:
            back_s = (last_ns - stamp_ns) / NANOSECONDS
            verdict = StampVerdict(age_s, f"image stamps went back by {back_s:.3f} s")
        elif now_ns == 0:
            verdict = StampVerdict(None, "simulated time has not begun: nobody publishes /clock")
        elif age_s < -_FUTURE_S:
            text = f"image stamps are {-age_s:.1f} s ahead of the node's clock: are the clocks set?"
            verdict = StampVerdict(None, text)
        elif age_s > PLAUSIBLE_AGE_S:
            text = (
                f"image stamps are {age_s:.0f} s old: for a recording use `ros2 bag play --clock` "
                "and the parameter use_sim_time:=true"
            )
            verdict = StampVerdict(age_s, text)
        self.oddity = verdict.oddity
        return verdict
