"""How a network runs: device, precision, compilation. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass

from dpt_ros.config import setting

PRECISIONS = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class InferenceSettings:
    """What `DepthPredictor` is given."""

    device: str = setting(
        "auto",
        "Where the network runs: cpu, cuda, cuda:1 ...; auto takes the GPU if there is one.",
        fixed=True,
    )
    precision: str = setting(
        "auto",
        "Number format of the network; auto: float16 on a GPU, bfloat16 on a CPU that computes "
        "with it, else float32.",
        choices=PRECISIONS,
        fixed=True,
    )
    compile: bool = setting(
        False,
        "Whether to compile the network: minutes at the start, faster frames afterwards.",
        fixed=True,
    )
