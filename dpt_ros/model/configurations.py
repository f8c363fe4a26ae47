"""The DPT structures: what distinguishes Base, Large, Hybrid and Tiny. Knows no torch.

Ranftl, Bochkovskiy, Koltun, "Vision Transformers for Dense Prediction", ICCV 2021; numbers as in
the authors' released code, with which the public weights were trained.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

READOUTS = ("ignore", "add", "project")
WEIGHT_STANDARDIZATIONS = ("sigma", "variance")


@dataclass(frozen=True)
class DPTConfiguration:
    """Everything that decides the shapes and the arithmetic of one network."""

    name: str
    """The structure's name, for messages; overrides do not change it."""
    timm_backbone: str
    """The timm model whose first `depth` blocks are this backbone: for pretrained weights; empty
    where timm has none."""
    embed_dim: int
    """Width D of a token."""
    depth: int
    """Number of transformer blocks."""
    num_heads: int
    taps: tuple[int, ...]
    """Blocks (from 0, before any final norm) whose tokens are read: four, or the last two when a
    ResNet stem gives the first two levels. The last block is always the last tap."""
    channels: tuple[int, int, int, int]
    """Channels of the reassembled levels at strides 4, 8, 16 and 32."""
    features: int = 256
    """Channels of the decoder."""
    head_features: int = 32
    """Channels of the head's last hidden layer, at full resolution."""
    readout: str = "project"
    """What happens to the readout (class) token: one of READOUTS."""
    patch_size: int = 16
    image_size: tuple[int, int] = (384, 384)
    """Height and width that the position embedding was made for; other sizes interpolate it."""
    layer_norm_eps: float = 1e-6
    resnet_layers: tuple[int, ...] = ()
    """Blocks in each stage of the ResNet stem; empty: no stem, patches are cut from the image."""
    resnet_channels: tuple[int, ...] = (256, 512, 1024)
    resnet_stem_channels: int = 64
    resnet_norm_groups: int = 32
    """Groups of the stem's group norms; divides its channels, and a quarter of each stage's."""
    weight_standardization: str = "sigma"
    """How the stem's weights are standardised, one of WEIGHT_STANDARDIZATIONS. "sigma" divides by
    sigma + 1e-5: the public Hybrid weights were trained so. "variance" divides by
    sqrt(sigma^2 + 1e-8), as newer timm and transformers do; 1e-3 relative apart at the output."""

    def __post_init__(self) -> None:
        """Check what the construction relies on.

        Raises:
            ValueError: a setting that no network can be built from.
        """
        self._check_numbers()
        self._one_of("readout", READOUTS)
        self._one_of("weight_standardization", WEIGHT_STANDARDIZATIONS)
        expected_taps = 2 if self.resnet_layers else 4
        if (
            len(self.taps) != expected_taps
            or list(self.taps) != sorted(set(self.taps))
            or self.taps[0] < 0
            or self.taps[-1] != self.depth - 1
        ):
            raise ValueError(
                f"{self.name}: taps={self.taps} with depth={self.depth}: expected {expected_taps} "
                f"ascending block numbers of which the last is {self.depth - 1}"
            )
        if len(self.channels) != 4:
            raise ValueError(f"{self.name}: channels={self.channels}: expected four numbers")
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"{self.name}: embed_dim={self.embed_dim} is not a multiple of "
                f"num_heads={self.num_heads}"
            )
        if any(side % self.patch_size for side in self.image_size):
            raise ValueError(
                f"{self.name}: image_size={self.image_size}: expected multiples of the patch size "
                f"{self.patch_size}"
            )
        self._check_resnet()

    def _check_numbers(self) -> None:
        """Values may come from a file, as text, with a fraction, or 0."""
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "taps" else 1
            is_good, expected = True, ""
            if field.type == "int":
                is_good, expected = _is_whole(value, least), "a whole number above 0"
            elif field.type == "float":
                is_good = isinstance(value, (int, float)) and 0.0 < value < float("inf")
                expected = "a number above 0, such as 1.0e-6"
            elif str(field.type).startswith("tuple"):
                is_good = isinstance(value, tuple) and all(_is_whole(n, least) for n in value)
                expected = f"a list of whole numbers, each at least {least}"
            if not is_good:
                raise ValueError(f"{self.name}: {field.name}={value!r}: expected {expected}")
        if len(self.image_size) != 2:
            raise ValueError(
                f"{self.name}: image_size={self.image_size}: expected height and width"
            )

    def _one_of(self, field: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, field)
        if value not in choices:
            raise ValueError(
                f"{self.name}: {field}={value!r}: expected one of {', '.join(choices)}"
            )

    def _check_resnet(self) -> None:
        if not self.resnet_layers:
            return
        if len(self.resnet_layers) != 3 or len(self.resnet_channels) != 3:
            raise ValueError(
                f"{self.name}: resnet_layers={self.resnet_layers}, "
                f"resnet_channels={self.resnet_channels}: expected three stages"
            )
        if self.patch_size != 16:
            raise ValueError(
                f"{self.name}: patch_size={self.patch_size}: a ResNet stem has stride 16"
            )
        normed = (self.resnet_stem_channels, *(count // 4 for count in self.resnet_channels))
        if any(count % self.resnet_norm_groups for count in normed):
            raise ValueError(
                f"{self.name}: resnet_norm_groups={self.resnet_norm_groups}: expected a divisor of "
                f"{', '.join(map(str, normed))}: the stem's channels and a quarter of each stage's"
            )
        if self.channels[:2] != self.resnet_channels[:2]:
            raise ValueError(
                f"{self.name}: channels={self.channels}: the first two levels are the ResNet's, "
                f"whose channels are {self.resnet_channels[:2]}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches that the position embedding has."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def token_levels(self) -> tuple[int, ...]:
        """The levels (0 is the finest) that are reassembled from tokens."""
        return (2, 3) if self.resnet_layers else (0, 1, 2, 3)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


MODELS: dict[str, DPTConfiguration] = {
    "dpt_base": DPTConfiguration(
        name="dpt_base",
        timm_backbone="vit_base_patch16_384",
        embed_dim=768,
        depth=12,
        num_heads=12,
        taps=(2, 5, 8, 11),
        channels=(96, 192, 384, 768),
    ),
    "dpt_large": DPTConfiguration(
        name="dpt_large",
        timm_backbone="vit_large_patch16_384",
        embed_dim=1024,
        depth=24,
        num_heads=16,
        taps=(5, 11, 17, 23),
        channels=(256, 512, 1024, 1024),
    ),
    "dpt_hybrid": DPTConfiguration(
        name="dpt_hybrid",
        timm_backbone="vit_base_r50_s16_384",
        embed_dim=768,
        depth=12,
        num_heads=12,
        taps=(8, 11),
        channels=(256, 512, 768, 768),
        resnet_layers=(3, 4, 9),
    ),
    # For robots without a GPU: a Hybrid of a quarter of the width and half the depth. It has to be
    # trained from random weights, and then convolutions first learn in half the steps that cutting
    # patches takes. The convolutions at strides 4, 2 and 1 cost as much as the transformer, so
    # there it is narrow: 48 channels instead of 256, and 16 at full size.
    "dpt_tiny": DPTConfiguration(
        name="dpt_tiny",
        timm_backbone="",
        embed_dim=192,
        depth=6,
        num_heads=3,
        taps=(2, 5),
        channels=(64, 96, 96, 128),
        features=48,
        head_features=16,
        resnet_layers=(2, 2, 2),
        resnet_channels=(64, 96, 192),
        resnet_stem_channels=24,
        resnet_norm_groups=8,
    ),
}


def get_configuration(name: str, **overrides: Any) -> DPTConfiguration:
    """The configuration of that name, with some of its fields replaced.

    Raises:
        ValueError: an unknown name or field, or a value that no network can be built from.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}: expected one of {', '.join(MODELS)}")
    known = [field.name for field in fields(DPTConfiguration) if field.name != "name"]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ValueError(
            f"{name}: unknown setting {', '.join(map(repr, unknown))}: "
            f"expected one of {', '.join(known)}"
        )
    as_tuples: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in overrides.items()
    }
    return replace(MODELS[name], **as_tuples)
