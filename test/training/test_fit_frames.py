"""Which frames and points a fit takes, which it holds out, and which it leaves out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fit_data import QUICK, SCALE, Network, frames, make_sample, write

from dpt_ros.bags.dataset import Dataset
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.training.fit import fit_dataset
from dpt_ros.training.fit_summary import remarks


def test_held_out_sources_take_no_part(tmp_path: Path):
    samples = [*frames("ab"), *frames("c", scale=2 * SCALE, shift=0.05)]
    dataset = write(tmp_path / "data", samples)
    settings = dataclasses.replace(QUICK, hold_out="c")
    result = fit_dataset(Network(), dataset, settings)

    assert result.written.scale == pytest.approx(SCALE, rel=1e-3)
    assert result.training.metrics["abs_rel"] < 1e-3
    assert result.held_out is not None and result.held_out.metrics["abs_rel"] > 0.3
    assert result.held_out.own_abs_rel < 1e-3
    assert result.held_out_sources == ["c"] and result.why_not_held_out == ""
    assert {entry.source for entry in result.frames if entry.is_held_out} == {"c"}


@pytest.mark.parametrize(("sources", "hold_out"), [("b", "c"), ("b,", " c ,"), ("b,c", "c")])
def test_a_source_beside_those_that_are_fitted_can_be_held_out(
    tmp_path: Path, sources: str, hold_out: str
):
    dataset = write(tmp_path / "data", frames("abc"))
    settings = dataclasses.replace(QUICK, sources=sources, hold_out=hold_out)
    result = fit_dataset(Network(), dataset, settings)

    assert {entry.source: entry.is_held_out for entry in result.frames} == {"b": False, "c": True}


def test_another_data_set_can_be_held_out(tmp_path: Path):
    dataset = write(tmp_path / "data", frames("a"))
    write(tmp_path / "other", frames("z", count=2))
    settings = dataclasses.replace(QUICK, hold_out=str(tmp_path / "other"))
    result = fit_dataset(Network(), dataset, settings)

    assert result.training.frames == 6
    assert result.held_out is not None and result.held_out.frames == 2
    assert result.held_out_sources == ["z"]


def test_frames_of_another_data_set_may_have_the_same_names(tmp_path: Path):
    dataset = write(tmp_path / "data", frames("a"))
    double = [make_sample("a", index, scale=2.0 * SCALE) for index in range(6)]
    assert [sample.id for sample in double] == [record.id for record in dataset.records]
    write(tmp_path / "other", double)
    settings = dataclasses.replace(QUICK, hold_out=str(tmp_path / "other"))
    result = fit_dataset(Network(), dataset, settings)

    for frame in result.frames:
        assert isinstance(frame.own, ScaleShift)
        expected = 2.0 * SCALE if frame.is_held_out else SCALE
        assert frame.own.scale == pytest.approx(expected, rel=1e-3)
    assert len(result.frames) == 12


def test_with_one_source_nothing_is_held_out_and_that_is_said(tmp_path: Path):
    result = fit_dataset(Network(), write(tmp_path / "data", frames("a")), QUICK)

    assert result.held_out is None
    assert "a single source" in result.calibration.fit["why_nothing_is_held_out"]
    assert any("Nothing was held out: there is a single source" in r for r in remarks(result))
    assert any("Frames fitted: only 6." in remark for remark in remarks(result))


def test_the_same_points_are_taken_whatever_else_there_is(tmp_path: Path):
    settings = dataclasses.replace(QUICK, points_per_frame=200, hold_out="0")
    few = fit_dataset(Network(), write(tmp_path / "few", frames("b", noise=0.02)), settings)
    many = fit_dataset(Network(), write(tmp_path / "many", frames("ab", noise=0.02)), settings)

    assert [frame.truth_m.size for frame in few.pairs] == [200] * 6
    for one, other in zip(few.pairs, many.pairs[6:], strict=True):
        assert one.id == other.id
        np.testing.assert_array_equal(one.truth_m, other.truth_m)
        np.testing.assert_array_equal(one.inverse_depth, other.inverse_depth)
    again = fit_dataset(Network(), Dataset(tmp_path / "few"), settings)
    assert (again.lines, again.written) == (few.lines, few.written)


def test_truth_outside_of_the_depths_is_not_used(tmp_path: Path):
    dataset = write(tmp_path / "data", frames("ab"))
    result = fit_dataset(Network(), dataset, dataclasses.replace(QUICK, near_m=2.0, far_m=6.0))
    truth_m = np.concatenate([frame.truth_m for frame in result.pairs])

    assert truth_m.min() >= 2.0 and truth_m.max() <= 6.0


def test_what_cannot_be_read_or_predicted_is_counted_and_named(tmp_path: Path):
    samples = frames("a", count=8)
    for index, color in ((0, (255, 0, 255)), (1, (255, 255, 0))):
        samples[index].rgb[0, 0] = color
    samples[2] = make_sample("a", 2, coverage=0.01)
    dataset = write(tmp_path / "data", samples)
    (dataset.folder / dataset.records[3].image).write_bytes(b"broken")
    result = fit_dataset(Network(), dataset, QUICK)

    assert result.training.frames == 4
    by_reason = dict(result.left_out)
    assert by_reason["the network failed: out of memory"] == [samples[0].id]
    assert by_reason["the network's output is not finite"] == [samples[1].id]
    assert by_reason["fewer than 100 points between 0.1 and 80 m"] == [samples[2].id]
    assert [samples[3].id] in by_reason.values() and len(by_reason) == 4
    assert sum(f"1 frames were left out, {s.id}" in " ".join(remarks(result)) for s in samples) == 4


@pytest.mark.parametrize("which", ["joint", "average"])
def test_frames_like_their_neighbours_tell_less_than_as_many_others(tmp_path: Path, which: str):
    """The same frames; where their scale wanders slowly, its interval is wider."""
    random = np.random.default_rng(0)
    scales = SCALE * np.exp(0.1 * np.sin(np.arange(80) / 8.0))
    widths = []
    for order in (np.arange(80), random.permutation(80)):
        samples = [
            make_sample("a", index, scale=scale) for index, scale in enumerate(scales[order])
        ]
        settings = dataclasses.replace(QUICK, write=which, resamples=100, points_per_frame=100)
        folder = tmp_path / f"data_{len(widths)}"
        (low, high), _ = fit_dataset(Network(), write(folder, samples), settings).intervals
        widths.append(high - low)
    assert 2.0 < widths[0] / widths[1] < 8.0
