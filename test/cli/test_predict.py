from __future__ import annotations

import errno
import json
import resource
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dpt_ros.cli import predict_outputs
from dpt_ros.cli.main import main
from dpt_ros.geometry.camera import Camera
from dpt_ros.inference import DepthPredictor
from dpt_ros.inference.colormap import ColormapSettings, color_range, colorize

CAMERA = """
image_width: 64
image_height: 48
camera_matrix: {rows: 3, cols: 3, data: [60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(folder / name), generator.integers(0, 255, (48, 64, 3), np.uint8))
    (tmp_path / "camera.yaml").write_text(CAMERA)
    return folder


def predict(pictures: Path, checkpoint: Path, *more: str) -> tuple[int, Path]:
    out = pictures.parent / "out"
    arguments = ["predict", str(pictures), "--model", "dpt_tiny", "--checkpoint", str(checkpoint)]
    return main([*arguments, "--device", "cpu", "--out", str(out), *more]), out


def test_every_picture_gets_its_files(pictures, checkpoint, capsys):
    (pictures / "broken.png").write_bytes(b"x")
    status, out = predict(pictures, checkpoint)
    assert status == 0
    names = [
        f"{n}_{kind}"
        for n in "ab"
        for kind in ("color.png", "inverse_depth.npy", "inverse_depth.png")
    ]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "predictions.json"])
    printed = capsys.readouterr()
    assert "2 of 3 pictures" in printed.out and "relative, not metres" in printed.out
    assert "broken.png" in printed.err

    bgr = cv2.imread(str(pictures / "a.png"))
    predictor = DepthPredictor.from_model("dpt_tiny", checkpoint=checkpoint, device="cpu")
    expected = predictor.predict(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    inverse_depth = np.load(out / "a_inverse_depth.npy")
    np.testing.assert_allclose(inverse_depth, expected, atol=1e-5 * expected.max())

    manifest = json.loads((out / "predictions.json").read_text())
    entry = manifest["pictures"][0]
    stretched = cv2.imread(str(out / "a_inverse_depth.png"), cv2.IMREAD_UNCHANGED)
    assert stretched.dtype == np.uint16
    restored = entry["png"]["offset"] + entry["png"]["step"] * stretched
    np.testing.assert_allclose(restored, inverse_depth, atol=0.51 * entry["png"]["step"])
    assert manifest["model"] == "dpt_tiny" and entry["metric"] is None


def test_with_a_camera_but_no_metres_the_cloud_says_that_it_is_relative(pictures, checkpoint):
    status, out = predict(pictures, checkpoint, "--camera", str(pictures.parent / "camera.yaml"))
    assert status == 0 and not list(out.glob("*_points.ply"))
    header, vertices = read_ply(out / "a_points_relative.ply")
    assert "NOT metres" in header
    assert np.median(vertices["z"]) == pytest.approx(1.0, rel=0.02)
    # Each point lies on its own pixel's ray.
    u = 60.0 * vertices["x"] / vertices["z"] + 31.5
    np.testing.assert_allclose(u, np.round(u), atol=0.01)


def test_a_calibration_gives_metres_and_a_cloud(pictures, checkpoint, capsys):
    from dpt_ros.geometry.calibration import Calibration, save_calibration
    from dpt_ros.geometry.scale_shift import ScaleShift
    from dpt_ros.model.checkpoints import file_sha256

    size = DepthPredictor.from_model("dpt_tiny", checkpoint=checkpoint, device="cpu").network_size(
        48, 64
    )
    calibration = Calibration(
        scale_shift=ScaleShift(0.1, 0.25),
        model="dpt_tiny",
        checkpoint_sha256=file_sha256(checkpoint),
        network_height=size[0],
        network_width=size[1],
        camera=Camera(64, 48, 60.0, 60.0, 31.5, 23.5),
        near_m=0.1,
        far_m=100.0,
        fit={},
    )
    path = pictures.parent / "calibration.yaml"
    save_calibration(calibration, path)
    status, out = predict(pictures, checkpoint, "--calibration", str(path))
    assert status == 1 and not list(out.glob("*_depth_m.npy")), "no metres, as was asked for"
    told = capsys.readouterr().err
    assert "dpt-ros predict: no picture got the metres of --calibration: " in told
    assert "made for one camera, and this image's is not known" in told
    assert (out / "a_color.png").is_file()
    shutil.rmtree(out)
    camera = str(pictures.parent / "camera.yaml")
    status, out = predict(pictures, checkpoint, "--calibration", str(path), "--camera", camera)
    assert status == 0
    inverse_depth = np.load(out / "b_inverse_depth.npy")
    depth_m = np.load(out / "b_depth_m.npy")
    np.testing.assert_allclose(depth_m, 1.0 / (0.1 * inverse_depth + 0.25), rtol=1e-5)
    _, vertices = read_ply(out / "b_points.ply")
    np.testing.assert_allclose(np.sort(vertices["z"]), np.sort(depth_m.ravel()), rtol=1e-6)
    # Metres of that run do not stay beside the next one, which has none.
    assert predict(pictures, checkpoint, "--force")[0] == 0
    assert not [*out.glob("*_depth_m.npy"), *out.glob("*.ply")]


def test_a_camera_that_does_not_fit_is_told_once(pictures, checkpoint, capsys):
    camera = pictures.parent / "camera.yaml"
    camera.write_text(CAMERA.replace("image_height: 48", "image_height: 64"))
    status, out = predict(pictures, checkpoint, "--camera", str(camera))
    assert status == 0 and not list(out.glob("*.ply"))
    assert len(list(out.glob("*_inverse_depth.npy"))) == 2
    told = capsys.readouterr().err
    assert told.count("without a camera: ") == 1
    assert "without a camera: a.png and 1 more: the picture is 64x48, but camera_info" in told
    assert "name the file of this picture's camera with --camera" in told
    assert "publish" not in told


@pytest.mark.parametrize(("kind", "kept"), [("video", 0.9), ("folder", 0.0)])
def test_colours_are_kept_steady_within_a_video_only(tmp_path, checkpoint, kind, kept):
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    images = [noise, np.full((48, 64, 3), 90, np.uint8)]
    source = tmp_path / "drive.avi" if kind == "video" else tmp_path / "drive"
    if kind == "video":
        writer = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
        for image in images:
            writer.write(image)
        writer.release()
    else:
        source.mkdir()
        for index, image in enumerate(images):
            cv2.imwrite(str(source / f"drive_{index:06d}.png"), image)
    status, out = predict(source, checkpoint)
    assert status == 0
    first, second = (
        torch.from_numpy(np.load(out / f"drive_{i:06d}_inverse_depth.npy"))[None] for i in (0, 1)
    )
    settings = ColormapSettings()
    ranges = [color_range(inverse_depth, settings) for inverse_depth in (first, second)]
    assert not torch.allclose(ranges[0], ranges[1])
    limits = kept * ranges[0] + (1.0 - kept) * ranges[1]
    expected = colorize(second, settings, limits)[0].numpy()
    color = cv2.cvtColor(cv2.imread(str(out / "drive_000001_color.png")), cv2.COLOR_BGR2RGB)
    assert np.abs(color.astype(int) - expected).max() <= 6  # one step of the colour map
    plain = colorize(second, settings, ranges[1])[0].numpy()
    assert np.array_equal(color, plain) == (kind == "folder")


def test_results_of_an_earlier_run_are_kept_unless_told(pictures, checkpoint, capsys):
    assert predict(pictures, checkpoint)[0] == 0
    assert predict(pictures, checkpoint)[0] == 1
    assert "--force" in capsys.readouterr().err
    assert predict(pictures, checkpoint, "--force")[0] == 0


def test_a_faulty_input_ends_with_a_sentence(tmp_path, checkpoint, capsys):
    assert predict(tmp_path / "nowhere" / "x", checkpoint)[0] == 1
    assert "no such file or folder" in capsys.readouterr().err


def test_a_run_without_a_picture_leaves_nothing_in_the_way(pictures, checkpoint, capsys):
    broken = pictures.parent / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"x")
    note = pictures.parent / "note.txt"
    note.write_text("no video")
    assert predict(note, checkpoint)[0] == 1
    assert "is not a video that OpenCV can open" in capsys.readouterr().err
    assert predict(broken, checkpoint)[0] == 1
    assert predict(pictures, checkpoint)[0] == 0


def test_the_inputs_own_pictures_are_never_written_over(pictures, checkpoint, capsys):
    mine = {name: f"{name}.png" for name in ("a_color", "a_inverse_depth")}
    for value, name in enumerate(mine.values()):
        cv2.imwrite(str(pictures / name), np.full((48, 64, 3), 90 + value, np.uint8))
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    link = pictures.parent / "link"
    link.symlink_to(pictures)
    for given in (pictures, pictures / "a.png", link / "a.png"):
        for more in ((), ("--force",)):
            assert predict(given, checkpoint, "--out", str(pictures), *more)[0] == 1
            assert "holds pictures of the input" in capsys.readouterr().err
    linked = pictures.parent / "linked"
    linked.mkdir()
    (linked / "a.png").symlink_to(pictures / "a.png")
    assert predict(linked, checkpoint, "--out", str(pictures))[0] == 1
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before


def test_an_output_folder_that_is_a_file_is_told(pictures, checkpoint, capsys):
    file = pictures.parent / "camera.yaml"
    for out in (file, file / "in_it"):
        assert predict(pictures, checkpoint, "--out", str(out))[0] == 1
        assert f"{file} is a file, expected a folder" in capsys.readouterr().err


def write_calibration(path: Path, checkpoint: Path) -> Path:
    from dpt_ros.geometry.calibration import Calibration, save_calibration
    from dpt_ros.geometry.scale_shift import ScaleShift

    predictor = DepthPredictor.from_model("dpt_tiny", checkpoint=checkpoint, device="cpu")
    size = predictor.network_size(48, 64)
    pair, camera = ScaleShift(0.1, 0.25), Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    sha256 = predictor.checkpoint_sha256
    save_calibration(Calibration(pair, "dpt_tiny", sha256, *size, camera, 0.1, 100.0), path)
    return path


def test_pictures_without_metres_are_counted(pictures, checkpoint, capsys):
    """One of three has not the camera's size."""
    cv2.imwrite(str(pictures / "c.png"), np.zeros((64, 64, 3), np.uint8))
    path = write_calibration(pictures.parent / "calibration.yaml", checkpoint)
    camera = str(pictures.parent / "camera.yaml")
    assert predict(pictures, checkpoint, "--calibration", str(path), "--camera", camera)[0] == 0
    printed = capsys.readouterr().out
    assert "1 of 3 pictures have no metres: " in printed and "not metres" not in printed


