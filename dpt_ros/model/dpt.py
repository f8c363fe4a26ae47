"""The DPT network: normalised image in, relative inverse depth out."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from dpt_ros.model.backbone import Encoder
from dpt_ros.model.configurations import DPTConfiguration, get_configuration
from dpt_ros.model.decoder import Decoder, DepthHead, Reassemble
from dpt_ros.model.foreign_keys import rename_timm
from dpt_ros.model.resnet_layers import StandardizedConv2d


class DPT(nn.Module):
    """Dense Prediction Transformer for depth.

    Ranftl, Bochkovskiy, Koltun, ICCV 2021, arXiv 2103.13413.
    """

    def __init__(self, configuration: DPTConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        self.patch_size = configuration.patch_size
        self.encoder = Encoder(configuration)
        # Named by level; in Hybrid the two finest levels are the ResNet's as they are.
        self.reassemble = nn.ModuleDict(
            {
                str(level): Reassemble(
                    level,
                    configuration.readout,
                    configuration.embed_dim,
                    configuration.channels[level],
                )
                for level in configuration.token_levels
            }
        )
        self.decoder = Decoder(configuration.channels, configuration.features)
        self.head = DepthHead(configuration.features, configuration.head_features)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised rgb [B, 3, h, w] to relative inverse depth [B, h, w], not negative.

        Raises:
            ValueError: another shape, or sides that are no multiples of the patch size.
        """
        grid = self._grid_of(x)
        levels, taps = self.encoder(x)
        for reassemble, (patches, readout) in zip(self.reassemble.values(), taps, strict=True):
            levels.append(reassemble(patches, readout, grid))
        inverse_depth: Tensor = self.head(self.decoder(levels))
        return inverse_depth

    def prepare_for_inference(self) -> DPT:
        """Make the network as fast as it can be, for inference only, and return it.

        Puts it in eval mode, fixes the parameters, computes standardised weights (Hybrid) once
        and lays convolution weights out channels-last. Load weights before: afterwards a Hybrid
        takes no checkpoint and cannot be trained. May be called again.
        """
        self.eval().requires_grad_(False)
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, StandardizedConv2d):
                    setattr(module, name, child.folded().eval())
        return self.use_channels_last()

    def use_channels_last(self) -> DPT:
        """Lay convolution weights out channels-last, which is faster, and return the network.

        Not the ResNet's: PyTorch's channels-last group norm on a CPU is half as exact, not faster.
        """
        for part in (self.encoder.vit, self.reassemble, self.decoder, self.head):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def _grid_of(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of patches in x."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(
                f"{self.configuration.name}: input of shape {list(x.shape)}: expected [B, 3, h, w]"
            )
        height, width = x.shape[-2:]
        if height % self.patch_size or width % self.patch_size or height == 0 or width == 0:
            raise ValueError(
                f"{self.configuration.name}: input of {height} x {width} (height x width): expected"
                f" multiples of {self.patch_size}; resize or pad the image"
            )
        return height // self.patch_size, width // self.patch_size


def create_model(name: str, *, pretrained_backbone: bool = False, **overrides: Any) -> DPT:
    """Build a network with random weights: "dpt_base", "dpt_large", "dpt_hybrid" or "dpt_tiny".

    Args:
        name: a name in MODELS.
        pretrained_backbone: start the encoder from timm's image-classification weights, which
            timm downloads: for training, not needed before a checkpoint is loaded.
        overrides: replace fields of its configuration, for instance `readout="ignore"`.

    Raises:
        ValueError: an unknown name or field, a value that no network can be built from, or a
            pretrained backbone of a structure for which timm has none.
    """
    model = DPT(get_configuration(name, **overrides))
    if pretrained_backbone:
        _load_pretrained_backbone(model)
    return model


def _load_pretrained_backbone(model: DPT) -> None:
    """Fill the encoder from timm; blocks beyond the configuration's depth are left out."""
    configuration = model.configuration
    if not configuration.timm_backbone:
        raise ValueError(
            f"{configuration.name}: timm has no weights for its encoder; start from its own "
            "weights or from random ones"
        )
    source = timm.create_model(
        configuration.timm_backbone, pretrained=True, img_size=configuration.image_size
    )
    source.prune_intermediate_layers(list(range(configuration.depth)))  # type: ignore[operator]
    renamed = rename_timm(source.state_dict(), configuration)
    model.encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in renamed.items()})
