"""Bootstrap intervals of means over frames: how much of a figure is the choice of frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000

_SEED = 0
_NUMBERS_AT_ONCE = 2_000_000


def mean_intervals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percentile bootstrap intervals (Efron, 1979) of the columns' means.

    Frames are drawn as a whole, so that the columns stay together. The frames of a video resemble
    their neighbours, which the bootstrap does not know: for them its interval is too narrow.

    Args:
        values: [frames, columns], finite.

    Returns:
        [columns, 2]: ends of the 95 % interval, the same at every call; NaN for fewer than two
        frames.
    """
    frames, columns = values.shape
    if frames < 2:
        return np.full((columns, 2), np.nan)
    generator = np.random.default_rng(_SEED)
    means = np.empty((RESAMPLES, columns))
    step = max(1, _NUMBERS_AT_ONCE // frames)
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        drawn = generator.multinomial(frames, np.full(frames, 1.0 / frames), size=count)
        means[start : start + count] = drawn @ values / frames
    tail = 50.0 * (1.0 - CONFIDENCE)
    ends: NDArray[np.float64] = np.percentile(means, [tail, 100.0 - tail], axis=0).T
    return ends
