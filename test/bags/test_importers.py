from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from dpt_ros.bags.dataset import Dataset, DatasetWriter
from dpt_ros.bags.importers.folder import find_folder
from dpt_ros.bags.importers.foreign import ForeignDataError, import_source, read_rgb
from dpt_ros.bags.importers.kitti import find_kitti
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.lidar_settings import LidarSettings

KEEP_ALL = LidarSettings(occlusion_window_m=0.0)
# Of image 2 of KITTI's 2011_09_26, with its baseline to camera 0; picture 60x20 around its centre.
P2 = np.array([[72.15, 0, 30.9, 4.48], [0, 72.15, 9.2, 0.02], [0, 0, 1, 0.0027]])
RECTIFY = cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))[0]
VELO_R = cv2.Rodrigues(np.array([0.02, 0.01, -0.01]))[0] @ [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
VELO_T = np.array([-0.004, -0.076, -0.27])
POINTS = np.array(
    [[8.0, 1.5, 0.2, 0.5], [10, -2, -0.6, 0], [20, 0, 0.5, 0.1], [-5, 0, 0, 1]], "<f4"
)


def expected_depth(points):
    """{(row, column): z} by KITTI's own formula: P2 @ R_rect_00 @ Tr_velo_to_cam @ point."""
    rectify, velo = np.eye(4), np.eye(4)
    rectify[:3, :3] = RECTIFY
    velo[:3, :3], velo[:3, 3] = VELO_R, VELO_T
    found = {}
    for x, y, z, _ in points:
        u, v, w = P2 @ rectify @ velo @ [x, y, z, 1.0]
        row, column = int(np.floor(v / w + 0.5)), int(np.floor(u / w + 0.5))
        if w > 0 and 0 <= row < 20 and 0 <= column < 60:
            found[row, column] = w
    return found


def known(depth_m):
    return {
        (int(row), int(column)): float(depth_m[row, column])
        for row, column in np.argwhere(np.isfinite(depth_m))
    }


def text(values):
    return " ".join(f"{value:.9e}" for value in np.ravel(values))


def write_picture(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 60, 3), value, np.uint8))


def write_scan(path, points=POINTS):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.asarray(points, "<f4").tofile(path)


@pytest.fixture
def raw(tmp_path):
    """Two pictures and scans of a drive; the second scan is 10 ms later than its picture."""
    date = tmp_path / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    for index in range(2):
        write_picture(drive / f"image_02/data/{index:010d}.png", 50 * index)
        write_scan(drive / f"velodyne_points/data/{index:010d}.bin")
    stamps = "2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26.064389445\n"
    (drive / "image_02/timestamps.txt").write_text(stamps)
    (drive / "velodyne_points/timestamps.txt").write_text(stamps.replace("26.064", "26.074"))
    (date / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n"
        f"R_rect_00: {text(RECTIFY)}\nP_rect_02: {text(P2)}\n"
    )
    (date / "calib_velo_to_cam.txt").write_text(
        f"calib_time: 15-Mar-2012 11:37:16\nR: {text(VELO_R)}\nT: {text(VELO_T)}\n"
    )
    return drive


def imported(source, folder, dense=False):
    with DatasetWriter(folder, dense=dense, options={}) as writer:
        info = import_source(source, writer, 1, lambda done, total: None)
    return Dataset(folder), info


@pytest.mark.parametrize("level", [0, 1, 2])
def test_kitti_raw(raw, tmp_path, level):
    """From the drive, its date, or the folder of dates."""
    (source,) = find_kitti([raw, raw.parent, tmp_path][level], 2, KEEP_ALL, min_points=1)
    assert (source.name, source.total) == ("2011_09_26_drive_0001_sync", 2)
    dataset, info = imported(source, tmp_path / "set")
    first, second = dataset
    # 1317042145 s since 1970 is 2011-09-26 13:02:25 UTC.
    assert first.stamp_ns == 1317042145_964389445
    assert (first.gap_ns, second.gap_ns) == (0, 10_000_000)
    assert (first.camera.fx_px, first.camera.cx_px) == (72.15, 30.9)
    assert len(expected_depth(POINTS)) == 3
    assert known(first.depth_m) == pytest.approx(expected_depth(POINTS), rel=1e-5)
    assert second.rgb[0, 0, 0] == 50
    assert info["samples"] == 2
    assert (tmp_path / "set" / "overlays" / f"{first.id}.jpg").is_file()


def test_kitti_raw_with_gaps(raw, tmp_path):
    (raw / "velodyne_points/data/0000000000.bin").unlink()  # as in drive 9
    write_picture(raw / "image_02/data/0000000007.png")
    write_picture(raw / "image_02/data/._0000000001.png")  # as another system's file manager leaves
    (source,) = find_kitti(raw, 2, KEEP_ALL, min_points=1)
    dataset, info = imported(source, tmp_path / "set")
    assert len(dataset) == 1
    assert info["rejected"] == {
        "picture without a whole scan": 1,
        "picture without a time stamp": 1,
        "picture whose name is no number": 1,
    }


