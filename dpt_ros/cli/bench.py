"""`dpt-ros bench`: speed of the network beside references, of node, replay, fit and scoring."""

from __future__ import annotations

import argparse
from typing import Any

from dpt_ros.cli.numbers import playback_rate, positive, size

_EXAMPLE = """examples:
  dpt-ros bench network --models dpt_large
  dpt-ros bench network --models dpt_large --isl-org ~/DPT --transformers --json large.json
  dpt-ros bench node --size 640x480
  dpt-ros bench node --frames 10000 --size 64x48 --network-size 64x64   (is memory flat?)
  dpt-ros bench replay my_bag
  dpt-ros bench fit --methods robust least_squares
  dpt-ros bench score --frames 1000"""


def add_parser(subparsers: Any) -> None:
    """Declare the command's options."""
    parser = subparsers.add_parser(
        "bench",
        help="speed of the network beside references, of node and replay over DDS, of fit and "
        "scoring",
        description="Measure speed. Weights are random where they don't matter.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(
        dest="kind", metavar="network|node|replay|fit|score", required=True
    )
    _add_network(kinds)
    _add_node(kinds)
    _add_replay(kinds)
    _add_fit(kinds)
    _add_score(kinds)


def _add_network(kinds: Any) -> None:
    parser = kinds.add_parser(
        "network",
        help="latency, memory and share of the machine's matrix-product rate",
        description="Time the network alone, each round beside its references.",
        epilog="examples:\n  dpt-ros bench network --models dpt_tiny dpt_hybrid --size 512x384\n"
        "  dpt-ros bench network --models dpt_large --precisions float32 float16 --json large.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=["dpt_tiny", "dpt_hybrid", "dpt_large"],
        help="structures to time (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        default="384x384",
        type=size,
        help="width x height, multiples of 16, the patch (%(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=["auto"],
        help="float32, float16, bfloat16, auto (default: auto)",
    )
    parser.add_argument("--rounds", type=positive, default=10, help="timed rounds (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--isl-org", metavar="FOLDER", help="a checkout of isl-org/DPT to time")
    parser.add_argument(
        "--transformers", action="store_true", help="time transformers' DPT too, if installed"
    )
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    parser.set_defaults(func=_run_network)


def _add_node(kinds: Any) -> None:
    parser = kinds.add_parser(
        "node",
        help="what the node adds to the network, over real DDS between two processes",
        description="Publish pictures to the real node in a process of its own, subscribe to "
        "everything it publishes, and report what it spends outside the network.",
        epilog="examples:\n  dpt-ros bench node --size 640x480\n"
        "  dpt-ros bench node --model dpt_hybrid --device cuda --network-size 512x384",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="dpt_tiny", help="structure (default: %(default)s)")
    parser.add_argument("--size", default="640x480", type=size, help="width x height (%(default)s)")
    parser.add_argument(
        "--network-size",
        type=size,
        help="the network's input, multiples of 32 (default: that of the model's card)",
    )
    parser.add_argument(
        "--frames", type=positive, default=300, help="frames (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="see bench network (default: auto)")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    parser.set_defaults(func=_run_node)


def _add_replay(kinds: Any) -> None:
    parser = kinds.add_parser(
        "replay",
        help="what `dpt-ros replay` adds to the node's latency",
        description="Play a recording by turns with the replay and with a bare camera and "
        "subscriber, and compare how long depth takes.",
        epilog="example:\n  dpt-ros bench replay my_bag --rate 0.5 --rounds 5 --json replay.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", help="rosbag2 folder, .mcap or .db3")
    parser.add_argument("--model", default="dpt_tiny", help="model (default: %(default)s)")
    parser.add_argument(
        "--calibration",
        default="bundled",
        help='calibration.yaml for metres, or bundled; "" for none (default: %(default)s)',
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    parser.add_argument(
        "--frames", type=positive, default=100, help="pictures a round (default: %(default)s)"
    )
    parser.add_argument(
        "--rate", type=playback_rate, default=1.0, help="of playback (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="of each (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    parser.set_defaults(func=_run_replay)


def _add_fit(kinds: Any) -> None:
    from dpt_ros.geometry.fit_methods import FIT_METHODS

    parser = kinds.add_parser(
        "fit",
        help="time and error of fitting scale and shift to many points",
        description="Fit points whose scale and shift are known, by one method or more.",
        epilog="example:\n  dpt-ros bench fit --points 100000 --methods robust least_squares",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--points", type=positive, default=1_000_000, help="how many, from 3 (default: %(default)s)"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=FIT_METHODS,
        default=["robust"],
        help="how to fit (default: robust)",
    )
    parser.add_argument("--rounds", type=positive, default=10, help="of each (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    parser.set_defaults(func=_run_fit)


def _add_score(kinds: Any) -> None:
    parser = kinds.add_parser(
        "score",
        help="how long `dpt-ros evaluate` takes to score kept predictions",
        description="Score made-up frames whose predictions are kept: reading, aligning, metrics.",
        epilog="examples:\n  dpt-ros bench score --frames 1000 --jobs 4\n"
        "  dpt-ros bench score --points 3000 --protocol full --protocol kitti",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--frames", type=positive, default=100, help="frames (default: %(default)s)"
    )
    parser.add_argument("--size", default="640x480", type=size, help="width x height (%(default)s)")
    parser.add_argument(
        "--points", type=positive, default=0, help="pixels with truth in a frame (default: all)"
    )
    parser.add_argument(
        "--protocol", action="append", help="see `dpt-ros evaluate` (default: full)"
    )
    parser.add_argument("--jobs", type=positive, default=2, help="frames at a time (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    parser.set_defaults(func=_run_score)


def _check_json(options: argparse.Namespace) -> None:
    from dpt_ros.cli.result_files import check_files, json_of

    check_files(options, {"json": json_of(f"bench_{options.kind}")})


def _run_network(options: argparse.Namespace) -> int:
    from dpt_ros.cli.bench_network import run
    from dpt_ros.model.configurations import get_configuration
    from dpt_ros.model.picture_size import check_multiple

    _check_json(options)
    for name in options.models:
        check_multiple("--size", options.size, get_configuration(name).patch_size, name)
    return run(options)


def _run_node(options: argparse.Namespace) -> int:
    from dpt_ros.cli.bench_node import run
    from dpt_ros.model.cards import load_card
    from dpt_ros.model.picture_size import check_multiple

    _check_json(options)
    if options.network_size is not None:
        multiple = load_card(options.model).input.multiple_of
        check_multiple("--network-size", options.network_size, multiple, options.model)
    return run(options)


def _run_replay(options: argparse.Namespace) -> int:
    from dpt_ros.cli.bench_replay import run

    _check_json(options)
    return run(options)


def _run_fit(options: argparse.Namespace) -> int:
    from dpt_ros.cli.bench_fit import run
    from dpt_ros.geometry.fit import MIN_POINTS

    _check_json(options)
    if options.points < MIN_POINTS:
        raise ValueError(f"--points: got {options.points}, expected at least {MIN_POINTS}")
    return run(options)


def _run_score(options: argparse.Namespace) -> int:
    from dpt_ros.cli.bench_score import run

    _check_json(options)
    return run(options)
