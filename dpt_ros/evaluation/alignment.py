"""From what a network says to metres: known scale and shift, or one taken from the frame's truth.

Every result names its alignment. What takes scale (and shift) from the truth of the very frame
that is scored says how good the shape of depth is, not how good its metres are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.geometry.scale_shift import FitError, ScaleShift, fit_scale_shift
from dpt_ros.inference.metres import MetresOfImage

Values = NDArray[np.float64]
Known = Mapping[str, MetresOfImage]

ALIGNMENTS: dict[str, str] = {
    "none": "the model's own metres",
    "calibration": "scale and shift of a calibration, one for all frames",
    "least_squares": "scale and shift of each frame by least squares in inverse depth (MiDaS)",
    "median": "scale of each frame: medians of depth and truth made equal",
}
"""Names and meanings, those that need no truth first."""


class AlignmentError(ValueError):
    """No metres for this frame; says why."""


@dataclass(frozen=True)
class Aligned:
    """Metric inverse depth of some pixels, and how it came about.

    Args:
        metric_inverse_depth: 1/m, [N]; may be 0 or negative (infinitely far).
        scale, shift: of inverse depth.
        remark: what people should know; "" if nothing.
    """

    metric_inverse_depth: Values
    scale: float
    shift: float
    remark: str = ""


def align(inverse_depth: Values, truth_m: Values, alignment: str, known: Known) -> Aligned:
    """Make the inverse depth of the pixels that count metric.

    Args:
        inverse_depth: [N], relative, finite.
        truth_m: [N] metres, positive.
        alignment: one of `ALIGNMENTS`.
        known: scale and shift that need no truth, or why there are none, for "none" and
            "calibration".

    Raises:
        AlignmentError: there is none for this frame; says why.
        ValueError: an unknown alignment.
    """
    if alignment in ("none", "calibration"):
        return _known(inverse_depth, known.get(alignment), alignment)
    if alignment not in _FROM_TRUTH:
        raise ValueError(
            f"alignment: got {alignment!r}, expected one of {', '.join(map(repr, ALIGNMENTS))}"
        )
    return _FROM_TRUTH[alignment](inverse_depth, truth_m, known)


def _known(inverse_depth: Values, metres: MetresOfImage | None, alignment: str) -> Aligned:
    if metres is None or metres.scale_shift is None:
        why = metres.why_not if metres else ""
        raise AlignmentError(why or f"nothing is known for the alignment {alignment}")
    pair = metres.scale_shift
    return Aligned(inverse_depth * pair.scale + pair.shift, pair.scale, pair.shift)


def _least_squares(inverse_depth: Values, truth_m: Values, _: Known) -> Aligned:
    """Least squares with a scale of at least 0.

    Where the best scale is negative, or the pixels show none, that is scale 0 and the mean of the
    truth: such a frame counts, or else a model would gain from failing.
    """
    target = 1.0 / truth_m
    valid = np.ones(target.shape, np.bool_)
    try:
        pair = fit_scale_shift(inverse_depth, target, valid, method="least_squares")
    except FitError as error:
        pair, remark = ScaleShift(0.0, float(target.mean())), f"taken as flat: {error}"
    else:
        remark = ""
    return Aligned(inverse_depth * pair.scale + pair.shift, pair.scale, pair.shift, remark)


def _median(inverse_depth: Values, truth_m: Values, known: Known) -> Aligned:
    """Scale so that the medians of depth agree (Zhou et al., 2017).

    Depth is that of the calibration, else of the model's own metres, else 1 / inverse depth.
    """
    pairs = [known[name].scale_shift for name in ("calibration", "none") if name in known]
    pair = next((pair for pair in pairs if pair is not None), ScaleShift(1.0, 0.0))
    unscaled = inverse_depth * pair.scale + pair.shift
    depth = np.full(unscaled.shape, np.inf)
    np.divide(1.0, unscaled, out=depth, where=unscaled > 0.0)
    middle = float(np.median(depth))
    if not np.isfinite(middle):
        raise AlignmentError(
            "median scaling: half of the pixels or more have an inverse depth of 0 or less, which "
            "is infinitely far; use least_squares"
        )
    factor = middle / float(np.median(truth_m))
    return Aligned(unscaled * factor, pair.scale * factor, pair.shift * factor)


_FROM_TRUTH: dict[str, Callable[[Values, Values, Known], Aligned]] = {
    "least_squares": _least_squares,
    "median": _median,
}
