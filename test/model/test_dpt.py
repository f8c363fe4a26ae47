"""The network as a whole: shapes, sizes, gradients, precision, preparation for inference."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed

from dpt_ros.model import MODELS, create_model
from dpt_ros.model.configurations import get_configuration
from dpt_ros.model.dpt import DPT
from dpt_ros.model.resnet_layers import FoldedConv2d, StandardizedConv2d

REFERENCE = Path(__file__).parent.parent / "reference"
formula = SimpleNamespace(**runpy.run_path(str(REFERENCE / "formula.py")))


def small(network: str, **overrides) -> DPT:
    """A small network of that kind, with weights that let every part matter."""
    structure, settings = formula.SMALL_STRUCTURES[network]
    model = create_model(structure, **{**settings, **overrides}).eval()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(formula.weights(shapes))
    return model


# Parameters of the authors' models (facts of the released code) and of what ours leaves out:
# final norm, classifier of 1000 classes, the deepest fusion's unit for a lateral that it has not
# got, and the readout token's own position.
@pytest.mark.parametrize(
    ("name", "millions"), [("dpt_base", 111.65), ("dpt_large", 344.06), ("dpt_hybrid", 123.15)]
)
def test_parameter_counts(name, millions):
    with torch.device("meta"):
        model = create_model(name)
    ours = sum(parameter.numel() for parameter in model.parameters())
    width = MODELS[name].embed_dim
    norm, classifier, token_position = 2 * width, 1000 * width + 1000, width
    lateral_unit = 2 * (256 * 256 * 9 + 256)
    theirs = ours + norm + classifier + lateral_unit + token_position
    assert theirs / 1e6 == pytest.approx(millions, abs=0.006)


def test_tiny_is_small():
    parameters = sum(parameter.numel() for parameter in create_model("dpt_tiny").parameters())
    assert parameters < 12e6
    assert 2 * parameters < 15e6  # bytes in half precision


@pytest.mark.parametrize("network", ["vit", "hybrid"])
@pytest.mark.parametrize("size", [(16, 16), (48, 80), (80, 48), (32, 112), (240, 16)])
@torch.no_grad()
def test_takes_any_multiple_of_the_patch(network, size):
    model = small(network)
    inverse_depth = model(formula.picture(*size, batch=2))
    assert inverse_depth.shape == (2, *size)
    assert torch.isfinite(inverse_depth).all()
    assert (inverse_depth >= 0).all()


@pytest.mark.parametrize("network", ["vit", "hybrid"])
@torch.no_grad()
def test_pictures_of_a_batch_do_not_mix(network):
    model = small(network)
    batch = formula.picture(64, 80, batch=3)
    together = model(batch)
    one_by_one = torch.cat([model(picture[None]) for picture in batch])
    torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(together[0], together[1], rtol=1e-2)


@pytest.mark.parametrize("readout", ["ignore", "add", "project"])
@pytest.mark.parametrize("network", ["vit", "hybrid"])
def test_every_parameter_learns(network, readout):
    model = small(network, readout=readout).train()
    model(formula.picture(64, 64)).square().mean().backward()
    idle = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert not idle


def test_a_new_network_starts_where_it_can_learn():
    """The last ReLU must not be zero everywhere, or training from scratch never starts."""
    for seed in range(3):
        torch.manual_seed(seed)
        inverse_depth = create_model("dpt_tiny")(formula.picture(64, 64))
        assert (inverse_depth > 0).float().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("network", ["vit", "hybrid"])
@torch.no_grad()
def test_half_precision(network, dtype):
    model = small(network)
    picture = formula.picture(64, 96)
    full = model(picture)
    half = model.prepare_for_inference().to(dtype)(picture.to(dtype))
    assert half.dtype == dtype
    assert (half.float() - full).norm() / full.norm() < (0.05 if dtype == torch.bfloat16 else 0.01)


@torch.no_grad()
def test_preparation_folds_the_hybrid_and_changes_nothing():
    model = small("hybrid")
    picture = formula.picture(64, 96)
    before = model(picture)
    assert model.prepare_for_inference() is model
    assert formula.relative_difference(model(picture), before) < 1e-5
    kinds = [type(module) for module in model.modules()]
    assert StandardizedConv2d not in kinds
    assert kinds.count(FoldedConv2d) == 1 + 3 * 4 + 3  # stem, blocks, downsampling of a stage
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert formula.relative_difference(model.prepare_for_inference()(picture), before) < 1e-5
    with pytest.raises(RuntimeError, match="folded_weight"):
        model.load_state_dict(small("hybrid").state_dict())


def test_weight_standardization_formulas_differ_as_expected():
    """About 1e-3 on released weights, whose deviations are small, as they are here."""
    picture = formula.picture(64, 64)
    with torch.no_grad():
        sigma = small("hybrid")(picture)
        variance = small("hybrid", weight_standardization="variance")(picture)
    assert 5e-5 < (sigma - variance).norm() / sigma.norm() < 1e-2


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 60, 64), "60 x 64.*multiples of 16"),
        ((1, 3, 64, 63), "64 x 63.*multiples of 16"),
        ((1, 3, 0, 64), "0 x 64"),
        ((3, 64, 64), r"\[3, 64, 64\]: expected \[B, 3, h, w\]"),
        ((1, 4, 64, 64), r"\[1, 4, 64, 64\]"),
    ],
)
def test_refuses_other_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        small("vit")(torch.zeros(shape))


def test_refuses_unknown_names_and_settings():
    with pytest.raises(ValueError, match="dpt_huge.*dpt_base, dpt_large, dpt_hybrid, dpt_tiny"):
        create_model("dpt_huge")
    with pytest.raises(ValueError, match="'redout'.*readout"):
        create_model("dpt_base", redout="add")
    with pytest.raises(ValueError, match="readout='sum': expected one of ignore, add, project"):
        create_model("dpt_base", readout="sum")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"taps": (2, 5, 8)}, "expected 4 ascending"),
        ({"taps": (2, 5, 8, 10)}, "the last is 11"),
        ({"taps": (5, 2, 8, 11)}, "ascending"),
        ({"num_heads": 7}, "not a multiple"),
        ({"image_size": (380, 384)}, "multiples of the patch size"),
        ({"image_size": (384,)}, r"image_size=\(384,\): expected height and width"),
        ({"image_size": 384}, "image_size=384: expected a list of whole numbers"),
        (
            {"channels": (96, 192, "384", 768)},
            "channels=.*'384'.*: expected a list of whole numbers",
        ),
        ({"taps": (2, 5, 8, 11.0)}, "taps=.*: expected a list of whole numbers, each at least 0"),
        ({"depth": "six"}, "depth='six': expected a whole number above 0"),
        ({"features": 2.5}, "features=2.5: expected a whole number above 0"),
        ({"num_heads": 0}, "num_heads=0: expected a whole number above 0"),
        ({"patch_size": 0}, "patch_size=0: expected a whole number above 0"),
        ({"layer_norm_eps": "1e-6"}, "layer_norm_eps='1e-6': expected a number .*1.0e-6"),
        ({"channels": (1, 2, 3)}, "four numbers"),
        ({"weight_standardization": "none"}, "sigma, variance"),
    ],
)
def test_refuses_impossible_configurations(overrides, message):
    with pytest.raises(ValueError, match=message):
        get_configuration("dpt_base", **overrides)


def test_refuses_norm_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="resnet_norm_groups=24: expected a divisor of 64, 64, 1"):
        get_configuration("dpt_hybrid", resnet_norm_groups=24)


def test_lists_may_stand_for_tuples():
    assert get_configuration("dpt_base", taps=[2, 5, 8, 11]) == MODELS["dpt_base"]


def test_pretrained_backbone_takes_the_first_blocks(monkeypatch):
    """timm's weights arrive in the encoder; checked against timm's own forward pass."""
    create = timm.create_model
    source = create("vit_tiny_patch16_384", img_size=96).eval()
    monkeypatch.setattr(timm, "create_model", lambda *_args, **_kwargs: source)
    model = create_model(
        "dpt_base",
        embed_dim=192,
        depth=8,
        num_heads=3,
        taps=(1, 3, 5, 7),
        image_size=(96, 96),
        pretrained_backbone=True,
    ).eval()
    picture = formula.picture(96, 96)
    with torch.no_grad():
        _, taps = model.encoder(picture)
        expected = source.forward_intermediates(
            picture, indices=[1, 7], output_fmt="NLC", intermediates_only=True
        )
    torch.testing.assert_close(taps[0][0], expected[0])
    torch.testing.assert_close(taps[3][0], expected[1])


def test_a_structure_of_our_own_has_no_pretrained_backbone():
    with pytest.raises(ValueError, match="dpt_tiny: timm has no weights for its encoder"):
        create_model("dpt_tiny", pretrained_backbone=True)


@torch.no_grad()
def test_position_embedding_is_plain_bilinear():
    """A 2x3 grid to 4x3: rows at -1/4, 1/4, 3/4, 5/4 of the way, clamped at the border."""
    model = small("vit", image_size=(32, 48))
    embed = model.encoder.vit.patch_embed
    embed.proj.weight.zero_()
    embed.proj.bias.zero_()
    first, second = embed.position[0, :, 0], embed.position[0, :, 1]  # [D, 3] each
    rows = [first, 0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second, second]
    expected = torch.stack(rows, dim=1).flatten(1).T  # [4 * 3, D]
    tokens = embed(torch.zeros(1, 3, 64, 48))[0]
    torch.testing.assert_close(tokens[0], embed.cls_token[0, 0])
    torch.testing.assert_close(tokens[1:], expected)
    # timm's own interpolation is another one: this is what must not be used.
    grid = embed.position.flatten(2).transpose(1, 2)
    timms = resample_abs_pos_embed(grid, new_size=[4, 3], old_size=[2, 3], num_prefix_tokens=0)
    assert not torch.allclose(timms[0], expected, atol=1e-3)


@pytest.mark.parametrize("network", ["vit", "hybrid"])
@torch.no_grad()
def test_compiles_without_a_graph_break(network):
    model = small(network).prepare_for_inference()
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=False)
    picture = formula.picture(48, 80)
    assert formula.relative_difference(compiled(picture), model(picture)) < 1e-5
    torch._dynamo.reset()


def test_importing_the_package_does_not_load_torch():
    code = "import sys, dpt_ros.model as m; m.MODELS; assert 'torch' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.no_grad()
def test_gpu_agrees_with_cpu():
    picture = formula.picture(64, 96)
    expected = small("hybrid")(picture)
    on_gpu = small("hybrid").prepare_for_inference().cuda()(picture.cuda()).cpu()
    assert formula.relative_difference(on_gpu, expected) < 5e-3  # convolutions may use TF32