def test_what_is_no_file_is_skipped_and_told(pictures, checkpoint, capsys):
    (pictures / "x.png").mkdir()
    (pictures / "y.png").symlink_to(pictures / "gone.png")
    status, out = predict(pictures, checkpoint)
    assert status == 0
    printed = capsys.readouterr()
    assert "2 of 4 pictures" in printed.out
    assert "skipped: x.png: is a folder" in printed.err
    assert "skipped: y.png: is a link to what is not there" in printed.err
    assert json.loads((out / "predictions.json").read_text())["complete"] is True


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [(KeyboardInterrupt(), 130, "interrupted"), (OSError("full"), 1, "broken off")],
)
def test_an_interrupted_run_is_told_as_such(
    pictures, checkpoint, monkeypatch, capsys, error, status, told
):
    write_one = predict_outputs.write_picture

    def write_the_first(out, picture, *more):
        if picture.name == "b":
            raise error
        return write_one(out, picture, *more)

    monkeypatch.setattr(predict_outputs, "write_picture", write_the_first)
    got, out = predict(pictures, checkpoint)
    assert got == status
    assert f"1 of 2 pictures, {told} -> {out}" in capsys.readouterr().out
    manifest = json.loads((out / "predictions.json").read_text())
    assert manifest["complete"] is False and len(manifest["pictures"]) == 1


