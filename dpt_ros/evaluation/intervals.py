"""Bootstrap intervals of means over frames: how much of a figure is the choice of frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpt_ros.bootstrap import block_length

CONFIDENCE = 0.95
RESAMPLES = 1000

_SEED = 0
_NUMBERS_AT_ONCE = 2_000_000


def mean_intervals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percentile intervals of the columns' means, by the circular block bootstrap.

    The frames of a video resemble their neighbours, so that many frames tell less than as many
    single pictures: stretches of them are drawn, see `block_length`. Where a whole recording is
    hardly longer than what resembles itself, the interval is still too narrow.

    Args:
        values: [frames, columns], finite; in the order in which they were taken, recording after
            recording.

    Returns:
        [columns, 2]: ends of the 95 % interval, the same at every call; NaN for fewer than two
        frames.
    """
    frames, columns = values.shape
    if frames < 2:
        return np.full((columns, 2), np.nan)
    length = block_length(values)
    blocks = _means_of_blocks(values, length)
    drawn_blocks = max(1, round(frames / length))
    generator = np.random.default_rng(_SEED)
    means = np.empty((RESAMPLES, columns))
    step = max(1, _NUMBERS_AT_ONCE // frames)
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        drawn = generator.multinomial(drawn_blocks, np.full(frames, 1.0 / frames), size=count)
        means[start : start + count] = drawn @ blocks / drawn_blocks
    tail = 50.0 * (1.0 - CONFIDENCE)
    ends: NDArray[np.float64] = np.percentile(means, [tail, 100.0 - tail], axis=0).T
    return ends


def _means_of_blocks(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Of the block from each frame on, [frames, columns]; the first frame follows the last."""
    if length == 1:
        return values
    around = np.concatenate([np.zeros((1, values.shape[1])), values, values[: length - 1]])
    sums = np.cumsum(around, axis=0)
    means: NDArray[np.float64] = (sums[length:] - sums[:-length]) / length
    return means
