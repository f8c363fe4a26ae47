from __future__ import annotations

import numpy as np
import pytest
import yaml

from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.bags.topics import SensorTopics
from dpt_ros.evaluation import joining
from dpt_ros.evaluation.joining import ANSWER_PATIENCE_NS, PATIENCE_NS, LiveJoin
from dpt_ros.evaluation.live_session import LiveSession, NodeFacts
from dpt_ros.evaluation.live_settings import LiveSettings, in_parameters
from dpt_ros.evaluation.replay_report import (
    build_replay_report,
    metrics_json,
    summary_lines,
    timing_json,
)

STEP = 100_000_000
START = 1_600_000_000_000_000_000
TOPICS = SensorTopics(image="/image_rect", camera_info="camera_info", points="points")


def feed(join, recordings, index, wall_m=4.0, with_scan=True):
    stamp = START + index * STEP
    done = list(join.add("camera_info", recordings.info(stamp, 32, 24, 25.0), 0.0))
    rgb = np.full((24, 32, 3), index % 256, np.uint8)
    done += join.add("/image_rect", recordings.image(stamp, rgb), 10.0 + index)
    if with_scan:
        cloud = recordings.cloud(stamp, recordings.wall(wall_m))
        done += join.add("points", cloud, 0.0)
    return done


def new_join(recordings, with_depth=True):
    join = LiveJoin(SampleSettings(min_points=1), TOPICS, with_depth)
    pose = ("lidar", "camera", np.linalg.inv(recordings.OPTICAL_FROM_LIDAR))
    join.add_transforms(recordings.transforms(START, pose), is_static=True)
    return join


def test_picture_depth_and_truth_of_one_stamp_come_together(recordings):
    join = new_join(recordings)
    done = []
    for index in range(12):
        done += feed(join, recordings, index, 4.0 + index)
        stamp = START + index * STEP
        done += join.add_answer(recordings.depth(stamp, 0.25), False, 20.0 + index)
        done += join.add_answer(recordings.depth(stamp, 4.0), True, 20.5 + index)
    done += join.finish()
    assert [item.stamp_ns for item in done] == [START + index * STEP for index in range(12)]
    first = done[0].frame("live")
    assert (done[0].received_s, done[0].heard_s) == (10.0, 20.5)
    assert np.nanmax(first.truth_m) == pytest.approx(4.0) and first.rgb.max() == 0
    assert (first.inverse_depth == 0.25).all() and (first.depth_m == 4.0).all()


