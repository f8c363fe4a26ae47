import json

import numpy as np
import psutil
import pytest

from dpt_ros.bags.dataset import Dataset, DatasetError
from dpt_ros.synthetic.dataset import build_dataset, scene_samples, shows_room, source_name
from dpt_ros.synthetic.rig import rig_camera
from dpt_ros.synthetic.settings import RigSettings, SyntheticSettings

CAMERA = rig_camera(RigSettings(), 64, 48)
FEW = SyntheticSettings(frames_per_scene=2, kind="corridor")


def test_data_set_holds_the_scenes_samples(tmp_path):
    names = list(build_dataset(tmp_path / "set", FEW, CAMERA, 2))
    dataset = Dataset(tmp_path / "set")
    assert names == [source_name(FEW, 0), source_name(FEW, 1)] == sorted(dataset.sources)
    assert names[0] == "train_0_000000_corridor"
    assert dataset.dense and len(dataset) == 4
    made = list(scene_samples(FEW, CAMERA, 1))
    for sample in made:
        (stored,) = [s for s in dataset if s.id == sample.id]
        np.testing.assert_array_equal(stored.rgb, sample.rgb)
        np.testing.assert_array_equal(stored.depth_m, sample.depth_m)
        assert stored.camera == CAMERA
    assert dataset.options["split"] == "train"
    assert dataset.options["rig.camera_height_m"] == 0.5


def test_finished_scenes_are_kept_and_more_can_be_added(tmp_path):
    list(build_dataset(tmp_path, FEW, CAMERA, 1))
    picture = next((tmp_path / "images").rglob("*.png"))
    before = picture.stat().st_mtime_ns
    assert len(list(build_dataset(tmp_path, FEW, CAMERA, 2))) == 2
    assert picture.stat().st_mtime_ns == before
    assert len(Dataset(tmp_path)) == 4
    other = SyntheticSettings(frames_per_scene=3, kind="corridor")
    with pytest.raises(DatasetError, match="frames_per_scene"):
        list(build_dataset(tmp_path, other, CAMERA, 2))


def test_two_processes_make_the_same_as_one(tmp_path):
    list(build_dataset(tmp_path / "one", FEW, CAMERA, 2))
    assert len(list(build_dataset(tmp_path / "two", FEW, CAMERA, 2, jobs=2))) == 2
    one, two = Dataset(tmp_path / "one"), Dataset(tmp_path / "two")
    assert one.fingerprint == two.fingerprint
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)


def test_a_process_that_is_killed_is_told_and_finished_scenes_stay(tmp_path):
    made = build_dataset(tmp_path, FEW, CAMERA, 8, jobs=2)
    first = next(made)
    for child in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
    with pytest.raises(RuntimeError, match="ended from outside.*run the same command again"):
        list(made)
    kept = set(Dataset(tmp_path).sources)
    assert first in kept and len(kept) < 8
    assert len(list(build_dataset(tmp_path, FEW, CAMERA, 8))) == 8
    assert len(Dataset(tmp_path)) == 16


def test_splits_and_seeds_show_different_scenes():
    pictures = [
        next(scene_samples(settings, CAMERA, index)).rgb
        for settings, index in (
            (FEW, 0),
            (FEW, 1),
            (SyntheticSettings(frames_per_scene=2, kind="corridor", split="test"), 0),
            (SyntheticSettings(frames_per_scene=2, kind="corridor", split="validation"), 0),
            (SyntheticSettings(frames_per_scene=2, kind="corridor", seed=1), 0),
        )
    ]
    for number, first in enumerate(pictures):
        for second in pictures[number + 1 :]:
            assert (first != second).mean() > 0.5


def test_depth_is_known_up_to_far_and_mostly_beyond_a_third_of_a_metre():
    settings = SyntheticSettings(frames_per_scene=6, far_m=20.0)
    for index in range(4):  # one of each kind
        samples = list(scene_samples(settings, CAMERA, index))
        assert len(samples) == 6
        for sample in samples:
            known = sample.depth_m[np.isfinite(sample.depth_m)]
            assert len(known) > 0.4 * sample.depth_m.size
            assert known.max() <= 20.0 and np.quantile(known, 0.02) >= 0.25
            assert not np.isinf(sample.depth_m).any()
        assert len({sample.rgb.tobytes() for sample in samples}) == 6


def test_picture_filled_by_a_near_wall_is_left_out():
    near = np.full((48, 64), 0.6, np.float32)
    assert not shows_room(near)
    far = np.linspace(0.5, 9.0, 48, dtype=np.float32)[::-1, None] * np.ones(64, np.float32)
    assert shows_room(far)
    sky = far.copy()
    sky[:20] = np.nan
    assert shows_room(sky)
    blocked = far.copy()
    blocked[:, :10] = 0.1
    assert not shows_room(blocked)


def test_kinds_take_turns():
    settings = SyntheticSettings()
    names = [source_name(settings, index).rpartition("_")[2] for index in range(5)]
    assert names == ["room", "corridor", "street", "yard", "room"]


def test_bad_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="0 scenes"):
        list(build_dataset(tmp_path, FEW, CAMERA, 0))
    with pytest.raises(ValueError, match="0 jobs"):
        list(build_dataset(tmp_path, FEW, CAMERA, 1, jobs=0))


def test_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"thesis\.txt"):
        list(build_dataset(tmp_path, FEW, CAMERA, 1))
    assert json.dumps((tmp_path / "thesis.txt").read_text()) == '"mine"'
