"""Memory does not grow with the length of a recording."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

START = 1_600_000_000 * 1_000_000_000
_MEASURE = """
import resource, sys
from pathlib import Path
from dpt_ros.bags.build import build_source, dataset_options, name_recordings
from dpt_ros.bags.dataset import DatasetWriter
from dpt_ros.bags.sample_settings import SampleSettings

settings = SampleSettings()
for bag in sys.argv[2:]:
    out = Path(sys.argv[1]) / Path(bag).name
    with DatasetWriter(out, dense=False, options=dataset_options(settings)) as writer:
        (recording,), _ = name_recordings([bag], {}, SampleSettings())
        info = build_source(recording, writer, settings, 5, lambda done, total: None)
    print(info["samples"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_long(path, recordings, count, plugin):
    """`count` pictures of 0.1 MB and scans of 0.1 MB with odometry three times as often."""
    width, height, points = 192, 160, 6000
    rng = np.random.default_rng(0)
    scan = rng.uniform([3, -3, -1], [20, 3, 2], (points, 3))
    times = np.linspace(0, 1e8, points).astype("u4")
    rgb = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    poses = (("base_link", "camera", np.linalg.inv(recordings.OPTICAL_FROM_LIDAR)),)
    poses += (("base_link", "lidar", np.eye(4)),)
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}

        def put(topic, ns, message):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=recordings.STORE)
            writer.write(connections[topic], ns, recordings.STORE.serialize_cdr(message, kind))

        put("/tf_static", START, recordings.transforms(START, *poses))
        for index in range(count):
            ns = START + index * 100_000_000
            for step in range(3):
                at = ns + step * 33_333_333
                put("/odom", at, recordings.odometry(at, np.eye(4)))
            put("/camera/camera_info", ns, recordings.info(ns, width, height, 150.0))
            put("/camera/image_raw", ns, recordings.image(ns, rgb))
            put("/points", ns, recordings.cloud(ns, scan, times=times))
    return path


def test_ten_times_as_long_takes_the_same_memory(tmp_path, recordings):
    """Built one after the other by one process, whose peak is asked for after each.

    Ninety samples more would be 18 MB more if only the pictures and scans were kept.
    """
    bags = [
        write_long(tmp_path / f"{plugin.name}_{count}", recordings, count, plugin)
        for plugin in (StoragePlugin.MCAP, StoragePlugin.SQLITE3)
        for count in (10, 100)
    ]
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "out"), *map(str, bags)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    lines = [line.split() for line in done.stdout.splitlines()]
    samples, peaks_kb = zip(*[(int(count), int(peak)) for count, peak in lines], strict=True)
    assert all(n >= count - 1 for n, count in zip(samples, (10, 100, 10, 100), strict=True))
    for short_kb, long_kb in (peaks_kb[:2], peaks_kb[2:]):
        assert long_kb < short_kb + 9_000
        assert long_kb < 1.1 * short_kb
