"""Foreign checkpoint names become ours. Whole networks: test_dpt_golden.py."""

from __future__ import annotations

import pytest
import torch

from dpt_ros.model.configurations import MODELS, get_configuration
from dpt_ros.model.foreign_keys import (
    detect_layout,
    guess_structure,
    rename_hugging_face,
    rename_isl_org,
    rename_timm,
)

BASE = MODELS["dpt_base"]
VALUE = torch.zeros(1)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("pretrained.model.blocks.7.attn.qkv.weight", "encoder.vit.blocks.7.attn.qkv.weight"),
        ("pretrained.model.patch_embed.proj.bias", "encoder.vit.patch_embed.proj.bias"),
        (
            "pretrained.model.patch_embed.backbone.stages.1.blocks.3.norm2.weight",
            "encoder.resnet.stages.1.blocks.3.norm2.weight",
        ),
        (
            "pretrained.model.patch_embed.backbone.stem.conv.weight",
            "encoder.resnet.stem.conv.weight",
        ),
        (
            "pretrained.act_postprocess1.0.project.0.weight",
            "reassemble.0.readout.project.weight",
        ),
        ("pretrained.act_postprocess2.4.bias", "reassemble.1.resample.bias"),
        ("pretrained.act_postprocess4.3.weight", "reassemble.3.projection.weight"),
        ("scratch.layer4_rn.weight", "decoder.lateral.3.weight"),
        (
            "scratch.refinenet3.resConfUnit1.conv2.bias",
            "decoder.fusion.2.lateral_unit.conv2.bias",
        ),
        (
            "scratch.refinenet4.resConfUnit2.conv1.weight",
            "decoder.fusion.3.output_unit.conv1.weight",
        ),
        ("scratch.refinenet1.out_conv.weight", "decoder.fusion.0.output_conv.weight"),
        ("scratch.output_conv.4.bias", "head.conv3.bias"),
    ],
)
def test_names_of_the_authors(theirs, ours):
    assert list(rename_isl_org({theirs: VALUE}, BASE)) == [ours]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("dpt.encoder.layer.3.layernorm_after.bias", "encoder.vit.blocks.3.norm2.bias"),
        (
            "dpt.encoder.layer.3.attention.output.dense.bias",
            "encoder.vit.blocks.3.attn.proj.bias",
        ),
        ("dpt.encoder.layer.3.output.dense.weight", "encoder.vit.blocks.3.mlp.fc2.weight"),
        ("dpt.embeddings.projection.weight", "encoder.vit.patch_embed.proj.weight"),
        (
            "dpt.embeddings.patch_embeddings.projection.bias",
            "encoder.vit.patch_embed.proj.bias",
        ),
        (
            "dpt.embeddings.backbone.bit.encoder.stages.2.layers.8.norm3.bias",
            "encoder.resnet.stages.2.blocks.8.norm3.bias",
        ),
        (
            "dpt.embeddings.backbone.bit.embedder.norm.weight",
            "encoder.resnet.stem.norm.weight",
        ),
        (
            "neck.reassemble_stage.readout_projects.2.0.bias",
            "reassemble.2.readout.project.bias",
        ),
        ("neck.reassemble_stage.layers.0.resize.weight", "reassemble.0.resample.weight"),
        ("neck.convs.1.weight", "decoder.lateral.1.weight"),
        (
            "neck.fusion_stage.layers.0.residual_layer2.convolution1.bias",
            "decoder.fusion.3.output_unit.conv1.bias",
        ),
        (
            "neck.fusion_stage.layers.3.residual_layer1.convolution2.weight",
            "decoder.fusion.0.lateral_unit.conv2.weight",
        ),
        ("neck.fusion_stage.layers.1.projection.bias", "decoder.fusion.2.output_conv.bias"),
        ("head.head.2.weight", "head.conv2.weight"),
    ],
)
def test_names_of_hugging_face(theirs, ours):
    assert list(rename_hugging_face({theirs: VALUE}, BASE)) == [ours]


@pytest.mark.parametrize(
    "name",
    [
        "pretrained.model.norm.weight",
        "pretrained.model.head.bias",
        "scratch.refinenet4.resConfUnit1.conv1.weight",
    ],
)
def test_unused_keys_of_the_authors_are_dropped(name):
    assert rename_isl_org({name: VALUE}, BASE) == {}


