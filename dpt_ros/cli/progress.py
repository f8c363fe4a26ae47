"""The bar that shows on standard error how far a command is."""

from __future__ import annotations

import sys
from typing import Any

_TERMINAL_S = 0.1
_LOG_S = 30.0


def progress(items: Any = None, **how: Any) -> Any:
    """A bar of tqdm; where standard error is no terminal, drawn anew only once in 30 s.

    Args:
        items: to iterate over; None: the caller updates the bar.
        how: what tqdm takes besides: total, unit, desc, disable, leave.
    """
    from tqdm import tqdm

    interval_s = _TERMINAL_S if sys.stderr.isatty() else _LOG_S
    return tqdm(
        items, file=sys.stderr, mininterval=interval_s, maxinterval=max(interval_s, 10.0), **how
    )
