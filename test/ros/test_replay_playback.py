"""How recordings are played, against a peer that answers as told; and the real topics of one."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from dpt_ros.ros.camera_recording import CameraRecording, PlayedMessage
from dpt_ros.ros.playback import PlaybackLog, play_in_real_time, play_lockstep
from dpt_ros.ros.replay import Answer

START = 1_600_000_000_000_000_000
STEP = 20_000_000


def picture(index: int, stamp_ns: int | None = None) -> PlayedMessage:
    due_ns = START + index * STEP
    stamp = due_ns if stamp_ns is None else stamp_ns
    return PlayedMessage(True, index, due_ns, stamp, b"", None)


class FakePeer:
    """Answers each picture when the node got it: `lost` publications vanish on their way."""

    def __init__(self, lost: tuple[int, ...] = (), silent: tuple[int, ...] = ()) -> None:
        self._lost, self._silent = lost, silent
        self._published = 0
        self._received = 0
        self._answers: dict[int, Answer] = {}
        self._finished: Any = None
        self.clock_ns: list[int] = []
        self.diagnosed_s = 0.0

    def set_clock(self, now_ns: int) -> None:
        self.clock_ns.append(now_ns)

    def others(self) -> list[str]:
        return ["/image_rect has 2 publishers, expected 1: /camera, /dpt_replay"]

    def publish(self, played: PlayedMessage) -> None:
        number, self._published = self._published, self._published + 1
        if number in self._lost:
            return
        self._received += 1
        if played.index in self._silent:
            return
        now_s = time.monotonic()
        answer = Answer(np.zeros((2, 2), np.float32), None, now_s, now_s + 0.005)
        if self._finished is not None:
            threading.Timer(0.005, self._finished, (played.stamp_ns, answer)).start()
        self._answers[played.stamp_ns] = answer

    def wait(self, stamp_ns: int, timeout_s: float) -> Answer | None:
        self.diagnosed_s = time.monotonic() + 10.0  # a report comes while one waits
        return self._answers.pop(stamp_ns, None)

    def repeat_lost_info(self, stamp_ns: int) -> bool:
        return False

    def forget(self, stamp_ns: int) -> None:
        self._answers.pop(stamp_ns, None)

    def node_counts(self) -> dict[str, int]:
        return {"received": self._received, "published": self._received - len(self._silent)}

    def outstanding(self) -> int:
        return 0

    @contextlib.contextmanager
    def listening(self, finished: Any = None) -> Any:
        self._finished = finished
        yield


def test_lockstep_publishes_again_what_was_lost_and_gives_up_what_is_not_answered() -> None:
    peer, log = FakePeer(lost=(1, 2), silent=(2,)), PlaybackLog()
    messages = [picture(0), picture(1), picture(2), picture(3)]
    played = list(play_lockstep(peer, messages, lambda: None, 0.05, log))
    assert [answer is not None for _, answer in played] == [True, True, False, True]
    assert (log.pictures, log.published, log.repeated) == (4, 6, 2)
    assert peer.clock_ns == [START + index * STEP for index in range(4)]
    assert log.timing.summary()["answered"] == 3
    assert "no depth came for picture 2: no answer within 0.05 s" in log.troubles
    assert any("2 publishers" in text for text in log.troubles)


def test_lockstep_does_not_wait_for_a_picture_that_the_node_could_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dpt_ros.ros.playback._SILENT_S", 0.02)
    peer, log = FakePeer(silent=(0,)), PlaybackLog()
    counts = {"received": 1, "published": 0, "undecodable": 1}
    monkeypatch.setattr(peer, "node_counts", lambda: counts)
    ((_, answer),) = play_lockstep(peer, [picture(0)], lambda: None, 60.0, log)
    assert answer is None
    assert log.troubles[-1] == "no depth came for picture 0: the node counts 1 undecodable"


def test_stamps_that_go_back_are_told_and_latency_counts_from_the_stamp() -> None:
    peer, log = FakePeer(), PlaybackLog()
    stamps = [START - 5_000_000, START + STEP, START]
    messages = [picture(index, stamp) for index, stamp in enumerate(stamps)]
    list(play_lockstep(peer, messages, lambda: None, 1.0, log))
    assert "image stamps went back by 0.020 s at picture 2" in log.troubles
    # Recorded 5 ms after its stamp, answered 5 ms after that.
    assert log.timing.latency_s[0] == pytest.approx(0.010, abs=1e-6)
    assert log.timing.response_s[0] == pytest.approx(0.005, abs=1e-6)


def test_latency_does_not_count_from_stamps_that_are_no_times() -> None:
    """A clock that was set by an hour halfway, and a driver that stamps nothing."""
    hour, peer, log = 3600 * 10**9, FakePeer(), PlaybackLog()
    dues = [START + index * STEP for index in range(3)]
    stamps = [dues[0], dues[1] + hour, 0]
    messages = [
        PlayedMessage(True, index, due, stamp, b"", None)
        for index, (due, stamp) in enumerate(zip(dues, stamps, strict=True))
    ]
    list(play_lockstep(peer, messages, lambda: None, 1.0, log))
    assert log.timing.latency_s == pytest.approx([0.005] * 3, abs=1e-6)
    told = "the stamp of picture 1 is 3600 s after its recording"
    assert sum(text.startswith(told) for text in log.troubles) == 1


def test_real_time_keeps_the_recordings_pace_and_never_mixes_up_stamps() -> None:
    peer, log, kept = FakePeer(), PlaybackLog(), []
    messages = [picture(0), picture(1), picture(1, START + STEP), picture(3), picture(4)]
    messages[2] = PlayedMessage(True, 2, START + STEP, START + STEP, b"", None)
    playing = play_in_real_time(
        peer, messages, lambda: None, 0.5, log, lambda index, _: kept.append(index)
    )
    started_s = time.monotonic()
    assert [item.index for item in playing] == [0, 1, 3, 4]
    deadline = time.monotonic() + 10.0
    while len(kept) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert kept == [0, 1, 3, 4]
    assert any("pictures with one stamp" in text for text in log.troubles)
    summary = log.timing.summary()
    assert summary["answered"] == 4
    # 20 ms apart, at half the speed 40 ms; on a busy machine later than that, never before.
    late_s = log.timing.latency_s - log.timing.response_s
    assert (late_s > -1e-4).all()
    assert time.monotonic() - started_s >= 0.16
    assert all(np.diff(peer.clock_ns) >= 0)


def test_a_node_that_ends_stops_the_playback() -> None:
    def check() -> None:
        raise RuntimeError("the node ended")

    playing = play_in_real_time(
        FakePeer(), [picture(0), picture(1)], check, 1.0, PlaybackLog(), lambda *_: None
    )
    with pytest.raises(RuntimeError, match="the node ended"):
        next(playing)


def test_depth_images_beside_the_pictures_are_no_choice(tmp_path: Path, recordings: Any) -> None:
    depth = recordings.image(START, np.ones((24, 32, 2), np.uint8))
    depth.encoding, depth.step = "16UC1", 64
    drive = [*recordings.drive([START]), ("/camera/depth/image_rect", START, depth)]
    with CameraRecording(recordings.write_bag(tmp_path / "bag", drive)) as recording:
        assert recording.image_topic == "/camera/image_raw"


@pytest.mark.parametrize("delay_ns", [4_000_000, 3600 * 10**9])
def test_pictures_are_due_when_they_were_recorded_if_that_can_be(
    tmp_path: Path, recordings: Any, delay_ns: int
) -> None:
    """Recorded 4 ms after their stamps: played so; recorded an hour later: at their stamps."""
    stamps = [START + index * STEP for index in range(3)]
    drive = [(t, ns + delay_ns, m) for t, ns, m in recordings.drive(stamps)]
    bag = recordings.write_bag(tmp_path / "bag", drive)
    with CameraRecording(bag) as recording:
        messages = list(recording.messages())
        assert (recording.image_count, recording.is_compressed) == (3, False)
        assert recording.camera_info_topic == "/camera/camera_info"
        assert recording.is_rectified is False
    late_ns = delay_ns if delay_ns < 10**9 else 0
    pictures = [message for message in messages if message.is_image]
    assert [message.due_ns for message in pictures] == [stamp + late_ns for stamp in stamps]
    assert [message.stamp_ns for message in pictures] == stamps
    assert not messages[0].is_image  # the first camera_info comes before the first picture


def test_a_camera_info_sent_long_before_moves_no_picture(tmp_path: Path, recordings: Any) -> None:
    stamps = [START + index * STEP for index in range(3)]
    drive = [item for item in recordings.drive(stamps) if item[0] != "/camera/camera_info"]
    info = recordings.info(START - 600 * 10**9, 32, 24, 20.0)
    bag = recordings.write_bag(tmp_path / "bag", [("/camera/camera_info", START - 1, info), *drive])
    with CameraRecording(bag) as recording:
        messages = list(recording.messages())
        assert recording.counts_on_stamps is False
    assert [message.is_image for message in messages] == [False, False, True, True, True]
    assert [message.due_ns for message in messages[2:]] == stamps


def test_of_a_recording_that_is_cut_off_the_whole_part_is_played(
    tmp_path: Path, recordings: Any
) -> None:
    stamps = [START + index * STEP for index in range(40)]
    drive = recordings.drive(stamps, size=(320, 240))
    noise = np.random.default_rng(0)
    drive = [
        (t, ns, recordings.image(ns, noise.integers(0, 256, (240, 320, 3), np.uint8)))
        if t.endswith("image_raw")
        else (t, ns, m)
        for t, ns, m in drive
    ]
    bag = recordings.write_bag(tmp_path / "bag", drive)
    (file,) = bag.glob("*.mcap")
    data = file.read_bytes()
    with CameraRecording(file) as recording:
        assert not recording.is_cut_off
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: len(data) * 2 // 3])
    with CameraRecording(cut) as recording:
        played = [message.index for message in recording.messages() if message.is_image]
        assert recording.is_cut_off
    assert 0 < len(played) < 40 and played == list(range(len(played)))


@pytest.mark.node
def test_two_publishers_on_one_topic_are_noticed(ros_environment: Any, peer: Any) -> None:
    from sensor_msgs.msg import Image

    from dpt_ros.ros.replay import ReplayPeer

    with ReplayPeer(is_compressed=False) as replay:
        peer.wait_until(lambda: peer.node.count_publishers("/image_rect") == 1, "the replay")
        assert replay.others() == []
        other = peer.node.create_publisher(Image, "/image_rect", 1)
        named = "/image_rect has 2 publishers, expected 1: /dpt_replay, /test_peer"
        peer.wait_until(lambda: replay.others() == [named], named)
        peer.node.destroy_publisher(other)


@pytest.mark.node
def test_an_answer_that_cannot_be_kept_is_told(ros_environment: Any, peer: Any) -> None:
    from sensor_msgs.msg import Image

    from dpt_ros.ros.replay import AnswerError, ReplayPeer

    def full(stamp_ns: int, answer: Any) -> None:
        raise OSError(28, "No space left on device")

    first, second = depth_image(7), depth_image(8)
    node = peer.node.create_publisher(Image, "/dpt/inverse_depth/image", 1)
    with ReplayPeer(is_compressed=False, with_metres=False) as replay:
        with (
            pytest.raises(AnswerError, match="could not be kept: .*No space left"),
            replay.listening(full),
        ):
            peer.wait_until(lambda: node.get_subscription_count() > 0, "the replay")
            for message in (first, second):
                stamp_ns = message.header.stamp.sec * 10**9
                replay.publish(PlayedMessage(True, 0, 0, stamp_ns, message, message))

            def answer() -> bool:
                node.publish(first)
                return replay._failure is not None

            peer.wait_until(answer, "the answer")
        assert replay.outstanding() == 0
        for _ in range(
            5
        ):  # the node's last report is waited for, and a late answer comes meanwhile
            node.publish(second)
            replay.spin(0.1)
    peer.node.destroy_publisher(node)


def depth_image(second: int) -> Any:
    from sensor_msgs.msg import Image

    message = Image(height=1, width=1, encoding="32FC1", step=4, data=b"\0\0\0\0")
    message.header.stamp.sec = second
    return message


@pytest.mark.node
def test_lockstep_takes_no_metres_once_they_did_not_come(
    ros_environment: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of the later ones came in time would be chance, and no replay would repeat."""
    from sensor_msgs.msg import Image

    from dpt_ros.ros.replay import ReplayPeer

    monkeypatch.setattr("dpt_ros.ros.replay.OPTIONAL_S", 0.2)
    inverse = peer.node.create_publisher(Image, "/dpt/inverse_depth/image", 10)
    metres = peer.node.create_publisher(Image, "/dpt/depth/image_rect", 10)
    with ReplayPeer(is_compressed=False) as replay, replay.listening():
        for publisher in (inverse, metres):
            peer.wait_until(lambda p=publisher: p.get_subscription_count() > 0, "the replay")
        for second in (1, 2):
            message = depth_image(second)
            replay.publish(PlayedMessage(True, second, 0, second * 10**9, message, message))
        metres.publish(depth_image(2))
        peer.wait_until(lambda: replay._awaited[2 * 10**9].messages, "metres of the second")
        for second in (1, 2):
            inverse.publish(depth_image(second))
            answer = replay.wait(second * 10**9, 10.0)
            assert answer is not None and answer.depth_m is None
        assert replay.without_metres == 2
    for publisher in (inverse, metres):
        peer.node.destroy_publisher(publisher)


