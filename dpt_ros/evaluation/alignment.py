"""From what a network says to metres: known scale and shift, or one taken from the frame's truth.

Every result names its alignment. What takes scale (and shift) from the truth of the very frame
that is scored says how good the shape of depth is, not how good its metres are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.geometry.scale_shift import ScaleShift
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

_KNOWN = ("calibration", "none")
"""Those that need no truth, as the node prefers them: a calibration, else the model's metres."""

_ROUNDING = 1e-12
"""Of the largest inverse depth: a spread that is none."""


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
    if alignment in _KNOWN:
        return _known(inverse_depth, known.get(alignment), alignment)
    if alignment not in FROM_TRUTH:
        raise ValueError(
            f"alignment: got {alignment!r}, expected one of {', '.join(map(repr, ALIGNMENTS))}"
        )
    return FROM_TRUTH[alignment](inverse_depth, truth_m, known)


def known_pair(known: Known) -> ScaleShift | None:
    """Scale and shift of the calibration, else of the model's own metres; None without both."""
    pairs = (known[name].scale_shift for name in _KNOWN if name in known)
    return next((pair for pair in pairs if pair is not None), None)


def _known(inverse_depth: Values, metres: MetresOfImage | None, alignment: str) -> Aligned:
    if metres is None or metres.scale_shift is None:
        why = metres.why_not if metres else ""
        raise AlignmentError(why or f"nothing is known for the alignment {alignment}")
    pair = metres.scale_shift
    return Aligned(inverse_depth * pair.scale + pair.shift, pair.scale, pair.shift)


def _least_squares(inverse_depth: Values, truth_m: Values, _: Known) -> Aligned:
    """Least squares with a scale of at least 0, in closed form.

    Where the best scale is negative, or all pixels have one inverse depth, that is scale 0 and the
    mean of the truth: such a frame counts, or else a model would gain from failing. Nothing else is
    asked of the frame, unlike of a calibration (`fit_scale_shift`), which is to hold elsewhere.
    """
    target = 1.0 / truth_m
    # Divided by the largest, so that no square overflows or vanishes.
    largest = float(np.abs(inverse_depth).max()) or 1.0
    x = inverse_depth / largest
    x -= x.mean()
    if not np.sqrt(np.mean(x * x)) > _ROUNDING:
        return _flat(target, "the prediction is the same at all pixels")
    scale = float(x @ (target - target.mean()) / (x @ x)) / largest
    if scale < 0.0:
        return _flat(target, "the prediction is larger where the truth is farther")
    shift = float(target.mean() - scale * inverse_depth.mean())
    return Aligned(inverse_depth * scale + shift, scale, shift)


def _flat(target: Values, why: str) -> Aligned:
    mean = float(target.mean())
    return Aligned(np.full(target.shape, mean), 0.0, mean, f"taken as flat: {why}")


def _median(inverse_depth: Values, truth_m: Values, known: Known) -> Aligned:
    """Scale so that the medians of depth agree (Zhou et al., 2017).

    Depth is that of the calibration, else of the model's own metres, else 1 / inverse depth.
    """
    pair = known_pair(known) or ScaleShift(1.0, 0.0)
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


FROM_TRUTH: dict[str, Callable[[Values, Values, Known], Aligned]] = {
    "least_squares": _least_squares,
    "median": _median,
}
"""Those that take scale, and shift, from the truth of the frame that is scored."""

PREFERRED = (*_KNOWN, *FROM_TRUTH)
"""All, in the order in which one stands for all: what asks least of the truth comes first."""
