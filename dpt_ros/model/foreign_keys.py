"""Foreign checkpoint layouts to ours: the one place where other projects' names are known.

Layouts: the authors' release files ("isl_org"), Hugging Face transformers ("hugging_face"), and
timm's ViT and hybrid ViT (backbone alone). Keys that nothing here knows come out unchanged, so
that a strict load names them. Values are renamed, joined and reshaped, never recomputed, with one
exception: the readout token's position is added to the token itself, where DPT keeps it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dpt_ros.model.configurations import MODELS, READOUTS, DPTConfiguration
from dpt_ros.model.integrity import CheckpointError

_log = logging.getLogger(__name__)

Rules = tuple[tuple[str, str | None], ...]
"""Regular expression for a whole key, and its replacement; None drops the key."""

_TIMM: Rules = (
    (r"(?:norm|fc_norm|head|head_dist|pre_logits\.fc)\.(?:weight|bias)", None),  # classifier
    (r"patch_embed\.backbone\.(.+)", r"encoder.resnet.\1"),
    (r"(cls_token|pos_embed)", r"encoder.vit.patch_embed.\1"),
    (r"(patch_embed\.proj\..+|blocks\..+)", r"encoder.vit.\1"),
)

_ISL_ORG: Rules = (
    # In the files, without effect on the output: the deepest fusion has no lateral.
    (r"scratch\.refinenet4\.resConfUnit1\..+", None),
    (r"pretrained\.act_postprocess1\.0\.project\.0\.(.+)", r"reassemble.0.readout.project.\1"),
    (r"pretrained\.act_postprocess2\.0\.project\.0\.(.+)", r"reassemble.1.readout.project.\1"),
    (r"pretrained\.act_postprocess3\.0\.project\.0\.(.+)", r"reassemble.2.readout.project.\1"),
    (r"pretrained\.act_postprocess4\.0\.project\.0\.(.+)", r"reassemble.3.readout.project.\1"),
    (r"pretrained\.act_postprocess1\.3\.(.+)", r"reassemble.0.projection.\1"),
    (r"pretrained\.act_postprocess2\.3\.(.+)", r"reassemble.1.projection.\1"),
    (r"pretrained\.act_postprocess3\.3\.(.+)", r"reassemble.2.projection.\1"),
    (r"pretrained\.act_postprocess4\.3\.(.+)", r"reassemble.3.projection.\1"),
    (r"pretrained\.act_postprocess1\.4\.(.+)", r"reassemble.0.resample.\1"),
    (r"pretrained\.act_postprocess2\.4\.(.+)", r"reassemble.1.resample.\1"),
    (r"pretrained\.act_postprocess4\.4\.(.+)", r"reassemble.3.resample.\1"),
    (r"scratch\.layer1_rn\.(.+)", r"decoder.lateral.0.\1"),
    (r"scratch\.layer2_rn\.(.+)", r"decoder.lateral.1.\1"),
    (r"scratch\.layer3_rn\.(.+)", r"decoder.lateral.2.\1"),
    (r"scratch\.layer4_rn\.(.+)", r"decoder.lateral.3.\1"),
    (r"scratch\.refinenet1\.(.+)", r"decoder.fusion.0.\1"),
    (r"scratch\.refinenet2\.(.+)", r"decoder.fusion.1.\1"),
    (r"scratch\.refinenet3\.(.+)", r"decoder.fusion.2.\1"),
    (r"scratch\.refinenet4\.(.+)", r"decoder.fusion.3.\1"),
    (r"scratch\.output_conv\.0\.(.+)", r"head.conv1.\1"),
    (r"scratch\.output_conv\.2\.(.+)", r"head.conv2.\1"),
    (r"scratch\.output_conv\.4\.(.+)", r"head.conv3.\1"),
)

_ISL_ORG_FUSION: Rules = (
    (r"(decoder\.fusion\.\d)\.resConfUnit1\.(.+)", r"\1.lateral_unit.\2"),
    (r"(decoder\.fusion\.\d)\.resConfUnit2\.(.+)", r"\1.output_unit.\2"),
    (r"(decoder\.fusion\.\d)\.out_conv\.(.+)", r"\1.output_conv.\2"),
)

_HUGGING_FACE: Rules = (
    (r"dpt\.(?:layernorm|pooler)\..+", None),
    (r"neck\.fusion_stage\.layers\.0\.residual_layer1\..+", None),
    (r"dpt\.embeddings\.cls_token", "encoder.vit.patch_embed.cls_token"),
    (r"dpt\.embeddings\.position_embeddings", "encoder.vit.patch_embed.pos_embed"),
    (
        r"dpt\.embeddings\.(?:patch_embeddings\.)?projection\.(.+)",
        r"encoder.vit.patch_embed.proj.\1",
    ),
    (
        r"dpt\.embeddings\.backbone\.bit\.embedder\.convolution\.(.+)",
        r"encoder.resnet.stem.conv.\1",
    ),
    (r"dpt\.embeddings\.backbone\.bit\.embedder\.norm\.(.+)", r"encoder.resnet.stem.norm.\1"),
    (
        r"dpt\.embeddings\.backbone\.bit\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(.+)",
        r"encoder.resnet.stages.\1.blocks.\2.\3",
    ),
    (
        r"dpt\.encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(.+)",
        r"encoder.vit.blocks.\1.attn.\2.\3",
    ),
    (
        r"dpt\.encoder\.layer\.(\d+)\.attention\.output\.dense\.(.+)",
        r"encoder.vit.blocks.\1.attn.proj.\2",
    ),
    (r"dpt\.encoder\.layer\.(\d+)\.intermediate\.dense\.(.+)", r"encoder.vit.blocks.\1.mlp.fc1.\2"),
    (r"dpt\.encoder\.layer\.(\d+)\.output\.dense\.(.+)", r"encoder.vit.blocks.\1.mlp.fc2.\2"),
    (r"dpt\.encoder\.layer\.(\d+)\.layernorm_before\.(.+)", r"encoder.vit.blocks.\1.norm1.\2"),
    (r"dpt\.encoder\.layer\.(\d+)\.layernorm_after\.(.+)", r"encoder.vit.blocks.\1.norm2.\2"),
    (
        r"neck\.reassemble_stage\.readout_projects\.(\d)\.0\.(.+)",
        r"reassemble.\1.readout.project.\2",
    ),
    (r"neck\.reassemble_stage\.layers\.(\d)\.projection\.(.+)", r"reassemble.\1.projection.\2"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.resize\.(.+)", r"reassemble.\1.resample.\2"),
    (r"neck\.convs\.(\d)\.(.+)", r"decoder.lateral.\1.\2"),
    # Hugging Face counts the fusions from the deepest.
    (r"neck\.fusion_stage\.layers\.0\.(.+)", r"decoder.fusion.3.\1"),
    (r"neck\.fusion_stage\.layers\.1\.(.+)", r"decoder.fusion.2.\1"),
    (r"neck\.fusion_stage\.layers\.2\.(.+)", r"decoder.fusion.1.\1"),
    (r"neck\.fusion_stage\.layers\.3\.(.+)", r"decoder.fusion.0.\1"),
    (r"head\.head\.0\.(.+)", r"head.conv1.\1"),
    (r"head\.head\.2\.(.+)", r"head.conv2.\1"),
    (r"head\.head\.4\.(.+)", r"head.conv3.\1"),
)

_HUGGING_FACE_FUSION: Rules = (
    (
        r"(decoder\.fusion\.\d)\.residual_layer1\.convolution(\d)\.(.+)",
        r"\1.lateral_unit.conv\2.\3",
    ),
    (r"(decoder\.fusion\.\d)\.residual_layer2\.convolution(\d)\.(.+)", r"\1.output_unit.conv\2.\3"),
    (r"(decoder\.fusion\.\d)\.projection\.(.+)", r"\1.output_conv.\2"),
)

_HUGGING_FACE_EPSILON = 1e-12
"""transformers' default, which it also writes for the public weights: those had 1e-6."""