@pytest.mark.node
def test_an_answer_without_metres_is_an_answer(
    ros_environment: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node publishes none of a picture without camera_info, or of another field of view."""
    from sensor_msgs.msg import Image

    from dpt_ros.ros.replay import ReplayPeer

    monkeypatch.setattr("dpt_ros.ros.replay.OPTIONAL_S", 60.0)
    topics = {"inverse": "/dpt/inverse_depth/image", "metres": "/dpt/depth/image_rect"}
    node = {name: peer.node.create_publisher(Image, topic, 10) for name, topic in topics.items()}
    ended: dict[int, Any] = {}
    with ReplayPeer(is_compressed=False) as replay:
        with replay.listening(ended.__setitem__):
            for publisher in node.values():
                peer.wait_until(lambda p=publisher: p.get_subscription_count() > 0, "the replay")
            for second in (1, 2, 3, 4):
                message = depth_image(second)
                replay.publish(PlayedMessage(True, second, 0, second * 10**9, message, message))
            # At the end 2 and 4 still wait for metres; 3 was passed over.
            node["inverse"].publish(depth_image(1))
            node["metres"].publish(depth_image(1))
            node["inverse"].publish(depth_image(2))
            node["inverse"].publish(depth_image(4))
            peer.wait_until(lambda: 3 * 10**9 in ended, "what was passed over")
        metres = {stamp // 10**9: answer and answer.depth_m for stamp, answer in ended.items()}
        assert sorted(metres) == [1, 2, 3, 4]
        assert metres[1] is not None and metres[2] is None and metres[4] is None
        assert ended[3 * 10**9] is None
        assert (replay.without_metres, replay.cut_off, replay.outstanding()) == (2, 2, 0)
        assert replay.why_no_metres == "the node publishes no depth in metres"
    for publisher in node.values():
        peer.node.destroy_publisher(publisher)


def test_what_a_conflict_says() -> None:
    publisher = SimpleNamespace(node_name="camera", node_namespace="/")
    from dpt_ros.ros.node_peer import NodePeer

    stub = SimpleNamespace(
        images=SimpleNamespace(topic_name="/image_rect"),
        infos=SimpleNamespace(topic_name="/camera_info"),
        node=SimpleNamespace(get_publishers_info_by_topic=lambda topic: [publisher, publisher]),
        _node_name="/dpt",
        _outputs=("depth",),
    )
    found = NodePeer.others(stub)
    assert [text.split()[0] for text in found] == [
        "/image_rect",
        "/camera_info",
        "/dpt/depth/image_rect",
    ]
    assert all("/camera, /camera" in text for text in found)
