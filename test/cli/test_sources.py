from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dpt_ros.cli.sources import Source, read_camera_file

BAGS = Path(__file__).resolve().parents[3] / "shared" / "data"

CAMERA_YAML = """
image_width: 40
image_height: 30
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [50.0, 0, 19.5, 0, 60.0, 14.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0.001, 0.0, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [45.0, 0, 19, 0, 0, 55.0, 14, 0, 0, 0, 1, 0]}
"""


@pytest.fixture
def rgb():
    return np.random.default_rng(1).integers(0, 255, (30, 40, 3), np.uint8)


def write(path: Path, rgb: np.ndarray) -> Path:
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def test_a_folder_gives_its_pictures_in_order_and_names_what_it_skips(tmp_path, rgb):
    write(tmp_path / "b.png", rgb[::-1])
    write(tmp_path / "a.png", rgb)
    (tmp_path / "c.png").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("x")
    source = Source(tmp_path)
    pictures = list(source)
    assert source.kind == "folder" and source.count() == 3
    assert [picture.name for picture in pictures] == ["a", "b"]
    assert np.array_equal(pictures[0].rgb, rgb) and pictures[0].camera is None
    assert source.skipped == ["c.png: is not a picture that OpenCV can decode"]


def test_a_camera_file_describes_the_raw_picture_or_the_rectified_one(tmp_path, rgb):
    picture = write(tmp_path / "a.png", rgb)
    yaml = tmp_path / "camera.yaml"
    yaml.write_text(CAMERA_YAML)
    raw = next(iter(Source(picture, camera_file=yaml))).camera
    rectified = next(iter(Source(picture, camera_file=yaml, rectified=True))).camera
    assert (raw.fx_px, raw.cy_px, raw.distortion_model) == (50.0, 14.5, "plumb_bob")
    assert raw.distortion[0] == -0.1
    assert (rectified.fx_px, rectified.cy_px) == (45.0, 14.0)
    assert rectified.distortion_model == "none"


def test_a_video_is_read_to_its_end(tmp_path, rgb):
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (40, 30))
    for _ in range(5):
        writer.write(rgb)
    writer.release()
    source = Source(path)
    pictures = list(source)
    assert source.kind == "video" and source.count() == 5
    assert [picture.name for picture in pictures] == [f"drive_{i:06d}" for i in range(5)]
    assert pictures[3].stamp_ns == pytest.approx(300_000_000, abs=1_000_000)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.mp4", b"no video", "is not a video that OpenCV can open"),
        ("folder/readme.txt", b"", "holds no picture"),
    ],
)
def test_what_cannot_be_used_says_what_was_expected(tmp_path, name, content, message):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(Source(path if path.suffix == ".mp4" else path.parent))


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Source(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_width: 40", "image_height: expected an integer, got None"),
        ("image_width: 40\nimage_height: 30", "camera_matrix.data: expected a list of 9"),
        (CAMERA_YAML.replace("50.0, 0, 19.5", "50.0, 0"), "camera_matrix.data"),
    ],
)
def test_a_faulty_camera_file_is_refused(tmp_path, text, message):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_camera_file(path)


@pytest.mark.skipif(not BAGS.is_dir(), reason="the real recordings are not here")
@pytest.mark.parametrize(
    ("bag", "size"), [("kitti_000000", (1224, 370)), ("kitti_000001", (1242, 375))]
)
def test_a_bag_gives_pictures_with_their_rectified_camera(bag, size):
    source = Source(BAGS / bag)
    (picture,) = list(source)
    assert source.kind == "bag" and source.count() == 1
    assert (picture.rgb.shape[1], picture.rgb.shape[0]) == size
    assert (picture.camera.width, picture.camera.height) == size
    assert picture.camera.distortion_model == "none"
    assert picture.camera.fx_px == pytest.approx(715, rel=0.02)
