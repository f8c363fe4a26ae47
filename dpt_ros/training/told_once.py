"""Where a run's networks run is told once, not for each of its predictors anew."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from dpt_ros.inference import predictor

_log = logging.getLogger(predictor.__name__)


@contextlib.contextmanager
def device_told_once() -> Iterator[None]:
    """Tell device and number format of the first predictor alone, whatever its name.

    Those of a run are all on the same device and in float32. Warnings are told as ever.
    """
    told: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        is_known = record.levelno <= logging.INFO and str(record.msg) in told
        told.add(str(record.msg))
        return not is_known

    _log.addFilter(is_new)
    try:
        yield
    finally:
        _log.removeFilter(is_new)