def test_pictures_without_depth_or_scan_are_given_out_in_time(recordings):
    join = new_join(recordings, with_depth=False)
    done = feed(join, recordings, 0, with_scan=False)
    stamp = START
    done += join.add_answer(recordings.depth(stamp, 0.5), False, 1.0)
    done += feed(join, recordings, 1, with_scan=False)  # never answered
    assert done == []
    done += feed(join, recordings, 3 + PATIENCE_NS // STEP, with_scan=False)
    assert [item.stamp_ns for item in done] == [START]
    done += feed(join, recordings, 3 + ANSWER_PATIENCE_NS // STEP, with_scan=False)
    assert [item.stamp_ns for item in done] == [START, START + STEP]
    assert done[0].frame("live").truth_m is None and done[1].inverse_depth is None
    with pytest.raises(ValueError, match="no depth"):
        done[1].frame("live")


def test_a_clock_that_jumps_starts_anew_and_keeps_the_sensors_places(recordings):
    join = new_join(recordings, with_depth=False)
    feed(join, recordings, 50)
    join.forget()
    done = []
    for index in range(12):
        done += feed(join, recordings, index)
        done += join.add_answer(recordings.depth(START + index * STEP, 0.5), False, 1.0)
    done += join.finish()
    assert sum(item.sample is not None for item in done) >= 6


def test_a_recording_that_begins_again_without_a_clock_that_does(recordings):
    """`ros2 bag play --loop` without simulated time, or a camera that was started anew."""
    join = new_join(recordings, with_depth=True)
    done = []
    for _ in range(2):
        for index in range(30):
            done += feed(join, recordings, index)
            stamp = START + index * STEP
            done += join.add_answer(recordings.depth(stamp, 0.5), False, 1.0)
            done += join.add_answer(recordings.depth(stamp, 2.0), True, 1.0)
    done += join.finish()
    assert [item.stamp_ns for item in done[:30]] == [item.stamp_ns for item in done[30:]]
    assert sum(item.depth_m is not None for item in done) == 60
    assert sum(item.sample is not None for item in done[30:]) >= 15
    assert any("went back by 2.9 s" in text for text in join.warnings)


def test_metres_that_do_not_come_hold_nothing_back(recordings):
    """A calibration that does not fit the camera: the node publishes inverse depth alone."""
    join = new_join(recordings, with_depth=True)
    done = []
    for index in range(30):
        done += feed(join, recordings, index)
        done += join.add_answer(recordings.depth(START + index * STEP, 0.5), False, 1.0)
    assert len(done) >= 20 and all(item.inverse_depth is not None for item in done)


def test_stamps_that_are_no_times_of_the_clock(recordings):
    """A camera that stamps with the time since it was switched on."""
    settings = LiveSettings(model="dpt_tiny", samples=SampleSettings(min_points=1))
    session = LiveSession(settings, TOPICS)
    for index in range(5):
        stamp, now_s = 10**9 + index * STEP, 1.7e9 + 0.1 * index
        image = recordings.image(stamp, np.zeros((24, 32, 3), np.uint8))
        list(session.add(TOPICS.image, image, now_s))
        list(session.add_answer(recordings.depth(stamp, 0.5), False, now_s + 0.8))
    list(session.finish())
    assert float(session.status()["latency p50 ms"]) == pytest.approx(800.0, abs=0.1)
    told = "a picture's stamp is 1699999999 s before the clock"
    assert sum(told in text for text in session.facts().troubles) == 1


def test_a_folder_that_is_there_is_told_in_the_words_of_the_launch_file(tmp_path):
    (tmp_path / "old.txt").write_text("mine")
    settings = LiveSettings(model="dpt_tiny", output=str(tmp_path))
    with pytest.raises(FileExistsError, match="output:=FOLDER, or .* overwrite:=true"):
        LiveSession(settings, TOPICS)


def test_a_recording_that_its_calibration_was_fitted_to_is_told(tmp_path, recordings):
    """The bundled calibration was fitted to the second of these, and held the first out."""
    drive = recordings.drive([START])
    for name, is_told in (
        ("validation_0_000000_room", False),
        ("validation_0_000001_corridor", True),
    ):
        bag = recordings.write_bag(tmp_path / name, drive)
        settings = LiveSettings(model="dpt_tiny", calibration="bundled", bag=str(bag))
        told = [text for text in LiveSession(settings, TOPICS).facts().troubles if name in text]
        assert [text.split(",")[0] for text in told] == (
            [f"the calibration was fitted to {name}"] if is_told else []
        )


def test_a_file_of_transforms_wins_against_those_that_come(recordings, tmp_path):
    path = tmp_path / "transforms.yaml"
    matrix = np.linalg.inv(recordings.OPTICAL_FROM_LIDAR)
    entry = {"parent": "lidar", "child": "camera", "matrix": matrix.tolist()}
    path.write_text(yaml.safe_dump({"transforms": [entry]}))
    settings = SampleSettings(min_points=1, transforms=str(path))
    away = matrix.copy()
    away[:3, 3] += 100.0
    depths = []
    for pose in (matrix, away):
        join = LiveJoin(settings, TOPICS, with_depth=False)
        join.add_transforms(recordings.transforms(START, ("lidar", "camera", pose)), is_static=True)
        done = [item for index in range(12) for item in feed(join, recordings, index)]
        done += join.finish()
        depths.append([item.sample.depth_m for item in done if item.sample is not None])
    assert len(depths[0]) >= 4
    np.testing.assert_array_equal(depths[0], depths[1])


def test_depth_that_comes_seconds_late_finds_its_picture(recordings):
    """30 Hz, and a network that takes 4 s: 120 pictures wait by then."""
    join = new_join(recordings, with_depth=False)
    stamps = [START + index * 33_333_333 for index in range(130)]
    done = []
    for stamp in stamps:
        image = recordings.image(stamp, np.zeros((24, 32, 3), np.uint8))
        done += join.add(TOPICS.image, image, 0.0)
    assert done == []
    done += join.add_answer(recordings.depth(stamps[9], 0.5), False, 1.0)
    assert [item.stamp_ns for item in done if item.inverse_depth is not None] == [stamps[9]]


def test_pictures_that_take_too_much_memory_are_given_up_and_it_is_said(recordings, monkeypatch):
    monkeypatch.setattr(joining, "MOST_BYTES", 10 * 24 * 32 * 3)
    join = new_join(recordings, with_depth=False)
    done = []
    for index in range(12):
        image = recordings.image(START + index * STEP, np.zeros((24, 32, 3), np.uint8))
        done += join.add(TOPICS.image, image, 0.0)
    assert [item.stamp_ns for item in done] == [START, START + STEP]
    assert any(text.startswith("depth comes so late") for text in join.warnings)


def test_latencies_are_told_in_seconds_that_pass(recordings, tmp_path):
    settings = LiveSettings(model="dpt_tiny", rate=0.5, samples=SampleSettings(min_points=1))
    session = LiveSession(settings, TOPICS)
    for index in range(5):
        stamp = START + index * STEP
        image = recordings.image(stamp, np.zeros((24, 32, 3), np.uint8))
        list(session.add(TOPICS.image, image, stamp / 1e9 + 0.01))
        list(session.add_answer(recordings.depth(stamp, 0.5), False, stamp / 1e9 + 0.06))
    list(session.finish())
    status = session.status()
    assert status["frames"] == "5"
    assert float(status["latency p50 ms"]) == pytest.approx(120.0, abs=0.2)
    assert float(status["rate Hz"]) == pytest.approx(5.0, rel=0.01)


def test_a_node_that_never_answers_is_named(recordings):
    settings = LiveSettings(model="dpt_tiny", samples=SampleSettings(min_points=1))
    session = LiveSession(settings, TOPICS)
    assert "pictures: none came on /image_rect" in session.facts().missing
    image = recordings.image(START, np.zeros((24, 32, 3), np.uint8))
    list(session.add(TOPICS.image, image, START / 1e9))
    list(session.finish())
    assert "depth: the node answered no picture" in session.facts().missing


def test_an_answer_that_cannot_be_read_is_the_reason_for_pictures_without_depth(recordings):
    session = LiveSession(LiveSettings(model="dpt_tiny"), TOPICS)
    for place in range(2):
        image = recordings.image(START + place * STEP, np.zeros((24, 32, 3), np.uint8))
        list(session.add(TOPICS.image, image, START / 1e9))
        list(session.add_answer(image, False, START / 1e9))  # rgb8
    list(session.finish())
    (told,) = session.facts().troubles
    assert "the node's inverse depth could not be read" in told
    assert "got an image with encoding 'rgb8', expected depth as 32FC1" in told
    assert f"  note: {told}" in summary_lines(session.evaluation, session.facts())


def test_advice_names_what_can_be_set_here(recordings):
    session = LiveSession(LiveSettings(model="dpt_tiny"), TOPICS)
    for index in range(60):  # nothing says where the LiDAR is
        feed(session.join, recordings, index)
        stamp = START + index * STEP
        list(session.add_answer(recordings.depth(stamp, 0.5), False, stamp / 1e9))
    list(session.finish())
    facts = session.facts()
    (truth,) = (text for text in facts.missing if text.startswith("truth: "))
    assert "(samples.transforms)" in truth and "(samples.camera_frame, samples.lidar_frame" in truth
    assert not any("--" in text for text in (*facts.missing, *facts.troubles))


@pytest.mark.parametrize(
    ("advice", "expected"),
    [
        ("raise --max-gap-s.", "raise samples.max_gap_s."),
        ("--no-motion-compensation does", "samples.motion_compensation:=false does"),
        ("--lidar.occlusion-step, --out", "samples.lidar.occlusion_step, --out"),
    ],
)
def test_options_of_the_commands_are_told_as_parameters(advice, expected):
    assert in_parameters(advice) == expected


def session_of(recordings, scans):
    """One of 60 pictures with depth at 10 Hz, the first before its camera_info.

    `scans`: picture -> stamps of the scans that come after it, in pictures.
    """
    session = LiveSession(
        LiveSettings(model="dpt_tiny", samples=SampleSettings(min_points=1)), TOPICS
    )
    pose = ("lidar", "camera", np.linalg.inv(recordings.OPTICAL_FROM_LIDAR))
    session.join.add_transforms(recordings.transforms(START, pose), is_static=True)
    for index in range(60):
        stamp = START + index * STEP
        image = recordings.image(stamp, np.zeros((24, 32, 3), np.uint8))
        list(session.add(TOPICS.image, image, stamp / 1e9))
        list(session.add_answer(recordings.depth(stamp, 0.5), False, stamp / 1e9 + 0.05))
        list(session.add("camera_info", recordings.info(stamp, 32, 24, 25.0), 0.0))
        for place in scans(index):
            cloud = recordings.cloud(START + round(place * STEP), recordings.wall(4.0))
            list(session.add("points", cloud, 0.0))
    list(session.finish())
    return session


def test_a_lidar_that_is_not_there_is_the_reason_for_no_score(recordings):
    session = session_of(recordings, lambda index: [])
    assert session.facts().rejected == {"picture before the first camera_info": 1}
    assert "truth: no scan of a LiDAR came" in session.facts().missing
    session.why_no_scan = "nobody publishes /lidar/points"
    assert "truth: nobody publishes /lidar/points" in session.facts().missing


@pytest.mark.parametrize("late", [20, 30])
def test_scans_that_come_too_late_are_the_reason_for_no_score(recordings, late):
    session = session_of(recordings, lambda index: [index - late] if index > late else [])
    (told,) = [text for text in session.facts().missing if text.startswith("truth: ")]
    assert told.startswith(f"truth: {59 - late} x scan that came more than 1.5 s after its picture")
    assert f"{59 - late} x scan that came more than 1.5 s" in session.status()["no truth"]
    assert session.evaluation.scored == 0


def test_a_scan_that_comes_late_to_a_picture_that_still_waits_is_not_told_as_late(recordings):
    """Of a slow network, whose depth comes later still."""
    join = new_join(recordings, with_depth=False)
    done = []
    for index in range(60):
        done += feed(join, recordings, index, with_scan=False)
        if index >= 18:
            stamp = START + (index - 18) * STEP
            done += join.add("points", recordings.cloud(stamp, recordings.wall(4.0)), 0.0)
    assert done == [] and join.rejected == {}


def test_scans_of_another_clock_are_the_reason_for_no_score(recordings):
    session = session_of(recordings, lambda index: [index + 1e5])
    (told,) = [text for text in session.facts().missing if text.startswith("truth: ")]
    assert told.endswith(
        "most of the 60 scans were within 0.05 s of no picture: are the clocks of camera and LiDAR "
        "synchronised?"
    )


def test_what_is_known_of_the_node_is_in_the_report_and_what_is_not_is_told(recordings, tmp_path):
    stamps = [START + index * STEP for index in range(3)]
    bag = recordings.write_bag(tmp_path / "drive", recordings.drive(stamps))
    topics = SensorTopics(image="/camera/image_raw", camera_info="camera_info", points="points")
    samples = SampleSettings(max_gap_s=0.02)
    session = LiveSession(LiveSettings(model="dpt_tiny", bag=str(bag), samples=samples), topics)
    for stamp in stamps[:2]:
        image = recordings.image(stamp, np.zeros((24, 32, 3), np.uint8))
        list(session.add(topics.image, image, stamp / 1e9))
        list(session.add_answer(recordings.depth(stamp, 0.5), False, stamp / 1e9 + 0.1))
    list(session.finish())
    session.node = NodeFacts(
        losses={"played": 2, "answered": 2, "dropped": 7},
        stages_ms={"network p50": 12.5, "overhead p50": 2.0},
        network={"device": "cpu (the only one)"},
        load={"memory_mib": {"mean": 321.0, "max": 333.0}},
        missing=["CPU of the node: why"],
        troubles=["the node is odd"],
    )
    facts = session.facts()
    timing = timing_json(facts)
    assert timing["losses"]["dropped"] == 7 and timing["load"]["memory_mib"]["max"] == 333.0
    assert timing["node_stages_ms"] == session.node.stages_ms and "cpu" in str(timing["network"])
    assert "not known live" in timing["losses_of"] and timing["outside_node_p50_ms"] is None
    assert "CPU of the node: why" in facts.missing and "the node is odd" in facts.troubles
    assert facts.recording["pictures"] == 3
    assert metrics_json(session.evaluation, facts)["samples"]["max_gap_s"] == 0.02
    told = "2 of the 3 pictures of the recording reached the evaluator"
    assert facts.troubles[0] == f"{told}: the others were not played, or were lost on their way"
    session.node = NodeFacts(losses={"played": 3, "lost_before_node": 0, "answered": 3})
    assert session.facts().troubles[0] == (
        f"{told}, and 3 the node, of which depth came for 3: those that the evaluator missed are "
        "not scored"
    )
    page = build_replay_report(session.evaluation, facts).html()
    assert "samples.max_gap_s" in page and "samples.lidar.occlusion_step" in page
    assert "333.0" in page and "not known live" in page and "CPU of the node: why" in page
    assert "arrival to depth" in page and "from publication" not in page
    assert any("7 dropped" in line for line in summary_lines(session.evaluation, facts))
