"""The block bootstrap: frames of a video resemble their neighbours, so stretches are drawn."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_QUIET_LAGS = 5  # so many in a row without correlation end it
_ROUNDING = 1e-24  # variance, by the squared mean, that rounding leaves of equal values


def block_length(values: NDArray[np.float64]) -> int:
    """How many neighbouring frames are to be drawn together.

    As many as the columns' own correlation asks for (Politis and White, 2004): the most that any
    of them does. Frames that do not resemble their neighbours are drawn one by one (Efron, 1979).
    Where a whole recording is hardly longer than what resembles itself, that is still too few.

    Args:
        values: [frames, columns], finite; in the order in which they were taken, recording after
            recording.

    Returns:
        1 or more, a third of the frames at most.
    """
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


def draw_blocks(generator: np.random.Generator, frames: int, length: int) -> NDArray[np.int64]:
    """Places of frames drawn anew, in blocks (Politis and Romano, 1992): int64 [about `frames`].

    Args:
        generator: what they are drawn with.
        frames: how many there are; the first follows the last.
        length: of a block, from `block_length`.
    """
    starts = generator.integers(0, frames, max(1, round(frames / length)))
    places: NDArray[np.int64] = (starts[:, None] + np.arange(length)).ravel() % frames
    return places


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
