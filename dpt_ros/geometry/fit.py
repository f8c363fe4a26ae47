"""Straight lines through points with outliers. Knows neither depth nor images.

A line `y = slope * x + intercept` is fitted to residuals in y, each multiplied by its point's
weight. Iterative methods work on a random part of very many points; its seed is fixed, so that the
same points give the same line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dpt_ros.geometry.fit_methods import FIT_METHODS

MIN_POINTS = 3
"""Fewer points than this never show whether they lie on a line."""

TRIM = 0.2
"""Share of the largest residuals that the trimmed fit leaves out, as MiDaS's trimmed loss does."""

LEAST_SHARE_APART = 0.01
"""A search needs this share of points whose x is not the median x; less is a few stray pixels."""

INLIER_SIGMAS = 2.5
"""A point is an inlier within this many standard deviations of the inliers' residuals."""

_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_HUBER, _TUKEY = 1.345, 4.685  # 95 % efficient for normal residuals
_SEARCHED_POINTS = 1000
_SEARCHED_LINES = 300
_COMPARED_POINTS = 8000
_REFINED_POINTS = 60_000
_REFINED_LINES = 5
_ITERATIONS = 30
_SIGMA_FACTORS = (1.0, 3.0, 9.0)  # of the least median's: it may be that of a part of y
_SIGMA_FLOOR = 1e-7  # of the points' spread: what rounding leaves of points on a line
_EQUAL_X = 1e-24  # variance of x, by its squared mean, that rounding leaves of equal x


class FitError(ValueError):
    """Points that no line can be fitted to; says what was got, and what to record instead."""


@dataclass(frozen=True)
class Line:
    """`y = slope * x + intercept`, and the standard deviation of the inliers' weighted residuals.

    `sigma` is robust: outliers do not widen it.
    """

    slope: float
    intercept: float
    sigma: float


def fit_line(
    x: Tensor,
    y: Tensor,
    method: str = "robust",
    weights: Tensor | None = None,
    with_sigma: bool = True,
) -> Line:
    """Fit a line by one of `FIT_METHODS`.

    - least_squares: closed form; every outlier pulls.
    - median: median to median, and median absolute deviation to median absolute deviation.
    - ransac: the line of two points that most points agree with, then least squares on those.
    - huber, tukey: iteratively reweighted least squares, scaled by the median absolute deviation.
    - trimmed: least squares on the 80 % with the smallest residuals, repeated until it stays
      (Rousseeuw and van Driessen's concentration steps). What rounding may have moved off the line
      stays as well.
    - robust: of many lines through two points that whose inliers are least owed to chance (Moisan
      and Stival, 2004), at the scale of the least median of squares (Rousseeuw, 1984) or a few
      times that, refined by Tukey's biweight at the inliers' own scale (an MM-estimate, Yohai
      1987). Holds with nearly half of the points wrong, in x, in y, or all on one side.

    Args:
        x: finite floating-point [N].
        y: likewise.
        method: one of `FIT_METHODS`.
        weights: positive [N], multiplies each point's residual; None: all 1.
        with_sigma: False leaves `sigma` at NaN, which saves more time than least squares takes.

    Raises:
        ValueError: a method that is not known.
        FitError: fewer than `MIN_POINTS` points, or no spread in x: all x the same, those of all
            points that a method keeps, or, where it searches, of all but `LEAST_SHARE_APART`.
    """
    if method not in FIT_METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(FIT_METHODS)}")
    if x.numel() < MIN_POINTS:
        raise FitError(f"got {x.numel()} points, expected at least {MIN_POINTS}")
    weights = torch.ones_like(x) if weights is None else weights
    # In float32 the mean of equal values is not that value, and the values seem to differ.
    raw = _Points(x.double(), y.double(), weights.double())
    if method == "least_squares" and not with_sigma:  # one pass: this is for whole images
        return _line_of_all(raw)
    part = raw.part(_REFINED_POINTS)
    centre_x, centre_y, mean_w = part.x.mean(), part.y.mean(), part.w.mean()
    spread_x, spread_y = part.x.std(), part.y.std()
    _check_spread(spread_x, centre_x, x.numel())
    spread_y = spread_y if spread_y > 0.0 else torch.ones_like(spread_y)
    used = raw if method in _ON_ALL_POINTS else part
    points = _Points(
        (used.x - centre_x) / spread_x, (used.y - centre_y) / spread_y, used.w / mean_w
    )
    slope, intercept = _METHODS[method](points)
    sigma = math.nan
    if with_sigma:
        residuals = points.part(_REFINED_POINTS).residuals(slope, intercept)
        sigma = float(_sigma_of_inliers(residuals) * spread_y * mean_w)
    slope = slope * spread_y / spread_x
    intercept = intercept * spread_y + centre_y - slope * centre_x
    return Line(float(slope), float(intercept), sigma)