_PREFIXES = {
    "isl_org": ("pretrained.", "scratch."),
    "hugging_face": ("dpt.", "neck.", "head.head."),
    "dpt_ros": ("encoder.", "reassemble.", "decoder.", "head.conv"),
}


def detect_layout(keys: Iterable[str]) -> str | None:
    """Which layout the keys are in: "isl_org", "hugging_face", "dpt_ros", or None for none."""
    names = list(keys)
    for layout, prefixes in _PREFIXES.items():
        if any(name.startswith(prefixes) for name in names):
            return layout
    return None


def rename_isl_org(
    state_dict: Mapping[str, Tensor], configuration: DPTConfiguration
) -> dict[str, Tensor]:
    """A release file's state dict (unwrapped) in our layout."""
    backbone = "pretrained.model."
    renamed = {key: value for key, value in state_dict.items() if not key.startswith(backbone)}
    renamed = _apply(_ISL_ORG_FUSION, _apply(_ISL_ORG, renamed))
    vit = {k[len(backbone) :]: v for k, v in state_dict.items() if k.startswith(backbone)}
    # What the timm rules do not know gets its own name back, for the error message.
    for key, value in _apply(_TIMM, vit).items():
        renamed[key if key.startswith("encoder.") else backbone + key] = value
    return _move_position(renamed, configuration)


