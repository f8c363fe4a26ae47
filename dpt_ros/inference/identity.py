"""Which model it is that runs, told without loading it: card, weights file and its hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.model.cards import CardInFile, ModelCard, list_cards, load_card
from dpt_ros.model.checkpoint_files import weight_files
from dpt_ros.model.checkpoints import file_sha256, read_card
from dpt_ros.model.input_transform import InputTransform
from dpt_ros.model.integrity import CheckpointError
from dpt_ros.model.weights import check_weights, find_weights, own_places


@dataclass(frozen=True)
class ModelIdentity:
    """A model with its weights.

    Args:
        model_name: the card's name; where the file has a card inside, that one's, whatever model
            was named: a calibration says it, and fits the file however it is named.
        checkpoint_path: weights file or Hugging Face folder.
        checkpoint_sha256: of the file; of the list of the files' hashes where there are several.
        card: what its input and output are.
    """

    model_name: str
    checkpoint_path: Path
    checkpoint_sha256: str
    card: ModelCard

    @classmethod
    def of(cls, name: str, checkpoint: str | Path | None = None) -> ModelIdentity:
        """The model of a name or file; the arguments of `DepthPredictor.from_model`.

        Raises:
            ConfigError: there is no such model.
            CheckpointError: there are no weights, they can't be read, or are not the card's.
        """
        named = load_card(name)
        path = find_weights(named) if checkpoint is None else Path(checkpoint).expanduser()
        card = card_for(named, path)
        return cls(card.name, path, weights_sha256(path), card)

    @property
    def metric_scale_shift(self) -> ScaleShift | None:
        """What makes the output metric, if the model was trained on metres."""
        return metric_scale_shift(self.card)

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """The network's (height, width) for an image of this size."""
        return InputTransform(self.card.input).network_size(height, width)


def card_for(card: ModelCard, path: Path) -> ModelCard:
    """The card embedded in a .safetensors file; else `card`.

    Raises:
        CheckpointError: the file is one of another card, which means something else by its output,
            is not the one that a published or embedded card's metres are of, or is the card's own
            by its name and place with another hash than the card says.
    """
    _check_own_file(card, path)
    embedded = read_card(path) if path.suffix == ".safetensors" else None
    if embedded is None:
        _refuse_file_of_another(card, path)
        _refuse_unearned_metres(card, path)
        return card
    return embedded


def refuse_wrong_card(card: ModelCard, path: Path) -> None:
    """Refuse to write a card into weights that it does not describe.

    A card file of the user's own is taken at its word. A published card is refused for the file of
    another card, and a published or embedded one with metres for all but its own file and what was
    made from that.

    Args:
        card: the card to write.
        path: the checkpoint that the weights come from.

    Raises:
        CheckpointError: the card says what these weights do not mean.
    """
    embedded = read_card(path) if path.suffix == ".safetensors" else None
    means = (card.name, card.input, card.output)
    if embedded is not None and (embedded.name, embedded.input, embedded.output) == means:
        return
    _refuse_file_of_another(card, path)
    _refuse_unearned_metres(card, path)


def _check_own_file(card: ModelCard, path: Path) -> None:
    """A card's hash is of the file that `find_weights` gives, and of no other."""
    if path.name == card.file and path.absolute() in own_places(card):
        check_weights(card, path)


def _refuse_file_of_another(card: ModelCard, path: Path) -> None:
    """Their structures are alike, so that nothing else would show it."""
    cards = {known.name: known for known in list_cards()}
    if card.name not in cards or path.name == card.file:
        return
    for other in cards.values():
        if path.name == other.file and (other.input, other.output) != (card.input, card.output):
            raise CheckpointError(
                f"{path}: is the weights file of {other.name}, whose input or output differs from "
                f"that of {card.name}: take {other.name} as the model, or give the file another "
                "name if it is your own"
            )


def _refuse_unearned_metres(card: ModelCard, path: Path) -> None:
    """A published card's metres hold for the file that was trained on them, and for no other.

    So do those of a card that came out of a weights file.
    """
    if metric_scale_shift(card) is None:
        return
    if isinstance(card, CardInFile):
        if weights_sha256(path) != weights_sha256(card.path):
            raise CheckpointError(
                f"{path}: has no card inside and is not {card.path}, whose metres hold for that "
                "file alone: for weights of your own give a card (.yaml) of your own as the model, "
                "or take a relative model and a calibration"
            )
        return
    if card.name not in {known.name for known in list_cards()}:
        return
    if not weights_sha256(path).startswith(card.sha256):
        raise CheckpointError(
            f"{path}: is not the published file of {card.name} (another SHA-256 than "
            f"{card.sha256}...), whose metres hold for that file alone: for weights of your own "
            "give a card of your own as the model, or take a relative model and a calibration"
        )


def metric_scale_shift(card: ModelCard | None) -> ScaleShift | None:
    """The card's own scale and shift; None where its output is relative."""
    if card is None or card.output.scale is None or card.output.shift is None:
        return None
    return ScaleShift(card.output.scale, card.output.shift)


def weights_sha256(path: Path) -> str:
    """SHA-256 of the weights file; of the list of the files' hashes where there are several.

    Raises:
        CheckpointError: a folder without weights or with a faulty index, or a file can't be read.
    """
    files = weight_files(path) if path.is_dir() else [path]
    digests = [file_sha256(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
