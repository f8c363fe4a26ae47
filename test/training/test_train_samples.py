from __future__ import annotations

import numpy as np
import pytest
import torch

from dpt_ros.bags.dataset import Dataset
from dpt_ros.model.cards import InputSpec
from dpt_ros.model.input_transform import InputTransform, resize_output
from dpt_ros.training.objective import at_truth
from dpt_ros.training.samples import StepSampler, TrainingSamples, collate, common_crop
from dpt_ros.training.settings import AugmentSettings


def make(dataset, size=(32, 32), is_dense=True, crop=None):
    transform = InputTransform(InputSpec(size[1], size[0], 32))
    return TrainingSamples(
        [dataset], transform, crop or size, is_dense=is_dense, augment=AugmentSettings(), seed=1
    )


def steps_of(**arguments):
    return list(StepSampler(10, 4, 7, (0, 9), **arguments))


def test_every_epoch_shows_each_sample_once():
    keys = [key for step in steps_of() for key in step]
    for epoch in range(3):
        numbers = [number for which, number in keys if which == epoch]
        assert sorted(numbers) == list(range(10))
    assert [n for e, n in keys if e == 0] != [n for e, n in keys if e == 1]


@pytest.mark.parametrize(("parts", "processes"), [(2, 1), (1, 2), (2, 2)])
def test_processes_and_parts_divide_the_same_batches(parts, processes):
    whole = steps_of()
    shares = [steps_of(parts=parts, processes=processes, rank=rank) for rank in range(processes)]
    for step, keys in enumerate(whole):
        places = range(step * parts, (step + 1) * parts)
        together = [key for place in places for share in shares for key in share[place]]
        assert sorted(together) == sorted(keys)


def test_a_later_start_gives_the_rest_of_the_same_order():
    assert list(StepSampler(10, 4, 7, (5, 9))) == steps_of()[5:]


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        StepSampler(10, 4, 0, (0, 1), processes=3)
    with pytest.raises(ValueError, match="no samples"):
        StepSampler(0, 4, 0, (0, 1))


def test_the_network_sees_what_it_sees_at_inference(dense_dataset):
    samples = make(dense_dataset, (64, 64))
    expected = InputTransform(InputSpec(64, 64, 32)).apply(
        torch.from_numpy(dense_dataset[2].rgb)[None]
    )
    assert torch.equal(samples[(-1, 2)].x, expected[0])


def test_an_item_depends_on_seed_epoch_and_number_alone(dense_dataset):
    one, again = make(dense_dataset), make(dense_dataset)
    one[(0, 1)]
    assert torch.equal(one[(3, 2)].x, again[(3, 2)].x)
    assert not torch.equal(one[(3, 2)].x, one[(4, 2)].x)


def test_dense_truth_is_that_of_the_nearest_pixel(dense_dataset):
    depth_m = dense_dataset[0].depth_m
    same = make(dense_dataset)[(-1, 0)].target
    doubled = make(dense_dataset, (64, 64))[(-1, 0)].target
    assert same.numpy() == pytest.approx(1.0 / depth_m)
    assert doubled.numpy() == pytest.approx(np.kron(1.0 / depth_m, np.ones((2, 2))))


def test_the_nearest_pixel_is_the_one_in_the_middle(tmp_path, write_dataset):
    """A third of the size: of columns 0, 1, 2 the network's first pixel has its centre at 1."""
    dataset = Dataset(write_dataset(tmp_path / "s", ("a",), 1, size=(96, 96)))
    depth_m = dataset[0].depth_m
    assert not np.array_equal(depth_m[1::3, 1::3], depth_m[::3, ::3])
    target = make(dataset, (32, 32))[(-1, 0)].target
    assert target.numpy() == pytest.approx(1.0 / depth_m[1::3, 1::3])


def test_sparse_truth_keeps_its_own_pixels(tmp_path, write_dataset):
    """The prediction at the points is what inference gives their pixels; no truth is made up."""
    dataset = Dataset(write_dataset(tmp_path / "s", ("a",), 1, size=(30, 100), dense=False))
    samples = make(dataset, (32, 32), is_dense=False, crop=(32, 96))
    batch = collate([((-1, 0), samples[(-1, 0)])])
    depth_m = dataset[0].depth_m
    prediction = torch.rand(1, 32, 96)
    at_inference = resize_output(prediction, (30, 100))[0].numpy()
    is_known = np.isfinite(depth_m)
    assert int(batch.valid.sum()) == is_known.sum()
    assert batch.target[0, 0].numpy() == pytest.approx(1.0 / depth_m[is_known])
    seen = at_truth(prediction, batch.points)[0, 0].numpy()
    assert seen == pytest.approx(at_inference[is_known], abs=1e-5)


def test_a_crop_of_sparse_truth_has_the_points_within_it(tmp_path, write_dataset):
    dataset = Dataset(write_dataset(tmp_path / "s", ("a",), 1, size=(32, 96), dense=False))
    samples = make(dataset, (32, 32), is_dense=False)
    middle = dataset[0].depth_m[:, 32:64]
    item = samples[(-1, 0)]
    assert item.target.numpy() == pytest.approx(1.0 / middle[np.isfinite(middle)])
    v, u = np.nonzero(np.isfinite(middle))
    assert item.points.numpy() == pytest.approx(np.stack((u, v), -1), abs=1e-4)


def test_lists_of_points_are_filled_up_with_what_is_not_valid(tmp_path, write_dataset):
    dataset = Dataset(write_dataset(tmp_path / "s", ("a",), 3, dense=False))
    samples = make(dataset, is_dense=False)
    items = [samples[(-1, number)] for number in range(3)]
    batch = collate([((-1, number), item) for number, item in enumerate(items)])
    counts = [item.target.numel() for item in items]
    assert len(set(counts)) > 1
    assert batch.valid.sum((1, 2)).tolist() == counts
    assert batch.usable(max(counts)).sum() == counts.count(max(counts))
    assert batch.select(torch.tensor([False, True, False])).keys == [(-1, 1)]


def test_a_sample_that_cannot_be_read_has_no_truth_and_says_why(tmp_path, write_dataset):
    dataset = Dataset(write_dataset(tmp_path / "s", ("a",), 2))
    (dataset.folder / dataset.records[1].image).write_bytes(b"\x89PNG cut off")
    batch = collate([((0, n), make(dataset)[(0, n)]) for n in range(2)])
    assert batch.usable(3).tolist() == [True, False]
    assert len(batch.problems) == 1
    assert dataset.records[1].image in batch.problems[0]


def test_the_crop_fits_every_picture(tmp_path, write_dataset):
    wide = Dataset(write_dataset(tmp_path / "w", ("a",), 1, size=(32, 96)))
    small = Dataset(write_dataset(tmp_path / "q", ("a",), 1, size=(32, 48)))
    transform = InputTransform(InputSpec(64, 64, 32))
    # 32x96 becomes 64x192 or, its width changing less, 32x64; 32x48 becomes 32x64.
    assert transform.network_size(32, 96) == (32, 64)
    assert transform.network_size(32, 48) == (32, 64)
    assert common_crop([wide, small], transform, (64, 64)) == (32, 64)
