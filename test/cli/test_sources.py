from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dpt_ros.bags.reader import BagError
from dpt_ros.cli.camera_file import read_camera_file
from dpt_ros.cli.sources import Source, _with_camera_info

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
    whole = cv2.imencode(".jpg", rgb)[1].tobytes()
    (tmp_path / "d.jpg").write_bytes(whole[: 3 * len(whole) // 4])
    (tmp_path / "notes.txt").write_text("x")
    source = Source(tmp_path)
    pictures = list(source)
    assert source.kind == "folder" and source.count() == 4
    assert [picture.name for picture in pictures] == ["a", "b"]
    assert np.array_equal(pictures[0].rgb, rgb) and pictures[0].camera is None
    assert source.skipped == [
        "c.png: is not a picture that OpenCV can decode",
        "d.jpg: is a JPEG that was cut off",
    ]


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


@pytest.mark.parametrize("suffix", [".tif", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_file_describes_the_picture_as_it_is_stored(tmp_path, rgb, suffix, orientation):
    """Without one the picture is turned as its file says."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = Image.fromarray(rgb)
    picture.save(tmp_path / f"a{suffix}", exif=exif, lossless=True)
    (tmp_path / "camera.yaml").write_text(CAMERA_YAML)
    (stored,) = Source(tmp_path / f"a{suffix}", camera_file=tmp_path / "camera.yaml")
    assert np.array_equal(stored.rgb, rgb)
    assert stored.camera is not None
    (turned,) = Source(tmp_path / f"a{suffix}")
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    assert np.array_equal(turned.rgb, np.asarray(ImageOps.exif_transpose(picture)))


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
    assert source.skipped == []


def test_a_video_that_was_cut_off_says_so(tmp_path):
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (160, 120))
    for seed in range(20):
        noise = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8)
        writer.write(noise)
    writer.release()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    source = Source(path)
    read = len(list(source))
    assert 0 < read < 15
    assert source.notes == [f"drive.avi: {read} of about 20 frames could be read: was it cut off?"]
    assert source.skipped == []  # it is not one more picture


def test_a_video_whose_name_is_not_utf_8_is_refused(tmp_path):
    """Asked with such a name, OpenCV ends the whole process."""
    path = tmp_path / os.fsdecode(b"caf\xe9.avi")
    path.write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="is no name in UTF-8, .* rename it"):
        Source(path).count()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.mp4", b"no video", r"is not a video that OpenCV can open \(was it cut off\?\)"),
        ("x.mp4", b"", "x.mp4: is empty; record or copy it again"),
        ("folder/readme.txt", b"", "holds no picture"),
        ("folder/metadata.yaml", b"author: me\n", "holds no picture"),
        ("x.bag", b"#ROSBAG V2.0\n", "is a ROS 1 bag: convert it with `rosbags-convert`"),
        ("folder/x.bag", b"#ROSBAG V2.0\n", r"holds ROS 1 bags \(x.bag\): .*`rosbags-convert`"),
    ],
)
def test_what_cannot_be_used_says_what_was_expected(tmp_path, name, content, message):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(Source(path.parent if path.parent != tmp_path else path))


def test_a_folder_of_pictures_may_hold_a_metadata_file_of_something_else(tmp_path, rgb):
    write(tmp_path / "a.png", rgb)
    (tmp_path / "metadata.yaml").write_text("author: me\n")
    source = Source(tmp_path)
    assert source.kind == "folder" and [picture.name for picture in source] == ["a"]
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information:\n  version: 9\n")
    assert Source(tmp_path).kind == "bag"


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Source(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_width: 40", "image_height: expected an integer, got None"),
        ("image_width: 40\nimage_height: 30", "camera_matrix.data: expected a list of 9"),
        (CAMERA_YAML.replace("50.0, 0, 19.5", "50.0, 0"), "camera_matrix.data"),
        (CAMERA_YAML.replace("50.0, 0, 19.5", "abc, 0, 19.5"), "camera_matrix.data: .* numbers"),
        (CAMERA_YAML.replace("50.0, 0, 19.5", "null, 0, 19.5"), "camera_matrix.data: .* numbers"),
        (CAMERA_YAML.replace("50.0, 0, 19.5", "[1], 0, 19.5"), "camera_matrix.data: .* numbers"),
        (CAMERA_YAML + "distortion_model: [1]\n", r"distortion_model: expected a name, got \[1\]"),
    ],
)
def test_a_faulty_camera_file_is_refused(tmp_path, text, message):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_camera_file(path)


def test_pictures_that_differ_in_their_suffix_get_names_of_their_own(tmp_path, rgb):
    for name in ("a.jpg", "a.png", "a_png.png", "b.png"):
        write(tmp_path / name, rgb)
    source = Source(tmp_path)
    names = ["a", "a_png", "a_png_png", "b"]
    assert [picture.name for picture in source] == names
    assert [picture.name for picture in source] == names  # a second time too


STORE = get_typestore(Stores.ROS2_JAZZY)


def write_bag(path: Path, rgb: np.ndarray, stamps: list[int], info_size: tuple[int, int]) -> Path:
    """Pictures at these seconds, after a camera_info of this (width, height)."""
    kinds = {"/camera/camera_info": "CameraInfo", "/camera/image_raw": "Image"}
    region = STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    k = np.array([50.0, 0, 19.5, 0, 60.0, 14.5, 0, 0, 1])
    p = np.insert(k, [3, 6, 9], 0.0)
    width, height = info_size

    def header(seconds: int) -> object:
        stamp = STORE.types["builtin_interfaces/msg/Time"](seconds, 0)
        return STORE.types["std_msgs/msg/Header"](stamp, "camera")

    info = STORE.types["sensor_msgs/msg/CameraInfo"](
        header(0), height, width, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, region
    )
    images = [
        STORE.types["sensor_msgs/msg/Image"](
            header(s), 30, 40, "rgb8", 0, 120, np.roll(rgb, i, 0).ravel()
        )
        for i, s in enumerate(stamps)
    ]
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(topic, f"sensor_msgs/msg/{kind}", typestore=STORE)
            for topic, kind in kinds.items()
        }
        messages = [("/camera/camera_info", info), *(("/camera/image_raw", i) for i in images)]
        for recorded_ns, (topic, message) in enumerate(messages):
            data = STORE.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], recorded_ns, data)
    return path


def test_stamps_that_repeat_give_names_of_their_own(tmp_path, rgb):
    source = Source(write_bag(tmp_path / "bag", rgb, [0, 0, 2, 2, 0], (40, 30)))
    pictures = list(source)
    assert [picture.name for picture in pictures] == [
        "bag_0",
        "bag_0_000001",
        "bag_2000000000",
        "bag_2000000000_000003",
        "bag_0_000004",
    ]
    assert all(picture.camera.fx_px == 50.0 for picture in pictures)
    assert source.camera_troubles == []


def test_a_picture_takes_the_camera_info_of_its_stamp_also_if_it_comes_after_it():
    def message(topic: str, stamp_ns: int) -> SimpleNamespace:
        return SimpleNamespace(topic=topic, stamp_ns=stamp_ns, message=(topic, stamp_ns))

    order = [("i", 0), ("p", 1), ("i", 1), ("p", 2), ("p", 3), ("i", 4), ("p", 4), ("i", 9)]
    paired = _with_camera_info((message(*each) for each in order), "i", "the first")
    assert [(picture.stamp_ns, info[1]) for picture, info in paired] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 4),
    ]
    (only,) = _with_camera_info([message("p", 1)], None, "the first")
    assert only[1] == "the first"
    assert not list(_with_camera_info([], None, None))


def test_the_last_picture_of_a_damaged_bag_comes_before_its_error(tmp_path, rgb):
    folder = write_bag(tmp_path / "bag", rgb, [1, 2, 3], (40, 30))
    metadata = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(metadata.replace("bag.mcap", "bag.mcap\n  - lost.mcap"))
    stamps = []
    with pytest.raises(BagError, match="everything else was read"):
        stamps.extend(picture.stamp_ns // 10**9 for picture in Source(folder))
    assert stamps == [1, 2, 3]


def test_a_bags_pictures_stay_where_its_camera_info_does_not_fit(tmp_path, rgb):
    source = Source(write_bag(tmp_path / "bag", rgb, [1, 2], (40, 40)))
    pictures = list(source)
    assert [picture.camera for picture in pictures] == [None, None]
    assert np.array_equal(pictures[1].rgb, np.roll(rgb, 1, 0))
    assert source.skipped == []
    (reason,) = source.camera_troubles
    assert "40x30" in reason and "40x40" in reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CAMERA_YAML.replace("image_height: 30", "image_height: 40"), "40x30"),
        (CAMERA_YAML.replace("plumb_bob", "fancy"), "fancy"),
        (CAMERA_YAML.replace("data: [50.0", "data: [0"), "calibrat"),
    ],
)
def test_a_camera_file_that_does_not_fit_leaves_the_pictures(tmp_path, rgb, text, reason):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, rgb)
    (tmp_path / "camera.yaml").write_text(text)
    source = Source(tmp_path, camera_file=tmp_path / "camera.yaml")
    for _ in range(2):
        assert [(p.name, p.camera) for p in source] == [("a", None), ("b", None)]
        (told,) = source.camera_troubles
        assert reason in told


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


def test_what_is_no_file_is_told_and_not_counted(tmp_path, rgb):
    write(tmp_path / "a.png", rgb)
    (tmp_path / "b.png").mkdir()
    (tmp_path / "c.png").symlink_to(tmp_path / "gone.png")
    source = Source(tmp_path)
    for _ in range(2):
        assert [picture.name for picture in source] == ["a"]
        assert source.skipped == [
            "b.png: is a folder, not a picture",
            "c.png: is a link to what is not there",
        ]
    assert source.count() == 1
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="holds no picture"):
        Source(tmp_path)


def test_a_picture_that_vanishes_is_skipped(tmp_path, rgb):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, rgb)
    source = Source(tmp_path)
    (tmp_path / "a.png").unlink()
    assert [picture.name for picture in source] == ["b"]
    assert source.skipped == ["a.png: cannot be read (No such file or directory)"]


def test_several_camera_info_and_none_beside_the_pictures_are_told(tmp_path, recordings, rgb):
    stamp_ns = recordings.STAMPS[0]
    messages = [("/cam/image_raw", stamp_ns, recordings.image(stamp_ns, rgb))]
    for side in ("left", "right"):
        messages.append((f"/{side}/camera_info", stamp_ns, recordings.info(stamp_ns, 40, 30, 50.0)))
    source = Source(recordings.write_bag(tmp_path / "bag", messages))
    assert [picture.camera for picture in source] == [None]
    assert source.camera_troubles == [
        "the bag has several camera_info (/left/camera_info, /right/camera_info), and none beside "
        "/cam/image_raw"
    ]


def test_a_folder_is_read_as_its_files_are(tmp_path):
    """A GIF alone is a video; among pictures, a picture."""
    rgb = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)
    suffixes = [suffix for suffix in (".avif", ".jp2", ".gif") if cv2.haveImageWriter(suffix)]
    for suffix in (*suffixes, ".png"):
        assert cv2.imwrite(str(tmp_path / f"a{suffix}"), rgb)
    source = Source(tmp_path)
    assert len(list(source)) == source.count() == len(suffixes) + 1
    assert not source.left_out and not source.skipped
    for suffix in suffixes:
        alone = Source(tmp_path / f"a{suffix}")
        assert alone.kind == ("video" if suffix == ".gif" else "picture")
        assert alone.left_out == ""


def test_frames_that_are_not_taken_are_told(tmp_path):
    frames = [Image.new("RGB", (64, 48), (shade, 0, 0)) for shade in (50, 100, 150)]
    names = ("a.gif", "a.png", "a.tif", "a.webp")
    for name in names:
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.png")
    source = Source(tmp_path)
    for _ in range(2):
        assert len(list(source)) == source.count() == 5 and not source.skipped
        assert source.notes == [f"{name} has 3 frames: the first is taken" for name in names]
    for name in names[1:]:
        alone = Source(tmp_path / name)
        (picture,) = alone
        assert picture.rgb[0, 0, 0] == pytest.approx(50, abs=2)
        assert alone.notes == [f"{name} has 3 frames: the first is taken"]
    video = Source(tmp_path / "a.gif")
    assert len(list(video)) == 3 and not video.notes


def test_many_kinds_of_files_are_told_in_short(tmp_path, rgb):
    write(tmp_path / "a.png", rgb)
    for letter in "abcdefgh":
        (tmp_path / f"x.{letter}").touch()
    assert Source(tmp_path).left_out == "8 files of other kinds (.a .b .c .d .e .f ...)"


def test_a_bag_s_depth_images_are_not_its_pictures(tmp_path, recordings, rgb):
    depth = recordings.image(1, rgb[..., :2])
    depth.encoding, depth.step = "16UC1", 80
    messages = [("/cam/image_raw", 1, recordings.image(1, rgb)), ("/cam/depth", 1, depth)]
    source = Source(recordings.write_bag(tmp_path / "bag", messages))
    assert source.count() == 1
    (picture,) = source
    assert np.array_equal(picture.rgb, rgb)
    alone = Source(recordings.write_bag(tmp_path / "alone", messages[1:]))
    assert alone.count() == 1, "the only one is taken, and its faults are told"