def test_an_empty_line_of_stamps_stands_for_a_missing_scan(raw, tmp_path):
    for index in (2, 3):
        write_picture(raw / f"image_02/data/{index:010d}.png")
        write_scan(raw / f"velodyne_points/data/{index:010d}.bin")
    (raw / "velodyne_points/data/0000000001.bin").unlink()
    stamps = [f"2011-09-26 13:02:25.{tenth}64389445\n" for tenth in range(4)]
    (raw / "image_02/timestamps.txt").write_text("".join(stamps))
    (raw / "velodyne_points/timestamps.txt").write_text("".join([stamps[0], "\n", *stamps[2:]]))
    (source,) = find_kitti(raw, 2, KEEP_ALL, min_points=1)
    dataset, info = imported(source, tmp_path / "set")
    assert [record.gap_ns for record in dataset.records] == [0, 0, 0]
    assert info["rejected"] == {"scan without a time stamp": 1}


@pytest.mark.parametrize("told", ["S_rect_02: 6.0e+01 2.0e+01\n", ""])
def test_kitti_pictures_of_another_size_are_rejected(raw, tmp_path, told):
    calibration = raw.parent / "calib_cam_to_cam.txt"
    calibration.write_text(calibration.read_text() + told)
    half = np.zeros((10, 30, 3), np.uint8)
    cv2.imwrite(str(raw / "image_02/data/0000000001.png"), half)
    (source,) = find_kitti(raw, 2, KEEP_ALL, min_points=1)
    dataset, info = imported(source, tmp_path / "set")
    assert len(dataset) == 1
    assert info["rejected"] == {"picture of another size than the calibration's": 1}


def test_kitti_object(tmp_path):
    half = tmp_path / "object" / "training"
    for index in (0, 3):
        write_picture(half / f"image_2/{index:06d}.png")
        write_scan(half / f"velodyne/{index:06d}.bin")
        (half / "calib").mkdir(exist_ok=True)
        (half / f"calib/{index:06d}.txt").write_text(
            f"P0: {text(P2)}\nP2: {text(P2)}\nR0_rect: {text(RECTIFY)}\n"
            f"Tr_velo_to_cam: {text(np.column_stack([VELO_R, VELO_T]))}\n"
        )
    write_picture(half / "image_2/._000003.png")
    (source,) = find_kitti(tmp_path / "object", 2, KEEP_ALL, min_points=1)
    dataset, info = imported(source, tmp_path / "set")
    assert info["rejected"] == {"picture whose name is no number": 1}
    assert [r.id for r in dataset.records] == [
        f"kitti_object_training/{index:020d}" for index in (0, 3)
    ]
    assert known(dataset[1].depth_m) == pytest.approx(expected_depth(POINTS), rel=1e-5)


def test_kitti_that_is_not_whole(raw, tmp_path):
    with pytest.raises(ForeignDataError, match="is not laid out as KITTI"):
        find_kitti(tmp_path / "nothing")
    (raw.parent / "calib_velo_to_cam.txt").write_text("R: 1 2 3\n")
    (source,) = find_kitti(raw, 2, KEEP_ALL)
    with pytest.raises(ForeignDataError, match="R: got 3 numbers, expected 9"):
        imported(source, tmp_path / "a")
    (raw.parent / "calib_velo_to_cam.txt").unlink()
    with pytest.raises(ForeignDataError, match=r"calib_velo_to_cam\.txt cannot be read"):
        imported(source, tmp_path / "b")


CAMERA = Camera(60, 20, 50.0, 50.0, 29.5, 9.5, "plumb_bob", (0.1, 0, 0, 0, 0))


def write_folder(folder, names, depth_mm=2500):
    for name in names:
        write_picture(folder / f"images/{name}.png")
        depth = np.full((20, 60), depth_mm, np.uint16)
        depth[0] = 0
        (folder / "depth").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"depth/{name}.png"), depth)


def test_a_folder_of_pictures_and_depth(tmp_path):
    write_folder(tmp_path / "my room", ["b", "a"])
    source = find_folder(tmp_path / "my room", CAMERA, 0.001)
    dataset, info = imported(source, tmp_path / "set", dense=True)
    assert [record.id for record in dataset.records] == ["my_room/" + "0" * 20, f"my_room/{1:020d}"]
    depth_m = dataset[0].depth_m
    assert np.isnan(depth_m[0]).all()
    assert (depth_m[1:] == np.float32(2.5)).all()
    assert dataset[0].camera == CAMERA
    assert info["calibration"]["depth_scale_m"] == 0.001


def test_names_that_are_not_utf_8_are_read(tmp_path):
    write_folder(tmp_path / "room", ["a", "b"])
    for file in (tmp_path / "room").glob("*/a.*"):
        file.rename(file.with_name(os.fsdecode(b"caf\xe9") + file.suffix))
    dataset, _ = imported(find_folder(tmp_path / "room", CAMERA, 0.001), tmp_path / "set")
    assert len(dataset) == 2


