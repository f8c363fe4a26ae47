"""Which network runs, and how: device, precision, compilation. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass

from dpt_ros.config import setting

PRECISIONS = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class InferenceSettings:
    """What `DepthPredictor` is given."""

    model: str = setting(
        "dpt_hybrid",
        "Name of the model (`dpt-ros models list` shows them), or a file of weights with a card "
        "inside, as `dpt-ros train` writes.",
        fixed=True,
    )
    checkpoint: str = setting(
        "",
        "Weights file (or Hugging Face folder) of the model; empty: the model's own, fetched "
        "before with `dpt-ros models pull NAME`.",
        fixed=True,
    )
    device: str = setting(
        "auto",
        "Where the network runs: cpu, cuda, cuda:1 ...; auto takes the GPU if there is one.",
        fixed=True,
    )
    precision: str = setting(
        "auto",
        "Number format of the network; auto: float16 on a GPU, bfloat16 on a CPU that is faster "
        "with it, else float32.",
        choices=PRECISIONS,
        fixed=True,
    )
    compile: bool = setting(
        False,
        "Whether to compile the network: minutes at the start, faster frames afterwards. Each new "
        "size of the pictures may compile once more, at its first frame. A network that does not "
        "compile runs as it is.",
        fixed=True,
    )
