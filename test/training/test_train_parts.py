"""Stages, schedule, split, and the average of fits."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from dpt_ros.bags.dataset import Dataset, DatasetWriter, sample_id
from dpt_ros.config import ConfigError
from dpt_ros.model import create_model
from dpt_ros.training.compare import average_fit
from dpt_ros.training.same_recording import sources_of
from dpt_ros.training.settings import TrainSettings
from dpt_ros.training.split import evenly_chosen, split_sources
from dpt_ros.training.stages import choose_parameters, learning_rate_share, parameter_groups


@pytest.fixture(scope="module")
def model():
    return create_model("dpt_tiny")


@pytest.mark.parametrize(
    ("stage", "prefixes"),
    [
        ("head", {"head"}),
        ("decoder", {"head", "decoder", "reassemble"}),
        ("all", {"head", "decoder", "reassemble", "encoder"}),
    ],
)
def test_a_stage_trains_its_parts_alone(model, stage, prefixes):
    choose_parameters(model, stage, "metric")
    trained = {n.partition(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert trained == prefixes


def test_what_the_loss_cannot_see_is_held(model):
    choose_parameters(model, "all", "ssi")
    held = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert held == ["head.conv3.bias"]


def test_learning_rates_go_by_layer(model):
    choose_parameters(model, "all", "metric")
    settings = TrainSettings(backbone_lr=1e-4, decoder_lr=1e-3, layer_decay=0.5, weight_decay=0.1)
    rates = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, settings)
        for parameter in group["params"]
    }
    named = dict(model.named_parameters())
    assert len(rates) == len(named)
    assert rates[id(named["head.conv1.weight"])] == (1e-3, 0.1)
    assert rates[id(named["head.conv1.bias"])] == (1e-3, 0.0)
    assert rates[id(named["encoder.vit.blocks.5.mlp.fc1.weight"])] == (1e-4, 0.1)
    assert rates[id(named["encoder.vit.blocks.3.mlp.fc1.weight"])] == (0.25e-4, 0.1)
    assert rates[id(named["encoder.vit.patch_embed.position"])] == (1e-4 / 2**5, 0.0)


def test_a_resnet_stem_comes_before_the_first_block():
    with torch.device("meta"):
        hybrid = create_model("dpt_hybrid")
    choose_parameters(hybrid, "all", "metric")
    settings = TrainSettings(backbone_lr=1.0, layer_decay=0.5)
    rates = {
        id(parameter): group["lr"]
        for group in parameter_groups(hybrid, settings)
        for parameter in group["params"]
    }
    found = {
        rates[id(parameter)]
        for name, parameter in hybrid.named_parameters()
        if name.startswith("encoder.resnet.")
    }
    assert found == {0.5**11}


def test_the_learning_rate_warms_up_and_follows_half_a_cosine():
    shares = [learning_rate_share(step, 10, 2, 0.1) for step in range(11)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[6] == pytest.approx(0.55)
    assert shares[8] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(0.75 * math.pi)))
    assert shares[10] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("named", "steps", "expected"),
    [
        ({}, 38, 3),
        ({}, 11_000, 100),
        ({}, 5, 0),
        ({"warmup_steps": 100}, 38, 100),
        ({"warmup_steps": 0}, 1000, 0),
    ],
)
def test_warm_up_is_a_tenth_of_a_short_run_unless_it_is_named(named, steps, expected):
    assert TrainSettings(**named).with_warmup(steps).warmup_steps == expected


def test_a_split_takes_whole_sources(dense_dataset):
    split = split_sources([dense_dataset], "0.4", seed=3)
    training, validation = (
        {name for data in part for name in sources_of(data)}
        for part in (split.training, split.validation)
    )
    assert len(validation) == 1
    assert training | validation == {"a", "b", "c"}
    assert not training & validation


def test_named_sources_and_a_folder_are_held_out(dense_dataset, tmp_path, write_dataset):
    split = split_sources([dense_dataset], "c, a", seed=0)
    assert [sources_of(data) for data in split.validation] == [["a", "c"]]
    other = Dataset(write_dataset(tmp_path / "other", ("x", "y")))
    split = split_sources([dense_dataset], str(other.folder), seed=0)
    assert (len(split.training[0]), len(split.validation[0])) == (12, 8)
    with pytest.raises(ConfigError, match="'d' is no source.*a, b, c"):
        split_sources([dense_dataset], "d", seed=0)


def test_a_source_is_held_out_whatever_lies_in_the_working_directory(
    tmp_path, write_dataset, monkeypatch
):
    dataset = Dataset(write_dataset(tmp_path / "drives", ("day1", "day2")))
    write_dataset(tmp_path / "day2", ("other",))
    monkeypatch.chdir(tmp_path)
    split = split_sources([dataset], "day2", seed=0)
    assert [sources_of(data) for data in split.validation] == [["day2"]]
    split = split_sources([dataset], "./day2", seed=0)
    assert [sources_of(data) for data in split.validation] == [["other"]]


@pytest.mark.parametrize(
    ("options", "info", "names"),
    [
        ({"kind": "bags"}, {"path": "/other", "storage_sha256": "5c"}, ("drive", "the_same")),
        ({"kind": "synthetic"}, {"path": "train_0_000000_room"}, ("train_0_000000_room",) * 2),
    ],
)
def test_a_recording_or_a_scene_on_both_sides_is_refused(
    tmp_path, dense_dataset, options, info, names
):
    """Whatever its folders are called: built from a copy, or rendered again."""
    datasets = []
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        with DatasetWriter(folder, dense=True, options=options) as writer:
            sample = dataclasses.replace(dense_dataset[0], rgb=dense_dataset[0].rgb // 2 + number)
            writer.add(dataclasses.replace(sample, id=sample_id(name, 0), source=name, stamp_ns=0))
            path = info["path"] + str(number) if info["path"][0] == "/" else info["path"]
            writer.finish_source(name, {**info, "path": path})
        datasets.append(Dataset(folder))
    with pytest.raises(ConfigError, match=f"both learned from and held out: {names[1]}"):
        split_sources(datasets[:1], str(datasets[1].folder), seed=0)
    for seed in range(4):  # a share takes them together
        split = split_sources([*datasets, dense_dataset], "0.5", seed=seed)
        sides = [
            {str(data.folder) for data in side} & {str(data.folder) for data in datasets}
            for side in (split.training, split.validation)
        ]
        assert sorted(map(len, sides)) == [0, 2]


@pytest.mark.parametrize("nothing", ["", " ", ",", " , "])
def test_an_empty_name_holds_out_nothing_and_is_refused(dense_dataset, nothing):
    with pytest.raises(ConfigError, match=f"validation: got '{nothing}'.*; 0 holds out nothing"):
        split_sources([dense_dataset], nothing, seed=0)


def test_recordings_named_like_numbers_are_held_out_by_name(tmp_path, write_dataset):
    """`float` takes both for numbers."""
    dataset = Dataset(write_dataset(tmp_path / "days", ("2024_06_01", "20240602")))
    for name in ("2024_06_01", "20240602"):
        split = split_sources([dataset], name, seed=0)
        assert [sources_of(data) for data in split.validation] == [[name]]
    with pytest.raises(ConfigError, match=r"got 1\.5, expected a share"):
        split_sources([dataset], "1.5", seed=0)


def test_nothing_is_both_learned_from_and_held_out(dense_dataset):
    with pytest.raises(ConfigError, match="learned from and held out: a, b, c"):
        split_sources([dense_dataset], str(dense_dataset.folder), seed=0)
    with pytest.raises(ConfigError, match="world is named twice: name each data set once"):
        split_sources([dense_dataset, dense_dataset], "0.5", seed=0)


def test_one_recording_in_two_data_sets_is_not_divided(tmp_path, write_dataset):
    for name, width in (("x", 32), ("y", 48)):  # the pictures are other ones
        folder = write_dataset(tmp_path / name, ("a", "b"), 1, (32, width))
        manifest = folder / "manifest.json"
        told = json.loads(manifest.read_text())
        told["sources"]["a"]["path"] = "/bags/a"
        manifest.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="learned from and held out: a;"):
        split_sources([Dataset(tmp_path / "x")], str(tmp_path / "y"), seed=0)


def part_of(dataset, folder, source, name, numbers, offset_ns=0):
    """Some samples of a source written anew, as from a recording that was cut or converted."""
    samples = [sample for sample in dataset if sample.source == source]
    with DatasetWriter(folder, dense=True, options={"kind": "bags"}) as writer:
        for number in numbers:
            stamp_ns = samples[number].stamp_ns + offset_ns
            new = {"id": sample_id(name, stamp_ns), "source": name, "stamp_ns": stamp_ns}
            writer.add(dataclasses.replace(samples[number], **new))
        writer.finish_source(name, {"storage_sha256": name, "path": f"/bags/{name}"})
    return Dataset(folder)


@pytest.mark.parametrize(("numbers", "offset_ns"), [(range(5), 0), (range(3, 8), -3), ((6,), 9)])
def test_a_recording_that_was_cut_is_known_by_its_pictures(
    tmp_path, write_dataset, numbers, offset_ns
):
    """Nothing else tells: it has another name, path and hash, and may have other stamps."""
    drives = Dataset(write_dataset(tmp_path / "drives", ("bag", "other"), 8))
    cut = part_of(drives, tmp_path / "cut", "bag", "od", numbers, offset_ns)
    with pytest.raises(ConfigError, match=r"both learned from and held out: od \(as bag\);"):
        split_sources([drives], str(cut.folder), seed=0)
    assert split_sources([drives.select(["other"])], str(cut.folder), seed=0).validation
    for seed in range(4):
        split = split_sources([drives, cut], "0.5", seed=seed)
        sides = [
            {name for data in side for name in sources_of(data)}
            for side in (split.training, split.validation)
        ]
        assert sorted(sides, key=len) == [{"other"}, {"bag", "od"}]


def test_parts_of_one_recording_stay_together_by_way_of_the_whole(tmp_path, write_dataset):
    drives = Dataset(write_dataset(tmp_path / "drives", ("whole",), 8))
    parts = [
        part_of(drives, tmp_path / name, "whole", name, numbers)
        for name, numbers in (("begin", range(4)), ("end", range(4, 8)))
    ]
    split = split_sources([*parts, drives], "0.5", seed=0)
    assert not split.validation
    assert split.why_no_validation.startswith("all sources are of one recording, and")


def test_pictures_of_a_lens_cap_join_no_recordings(tmp_path, dense_dataset):
    """Nor does the place where every simulated drive begins."""
    with DatasetWriter(tmp_path / "capped", dense=True, options={}) as writer:
        for sample in dense_dataset:
            is_capped = sample.stamp_ns < 2
            rgb = np.zeros_like(sample.rgb) if is_capped else sample.rgb
            writer.add(dataclasses.replace(sample, rgb=rgb))
        for source in "abc":
            writer.finish_source(source, {})
    split = split_sources([Dataset(tmp_path / "capped")], "b", seed=0)
    assert [sources_of(data) for data in split.validation] == [["b"]]


def test_a_picture_that_cannot_be_read_is_told_when_it_is(tmp_path, write_dataset):
    dataset = Dataset(write_dataset(tmp_path / "data", ("a", "b")))
    for record in dataset.records:
        (dataset.folder / record.image).unlink()
        if record.stamp_ns:
            (dataset.folder / record.image).mkdir()
    assert split_sources([dataset], "b", seed=0).validation


def test_a_single_source_holds_nothing_out_and_says_so(tmp_path, write_dataset):
    dataset = Dataset(write_dataset(tmp_path / "one", ("a",)))
    split = split_sources([dataset], "0.5", seed=0)
    assert not split.validation
    assert "single source" in split.why_no_validation


def test_nothing_to_learn_from_is_refused(dense_dataset):
    with pytest.raises(ConfigError, match="no samples to learn from"):
        split_sources([dense_dataset.select([])], "0", seed=0)
    with pytest.raises(ConfigError, match="validation: got 'a,b,c', which is every source: leave"):
        split_sources([dense_dataset], "a,b,c", seed=0)


def test_samples_are_chosen_evenly(dense_dataset):
    assert evenly_chosen([dense_dataset], 3) == [(0, 0), (0, 6), (0, 11)]
    assert evenly_chosen([dense_dataset], 1) == [(0, 0)]
    assert len(evenly_chosen([dense_dataset], 0)) == 12


def fitted_picture(random, scale, shift=0.02, noise=0.02):
    """Inverse depth and truth, 1 to 20 m, of a picture with this scale and shift."""
    truth_m = np.exp(random.uniform(0.0, math.log(20.0), 400))
    inverse_depth = (1.0 / truth_m - shift) / scale
    return inverse_depth + noise * inverse_depth.std() * random.normal(size=400), truth_m


@pytest.fixture
def usual():
    """Sixty pictures whose scales scatter by a quarter, and the mean scale and shift of them."""
    random = np.random.default_rng(0)
    scales = np.exp(random.normal(math.log(0.002), 0.25, 60))
    shifts = random.normal(0.02, 0.01, 60)
    pairs = [fitted_picture(random, *each) for each in zip(scales, shifts, strict=True)]
    return pairs, float(scales.mean()), float(shifts.mean())


def test_the_average_of_usual_pictures_is_the_paper_s_mean(usual):
    pairs, scale, shift = usual
    average, left_out, _ = average_fit(pairs)
    assert left_out == 0
    assert average.scale == pytest.approx(scale, rel=0.005)
    assert average.shift == pytest.approx(shift, abs=0.001)


@pytest.mark.parametrize("others", [1, 10])
@pytest.mark.parametrize("factor", [20.0, 200.0])
def test_pictures_of_nearly_one_depth_do_not_move_the_average(usual, factor, others):
    """The network says the same of them as of others, but with a fraction of the contrast."""
    pairs, scale, shift = usual
    random = np.random.default_rng(1)
    dark = [fitted_picture(random, factor * scale, -factor * 0.05) for _ in range(others)]
    average, left_out, reason = average_fit([*pairs, *dark])
    assert average.scale == pytest.approx(scale, rel=0.01)
    assert average.shift == pytest.approx(shift, abs=0.002)
    assert left_out == others
    assert "the network says nearly one depth" in reason


def test_a_picture_that_gains_nothing_by_its_fit_does_not_count(usual):
    """A weak trend in nothing but noise: a scale like the others', which is owed to chance."""
    pairs, scale, _ = usual
    random = np.random.default_rng(2)
    _, truth_m = fitted_picture(random, scale)
    average, left_out, reason = average_fit([*pairs, (weak(random, truth_m), truth_m)])
    assert left_out == 1
    assert "if every pixel is said to be" in reason
    assert average.scale == pytest.approx(scale, rel=0.01)


def test_where_no_picture_gains_by_its_fit_all_of_them_count(caplog):
    random = np.random.default_rng(3)
    truths = [np.exp(random.uniform(0.0, 3.0, 400)) for _ in range(4)]
    average, left_out, _ = average_fit([(weak(random, truth), truth) for truth in truths])
    assert average.scale > 0.0
    assert left_out == 0
    assert "all pictures count, as the fit to none is better than one depth" in caplog.text


def weak(random, truth_m):
    """Inverse depth that hardly hangs together with the truth."""
    return 50.0 / truth_m + random.normal(0.0, 100.0, truth_m.size)