def rename_hugging_face(
    state_dict: Mapping[str, Tensor], configuration: DPTConfiguration
) -> dict[str, Tensor]:
    """The state dict of transformers' DPTForDepthEstimation in our layout."""
    renamed = _apply(_HUGGING_FACE_FUSION, _apply(_HUGGING_FACE, state_dict))
    return _move_position(_join_query_key_value(renamed), configuration)


def rename_timm(
    state_dict: Mapping[str, Tensor], configuration: DPTConfiguration
) -> dict[str, Tensor]:
    """The state dict of timm's ViT or hybrid ViT in our layout: keys that start with `encoder.`."""
    return _move_position(_apply(_TIMM, state_dict), configuration)


def hugging_face_readout(path: Path, config: Mapping[str, Any], default: str) -> str:
    """The readout that a config.json names; `default` where it names none.

    Raises:
        CheckpointError: it names one that neither transformers nor we have.
    """
    readout = config.get("readout_type", default)
    if readout not in READOUTS:
        raise CheckpointError(
            f"{path}: config.json says readout_type {readout!r}, expected one of "
            f"{', '.join(READOUTS)}: correct it to what the weights were trained with, or "
            "download it again"
        )
    return str(readout)


def check_hugging_face_config(
    path: Path, config: Mapping[str, Any], configuration: DPTConfiguration
) -> None:
    """Compare what a config.json says about a network with ours, which the shapes do not show.

    Raises:
        CheckpointError: transformers would compute something else with these weights.
    """
    kind = config.get("model_type")
    if kind != "dpt":
        raise CheckpointError(f"{path}: config.json says model_type {kind!r}, expected 'dpt'")
    readout = hugging_face_readout(path, config, "project")
    if readout != configuration.readout:
        raise CheckpointError(
            f"{path}: config.json says readout_type {readout!r}; the network has readout "
            f"{configuration.readout!r}: create it with readout={readout!r}"
        )
    _check_epsilon(path, config, configuration)
    # What no tensor's shape tells; a file may leave out what is as in transformers' own default.
    taps = list(configuration.taps)
    expected = {
        "num_attention_heads": configuration.num_heads,
        "backbone_out_indices": taps,
        "hidden_act": "gelu",
        "head_in_index": -1,
    }
    for key, wanted in expected.items():
        given = config.get(key, wanted)
        if key == "backbone_out_indices" and isinstance(given, list):
            given = given[-len(taps) :]  # with a ResNet stem, the first two are no blocks
        if key == "head_in_index" and given == len(configuration.channels) - 1:
            given = wanted  # the last fusion by its number
        if given != wanted:
            raise CheckpointError(
                f"{path}: config.json says {key} {given!r}; the network "
                f"{configuration.name} has {wanted!r}, and would compute something else with "
                "these weights: create the network that they were trained for"
            )