@pytest.mark.parametrize(
    "name",
    ["dpt.layernorm.weight", "neck.fusion_stage.layers.0.residual_layer1.convolution2.bias"],
)
def test_unused_keys_of_hugging_face_are_dropped(name):
    assert rename_hugging_face({name: VALUE}, BASE) == {}


def test_unknown_keys_keep_their_names_for_the_message():
    foreign = {"pretrained.model.blocks2.x": VALUE, "auxlayer.0.weight": VALUE}
    assert set(rename_isl_org(foreign, BASE)) == set(foreign)
    segmentation = {"auxiliary_head.head.0.weight": VALUE}
    assert set(rename_hugging_face(segmentation, BASE)) == set(segmentation)


def test_query_key_and_value_are_stacked_in_that_order():
    prefix = "dpt.encoder.layer.0.attention.attention."
    parts = {"value": 3.0, "query": 1.0, "key": 2.0}
    state = {f"{prefix}{part}.weight": torch.full((2, 2), v) for part, v in parts.items()}
    state |= {f"{prefix}{part}.bias": torch.full((2,), v) for part, v in parts.items()}
    renamed = rename_hugging_face(state, BASE)
    assert set(renamed) == {
        "encoder.vit.blocks.0.attn.qkv.weight",
        "encoder.vit.blocks.0.attn.qkv.bias",
    }
    assert renamed["encoder.vit.blocks.0.attn.qkv.weight"][:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert renamed["encoder.vit.blocks.0.attn.qkv.bias"].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_missing_part_is_not_made_up():
    prefix = "dpt.encoder.layer.0.attention.attention."
    renamed = rename_hugging_face({f"{prefix}query.weight": torch.zeros(2, 2)}, BASE)
    assert list(renamed) == ["encoder.vit.blocks.0.attn.query.weight"]


def test_position_becomes_a_grid_and_the_tokens_joins_the_token():
    configuration = get_configuration("dpt_base", image_size=(32, 48))  # 2 x 3 patches
    embedding = torch.arange(14.0).reshape(1, 7, 2)
    state = {"cls_token": torch.tensor([[[100.0, 200.0]]]), "pos_embed": embedding}
    renamed = rename_timm(state, configuration)
    assert set(renamed) == {"encoder.vit.patch_embed.cls_token", "encoder.vit.patch_embed.position"}
    assert renamed["encoder.vit.patch_embed.cls_token"].tolist() == [[[100.0, 201.0]]]
    position = renamed["encoder.vit.patch_embed.position"]
    assert position.shape == (1, 2, 2, 3)
    assert position[0, 0].tolist() == [[2, 4, 6], [8, 10, 12]]
    assert position[0, 1].tolist() == [[3, 5, 7], [9, 11, 13]]


def test_position_of_another_size_shows_its_own_shape():
    state = {"cls_token": torch.zeros(1, 1, 2), "pos_embed": torch.zeros(1, 1 + 25, 2)}
    position = rename_timm(state, BASE)["encoder.vit.patch_embed.position"]
    assert position.shape == (1, 2, 5, 5)


def test_layouts_are_told_apart():
    assert detect_layout(["optimizer", "scratch.layer1_rn.weight"]) == "isl_org"
    assert detect_layout(["neck.convs.0.weight"]) == "hugging_face"
    assert detect_layout(["head.conv1.weight"]) == "dpt_ros"
    assert detect_layout(["conv1.weight", "fc.bias"]) is None
    assert detect_layout([]) is None


def test_guesses_the_structure():
    state = {
        "encoder.vit.patch_embed.cls_token": torch.zeros(1, 1, 1024),
        "encoder.vit.blocks.23.norm1.bias": VALUE,
    }
    assert guess_structure(state) == "dpt_large"
    state = {
        "encoder.vit.patch_embed.cls_token": torch.zeros(1, 1, 768),
        "encoder.vit.blocks.11.norm1.bias": VALUE,
    }
    assert guess_structure(state) == "dpt_base"
    assert guess_structure(state | {"encoder.resnet.stem.conv.weight": VALUE}) == "dpt_hybrid"
    assert guess_structure({"encoder.vit.patch_embed.cls_token": torch.zeros(1, 1, 768)}) is None
