"""What /diagnostics says: one status for the network, one for each camera."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from dpt_ros.evaluation.timing import FAILURES
from dpt_ros.ros.camera_stream import CameraStream
from dpt_ros.ros.statistics import STAGES, percentile

if TYPE_CHECKING:
    from dpt_ros.geometry.depth import DepthLimits
    from dpt_ros.inference.metres import Metres
    from dpt_ros.ros.network import Network
    from dpt_ros.ros.settings import NodeSettings

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

IMAGE_PUBLISHERS, INFO_PUBLISHERS = "image publishers", "camera_info publishers"
SUBSCRIBED = "subscribed outputs"
"""Keys by which others see that they are connected to the node."""
CAMERA_INFO, RECEIVED = "camera_info", "received"
"""Key, and its value once a camera_info has come."""
DEPTH_LIMITS = "depth limits in force"


@dataclasses.dataclass(frozen=True)
class NodeState:
    """What the node knows of itself: its lifecycle state and what went wrong."""

    label: str
    transition_error: str = ""
    failure: str = ""


def network_status(
    prefix: str, state: NodeState, settings: NodeSettings, network: Network | None
) -> DiagnosticStatus:
    """The status "`prefix`: network": the model, where it runs, and whether it fails."""
    level, message = OK, state.label
    if state.transition_error:
        level, message = ERROR, state.transition_error
    elif state.failure:
        level, message = ERROR, state.failure
    elif state.label != "active":
        level, message = WARN, f"{state.label}: nothing is published until the node is active"
    values = {"state": state.label, "model": settings.model}
    if network is not None:
        predictor, memory_mib = network.predictor, network.memory_mib()
        values["checkpoint"] = str(predictor.checkpoint_path or "")
        values["device"] = f"{predictor.device} ({predictor.device_reason})"
        values["precision"] = f"{predictor.precision} ({predictor.precision_reason})"
        values["device memory MiB"] = "none" if memory_mib is None else f"{memory_mib:.1f}"
    return _status(f"{prefix}: network", level, message, values)


def camera_status(
    prefix: str,
    stream: CameraStream,
    metres: Metres | None,
    state: NodeState,
    limits: DepthLimits,
) -> DiagnosticStatus:
    """The status "`prefix`: camera": rates, latencies, drops, metres, and why something lacks.

    `limits` are those of the settings; what a calibration leaves of them is told.
    """
    now_s = time.monotonic()
    silence = stream.silence()
    listened = stream.outputs.subscribed()
    stream.forget_mended()
    troubles = [silence, stream.loss(), *stream.qos_trouble.values(), stream.stamps.oddity]
    troubles += [*stream.crowds(), stream.frame_oddity, stream.picture_oddity]
    troubles += [*sorted(set(stream.why_not.values())), *_new_drops(stream)]
    # An image topic's mismatch is also why it is silent.
    troubles = [trouble for trouble in dict.fromkeys(troubles) if trouble]
    rate_in_hz, rate_out_hz = stream.statistics.rates_hz(now_s)
    level, message = OK, f"{rate_in_hz:.1f} Hz in, {rate_out_hz:.1f} Hz out"
    if state.failure:
        level, message = ERROR, state.failure
    elif state.label != "active":
        level, message = WARN, state.label
    elif troubles:
        level, message = WARN, "; ".join(troubles)
    elif not listened:
        message = f"{rate_in_hz:.1f} Hz in; nobody listens, so nothing is computed"
    image_publishers, info_publishers = stream.publishers()
    values = {
        "image topic": stream.image_topic,
        IMAGE_PUBLISHERS: str(image_publishers),
        "camera_info topic": stream.camera_info_topic,
        INFO_PUBLISHERS: str(info_publishers),
        CAMERA_INFO: RECEIVED if stream.camera.has_info else "none",
        "calibration": "none" if metres is None else metres.source,
        DEPTH_LIMITS: "none" if metres is None else metres.limits_in_force(limits),
        SUBSCRIBED: ", ".join(sorted(listened)) or "none",
        "QoS mismatch": "; ".join(stream.qos_trouble.values()) or "none",
        "rate in Hz": f"{rate_in_hz:.2f}",
        "rate out Hz": f"{rate_out_hz:.2f}",
    }
    values |= {f"not published: {name}": why for name, why in sorted(stream.why_not.items())}
    if silence:
        values["no images"] = silence
    values |= {f"{name} frames": str(n) for name, n in stream.statistics.counts.items()}
    # Not among the frames, of which the others add up to those received.
    values["images lost on the way"] = str(stream.statistics.lost_frames)
    values["camera_info lost on the way"] = str(stream.lost_infos)
    values |= _times(stream, now_s)
    return _status(f"{prefix}: {stream.name}", level, message, values)


def _times(stream: CameraStream, now_s: float) -> dict[str, str]:
    values = {}
    latencies_s = stream.statistics.latencies_s(now_s)
    stages_s = stream.statistics.stages_s(now_s)
    for percent in (50, 95):
        values[f"latency p{percent} ms"] = _milliseconds(percentile(latencies_s, percent))
        for stage in STAGES:
            value_s = percentile(stages_s[stage], percent)
            values[f"{stage} p{percent} ms"] = _milliseconds(value_s)
    return values


def _new_drops(stream: CameraStream) -> list[str]:
    """Frames lost since the last report; those that a newer frame overwrote are no trouble."""
    counts, before = stream.statistics.counts, stream.reported_counts
    stream.reported_counts = counts
    return [
        f"{new} {name} frame(s)"
        for name in FAILURES
        if (new := counts[name] - before.get(name, 0)) > 0
    ]


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{1000.0 * seconds:.2f}"


def _status(name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id="", values=pairs)
