"""`dpt-ros models`: which models there are; gets, checks, converts and exports their weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dpt_ros.cli.numbers import size

if TYPE_CHECKING:
    from dpt_ros.model.cards import ModelCard
    from dpt_ros.model.configurations import DPTConfiguration
    from dpt_ros.model.dpt import DPT

_EXAMPLES = """examples:
  dpt-ros models list
  dpt-ros models pull dpt_hybrid
  dpt-ros models pull dpt_hybrid --from /media/usb/weights
  dpt-ros models verify dpt_hybrid
  dpt-ros models convert dpt_hybrid-midas-501f0c75.pt dpt_hybrid.safetensors --half
  dpt-ros models export dpt_hybrid --out dpt_hybrid.onnx

Weights are kept in the folder that the environment variable DPT_ROS_WEIGHTS names,
~/.cache/dpt_ros if it is not set.
"""


def add_parser(subparsers: Any) -> None:
    """Add `models` and its actions to the command line."""
    parser = subparsers.add_parser(
        "models",
        help="list, fetch, check, convert and export models",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(func=lambda options: parser.print_help() or 2)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    _add_reading(actions)
    _add_writing(actions)


def _add_action(actions: Any, name: str, about: str, *examples: str) -> Any:
    """Add an action with its examples, of which each is what follows the action's name."""
    lines = [f"  dpt-ros models {name} {words}".rstrip() for words in examples]
    return actions.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog="\n".join(["example:" if len(lines) == 1 else "examples:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_reading(actions: Any) -> None:
    action = _add_action(actions, "list", "the models, and whether their weights are here", "")
    action.set_defaults(func=_list)

    action = _add_action(
        actions, "show", "all there is to know about one model", "dpt_hybrid", "mine.safetensors"
    )
    action.add_argument("model", help="a model's name, a card (.yaml) or a .safetensors file")
    action.set_defaults(func=_show)

    action = _add_action(
        actions,
        "pull",
        "get a model's weights; goes on where it was cut off",
        "dpt_hybrid",
        "dpt_hybrid --from /media/usb/weights",
    )
    action.add_argument("model", help="a model's name or a card (.yaml)")
    action.add_argument(
        "--from",
        dest="source",
        metavar="SOURCE",
        help="a file, a folder or a mirror's address to take the weights from",
    )
    action.set_defaults(func=_pull)

    action = _add_action(
        actions,
        "verify",
        "check hash, structure and values of weights",
        "",
        "dpt_hybrid runs/mine/model.safetensors",
    )
    action.add_argument(
        "what",
        nargs="*",
        metavar="NAME|FILE",
        help="models, checkpoint files or Hugging Face folders (default: all models that are here)",
    )
    action.set_defaults(func=_verify)


def _add_writing(actions: Any) -> None:
    action = _add_action(
        actions,
        "convert",
        "turn a checkpoint into one of our .safetensors",
        "dpt_hybrid-midas-501f0c75.pt dpt_hybrid.safetensors --half",
        "weights.pt mine.safetensors --card mine.yaml",
    )
    action.add_argument("input", type=Path, help="a .pt or .safetensors file, or a folder")
    action.add_argument("output", type=Path, help="the .safetensors file to write")
    action.add_argument("--card", help="the model it is of: a name or a card (.yaml, .safetensors)")
    action.add_argument("--half", action="store_true", help="store half precision: half the size")
    action.add_argument("--force", action="store_true", help="replace OUTPUT if it exists")
    action.set_defaults(func=_convert)

    action = _add_action(
        actions,
        "export",
        "write a model as ONNX, for TensorRT and other runtimes (pip install 'dpt_ros[onnx]')",
        "dpt_hybrid --out dpt_hybrid.onnx",
        "dpt_hybrid --out dpt_hybrid.onnx --size 512x384",
        "runs/mine/model.safetensors --out mine.onnx",
    )
    action.add_argument("model", help="a model's name, a card (.yaml) or a .safetensors file")
    action.add_argument("--out", required=True, metavar="FILE.onnx", help="the file to write")
    action.add_argument(
        "--checkpoint", default="", metavar="FILE", help="weights (default: the model's own)"
    )
    action.add_argument(
        "--size",
        type=size,
        metavar="WxH",
        help="for one picture at a time, of this width and height, multiples of 16, alone: a "
        "simpler graph (default: any size and any number of pictures)",
    )
    action.set_defaults(func=_export)


def _list(options: argparse.Namespace) -> int:
    from dpt_ros.model.cards import list_cards
    from dpt_ros.model.weights import weights_folder

    rows = [("NAME", "STRUCTURE", "OUTPUT", "SIZE", "LICENSE", "HERE")]
    for card in list_cards():
        weights = _weights_here(card)
        size_mb = weights.stat().st_size / 1e6 if weights else card.size_mb
        rows.append(
            (
                card.name,
                card.structure,
                "metres" if card.is_metric else "relative",
                _size_text(size_mb),
                card.license.split(" (")[0] or "-",
                "yes" if weights else ("no" if card.file else "none published"),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(f"\nWeights are kept in {weights_folder()}. Get one with: dpt-ros models pull NAME")
    return 0


def _size_text(size_mb: float) -> str:
    if not size_mb:
        return "-"
    return f"{size_mb / 1e3:.2f} GB" if size_mb >= 1e3 else f"{size_mb:.0f} MB"


def _show(options: argparse.Namespace) -> int:
    import yaml

    from dpt_ros.model.cards import load_card
    from dpt_ros.model.weights import pull_command

    card = load_card(options.model)
    print(yaml.safe_dump(card.to_mapping(), sort_keys=False, width=100, allow_unicode=True), end="")
    weights = _weights_here(card)
    if weights:
        print(f"# here: {weights}")
    elif card.url:
        print(f"# not here; get it with: {pull_command(card)}")
    return 0


def _pull(options: argparse.Namespace) -> int:
    from dpt_ros.model.cards import CardInFile, load_card
    from dpt_ros.model.weights import kept_of_pull, pull

    card = load_card(options.model)
    if isinstance(card, CardInFile):
        raise ValueError(f"{card.path}: holds the weights of {card.name}; there is nothing to get")
    try:
        with ProgressBars() as bars:
            path = pull(card, options.source, bars)
    except KeyboardInterrupt:
        if kept := kept_of_pull(card, options.source):
            print(
                f"the first {kept / 1e6:.1f} MB are kept: the same command goes on from there",
                file=sys.stderr,
            )
        raise
    checked = f"SHA-256 {card.sha256}" if card.sha256 else "not verified: its card has no hash"
    fetched = "ready" if bars.has_fetched else "was here already"
    print(f"{card.name}: {fetched} in {path} ({checked})")
    if card.license:
        print(f"Licence: {card.license}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from dpt_ros.config import ConfigError
    from dpt_ros.model.cards import list_cards
    from dpt_ros.model.integrity import CheckpointError
    from dpt_ros.model.weights import weights_folder

    names = options.what or [card.name for card in list_cards() if _weights_here(card)]
    if not names:
        print(f"there are no weights in {weights_folder()}; dpt-ros models pull NAME gets some")
    failures = 0
    for name in names:
        try:
            with ProgressBars() as bars:
                report = _verify_one(name, bars)
            print(f"{name}: ok: {report}")
        except (CheckpointError, ConfigError) as error:
            print(f"{name}: FAILED: {error}", file=sys.stderr)
            failures += 1
    return 1 if failures else 0


def _verify_one(name: str, bars: ProgressBars) -> str:
    """Check the weights of a model, or a file or folder; say what it is."""
    from dpt_ros.model.cards import list_cards, load_card
    from dpt_ros.model.checkpoints import check_checkpoint, find_configuration, read_card
    from dpt_ros.model.configurations import get_configuration
    from dpt_ros.model.integrity import file_sha256
    from dpt_ros.model.weights import check_weights, find_weights

    path = Path(name)
    cards = {card.name: card for card in list_cards()}
    if name in cards or path.suffix in (".yaml", ".yml") or not _is_path(path):
        card = load_card(name)
        configuration = get_configuration(card.structure, **card.structure_overrides)
        path = find_weights(card)
        digest = check_weights(card, path, bars)
        origin = f"{path}" if card.sha256 else f"{path}, its card has no hash"
    else:
        configuration = find_configuration(path)
        if path.suffix == ".safetensors":
            read_card(path)  # one that is damaged makes it no model
        digest = file_sha256(path, bars) if path.is_file() else ""
        published = [c.name for c in cards.values() if c.sha256 and digest.startswith(c.sha256)]
        origin = f"the published {published[0]}" if published else "no published file"
    state = check_checkpoint(_without_memory(configuration), path, progress=bars)
    values = sum(value.numel() for value in state.values())
    return (
        f"{configuration.name}, readout {configuration.readout}, {values / 1e6:.1f} M finite "
        f"values, {origin}" + (f", SHA-256 {digest}" if digest else "")
    )


def _is_path(path: Path) -> bool:
    return path.exists() or len(path.parts) > 1 or path.suffix != ""


def _convert(options: argparse.Namespace) -> int:
    from dpt_ros.inference.identity import refuse_wrong_card
    from dpt_ros.model.checkpoints import load_checkpoint, save_checkpoint
    from dpt_ros.model.configurations import get_configuration

    output: Path = options.output
    if output.exists() and not options.force:
        raise FileExistsError(f"{output}: exists already; --force replaces it")
    card = _card_of(options.input, options.card)
    configuration = get_configuration(card.structure, **card.structure_overrides)
    model = _without_memory(configuration)
    if options.half:
        model.half()
    with ProgressBars() as bars:
        load_checkpoint(model, options.input, progress=bars)
    refuse_wrong_card(card, options.input)
    save_checkpoint(model, output, card)
    print(f"{output}: {card.name}, {output.stat().st_size / 1e6:.1f} MB, card inside")
    return 0


def _export(options: argparse.Namespace) -> int:
    from dpt_ros.cli.models_export import run

    return run(options)


def _card_of(path: Path, name: str | None) -> ModelCard:
    """The card that was named, that is inside the file, or that publishes a file of its name."""
    from dpt_ros.model.cards import list_cards, load_card
    from dpt_ros.model.checkpoints import read_card
    from dpt_ros.model.integrity import CheckpointError

    if name is not None:
        return load_card(name)
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file or folder")
    inside = read_card(path)
    published = [card for card in list_cards() if card.file == path.name]
    if inside is None and not published:
        names = ", ".join(card.name for card in list_cards())
        raise CheckpointError(
            f"{path}: which model it is cannot be told from its name; say it with --card NAME "
            f"({names}, or your own card's .yaml)"
        )
    return inside or published[0]


def _weights_here(card: ModelCard) -> Path | None:
    from dpt_ros.model.integrity import CheckpointError
    from dpt_ros.model.weights import find_weights

    try:
        return find_weights(card)
    except CheckpointError:
        return None


def _without_memory(configuration: DPTConfiguration) -> DPT:
    """The network as mere shapes, which takes no memory."""
    import torch

    from dpt_ros.model.dpt import DPT

    with torch.device("meta"):
        return DPT(configuration)


class ProgressBars:
    """Progress bars on standard error, one after the other; in a log file, a line every 10 s."""

    def __init__(self) -> None:
        self.has_fetched = False
        self._what = ""
        self._bar: Any = None

    def __enter__(self) -> ProgressBars:
        return self

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show how far `what` is."""
        from tqdm import tqdm

        self.has_fetched |= what != "check"
        if what != self._what or done < self._bar.n:
            self._close()
            self._what = what
            interval_s = 0.1 if sys.stderr.isatty() else 10.0
            self._bar = tqdm(
                desc=what,
                total=total,
                initial=done,
                unit="B",
                unit_scale=True,
                mininterval=interval_s,
            )
        else:
            self._bar.update(done - self._bar.n)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._what, self._bar = "", None
