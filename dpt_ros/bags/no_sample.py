"""Why a recording gave no sample, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpt_ros.bags.pairing import Pairing
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.bags.scan_placement import Scan
from dpt_ros.bags.stamp_guard import FAR_NS, StampGuard
from dpt_ros.bags.tally import Tally
from dpt_ros.config import list_settings
from dpt_ros.geometry.lidar import Projection


def explain_no_sample(
    tally: Tally, pairing: Pairing[Any, Any], guard: StampGuard, topics: Sequence[str]
) -> str:
    """What was rejected and why, most frequent first, and a remedy where the stamps are to blame.

    Args:
        tally: what was counted.
        pairing: of pictures and scans, at its end.
        guard: what is known of the topics' stamps.
        topics: of the pictures and of the scans.
    """
    reasons = []
    for reason, count in tally.rejected.most_common():
        example = tally.examples.get(reason)
        reasons.append(f"{count} x {reason}{f' ({example})' if example else ''}")
    reasons += [tally.damage] if tally.damage else []
    what = "; ".join(reasons) or "it has no pictures or no scans"
    return f"{what}.{_hint(pairing, guard, topics)}"


def explain_few_points(scan: Scan, projection: Projection, camera_frame: str) -> str:
    """Where the points of a scan went of which hardly one has a pixel."""
    told = (
        f"{len(scan.points)} points, {projection.in_front} of them in front of the camera, "
        f"{projection.in_image} in the picture, {projection.hidden} hidden there"
    )
    if projection.in_image or "optical" in camera_frame or not len(scan.points):
        return told
    return (
        f"{told}: is the pictures' frame {camera_frame!r} an optical one, with z forward and y "
        "down? else name that with --camera-frame"
    )


def _hint(pairing: Pairing[Any, Any], guard: StampGuard, topics: Sequence[str]) -> str:
    gap_ns = pairing.smallest_gap_ns
    if pairing.late_scans:
        return (
            f" {pairing.late_scans} scans came so long after the pictures of their time "
            "that those were gone: synchronise the clocks of camera and LiDAR, or let the "
            "LiDAR's driver publish sooner."
        )
    if gap_ns is None:
        return ""
    told = f" The smallest gap between a picture and a scan is {gap_ns / 1e9:.3f} s"
    if gap_ns <= pairing.max_gap_ns:
        return f"{told}."
    without_stamp = [name for name in topics if guard.newest_ns.get(name) == 0]
    if without_stamp or gap_ns > _largest_max_gap_s() * 1e9:
        return f"{told}: {_whose_clock(without_stamp, guard, topics)}."
    return f"{told}: synchronise the clocks of camera and LiDAR, or raise --max-gap-s."


def _whose_clock(without_stamp: Sequence[str], guard: StampGuard, topics: Sequence[str]) -> str:
    off = [name for name in topics if abs(guard.distance_ns.get(name, 0)) > FAR_NS]
    if without_stamp:
        blamed = f"the stamps of {' and '.join(without_stamp)} are 0"
    elif len(off) == 1:
        blamed = f"the stamps of {off[0]} are of another clock than the recording's"
    else:
        blamed = f"the stamps of {' and '.join(topics)} are of different clocks"
    return f"{blamed}; let the driver fill in header.stamp from the computer's clock"


def _largest_max_gap_s() -> float:
    (limit_s,) = (s.maximum for s in list_settings(SampleSettings) if s.name == "max_gap_s")
    return float("inf") if limit_s is None else limit_s
