"""The times of short drives, and the samples of a recording with their stream."""

from __future__ import annotations

from dpt_ros.bags.samples import SampleSettings, iterate_samples

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_600_000_000 * SECOND
STAMPS = [START + index * 100 * MS for index in range(4)]


def samples_of(bag, **settings):
    stream = iterate_samples(bag, SampleSettings(**{"min_points": 1, **settings}))
    return list(stream), stream