def test_the_earlier_runs_files_go_and_no_others(pictures, checkpoint):
    status, out = predict(pictures, checkpoint, "--camera", str(pictures.parent / "camera.yaml"))
    assert status == 0
    (out / "mine_color.png").write_bytes(b"mine")
    outside = pictures.parent / "x_color.png"
    outside.write_bytes(b"outside")
    manifest = json.loads((out / "predictions.json").read_text())
    names = ("../x", str(outside.parent / "x"), "", 3, "sub/../../x")
    manifest["pictures"] += [{"name": name} for name in names]
    (out / "sub").mkdir()
    (out / "predictions.json").write_text(json.dumps(manifest))
    (pictures / "b.jpg").unlink()
    assert predict(pictures, checkpoint, "--force")[0] == 0
    assert outside.read_bytes() == b"outside"
    kept = ("a_color.png", "a_inverse_depth.npy", "a_inverse_depth.png", "mine_color.png")
    assert {path.name for path in out.iterdir()} == {*kept, "predictions.json", "sub"}


def test_another_folder_s_own_files_are_not_written_over(pictures, checkpoint, capsys):
    status, out = predict(pictures, checkpoint)
    assert status == 0
    (out / "predictions.json").unlink()
    (out / "a_color.png").write_bytes(b"mine")
    assert predict(pictures, checkpoint)[0] == 1
    told = capsys.readouterr().err
    assert "a_inverse_depth.npy: is there already, and would be lost; name another folder" in told
    assert (out / "a_color.png").read_bytes() == b"mine"
    assert predict(pictures, checkpoint, "--force")[0] == 0
    assert (out / "a_color.png").read_bytes() != b"mine"


