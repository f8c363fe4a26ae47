"""A replay from start to end: the node in its process, a player beside it, and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dpt_ros.bags.reader import BagError
from dpt_ros.evaluation.load import LoadMonitor
from dpt_ros.evaluation.timing import losses
from dpt_ros.ros.camera_recording import CameraRecording, PlayedMessage
from dpt_ros.ros.kept_answers import KeptAnswers
from dpt_ros.ros.node_process import NodeError, NodeProcess
from dpt_ros.ros.node_reports import StageTimes
from dpt_ros.ros.playback import PlaybackLog, play_in_real_time, play_lockstep
from dpt_ros.ros.replay import Answer, AnswerError, ReplayPeer

START_S = 180.0
_REPORT_S = 1.3
"""The node reports every second."""

Concluded = Callable[[PlayedMessage, Answer | None], None]
Told = Callable[[PlayedMessage], None]


class PublisherConflictError(RuntimeError):
    """Somebody else publishes what the replay publishes, or answers in the node's place."""


@dataclasses.dataclass(frozen=True)
class ReplayOptions:
    """How a recording is played.

    Args:
        rate: of playback in real time; 0: lock-step.
        timeout_s: in lock-step, how long to wait for an answer.
        with_metres: whether the node is expected to publish depth in metres.
        most_pictures: stop after so many; 0: play all.
        keep_in: an existing folder in which answers are kept meanwhile, in real time; None: the
            system's own for temporary files.
    """

    rate: float = 0.0
    timeout_s: float = 60.0
    with_metres: bool = False
    most_pictures: int = 0
    keep_in: Path | None = None


@dataclasses.dataclass
class ReplayResult:
    """What happened, beside the answers themselves.

    Args:
        partial: why not everything was played; "" if it was.
        why_no_metres: as the node says; "" if all metres came.
        network: the node's last report about its network.
        stages_ms: the node's own times by name, p50 and p95: medians over its reports.
        others as their names say.
    """

    log: PlaybackLog = dataclasses.field(default_factory=PlaybackLog)
    partial: str = ""
    why_no_metres: str = ""
    losses: dict[str, int] = dataclasses.field(default_factory=dict)
    load: dict[str, Any] = dataclasses.field(default_factory=dict)
    network: dict[str, str] = dataclasses.field(default_factory=dict)
    stages_ms: dict[str, float] = dataclasses.field(default_factory=dict)


def replay(
    recording: CameraRecording,
    parameters: Mapping[str, Any],
    options: ReplayOptions,
    concluded: Concluded,
    told: Told,
) -> ReplayResult:
    """Play a recording through a node that is started for it.

    What breaks off in the middle (the node ends, the recording is damaged, the user interrupts)
    ends the replay early, with the reason in `partial`.

    Args:
        recording: is open.
        parameters: the node's.
        options: how to play.
        concluded: called with every picture and its answer, None where none came, in the order of
            the recording; in lock-step before the next one is played, else after all have been.
        told: called with every picture once it was played.

    Raises:
        NodeError: the node does not start.
        TimeoutError: it does not become active.
        PublisherConflictError: the topics are in use.
    """
    parameters = {
        **parameters,
        "use_sim_time": True,
        "image_transport": "compressed" if recording.is_compressed else "raw",
    }
    result = ReplayResult()
    with (
        NodeProcess(parameters) as node,
        ReplayPeer(recording.is_compressed, options.with_metres) as peer,
    ):
        peer.wait_for_node(node.check, START_S)
        _check_alone(peer)
        stages = StageTimes()

        def told_and_looked(played: PlayedMessage) -> None:
            stages.look(peer.camera_report())
            told(played)

        with LoadMonitor(node.pid) as load:
            play = _lockstep if options.rate == 0.0 else _real_time
            play(recording, peer, node, options, result, concluded, told_and_looked)
        _conclude(peer, node, result)
        stages.look(peer.camera_report())
        result.stages_ms = stages.medians()
        if recording.is_cut_off and not result.partial:
            result.partial = "the recording is cut off: what is whole of it was played"
        result.load = load.summary()
    return result


def _check_alone(peer: ReplayPeer) -> None:
    if conflicts := peer.others():
        raise PublisherConflictError(
            f"{'; '.join(conflicts)}. Stop the others, or set ROS_DOMAIN_ID to a domain of its own"
        )


def _lockstep(
    recording: CameraRecording,
    peer: ReplayPeer,
    node: NodeProcess,
    options: ReplayOptions,
    result: ReplayResult,
    concluded: Concluded,
    told: Told,
) -> None:
    messages = _first(recording.messages(), options.most_pictures)
    with _breaking_off(result), peer.listening():
        playing = play_lockstep(peer, messages, node.check, options.timeout_s, result.log)
        with contextlib.closing(playing):
            for played, answer in playing:
                concluded(played, answer)
                told(played)


def _real_time(
    recording: CameraRecording,
    peer: ReplayPeer,
    node: NodeProcess,
    options: ReplayOptions,
    result: ReplayResult,
    concluded: Concluded,
    told: Told,
) -> None:
    """Answers are kept on disk while playing: scoring meanwhile would take the node's time."""
    with tempfile.TemporaryDirectory(prefix=".dpt_ros_replay_", dir=options.keep_in) as folder:
        kept = KeptAnswers(Path(folder))
        with _breaking_off(result):
            messages = _first(recording.messages(), options.most_pictures)
            playing = play_in_real_time(
                peer, messages, node.check, options.rate, result.log, kept.keep
            )
            with contextlib.closing(playing):
                for played in playing:
                    told(played)
        with _breaking_off(result):
            for played in _first(recording.messages(), options.most_pictures):
                if played.is_image:
                    concluded(played, kept.take(played.index))


@contextlib.contextmanager
def _breaking_off(result: ReplayResult) -> Iterator[None]:
    """Note what broke a replay off, and go on with what there is."""
    try:
        yield
    except (NodeError, BagError, AnswerError) as error:
        result.partial = result.partial or str(error)
    except KeyboardInterrupt:
        result.partial = result.partial or "interrupted"


def _conclude(peer: ReplayPeer, node: NodeProcess, result: ReplayResult) -> None:
    """Take the node's last report."""
    with contextlib.suppress(NodeError):
        node.check()
        peer.spin(_REPORT_S)
    log = result.log
    answered = log.timing.summary()["answered"]
    again = log.published - log.pictures
    result.losses = losses(log.pictures, answered, peer.node_counts(), again)
    result.why_no_metres = _why_no_metres(peer, answered, peer.cut_off if result.partial else 0)
    result.network = peer.network_report()


def _why_no_metres(peer: ReplayPeer, answered: int, cut_off: int) -> str:
    """For people; "" where all have metres but those that a replay which broke off cut off."""
    without, answered = peer.without_metres - cut_off, answered - cut_off
    if without == 0:
        return ""
    some = f"{without} of {answered} pictures have none: " if without < answered else ""
    return some + peer.why_no_metres


def _first(messages: Iterator[PlayedMessage], most: int) -> Iterator[PlayedMessage]:
    """Up to the picture before which `most` were played."""
    for played in messages:
        if most and played.index >= most:
            return
        yield played
