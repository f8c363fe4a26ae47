import pytest

from dpt_ros.bags.dataset import Dataset
from dpt_ros.bags.reader import BagReader
from dpt_ros.cli.main import main
from dpt_ros.inference import device
from dpt_ros.synthetic.render import Renderer

SCENE = ["--kind", "corridor", "--seed", "4"]


def run(*words):
    return main(["synthetic", *map(str, words)])


def test_dataset_is_written_and_continued(tmp_path, capsys):
    out = tmp_path / "set"
    words = ["dataset", "--out", out, "--size", "64x48", "--frames-per-scene", 2, *SCENE]
    assert run(*words, "--scenes", 1, "--split", "test") == 0
    assert "1 scenes of 64x48" in capsys.readouterr().out
    assert run(*words, "--scenes", 2, "--split", "test") == 0
    dataset = Dataset(out)
    assert list(dataset.sources) == ["test_4_000000_corridor", "test_4_000001_corridor"]
    assert run(*words, "--scenes", 2, "--split", "train") == 1
    assert "split 'test', not 'train'" in capsys.readouterr().err


def test_camera_size_gives_the_view_and_size_the_pixels(tmp_path):
    words = ["--size", "64x48", "--camera-size", "640x480", "--frames-per-scene", 1, *SCENE]
    assert run("dataset", "--out", tmp_path, "--scenes", 1, *words) == 0
    camera = Dataset(tmp_path)[0].camera
    assert (camera.width, camera.height) == (64, 48)
    # 70 degrees: fx = 320 / tan 35 deg = 457.0 at 640 px; pixel centres keep their place.
    assert camera.fx_px == pytest.approx(45.70, abs=0.01)
    assert camera.cx_px == pytest.approx((319.5 + 0.5) / 10 - 0.5)


def test_bag_is_written(tmp_path, capsys):
    words = ["--seconds", 0.2, "--rate", 5, "--size", "64x48", "--lidar.rings", 4]
    assert run("bag", "--out", tmp_path / "drive", *words, "--lidar.steps", 64, *SCENE) == 0
    assert "1 pictures" in capsys.readouterr().out
    with BagReader(tmp_path / "drive") as bag:
        assert {topic.name for topic in bag.topics} >= {"/camera/image_rect", "/lidar/points"}
        (image,) = bag.images()
        assert (image.message.width, image.message.height) == (64, 48)
    assert run("bag", "--out", tmp_path / "drive", *words, *SCENE) == 1
    assert "exists" in capsys.readouterr().err


def content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_pictures_are_rendered_where_the_device_says(tmp_path, monkeypatch):
    """What the CPU renders is the same, asked for or not."""
    create, devices = Renderer.__init__, []

    def recorded(self, scene, device="cpu"):
        devices.append(str(device))
        create(self, scene, "cpu")

    monkeypatch.setattr(Renderer, "__init__", recorded)
    sizes = ["--size", "32x24", *SCENE]
    dataset = ["dataset", *sizes, "--scenes", 1, "--frames-per-scene", 1]
    bag = ["bag", *sizes, "--seconds", 0.2, "--rate", 5, "--lidar.rings", 4, "--lidar.steps", 64]
    for words in (dataset, bag):
        assert run(*words, "--out", tmp_path / words[0]) == 0
        assert run(*words, "--out", tmp_path / "asked" / words[0], "--device", "cpu") == 0
        assert content(tmp_path / words[0]) == content(tmp_path / "asked" / words[0])
    assert devices == ["cpu"] * 4
    monkeypatch.setattr(device, "_why_no_cuda", lambda index: "")
    monkeypatch.setattr(device, "_gpu_name", lambda index: "a GPU")
    for words in (dataset, bag):
        assert run(*words, "--out", tmp_path / "first" / words[0], "--device", "auto") == 0
        assert run(*words, "--out", tmp_path / "other" / words[0], "--device", "cuda:1") == 0
    assert devices[4:] == ["cuda", "cuda:1"] * 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dataset", "--out", "x", "--split", "training"], "train"),
        (["dataset", "--out", "x", "--size", "64"], "WIDTHxHEIGHT"),
        (["dataset", "--out", "x", "--scenes", "0"], "above 0"),
        (["dataset", "--out", "x", "--seed", "-1"], "expected 0"),
        (["bag", "--out", "x", "--kind", "forest"], "corridor"),
        (["bag", "--out", "x", "--seconds", "0"], "seconds"),
        (["bag", "--out", "x", "--rate", "nan"], "rate"),
        (["bag", "--out", "x", "--storage", "rosbag"], "sqlite3"),
        (["bag", "--out", "x", "--lidar.dropout", "1.5"], "dropout"),
        (["bag"], "--out"),
        ([], "dataset|bag"),
    ],
)
def test_bad_options_are_refused_and_the_right_ones_listed(words, told, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


def test_rings_in_the_wrong_order_fail_with_a_reason(tmp_path, capsys):
    words = ["--lidar.lowest-deg", 20, "--lidar.highest-deg", 10, *SCENE]
    assert run("bag", "--out", tmp_path / "new", *words) == 1
    assert "lower value first" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("product", ["dataset", "bag"])
def test_help_shows_an_example(product, capsys):
    with pytest.raises(SystemExit):
        run(product, "--help")
    assert f"dpt-ros synthetic {product} --out" in capsys.readouterr().out
