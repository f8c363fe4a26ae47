"""The truth of a recording: which topics it takes, and what it says of a stamp."""

from __future__ import annotations

import pytest

from dpt_ros.bags.reader import BagError
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.config import ConfigError
from dpt_ros.evaluation.truth import Truth, check_choices

STEP = 100_000_000
START = 1_600_000_000_000_000_000


def test_choices_of_the_truth_that_cannot_be_are_refused_before_anything_is_played(
    tmp_path, recordings
):
    stamps = [START + index * STEP for index in range(3)]
    drive = recordings.drive(stamps)
    bag = recordings.write_bag(tmp_path / "drive", drive)
    check_choices(bag, SampleSettings())
    with pytest.raises(BagError, match="got topic '/lidr': expected one of"):
        check_choices(bag, SampleSettings(points_topic="/lidr"))
    with pytest.raises(ConfigError, match="nope.yaml"):
        check_choices(bag, SampleSettings(transforms="nope.yaml"))
    blind = recordings.write_bag(tmp_path / "blind", [m for m in drive if m[0] != "/points"])
    check_choices(blind, SampleSettings())
    second = [("/rear/points", ns, m) for t, ns, m in drive if t == "/points"]
    both = recordings.write_bag(tmp_path / "both", [*drive, *second])
    with pytest.raises(BagError, match="no topic was chosen"):
        check_choices(both, SampleSettings())
    check_choices(both, SampleSettings(points_topic="/points"))


def test_pictures_beside_a_depth_camera_need_no_name(tmp_path, recordings):
    stamps = [START + index * STEP for index in range(3)]
    depths = [("/camera/depth/image_rect", ns, recordings.depth(ns, 2.0)) for ns in stamps]
    bag = recordings.write_bag(tmp_path / "rgbd", [*depths, *recordings.drive(stamps)])
    check_choices(bag, SampleSettings())


def test_several_camera_infos_of_which_none_lies_beside_the_pictures(tmp_path, recordings):
    messages = recordings.drive([START + index * STEP for index in range(3)])
    infos = [item for item in messages if item[0] == "/camera/camera_info"]
    others = [item for item in messages if item[0] != "/camera/camera_info"]
    infos = [(name, ns, m) for _, ns, m in infos for name in ("/a/info", "/b/info")]
    bag = recordings.write_bag(tmp_path / "two", [*others, *infos])
    with pytest.raises(BagError, match="--camera-info-topic.*/a/info.*/b/info"):
        check_choices(bag, SampleSettings())
    check_choices(bag, SampleSettings(camera_info_topic="/a/info"))


def test_truth_is_found_by_stamp_and_says_why_there_is_none(tmp_path, recordings):
    stamps = [START + index * STEP for index in range(5)]
    bag = recordings.write_bag(tmp_path / "drive", recordings.drive(stamps))
    truth = Truth(bag, SampleSettings(min_points=1))
    found = [truth.of(stamp) for stamp in (stamps[0], stamps[2], stamps[1], stamps[4] + 7)]
    assert [None if s is None else s.stamp_ns for s in found] == [
        stamps[0],
        stamps[2],
        stamps[1],
        None,
    ]
    assert truth.missing == "" and truth.source == "drive" and truth.found == 3
    blind = [m for m in recordings.drive(stamps) if m[0] != "/points"]
    truth = Truth(recordings.write_bag(tmp_path / "blind", blind), SampleSettings())
    assert truth.of(stamps[0]) is None and "no messages of type" in truth.missing
    behind = [
        (t, ns, recordings.cloud(ns, -recordings.wall(5.0)) if t == "/points" else m)
        for t, ns, m in recordings.drive(stamps)
    ]
    truth = Truth(recordings.write_bag(tmp_path / "behind", behind), SampleSettings())
    assert truth.of(stamps[0]) is None
    truth.finish()
    assert "0 of them in front of the camera" in truth.missing