def test_a_picture_that_was_cut_off_is_rejected(tmp_path):
    write_folder(tmp_path / "room", ["a", "b"])
    noise = np.random.default_rng(0).integers(0, 256, (20, 60, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    for name, end in (("a", len(whole) // 2), ("b", len(whole))):
        (tmp_path / f"room/images/{name}.png").unlink()
        (tmp_path / f"room/images/{name}.jpg").write_bytes(whole[:end])
    dataset, info = imported(find_folder(tmp_path / "room", CAMERA, 0.001), tmp_path / "set")
    assert len(dataset) == 1
    assert list(info["examples"].values()) == ["a.jpg"]


def test_names_that_are_stamps_are_kept(tmp_path):
    write_folder(tmp_path / "room", ["1600000000000000001", "1600000000100000001"])
    dataset, _ = imported(find_folder(tmp_path / "room", CAMERA, 0.001), tmp_path / "set")
    assert [r.stamp_ns for r in dataset.records] == [1600000000000000001, 1600000000100000001]


def test_what_does_not_fit_in_a_folder_is_counted(tmp_path):
    folder = tmp_path / "room"
    write_folder(folder, ["a", "b", "c", "d", "e", "f"])
    (folder / "images/f.png").write_bytes(b"no picture")
    (folder / "depth/a.png").unlink()
    cv2.imwrite(str(folder / "depth/b.png"), np.zeros((20, 60), np.uint8))
    cv2.imwrite(str(folder / "depth/c.png"), np.ones((10, 30), np.uint16))
    cv2.imwrite(str(folder / "depth/d.png"), np.zeros((20, 60), np.uint16))
    dataset, info = imported(find_folder(folder, CAMERA, 0.001), tmp_path / "set")
    assert len(dataset) == 1
    assert sorted(info["rejected"].items()) == [
        ("depth that is no 16-bit image of one channel", 1),
        ("fewer than 50 known depths", 1),
        ("picture that cannot be decoded", 1),
        ("picture without a depth image", 1),
        ("sizes that do not fit", 1),
    ]
    assert "depth 30x10, camera 60x20" in info["examples"]["sizes that do not fit"]
    assert info["examples"]["depth that is no 16-bit image of one channel"] == "b.png"
    assert info["examples"]["picture that cannot be decoded"] == "f.png"
    for name in "abcdef":
        (folder / f"depth/{name}.png").unlink(missing_ok=True)
    write_folder(folder, ["z"])
    (folder / "images/z.png").unlink()
    source = find_folder(folder, CAMERA, 0.001)
    with pytest.raises(ForeignDataError, match="no sample: 6 x picture without a depth image"):
        imported(source, tmp_path / "none")


def test_two_files_of_one_name_are_left_out_and_told(tmp_path):
    """Which of them is meant, nothing says; what the others are called stays their stamps."""
    folder = tmp_path / "room"
    write_folder(folder, ["10", "20", "30"])
    write_picture(folder / "images/20.jpg")
    cv2.imwrite(str(folder / "depth/30.tif"), np.full((20, 60), 9000, np.uint16))
    source = find_folder(folder, CAMERA, 0.001)
    dataset, info = imported(source, tmp_path / "set")
    assert [record.stamp_ns for record in dataset.records] == [10]
    assert (source.total, info["scans"]) == (4, 4)
    assert info["rejected"] == {
        "several pictures of one name": 2,
        "several depth images of one name": 1,
    }
    assert info["examples"] == {
        "several pictures of one name": "20.jpg, 20.png",
        "several depth images of one name": "30.png, 30.tif",
    }


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(ForeignDataError, match=r"there is no folder .*depth"):
        find_folder(tmp_path, CAMERA, 0.001)
    (tmp_path / "depth").mkdir()
    with pytest.raises(ForeignDataError, match="holds none of"):
        find_folder(tmp_path, CAMERA, 0.001)
    with pytest.raises(ForeignDataError, match="depth scale"):
        find_folder(tmp_path, CAMERA, 0.0)


def test_what_is_no_file_is_counted(tmp_path):
    folder = tmp_path / "room"
    write_folder(folder, ["a", "b"])
    (folder / "images/x.png").mkdir()
    (folder / "images/y.png").symlink_to(folder / "gone.png")
    (folder / "depth/a.tif").mkdir()  # beside a.png, which is read
    dataset, info = imported(find_folder(folder, CAMERA, 0.001), tmp_path / "set")
    assert len(dataset) == 2
    assert info["rejected"] == {"folder, or link to nothing, with a picture's name": 2}


def test_a_picture_of_kitti_that_is_no_file_is_counted(raw, tmp_path):
    picture = raw / "image_02/data/0000000001.png"
    picture.unlink()
    picture.mkdir()
    (source,) = find_kitti(raw, 2, KEEP_ALL, min_points=1)
    dataset, info = imported(source, tmp_path / "set")
    assert len(dataset) == 1
    assert info["rejected"] == {"picture that cannot be decoded": 1}


@pytest.mark.parametrize("suffix", [".tif", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_picture_is_imported_as_its_sensor_wrote_it(tmp_path, suffix, orientation):
    rgb = np.random.default_rng(3).integers(0, 255, (30, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(rgb).save(tmp_path / f"a{suffix}", exif=exif, lossless=True)
    assert np.array_equal(read_rgb(tmp_path / f"a{suffix}"), rgb)
