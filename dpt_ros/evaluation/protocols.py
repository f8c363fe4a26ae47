"""Which pixels of an image count and up to which depth, under the protocols' own names."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_DEPTH_M = 1e-3
"""Truth counts above this, and predictions are clamped to it (BTS, `eval_with_pngs.py`)."""

RANGE_EDGES_M = (5.0, 10.0, 20.0, 40.0)
"""Where one range bin ends and the next begins."""


class ProtocolError(ValueError):
    """A protocol that is not known, or an image that it does not describe."""


@dataclass(frozen=True)
class Protocol:
    """How an image is scored.

    Truth counts where it lies strictly between `MIN_DEPTH_M` and `cap_m` within the crop;
    predictions are clamped to that range.

    Args:
        name: as in commands and results.
        meaning: one line for people.
        cap_m: depth beyond this is not looked at.
        crop_share: top, bottom, left and right as shares of the image's height and width.
        crop_px: the same in pixels, for images of `size_px` only.
        size_px: the only (height, width) of images; None: any.
        alignments: the only ones; empty: all.
        range_edges_m: inner edges of the range bins.
    """

    name: str
    meaning: str
    cap_m: float
    crop_share: tuple[float, float, float, float] | None = None
    crop_px: tuple[int, int, int, int] | None = None
    size_px: tuple[int, int] | None = None
    alignments: tuple[str, ...] = ()
    range_edges_m: tuple[float, ...] = RANGE_EDGES_M

    def __post_init__(self) -> None:
        edges = (MIN_DEPTH_M, *self.range_edges_m, math.inf)
        # NaN compares as false.
        if not all(low < high for low, high in itertools.pairwise(edges)):
            raise ProtocolError(
                f"range edges: got {', '.join(map(str, self.range_edges_m))}, expected ascending "
                f"numbers above {MIN_DEPTH_M:g}"
            )
        if not self.cap_m > MIN_DEPTH_M:
            raise ProtocolError(f"cap: got {self.cap_m} m, expected above {MIN_DEPTH_M:g} m")

    @property
    def edges_m(self) -> tuple[float, ...]:
        """The edges of the range bins, from 0 to the cap."""
        return (0.0, *(edge for edge in self.range_edges_m if edge < self.cap_m), self.cap_m)

    @property
    def ranges(self) -> list[str]:
        """The names of the range bins."""
        edges = self.edges_m
        return [f"{low:g}-{high:g} m" for low, high in itertools.pairwise(edges)]

    def counts(self, truth_m: NDArray[np.floating]) -> NDArray[np.bool_]:
        """The pixels that count: bool [H,W] for a truth [H,W] in metres, NaN where unknown.

        Raises:
            ProtocolError: the protocol is for images of another size.
        """
        height, width = truth_m.shape
        if self.size_px is not None and self.size_px != (height, width):
            others = [p.name for p in PROTOCOLS.values() if p.size_px in (None, (height, width))]
            raise ProtocolError(
                f"the {self.name} protocol is for images of {self.size_px[1]}x{self.size_px[0]}, "
                f"got {width}x{height}: use another protocol ({', '.join(others)})"
            )
        counts = np.zeros(truth_m.shape, np.bool_)
        window = self._window(height, width)
        cropped = truth_m[window]
        # NaN compares as false.
        counts[window] = (cropped > MIN_DEPTH_M) & (cropped < self.cap_m)
        return counts

    def _window(self, height: int, width: int) -> tuple[slice, slice]:
        if self.crop_px is not None:
            top, bottom, left, right = self.crop_px
        elif self.crop_share is not None:
            top, bottom = (int(share * height) for share in self.crop_share[:2])
            left, right = (int(share * width) for share in self.crop_share[2:])
        else:
            return slice(None), slice(None)
        return slice(top, bottom), slice(left, right)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("full", "whole image, up to 80 m", 80.0),
        Protocol(
            "kitti",
            "KITTI: crop of Garg et al. (2016), up to 80 m",
            80.0,
            crop_share=(0.40810811, 0.99189189, 0.03594771, 0.96405229),
        ),
        Protocol(
            "nyu",
            "NYU Depth v2: crop of Eigen et al. (2014), 640x480, up to 10 m",
            10.0,
            crop_px=(45, 471, 41, 601),
            size_px=(480, 640),
        ),
        Protocol(
            "zero-shot",
            "MiDaS zero-shot: whole image, least squares in inverse depth per image, up to 80 m",
            80.0,
            alignments=("least_squares",),
        ),
    )
}
"""The protocols by their names."""


def choose_protocols(
    names: Sequence[str], range_edges_m: Sequence[float] = RANGE_EDGES_M
) -> list[Protocol]:
    """The protocols of these names, without doubles; "all" stands for all.

    Raises:
        ProtocolError: an unknown name, or edges that do not ascend.
    """
    wanted = list(PROTOCOLS) if "all" in names else list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in PROTOCOLS]:
        raise ProtocolError(
            f"protocol: got {', '.join(map(repr, unknown))}, expected some of all, "
            f"{', '.join(PROTOCOLS)}"
        )
    edges = tuple(float(edge) for edge in range_edges_m)
    return [dataclasses.replace(PROTOCOLS[name], range_edges_m=edges) for name in wanted]