def _check_spread(spread_x: Tensor, centre_x: Tensor, count: int) -> None:
    if not spread_x > 1e-12 * centre_x.abs():
        raise FitError(f"got {count} points that all have x = {float(centre_x):g}")


def _line_of_all(points: _Points) -> Line:
    """Least squares as it is, without `sigma`."""
    _check_spread(points.x.std(), points.x.mean(), points.x.numel())
    slope, intercept = points.least_squares()
    return Line(float(slope), float(intercept), math.nan)


@dataclass(frozen=True)
class _Points:
    """Weighted points, float64 [N] each, brought to centre 0 and spread 1."""

    x: Tensor
    y: Tensor
    w: Tensor

    def part(self, count: int) -> _Points:
        """At most `count` of the points, chosen at random by a fixed seed."""
        if self.x.numel() <= count:
            return self
        chosen = _random(self.x.numel(), count, seed=0)
        return _Points(self.x[chosen], self.y[chosen], self.w[chosen])

    def residuals(self, slope: Tensor, intercept: Tensor) -> Tensor:
        """Weighted absolute residuals [N]; [..., N] for slopes and intercepts [..., 1]."""
        return (torch.addcmul(intercept, slope, self.x).sub_(self.y)).mul_(self.w).abs_()

    def least_squares(self, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The closed form, centred; `weights` [N] come on top of the points' own.

        Raises:
            FitError: all x with a weight are the same, or no point has one.
        """
        squares = self.w.square() if weights is None else self.w.square() * weights
        total = squares.sum().clamp(min=1e-300)
        mean_x, mean_y = squares.dot(self.x) / total, squares.dot(self.y) / total
        x = self.x - mean_x
        weighted_x = squares * x
        variance = weighted_x.dot(x)
        if not variance > _EQUAL_X * total * mean_x.square():
            raise FitError(
                f"the points to fit of {x.numel()} all have the same x, expected different ones: "
                "record near and far things together"
            )
        slope = weighted_x.dot(self.y - mean_y) / variance
        return slope, mean_y - slope * mean_x


def _least_squares(points: _Points) -> tuple[Tensor, Tensor]:
    return points.least_squares()


def _median(points: _Points) -> tuple[Tensor, Tensor]:
    centre_x, centre_y = (_weighted_median(v, points.w) for v in (points.x, points.y))
    x, y = points.x - centre_x, points.y - centre_y
    deviation_x = _weighted_median(x.abs(), points.w)
    deviation_y = _weighted_median(y.abs(), points.w)
    if not deviation_x > 0.0:
        raise FitError("more than half of the points have the same x: its deviation is 0")
    direction = (points.w * x.sign() * y.sign()).sum().sign()
    slope = direction * deviation_y / deviation_x
    return slope, centre_y - slope * centre_x


def _ransac(points: _Points) -> tuple[Tensor, Tensor]:
    slopes, intercepts, sigma = _search(points.part(_SEARCHED_POINTS))
    near = points.residuals(slopes[0], intercepts[0]) <= INLIER_SIGMAS * sigma
    return points.least_squares(near.double())


def _huber(points: _Points) -> tuple[Tensor, Tensor]:
    return _reweighted(points, _huber_weights, *points.least_squares())


def _tukey(points: _Points) -> tuple[Tensor, Tensor]:
    return _reweighted(points, _tukey_weights, *_huber(points))


def _trimmed(points: _Points) -> tuple[Tensor, Tensor]:
    line = points.least_squares()
    kept = max(round((1.0 - TRIM) * points.x.numel()), 2)
    for _ in range(_ITERATIONS):
        residuals = points.residuals(*line)
        largest = residuals.kthvalue(kept).values.clamp(min=_SIGMA_FLOOR)
        following = points.least_squares((residuals <= largest).double())
        if _is_same(line, following):
            break
        line = following
    return following


def _robust(points: _Points) -> tuple[Tensor, Tensor]:
    slopes, intercepts, sigma = _search(points.part(_SEARCHED_POINTS))
    compared = points.part(_COMPARED_POINTS)
    refined = [
        _reweighted(compared, _tukey_weights, slope, intercept, sigma)
        for slope, intercept in zip(slopes, intercepts, strict=True)
    ]
    slopes, intercepts = (torch.stack(each)[:, None] for each in zip(*refined, strict=True))
    line = refined[int(_information(compared, slopes, intercepts, sigma[None]).argmax())]
    for _ in range(3):  # the outliers widen the first sigma; the inliers alone give a smaller one
        sigma = _sigma_of_inliers(points.residuals(*line))
        line = _reweighted(points, _tukey_weights, *line, sigma)
    return line


_METHODS: dict[str, Callable[[_Points], tuple[Tensor, Tensor]]] = {
    "least_squares": _least_squares,
    "median": _median,
    "ransac": _ransac,
    "huber": _huber,
    "tukey": _tukey,
    "trimmed": _trimmed,
    "robust": _robust,
}
_ON_ALL_POINTS = ("least_squares", "median", "ransac")


def _search(points: _Points) -> tuple[Tensor, Tensor, Tensor]:
    """Lines through two of the points that tell most about y, best first, and their sigma.

    Pairs far apart in x are preferred: the line of two neighbours says little.

    Raises:
        FitError: fewer than `LEAST_SHARE_APART` of the points have another x than the median's.
    """
    count = points.x.numel()
    apart = int((points.x != points.x.median()).sum())
    if apart < max(LEAST_SHARE_APART * count, 1):
        raise FitError(
            f"{count - apart} of {count} points have the same x, expected at least "
            f"{LEAST_SHARE_APART:.0%} with another: record near and far things together"
        )
    first, second = _random(count, 20 * _SEARCHED_LINES, seed=1).view(2, -1)
    distance = (points.x[first] - points.x[second]).abs()
    generator = torch.Generator(points.x.device).manual_seed(2)
    chosen = distance.multinomial(_SEARCHED_LINES, replacement=True, generator=generator)
    first, second = first[chosen, None], second[chosen, None]
    slopes = (points.y[first] - points.y[second]) / (points.x[first] - points.x[second])
    intercepts = points.y[first] - slopes * points.x[first]
    medians = points.residuals(slopes, intercepts).kthvalue(count // 2 + 1, dim=1).values
    least = (_MAD_TO_SIGMA * (1.0 + 5.0 / count) * medians.min()).clamp(min=_SIGMA_FLOOR)
    sigmas = least * least.new_tensor(_SIGMA_FACTORS)
    information = _information(points, slopes, intercepts, sigmas)
    which = int(information.amax(1).argmax())
    best = information[which].argsort(descending=True)[:_REFINED_LINES]
    return slopes[best, 0], intercepts[best, 0], sigmas[which]


def _information(points: _Points, slopes: Tensor, intercepts: Tensor, sigmas: Tensor) -> Tensor:
    """How much better than by chance points lie on lines [K, 1], for each sigma [S]; [S, K].

    The relative entropy of the share of inliers to that of x and y paired at random, as in Moisan
    and Stival's a-contrario RANSAC (2004). It is 0 for a flat line, which is near many points where
    most y are alike (1/depth of all that is far), but as near to them whatever their x.
    """
    mixed = _random(points.x.numel(), points.x.numel(), seed=3)
    by_chance = _Points(points.x, points.y[mixed], points.w[mixed])
    shares = []
    for part in (points, by_chance):
        squares = part.residuals(slopes, intercepts).square_()
        near = [
            torch.sub(1.0, squares * (INLIER_SIGMAS * sigma).square().reciprocal()).clamp_(min=0.0)
            for sigma in sigmas
        ]
        shares.append(torch.stack([each.mean(1) for each in near]))
    least = 1.0 / points.x.numel()
    p, q = (share.clamp(least, 1.0 - least) for share in shares)
    gain = p * (p / q).log() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).log()
    return torch.where(p > q, gain, 0.0)


def _reweighted(
    points: _Points,
    weights: Callable[[Tensor], Tensor],
    slope: Tensor,
    intercept: Tensor,
    sigma: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Reweighted least squares until the line stays; without `sigma` the scale is found anew."""
    line = slope, intercept
    for _ in range(_ITERATIONS):
        residuals = points.residuals(*line)
        scale = _MAD_TO_SIGMA * residuals.median() if sigma is None else sigma
        following = points.least_squares(weights(residuals / scale.clamp(min=_SIGMA_FLOOR)))
        if _is_same(line, following):
            return following
        line = following
    return line


def _is_same(line: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(abs(float(a - b)) < 1e-7 for a, b in zip(line, other, strict=True))


def _huber_weights(residuals: Tensor) -> Tensor:
    return _HUBER / residuals.clamp(min=_HUBER)


def _tukey_weights(residuals: Tensor) -> Tensor:
    return (1.0 - (residuals / _TUKEY).square_()).clamp_(min=0.0).square_()


def _sigma_of_inliers(residuals: Tensor) -> Tensor:
    """Standard deviation of the inliers from absolute residuals, with outliers among them."""
    sigma = (_MAD_TO_SIGMA * residuals.median()).clamp(min=_SIGMA_FLOOR)
    for _ in range(5):
        sigma = _MAD_TO_SIGMA * residuals[residuals <= INLIER_SIGMAS * sigma].median()
        sigma = sigma.clamp(min=_SIGMA_FLOOR)
    return sigma


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    ascending, order = values.sort()
    share = weights[order].cumsum(0)
    return ascending[int(torch.searchsorted(share, 0.5 * share[-1]))]


def _random(below: int, count: int, seed: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randint(below, (count,), generator=generator, device="cpu")