def test_an_earlier_run_stays_where_nothing_new_can_be_read(pictures, checkpoint):
    assert predict(pictures, checkpoint)[0] == 0
    broken = pictures.parent / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"x")
    status, out = predict(broken, checkpoint, "--force")
    assert status == 1 and (out / "b_color.png").is_file()
    assert len(json.loads((out / "predictions.json").read_text())["pictures"]) == 2


def test_a_topic_of_what_is_no_bag_is_refused(pictures, checkpoint, capsys):
    assert predict(pictures, checkpoint, "--image-topic", "/x")[0] == 1
    assert "--image-topic /x: only a bag has topics" in capsys.readouterr().err


def test_a_bag_with_several_cameras_says_how_to_name_one(tmp_path, recordings, checkpoint, capsys):
    stamp_ns, rgb = recordings.STAMPS[0], np.zeros((48, 64, 3), np.uint8)
    messages = [("/cam/image_raw", stamp_ns, recordings.image(stamp_ns, rgb))]
    for side in ("left", "right"):
        messages.append((f"/{side}/camera_info", stamp_ns, recordings.info(stamp_ns, 64, 48, 60.0)))
    assert predict(recordings.write_bag(tmp_path / "bag", messages), checkpoint)[0] == 0
    told = capsys.readouterr().err
    assert "several camera_info (/left/camera_info, /right/camera_info)" in told
    assert "--camera FILE names the camera" in told


def test_what_is_left_out_of_a_folder_is_told(pictures, checkpoint, capsys):
    cv2.imwrite(str(pictures / ".hidden.png"), np.zeros((48, 64, 3), np.uint8))
    (pictures / "sub dir").mkdir()
    for name in ("x.heic", "y.HEIC", "note.txt", "README"):
        (pictures / name).write_bytes(b"x")
    status, out = predict(pictures, checkpoint)
    assert status == 0
    printed, told = capsys.readouterr(), "4 files of other kinds (.heic .txt no ending), 1 folder"
    assert f"left out: {told}\n" in printed.err and "2 of 2 pictures" in printed.out
    manifest = json.loads((out / "predictions.json").read_text())
    assert manifest["left_out"] == told and manifest["skipped"] == []
    assert not list(out.glob("*hidden*"))


def test_the_exit_status_is_told_beforehand(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "exit status is 1 where no picture could be read, or where --calibration gave" in said


def test_a_full_disk_is_told_and_leaves_no_half_a_picture(pictures, checkpoint, capsys):
    """A limit on a file's size stands for the full disk: files of b cannot be written whole."""
    cv2.imwrite(str(pictures / "b.jpg"), np.full((96, 128, 3), 90, np.uint8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))  # 12 kB of a, 49 kB of b
    try:
        status, out = predict(pictures, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1
    printed = capsys.readouterr()
    error = f"{out / 'b_inverse_depth.npy'}: could not be written (File too large)"
    assert error in printed.err and "1 of 2 pictures, broken off" in printed.out
    names = ("a_color.png", "a_inverse_depth.npy", "a_inverse_depth.png", "predictions.json")
    assert sorted(path.name for path in out.iterdir()) == sorted(names)


def test_a_picture_that_cannot_be_encoded_whole_leaves_no_files(
    pictures, checkpoint, monkeypatch, capsys
):
    """The array still fits, the picture no more."""
    target = f"{pictures.parent / 'out' / 'a_color.png'}"
    write_bytes = Path.write_bytes

    def full(path, data):
        if str(path) == target:
            write_bytes(path, bytes(data)[:9])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    status, out = predict(pictures, checkpoint)
    assert status == 1 and not list(out.iterdir())
    told = f"dpt-ros predict: {target}: could not be written (No space left on device)"
    assert told in capsys.readouterr().err


def read_ply(path: Path) -> tuple[str, np.ndarray]:
    data = path.read_bytes()
    header, _, body = data.partition(b"end_header\n")
    types = {"float": "<f4", "uchar": "u1"}
    fields = [line.split() for line in header.decode().splitlines() if line.startswith("property")]
    vertices = np.frombuffer(body, [(name, types[kind]) for _, kind, name in fields])
    assert f"element vertex {len(vertices)}" in header.decode()
    return header.decode(), vertices
