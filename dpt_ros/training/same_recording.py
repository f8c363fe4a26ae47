"""Which sources are of one recording or scene, in whatever folders and under whatever names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations
from pathlib import Path

from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dpt_ros.bags.dataset import Dataset

Source = tuple[int, str]
"""Which of the data sets, and the source's name in it."""

_SHARED_PICTURES = 3
"""Different pictures that two recordings do not share by chance.

What is taken under a lens cap, or of a simulated robot that stands still, is one again and again.
"""

_ENDS_READ = 4096
"""Bytes from each end of a picture's file; the last ones of a PNG check all of its pixels."""


def same_recordings(datasets: Sequence[Dataset]) -> list[list[Source]]:
    """All sources that have samples, in groups that are of one recording or scene.

    Two are where the manifests name the same folder, recording or rendered scene, or files of one
    recording, or where the same pictures are in both, as in a recording and what was cut from it,
    converted or renamed. Files of pictures are compared, and none is decoded. Where two data sets
    took other pictures of such a recording, as with an interval and another first one, they are not
    known to be of one.

    Returns:
        the groups in the order of their first source; most hold just that one.
    """
    sources = [(which, name) for which, data in enumerate(datasets) for name in sources_of(data)]
    homes: dict[Hashable, list[int]] = defaultdict(list)
    for place, (which, name) in enumerate(sources):
        for home in _homes(datasets[which], name):
            homes[home].append(place)
    pairs = [(places[0], other) for places in homes.values() for other in places[1:]]
    pictures = [_pictures(data) for data in datasets]
    pairs += _with_shared_pictures([pictures[which][name] for which, name in sources])
    return _groups(sources, pairs)


def sources_of(dataset: Dataset) -> list[str]:
    """The sources that have samples, in order."""
    return sorted({record.source for record in dataset.records})


def _homes(dataset: Dataset, name: str) -> set[tuple[str, str]]:
    """What a manifest knows a source by; one of these is enough."""
    info = dataset.sources[name]
    homes = {(str(dataset.folder.resolve()), name)}
    if (path := Path(str(info.get("path", "")))).is_absolute():
        homes.add((str(path), name))
    if _is_part(path):
        homes.add((str(path.parent), path.parent.name))
    if recording := str(info.get("storage_sha256", "")):
        homes.add((recording, ""))
    if dataset.options.get("kind") == "synthetic":
        homes.add(("synthetic", name))  # which says split, seed, number and kind
    return homes


def _is_part(path: Path) -> bool:
    """Whether a recorder named a file as one of several of a recording: NAME/NAME_0.mcap."""
    is_storage = path.suffix in (".mcap", ".db3")
    return is_storage and path.stem.rpartition("_")[0] == path.parent.name


def _pictures(dataset: Dataset) -> dict[str, dict[int, list[Path]]]:
    """Each source's pictures that are there, by the size of their files in bytes."""
    found: dict[str, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for record in dataset.records:
        path = dataset.folder / record.image
        try:
            found[record.source][path.stat().st_size].append(path)
        except OSError:  # told when it is read
            continue
    return found


def _with_shared_pictures(pictures: Sequence[dict[int, list[Path]]]) -> list[tuple[int, int]]:
    """Pairs of sources with the same pictures in both: several, or all that one of them has.

    Other pictures are mostly packed to other sizes, so that few files are opened; those of one
    size count as one picture.
    """
    places_of: dict[int, list[int]] = defaultdict(list)
    for place, sizes in enumerate(pictures):
        for size in sizes:
            places_of[size].append(place)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for size, places in places_of.items():
        if len(places) > 1:
            ends = {place: {_ends(path) for path in pictures[place][size]} for place in places}
            for one, other in combinations(places, 2):
                shared[one, other] += not ends[one].isdisjoint(ends[other])
    return [
        (one, other)
        for (one, other), count in shared.items()
        if count >= min(_SHARED_PICTURES, len(pictures[one]), len(pictures[other]))
    ]


def _ends(path: Path) -> bytes:
    """What two files of one size are compared by; of one that cannot be read, its own path."""
    try:
        with path.open("rb") as file:
            start = file.read(_ENDS_READ)
            file.seek(max(0, path.stat().st_size - _ENDS_READ))
            return start + file.read()
    except OSError:  # told when it is read
        return os.fsencode(path)


def _groups(sources: Sequence[Source], pairs: Iterable[tuple[int, int]]) -> list[list[Source]]:
    """Sources that pairs join, also by way of others."""
    ones, others = zip(*pairs, strict=True) if (pairs := list(pairs)) else ((), ())
    edges = coo_array(([1] * len(ones), (ones, others)), shape=(len(sources),) * 2)
    groups: dict[int, list[Source]] = defaultdict(list)
    for source, label in zip(sources, connected_components(edges)[1].tolist(), strict=True):
        groups[label].append(source)
    return list(groups.values())
