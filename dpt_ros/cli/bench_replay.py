"""What replaying adds to the node's latency: the same pictures, with and without the replay."""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpt_ros.ros.camera_recording import CameraRecording, PlayedMessage

_START_S = 180.0
_LAST_S = 3.0


def run(options: argparse.Namespace) -> int:
    """Play a recording by turns as the replay does and as a bare camera does, and report."""
    from dpt_ros.cli.progress import progress
    from dpt_ros.cli.result_files import write_json
    from dpt_ros.ros.camera_recording import CameraRecording
    from dpt_ros.ros.node_process import isolate

    isolate()
    with CameraRecording(options.bag) as recording:
        messages = _first(recording, options.frames)
        parameters = _parameters(options, recording)
        rounds: dict[str, list[float]] = {"bare": [], "replay": []}
        for _ in progress(range(options.rounds), unit="round"):
            rounds["bare"].append(_bare_p50_ms(messages, recording, parameters, options.rate))
            rounds["replay"].append(_replay_p50_ms(recording, parameters, options))
    result = {
        "bag": str(options.bag),
        "model": options.model,
        "frames": sum(played.is_image for played in messages),
        "rate": options.rate,
        "response_p50_ms": rounds,
        "added_p50_ms": round(
            statistics.median(rounds["replay"]) - statistics.median(rounds["bare"]), 2
        ),
    }
    _print(result)
    if options.json:
        write_json(options.json, "bench_replay", result)
    return 0


def _first(recording: CameraRecording, most: int) -> list[PlayedMessage]:
    """The recording up to its picture number `most`, all in memory."""
    messages = []
    for played in recording.messages():
        if played.index >= most:
            break
        messages.append(played)
    return messages


def _parameters(options: argparse.Namespace, recording: CameraRecording) -> dict[str, Any]:
    return {
        "model": options.model,
        "calibration": options.calibration,
        "device": options.device,
        "rectified": recording.is_rectified,
        "image_transport": "compressed" if recording.is_compressed else "raw",
    }


def _replay_p50_ms(
    recording: CameraRecording, parameters: dict[str, Any], options: argparse.Namespace
) -> float:
    """Median time from publication to depth while `dpt-ros replay` plays."""
    from dpt_ros.ros.replay_session import ReplayOptions, replay

    how = ReplayOptions(options.rate, 60.0, bool(options.calibration), options.frames)
    result = replay(recording, parameters, how, lambda *_: None, lambda _: None)
    return _median_ms([float(value) for value in result.log.timing.response_s])


def _bare_p50_ms(
    messages: Sequence[PlayedMessage],
    recording: CameraRecording,
    parameters: dict[str, Any],
    rate: float,
) -> float:
    """The same with nothing but a camera and a subscriber beside the node.

    The messages lie in memory; no clock is simulated, nothing is read, kept or watched meanwhile.
    """
    from sensor_msgs.msg import CompressedImage, Image

    from dpt_ros.messages.stamps import nanoseconds
    from dpt_ros.ros.node_peer import NodePeer
    from dpt_ros.ros.node_process import NodeProcess
    from dpt_ros.ros.stamps import NANOSECONDS

    outputs = ("inverse_depth", "depth") if parameters["calibration"] else ("inverse_depth",)
    published_s: dict[int, float] = {}
    heard: dict[int, list[float]] = {}

    def hear(_: str, message: Any) -> None:
        heard.setdefault(nanoseconds(message.header.stamp), []).append(time.monotonic())

    kind = CompressedImage if recording.is_compressed else Image
    topic = "image_rect/compressed" if recording.is_compressed else "image_rect"
    stopping = threading.Event()
    with (
        NodeProcess(parameters) as node,
        NodePeer("dpt_bare", outputs, hear, image_type=kind, image_topic=topic) as peer,
    ):
        peer.wait_for_node(node.check, _START_S)

        def spin() -> None:
            while not stopping.is_set():
                peer.executor.spin_once(timeout_sec=0.1)

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        first_s = time.monotonic() + 0.1 - messages[0].due_ns / NANOSECONDS / rate
        for played in messages:
            time.sleep(max(first_s + played.due_ns / NANOSECONDS / rate - time.monotonic(), 0.0))
            if played.is_image:
                published_s[played.stamp_ns] = time.monotonic()
            (peer.images if played.is_image else peer.infos).publish(played.data)
        time.sleep(_LAST_S)
        stopping.set()
        thread.join()
        node.check()
    return _median_ms(
        [
            max(heard[stamp]) - began_s
            for stamp, began_s in published_s.items()
            if len(heard.get(stamp, ())) == len(outputs)
        ]
    )


def _median_ms(seconds: Sequence[float]) -> float:
    """Median of what is finite.

    Raises:
        RuntimeError: there is nothing.
    """
    answered = [value for value in seconds if value == value]
    if not answered:
        raise RuntimeError("the node answered no picture: play more of them, or more slowly")
    return round(1e3 * statistics.median(answered), 2)


def _print(result: dict[str, Any]) -> None:
    print(
        f"node with {result['model']}, {result['frames']} pictures of {result['bag']} at rate "
        f"{result['rate']:g}: from publication to depth, p50 of each round"
    )
    for name, values in result["response_p50_ms"].items():
        print(f"{name:<10}" + "".join(f"{value:>9.1f}" for value in values) + " ms")
    print(f"the replay adds {result['added_p50_ms']:.1f} ms (difference of the medians)")