def _check_epsilon(path: Path, config: Mapping[str, Any], configuration: DPTConfiguration) -> None:
    """Take ours in place of what transformers writes unasked; refuse any other that differs."""
    ours = configuration.layer_norm_eps
    epsilon = config.get("layer_norm_eps", ours)
    if epsilon == ours:
        return
    if not isinstance(epsilon, (int, float)):
        raise CheckpointError(
            f"{path}: config.json says layer_norm_eps {epsilon!r}, expected a number such as "
            f"{ours:g}: correct it to what the weights were trained with, or download it again"
        )
    if epsilon != _HUGGING_FACE_EPSILON:
        raise CheckpointError(
            f"{path}: config.json says layer_norm_eps {epsilon!r}; the network "
            f"{configuration.name} has {ours:g}, and would compute something else with these "
            f"weights: create it with layer_norm_eps={epsilon!r}"
        )
    _log.info(
        "%s: config.json says layer_norm_eps %g; %g is taken, with which the public weights "
        "were trained (for the numbers of transformers: create_model(layer_norm_eps=%g))",
        *(path, epsilon, ours, epsilon),
    )


def guess_structure(state_dict: Mapping[str, Tensor]) -> str | None:
    """The name in MODELS that a state dict in our layout seems to belong to, for messages."""
    token = state_dict.get("encoder.vit.patch_embed.cls_token")
    blocks = {
        int(match[1])
        for match in (re.match(r"encoder\.vit\.blocks\.(\d+)\.", key) for key in state_dict)
        if match
    }
    with_resnet = any(key.startswith("encoder.resnet.") for key in state_dict)
    if token is None or not blocks:
        return None
    for name, known in MODELS.items():
        found = (token.shape[-1], max(blocks) + 1, with_resnet)
        if found == (known.embed_dim, known.depth, bool(known.resnet_layers)):
            return name
    return None


def _apply(rules: Rules, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each key renamed by the first rule that matches all of it; others stay."""
    renamed = {}
    for key, value in state_dict.items():
        new_key: str | None = key
        for pattern, replacement in rules:
            match = re.fullmatch(pattern, key)
            if match:
                new_key = None if replacement is None else match.expand(replacement)
                break
        if new_key is not None:
            renamed[new_key] = value
    return renamed


def _join_query_key_value(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Separate `attn.query`, `attn.key`, `attn.value` to timm's `attn.qkv`, rows in that order."""
    joined = dict(state_dict)
    for key in state_dict:
        match = re.fullmatch(r"(.+\.attn)\.query\.(weight|bias)", key)
        if match is None:
            continue
        parts = [f"{match[1]}.{part}.{match[2]}" for part in ("query", "key", "value")]
        if all(part in joined for part in parts):
            joined[f"{match[1]}.qkv.{match[2]}"] = torch.cat([joined.pop(p) for p in parts])
    return joined


def _move_position(
    state_dict: dict[str, Tensor], configuration: DPTConfiguration
) -> dict[str, Tensor]:
    """Replace timm's `pos_embed` [1, 1 + N, D] by our `position` [1, D, rows, columns].

    If it was made for another grid, the grid is taken to be square, and a strict load will say
    what shape came and what was expected.
    """
    embedding = state_dict.get("encoder.vit.patch_embed.pos_embed")
    token = state_dict.get("encoder.vit.patch_embed.cls_token")
    if embedding is None or token is None or embedding.ndim != 3 or embedding.shape[1] < 2:
        return state_dict
    moved = dict(state_dict)
    del moved["encoder.vit.patch_embed.pos_embed"]
    moved["encoder.vit.patch_embed.cls_token"] = token + embedding[:, :1]
    patches = embedding[:, 1:]
    rows, columns = configuration.grid
    if rows * columns != patches.shape[1]:
        rows = columns = int(patches.shape[1] ** 0.5)
    if rows * columns != patches.shape[1]:
        rows, columns = 1, patches.shape[1]
    position = patches.transpose(1, 2).reshape(1, -1, rows, columns)
    moved["encoder.vit.patch_embed.position"] = position.contiguous()
    return moved
