"""Model cards: what a set of weights is, where it comes from, what it takes and what it gives.

One YAML file a model in `models/`. A card also travels inside our own .safetensors files, each of
which is a model by itself.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpt_ros.config import (
    ConfigError,
    Setting,
    load_yaml,
    setting,
    share_folder,
    unknown_key_message,
)
from dpt_ros.model.configurations import get_configuration

RESIZE_RULES = ("minimal",)

_WHERE_WEIGHTS_GO = (
    "weights without a card go to --checkpoint (checkpoint:=), with the model that they are of as "
    "--model (model:=)"
)
OUTPUT_KINDS = ("relative_inverse_depth", "metric_inverse_depth")


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """How an image becomes the network's input. Sizes in pixels of the network's input."""

    width: int = setting(384, "Width aimed at.", unit="px", minimum=16)
    height: int = setting(384, "Height aimed at.", unit="px", minimum=16)
    multiple_of: int = setting(32, "Both sides are rounded to a multiple of it.", unit="px")
    resize: str = setting(
        "minimal",
        "How the aspect ratio is kept: 'minimal' lets the side that changes less decide.",
        choices=RESIZE_RULES,
    )
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Subtracted from red, green and blue after the division by 255."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """What the difference is divided by."""

    def __post_init__(self) -> None:
        for side in ("width", "height"):
            pixels = getattr(self, side)
            if self.multiple_of < 1 or pixels < 1 or pixels % self.multiple_of:
                raise ConfigError(
                    f"input.{side}: got {pixels}, expected a multiple of input.multiple_of = "
                    f"{self.multiple_of}, above 0"
                )
        if not all(value > 0.0 for value in self.std):
            raise ConfigError(f"input.std: got {list(self.std)}, expected values above 0")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not all(0.0 <= value <= 1.0 for value in values):
                raise ConfigError(
                    f"input.{name}: got {list(values)}, expected values from 0 to 1: of rgb / 255. "
                    "Divide by 255 what is given for values from 0 to 255"
                )


@dataclasses.dataclass(frozen=True)
class OutputSpec:
    """What the network's output x is.

    `relative_inverse_depth`: no unit, larger is nearer. `metric_inverse_depth`:
    `scale * x + shift` is the inverse depth in 1/m.
    """

    kind: str = setting("relative_inverse_depth", "What it is.", choices=OUTPUT_KINDS)
    scale: float | None = None
    shift: float | None = None

    def __post_init__(self) -> None:
        is_metric = self.kind == "metric_inverse_depth"
        if (self.scale is not None, self.shift is not None) != (is_metric, is_metric):
            expected = "both scale and shift" if is_metric else "neither scale nor shift"
            raise ConfigError(
                f"output: got kind {self.kind!r} with scale {self.scale}, shift {self.shift}; "
                f"expected {expected}"
            )
        if self.scale is not None and not self.scale > 0.0:
            raise ConfigError(
                f"output.scale: got {self.scale}, expected more than 0: a larger output is nearer, "
                "and such a scale makes it farther, or all of one depth"
            )


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """A set of weights. Without `file`, none are published: train them, or name a checkpoint."""

    name: str = setting("", "The model's name, which is the card file's too.")
    description: str = setting("", "One sentence on what it is good for.")
    structure: str = setting("", "The network's structure, such as dpt_large.")
    structure_overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What differs from the structure's defaults, such as `readout: ignore`."""
    file: str = setting("", "Name of the weights file.")
    url: str = setting("", "Where the file is published.")
    sha256: str = setting("", "SHA-256 of the file, or its first digits (at least 8) if no more.")
    size_mb: int = setting(0, "About the size of the file.", unit="MB", minimum=0)
    license: str = setting("", "Licence of the weights.")
    training_data: str = setting("", "What it was trained on.")
    citation: str = setting("", "What to cite.")
    input: InputSpec = dataclasses.field(default_factory=InputSpec)
    output: OutputSpec = dataclasses.field(default_factory=OutputSpec)

    def __post_init__(self) -> None:
        _expect(self.name, r"[a-z0-9][a-z0-9_]*", "name", "lower-case letters, digits and _")
        _expect(self.sha256, r"([0-9a-f]{8,64})?", "sha256", "8 to 64 lower-case digits 0-9a-f")
        _expect(self.file, r"([\w][\w.+-]*)?", "file", "a file name without a folder")
        _expect(self.url, r"(https?://\S+)?", "url", "an http or https address")
        try:
            get_configuration(self.structure, **self.structure_overrides)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"structure: {error}") from error
        self._check_multiple()
        if self.url and not self.file:
            raise ConfigError("file: is missing; a card with a url names the file it gives")

    def _check_multiple(self) -> None:
        """The network takes whole patches alone; every image would fail on another size."""
        patch = get_configuration(self.structure, **self.structure_overrides).patch_size
        if self.input.multiple_of % patch:
            raise ConfigError(
                f"input.multiple_of: got {self.input.multiple_of}, expected a multiple of {patch}: "
                f"{self.structure} cuts its input into patches of {patch} px, and takes no other "
                "size"
            )

    @property
    def is_metric(self) -> bool:
        """Whether the output gives metres."""
        return self.output.kind == "metric_inverse_depth"

    def to_mapping(self) -> dict[str, Any]:
        """The card as plain values, for YAML or JSON; `card_from_mapping` reads it back."""
        names = [field.name for field in dataclasses.fields(ModelCard)]
        mapping = {name: getattr(self, name) for name in names}
        mapping["structure_overrides"] = dict(self.structure_overrides)
        for part in ("input", "output"):
            values = dataclasses.asdict(mapping[part])
            mapping[part] = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in values.items()
                if value is not None
            }
        return mapping


