"""What a live evaluation is told: becomes the parameters of the node `dpt_evaluator`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.config import list_settings, setting


@dataclass(frozen=True)
class LiveSettings:
    """What runs, how truth is made, and where the results go."""

    model: str = setting("dpt_hybrid", "The model that the depth node runs.", fixed=True)
    checkpoint: str = setting(
        "", "Its weights file, as the depth node has it; empty: the model's own.", fixed=True
    )
    calibration: str = setting(
        "", "Its calibration, as the depth node has it; empty: none.", fixed=True
    )
    image_transport: str = setting(
        "raw", "How images arrive.", choices=("raw", "compressed"), fixed=True
    )
    depth_node: str = setting(
        "dpt",
        "The depth node's name, in this node's namespace; with a / in front, its full name.",
        fixed=True,
    )
    protocol: str = setting(
        "full", "Which pixels count: full, kitti, nyu, zero-shot or all.", fixed=True
    )
    output: str = setting(
        "", "Folder for the report and figures, written at the end; empty: none.", fixed=True
    )
    overwrite: bool = setting(False, "Whether files in that folder are replaced.", fixed=True)
    bag: str = setting(
        "",
        "A recording whose fixed transforms count until /tf_static tells better ones.",
        fixed=True,
    )
    rate: float = setting(
        1.0,
        "Speed at which a recording is played: latencies are told in seconds that pass.",
        minimum=0.001,
        fixed=True,
    )
    node_pid: int = setting(
        0,
        "The depth node's process on this machine, whose CPU and memory are told; 0: not known.",
        minimum=0,
        fixed=True,
    )
    partial: str = setting(
        "", "Why only a part was played, for the report: a sentence, set while the node runs."
    )
    samples: SampleSettings = field(default_factory=SampleSettings)


def in_parameters(advice: str) -> str:
    """What the commands are advised, for this node: --camera-frame is samples.camera_frame."""
    found: dict[str, str] = {}
    for item in list_settings(SampleSettings):
        flag, parameter = item.name.replace("_", "-"), f"samples.{item.name}"
        found |= {f"--{flag}": parameter, f"--no-{flag}": f"{parameter}:=false"}
    return re.sub(r"--\w+(?:[.-]\w+)*", lambda flag: found.get(flag[0], flag[0]), advice)
