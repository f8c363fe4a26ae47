"""Bootstrap intervals of means over frames: how much of a figure is the choice of frames."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000

_SEED = 0
_NUMBERS_AT_ONCE = 2_000_000
_QUIET_LAGS = 5  # so many in a row without correlation end it
_ROUNDING = 1e-24  # variance, by the squared mean, that rounding leaves of equal values


def mean_intervals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percentile intervals of the columns' means, by the circular block bootstrap.

    The frames of a video resemble their neighbours, so that many frames tell less than as many
    single pictures. Stretches of them are drawn (Politis and Romano, 1992), as long as the columns'
    own correlation asks for (Politis and White, 2004); of frames that don't resemble each other
    each is drawn by itself (Efron, 1979). Where a whole recording is hardly longer than what
    resembles itself, the interval is still too narrow.

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
    length = _block_length(values)
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


def _block_length(values: NDArray[np.float64]) -> int:
    """The longest of those that the columns ask for; 1: frames do not resemble their neighbours."""
    frames = len(values)
    most = int(min(3.0 * math.sqrt(frames), frames / 3.0))
    if most < 2:
        return 1
    apart = values - values.mean(axis=0)
    lags = min(2 * (math.ceil(math.sqrt(frames)) + _QUIET_LAGS), frames - 1)
    covariances = np.stack(
        [(apart[lag:] * apart[: frames - lag]).sum(axis=0) / frames for lag in range(lags + 1)]
    )
    varies = covariances[0] > _ROUNDING * np.square(values.mean(axis=0))
    lengths = [_length_for(covariances[:, column], frames) for column in np.flatnonzero(varies)]
    return min(math.ceil(max(lengths, default=1.0)), most)


def _length_for(covariance: NDArray[np.float64], frames: int) -> float:
    """Politis and White's (2004) for a mean, with Patton's correction (2009).

    Args:
        covariance: of values so many frames apart, [1 + lags].
        frames: how many there are.
    """
    is_seen = np.abs(covariance[1:]) >= 2.0 * math.sqrt(math.log10(frames) / frames) * covariance[0]
    most = len(is_seen) // 2
    reach = next((m for m in range(most) if not is_seen[m : m + _QUIET_LAGS].any()), most)
    if reach == 0:
        return 1.0
    lag = np.arange(1, 2 * reach + 1)
    weighted = np.minimum(1.0, 2.0 * (1.0 - lag / (2 * reach))) * covariance[lag]
    spectrum = float(covariance[0] + 2.0 * weighted.sum())
    if spectrum <= 0.0:
        return 1.0
    curvature = float(2.0 * (lag * weighted).sum())
    return float((1.5 * frames * (curvature / spectrum) ** 2) ** (1.0 / 3.0))