@dataclasses.dataclass(frozen=True)
class CardInFile(ModelCard):
    """A card that came out of a .safetensors file, whose weights are the model's own."""

    path: Path = Path()
    """The file; no part of what the card says."""


CALIBRATION_SUFFIX = ".calibration.yaml"
"""Ends the name of a calibration that comes with a model, beside the model's card."""


def cards_folder() -> Path:
    """The folder of the cards that come with the package."""
    return share_folder() / "models"


def list_cards() -> list[ModelCard]:
    """The cards that come with the package, by name.

    Raises:
        ConfigError: a card is faulty; the message names its file.
    """
    return [load_card(path) for path in _card_files()]


def load_card(name_or_path: str | Path) -> ModelCard:
    """Read a card by its name ("dpt_large"), from a YAML file, or out of a .safetensors file.

    Returns:
        the card; a `CardInFile` where it came out of a weights file.

    Raises:
        ConfigError: there is no such card (the message lists what there is), or it is faulty.
        CheckpointError: a .safetensors file that is damaged, or whose card is faulty.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix == ".safetensors" and path.is_file():
        return _card_in_file(path)
    if path.suffix not in (".yaml", ".yml"):
        names = [item.stem for item in _card_files()]
        if str(name_or_path) not in names:
            raise ConfigError(
                f"there is no model {str(name_or_path)!r}; there are {', '.join(names)}, or the "
                "path of a card (.yaml) or of a .safetensors file with a card inside"
                + (f"; {_WHERE_WEIGHTS_GO}" if _is_like_weights(path) else "")
            )
        path = cards_folder() / f"{name_or_path}.yaml"
    card = card_from_mapping(load_yaml(path), str(path))
    if card.name != path.stem:
        raise ConfigError(f"{path}: name: got {card.name!r}, expected the file's, {path.stem!r}")
    return card


def _card_in_file(path: Path) -> CardInFile:
    from dpt_ros.model.checkpoints import read_card  # loads torch

    card = read_card(path)
    if card is None:
        raise ConfigError(
            f"{path}: has no card inside, so that it is no model by itself; {_WHERE_WEIGHTS_GO}, "
            "or put a card in with `dpt-ros models convert`"
        )
    values = {field.name: getattr(card, field.name) for field in dataclasses.fields(card)}
    return CardInFile(**values, path=path)


def _is_like_weights(path: Path) -> bool:
    """Whether a name that is no model's may be meant for weights."""
    return path.is_dir() or path.suffix in (".pt", ".pth", ".bin", ".safetensors")


def _card_files() -> list[Path]:
    """Of the cards that come with the package; calibrations lie beside them."""
    paths = sorted(cards_folder().glob("*.yaml"))
    return [path for path in paths if not path.name.endswith(CALIBRATION_SUFFIX)]


def card_from_mapping(values: Mapping[str, Any], origin: str) -> ModelCard:
    """Make a card from plain values.

    Args:
        values: as in the YAML file.
        origin: where they come from, for messages.

    Raises:
        ConfigError: an unknown key (the valid ones are listed) or a wrong value.
    """
    try:
        card = _build(ModelCard, values, "")
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    return typing.cast(ModelCard, card)


def _build(card_class: type, values: Any, prefix: str) -> Any:
    # `config.build` takes scalars alone; a card also has lists, mappings and optional numbers.
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix.rstrip('.')}: got {values!r}, expected a mapping")
    fields = {field.name: field for field in dataclasses.fields(card_class)}
    hints = typing.get_type_hints(card_class)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(
                unknown_key_message(f"{prefix}{key}", [f"{prefix}{name}" for name in fields])
            )
        arguments[key] = _value(f"{prefix}{key}", hints[key], value, fields[key])
    return card_class(**arguments)


def _value(name: str, hint: Any, value: Any, field: dataclasses.Field[Any]) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, f"{name}.")
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or len(value) != 3:
            raise ConfigError(f"{name}: got {value!r}, expected three numbers")
        return tuple(_number(name, item) for item in value)
    if hint == (float | None):
        return _number(name, value)
    if typing.get_origin(hint) is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ConfigError(f"{name}: got {value!r}, expected a mapping of names to values")
        return dict(value)
    try:
        return Setting(name, hint, field.default, **field.metadata).check(value)
    except ConfigError as error:
        hint_of_yaml = "; put it in quotes" if hint is str and not isinstance(value, str) else ""
        raise ConfigError(f"{error}{hint_of_yaml}") from error


def _number(name: str, value: Any) -> float:
    try:
        return float(Setting(name, float, None, "").check(value))
    except ConfigError as error:
        hint = ""
        if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value):
            hint = "; YAML takes it for text: write it as 1.0e-3, with the point and the sign"
        raise ConfigError(f"{error}{hint}") from error


def _expect(value: str, pattern: str, name: str, expected: str) -> None:
    if not re.fullmatch(pattern, value):
        raise ConfigError(f"{name}: got {value!r}, expected {expected}")
