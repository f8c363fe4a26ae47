"""The replay as a user runs it: a small recording through the real node over real DDS."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dpt_ros.cli.main import main
from dpt_ros.geometry.calibration import Calibration, save_calibration
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.cards import InputSpec, load_card

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]

START = 1_600_000_000_000_000_000
STEP = 100_000_000
WIDTH, HEIGHT = 64, 48


@pytest.fixture(autouse=True)
def _own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small network with random weights, and a calibration that puts its depths near 4 m."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(3)
    card = dataclasses.replace(load_card("dpt_tiny"), input=InputSpec(width=64, height=64))
    network = create_model("dpt_tiny")
    with torch.no_grad():
        network.head.conv3.weight.mul_(30.0)
    checkpoint, calibration = folder / "tiny.safetensors", folder / "calibration.yaml"
    save_checkpoint(network, checkpoint, card)
    predictor = DepthPredictor.from_model(
        "dpt_tiny", checkpoint=checkpoint, device="cpu", precision="float32"
    )
    said = predictor.predict(picture(0))
    scale = 0.05 / max(float(said.std()), 1e-6)
    pair = ScaleShift(scale, 0.25 - scale * float(said.mean()))
    height, width = predictor.network_size(HEIGHT, WIDTH)
    sha256 = predictor.checkpoint_sha256
    save_calibration(
        Calibration(pair, "dpt_tiny", sha256, height, width, None, 0.1, 50.0), calibration
    )
    arguments = ["--model", "dpt_tiny", "--checkpoint", str(checkpoint), "--device", "cpu"]
    return SimpleNamespace(
        arguments=[*arguments, "--precision", "float32"],
        calibration=["--calibration", str(calibration)],
        predictor=predictor,
        pair=pair,
    )


def picture(index: int) -> np.ndarray:
    coarse = np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8)))


def messages_of(recordings: Any, count: int, gone: tuple[str, ...] = ()) -> list[Any]:
    """A robot before a wall that comes nearer; `gone` topics were not recorded."""
    messages = [
        (
            "/tf_static",
            START,
            recordings.transforms(
                START, ("lidar", "camera", np.linalg.inv(recordings.OPTICAL_FROM_LIDAR))
            ),
        )
    ]
    for index in range(count):
        stamp = START + index * STEP
        wall = recordings.wall(5.0 - 0.5 * index)
        messages += [
            ("/camera/camera_info", stamp, recordings.info(stamp, WIDTH, HEIGHT, 50.0)),
            ("/camera/image_rect", stamp + 1000, recordings.image(stamp, picture(index))),
            ("/points", stamp + 2000, recordings.cloud(stamp, wall)),
        ]
    return [message for message in messages if message[0] not in gone]


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def result(values: dict[str, Any], alignment: str) -> dict[str, Any]:
    return next(item for item in values["results"] if item["alignment"] == alignment)


def abs_rel_by_hand(model: Any, recordings: Any, count: int) -> float:
    """From the formulas, of the published inverse depth: mean over frames of mean |p - g| / g."""
    errors = []
    for index in range(count):
        distance = 5.0 - 0.5 * index
        _, y, z = recordings.wall(distance).T
        columns = np.floor(50.0 * -y / distance + (WIDTH - 1) / 2 + 0.5).astype(int)
        rows = np.floor(50.0 * -z / distance + (HEIGHT - 1) / 2 + 0.5).astype(int)
        inside = (columns >= 0) & (columns < WIDTH) & (rows >= 0) & (rows < HEIGHT)
        pixels = sorted(set(zip(rows[inside], columns[inside], strict=True)))
        predicted = model.predictor.predict(picture(index))
        inverse = np.array([predicted[pixel] for pixel in pixels], np.float64)
        depth = 1.0 / np.clip(inverse * model.pair.scale + model.pair.shift, 1 / 80.0, 1e3)
        errors.append(np.mean(np.abs(depth - distance) / distance))
    return float(np.mean(errors))


def test_lockstep_repeats_to_the_last_digit_and_agrees_with_evaluate(
    tmp_path, recordings, model, capsys
):
    bag = recordings.write_bag(tmp_path / "drive", messages_of(recordings, 4))
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for number, path in enumerate((first, second)):
        arguments = ["replay", str(bag), *model.arguments, *model.calibration, "--lockstep"]
        arguments += ["--max-gap-s", "0.04"]
        arguments += ["--json", str(path), "--out", str(tmp_path / f"out_{number}")]
        assert main(arguments) == 0
    assert first.read_bytes() == second.read_bytes()
    printed = capsys.readouterr().out
    assert "lock-step: 4 pictures, 4 answered, 4 scored" in printed

    values, timing = read(first), read(tmp_path / "out_0" / "timing.json")
    assert values["frames"] == values["frames_scored"] == 4 and values["partial"] == ""
    assert values["samples"]["max_gap_s"] == 0.04 and values["samples"]["lidar.far_m"] == 200.0
    found = result(values, "calibration")["metrics"]
    assert found["abs_rel"] == pytest.approx(abs_rel_by_hand(model, recordings, 4), abs=1e-6)
    # What the node published as metres is its inverse depth under the calibration.
    assert values["published_depth"]["frames"] == 4
    assert values["published_depth"]["max_relative_difference"] < 1e-5
    assert timing["answered"] == 4 and timing["latency_ms"]["p50"] > 0.0
    assert timing["losses"]["dropped"] == 0 and timing["load"]["memory_mib"]["max"] > 50.0
    report = (tmp_path / "out_0" / "report.html").read_text()
    assert "samples.max_gap_s" in report
    assert "Latency from stamp" in report and "Worst frames" not in report[:2000]

    evaluated = tmp_path / "evaluated.json"
    arguments = ["evaluate", str(bag), *model.arguments, *model.calibration]
    assert main([*arguments, "--out", str(tmp_path / "eval"), "--json", str(evaluated)]) == 0
    for item in read(evaluated)["results"]:
        mine = result(values, item["alignment"])
        assert mine["frames"] == item["frames"]
        for name, value in item["metrics"].items():
            expected = None if value is None else pytest.approx(value, rel=1e-6, abs=1e-6)
            assert mine["metrics"][name] == expected, name

    arguments = ["replay", str(bag), *model.arguments, "--out", str(tmp_path / "out_0")]
    assert main(arguments) == 1
    assert "--force" in capsys.readouterr().err


def test_lockstep_repeats_a_camera_info_that_was_lost(
    tmp_path, recordings, model, monkeypatch, capsys
):
    from dpt_ros.ros.replay import ReplayPeer

    bag = recordings.write_bag(tmp_path / "drive", messages_of(recordings, 2))
    publish, played_first = ReplayPeer.publish, []

    def lossy(self, played):
        """No camera_info arrives before the first picture."""
        with monkeypatch.context() as patched:
            if not any(item.is_image for item in played_first):
                patched.setattr(self.infos, "publish", lambda message: None)
            played_first.append(played)
            publish(self, played)

    monkeypatch.setattr(ReplayPeer, "publish", lossy)
    arguments = [*model.arguments, *model.calibration, "--lockstep", "--out", str(tmp_path / "out")]
    assert main(["replay", str(bag), *arguments]) == 0
    assert not played_first[0].is_image and played_first[-1].index == 1
    assert "lock-step: 2 pictures, 2 answered, 2 scored" in capsys.readouterr().out
    values = read(tmp_path / "out" / "metrics.json")
    assert values["published_depth"]["frames"] == 2 and values["missing"] == []


def test_real_time_waits_for_the_first_camera_info(tmp_path, recordings, model, monkeypatch):
    from dpt_ros.ros.replay import ReplayPeer

    bag = recordings.write_bag(tmp_path / "drive", messages_of(recordings, 3))
    publish, infos = ReplayPeer.publish, []

    def lossy(self, played):
        """The first two of camera_info are lost: all that comes before the first picture."""
        if not played.is_image:
            infos.append(played)
        if played.is_image or len(infos) > 2:
            publish(self, played)

    monkeypatch.setattr(ReplayPeer, "publish", lossy)
    arguments = [*model.arguments, *model.calibration, "--rate", "0.1"]
    assert main(["replay", str(bag), *arguments, "--out", str(tmp_path / "out")]) == 0
    values = read(tmp_path / "out" / "metrics.json")
    assert values["published_depth"]["frames"] == values["frames"] >= 1
    assert values["missing"] == []


def test_real_time_without_lidar_and_calibration_says_what_is_missing(
    tmp_path, recordings, model, capsys
):
    messages = messages_of(recordings, 5, gone=("/points", "/camera/camera_info", "/tf_static"))
    # The fourth picture's stamp lies before the third's: a clock that was set back.
    late = START + 3 * STEP + 1000
    back = recordings.image(START + STEP // 2, picture(3))
    messages = [(t, ns, back if ns == late else m) for t, ns, m in messages]
    bag = recordings.write_bag(tmp_path / "blind", messages)
    out = tmp_path / "out"
    arguments = ["replay", str(bag), *model.arguments, "--rate", "0.5", "--out", str(out)]
    assert main([*arguments, "--json", str(tmp_path / "both.json")]) == 0

    printed = capsys.readouterr().out
    assert "missing: truth:" in printed and "no messages of type" in printed
    assert "missing: camera_info" in printed and "missing: metres" in printed
    assert "image stamps went back by 0.150 s at picture 3" in printed
    values = read(tmp_path / "both.json")
    assert values["mode"] == "real time at rate 0.5" and values["results"] == []
    timing = values["timing"]
    # On a busy machine the node drops pictures, as a robot's would.
    assert timing["frames"] == 5 and timing["answered"] >= 1
    assert timing["rate_in_hz"] == pytest.approx(5.0, rel=0.5)  # 10 Hz at half the speed
    assert sum(timing["losses"][k] for k in ("answered", "dropped", "lost_before_node")) == 5
    assert "nothing to compare" not in printed and (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("gone", "code", "told"),
    [
        (("/camera/camera_info",), 1, "the recording has no camera_info for /camera/image_rect; "),
        (("/points", "/tf_static"), 0, ""),
    ],
)
def test_a_calibration_that_gave_metres_to_none_is_a_failure(
    tmp_path, recordings, model, capsys, gone, code, told
):
    bag = recordings.write_bag(tmp_path / "drive", messages_of(recordings, 2, gone))
    arguments = [*model.arguments, *model.calibration, "--lockstep", "--out", str(tmp_path / "out")]
    assert main(["replay", str(bag), *arguments]) == code
    printed = capsys.readouterr()
    assert "2 pictures, 2 answered, 0 scored" in printed.out
    assert (tmp_path / "out" / "report.html").is_file()
    start = "dpt-ros replay: no picture got the metres of --calibration: "
    lines = [line for line in printed.err.splitlines() if line.startswith(start)]
    assert [line[: len(start + told)] for line in lines] == ([start + told] if told else [])


def test_a_disk_that_fills_up_ends_it_early_and_keeps_the_scores(
    tmp_path, recordings, model, monkeypatch, capsys
):
    places = []

    def room(folder: Path) -> int:
        """For two answers."""
        places.append(folder)
        used = sum(path.stat().st_size for path in folder.glob("*.npy"))
        return 2 * WIDTH * HEIGHT * 8 + 600 - used

    monkeypatch.setattr("dpt_ros.ros.kept_answers._room_bytes", room)
    bag = recordings.write_bag(tmp_path / "drive", messages_of(recordings, 6))
    place = tmp_path / "results"
    arguments = ["replay", str(bag), *model.arguments, *model.calibration, "--rate", "0.1"]
    assert main([*arguments, "--out", str(place / "out")]) == 1
    printed = capsys.readouterr().err
    assert "warning: 6 pictures of 64x48" in printed and "the disk is nearly full" in printed
    values = read(place / "out" / "metrics.json")
    assert "could not be kept: the disk is nearly full: an answer needs" in values["partial"]
    assert values["frames"] == 2 and result(values, "calibration")["frames"] == 2
    assert places[0] == place and {path.parent for path in places[1:]} == {place}
    assert [path.name for path in place.iterdir()] == ["out"]


def test_a_foxglove_file_without_room_costs_no_results(
    tmp_path, recordings, model, monkeypatch, capsys
):
    pytest.importorskip("foxglove")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1 << 20))
    bag = recordings.write_bag(tmp_path / "drive", messages_of(recordings, 2))
    file, out = tmp_path / "scored.mcap", tmp_path / "out"
    arguments = ["--lockstep", "--foxglove", str(file), "--out", str(out)]
    assert main(["replay", str(bag), *model.arguments, *arguments]) == 1
    told = f"dpt-ros replay: --foxglove {file}: the disk is nearly full"
    assert told in capsys.readouterr().err
    assert read(out / "metrics.json")["frames_scored"] == 2
    assert (out / "report.html").is_file() and not file.exists()


def test_a_node_that_dies_leaves_what_was_scored(tmp_path, recordings, model, monkeypatch, capsys):
    import psutil

    from dpt_ros.cli import replay

    bag = recordings.write_bag(tmp_path / "drive", messages_of(recordings, 4))
    frame = replay._frame

    def kill_after_two(played: Any, *others: Any) -> Any:
        if played.index == 1:
            for child in psutil.Process().children():
                child.kill()
        return frame(played, *others)

    def read_on(truth: Any) -> None:
        raise AssertionError("the rest of a broken-off replay's bag is read")

    monkeypatch.setattr(replay, "_frame", kill_after_two)
    monkeypatch.setattr("dpt_ros.evaluation.truth.Truth.finish", read_on)
    arguments = ["replay", str(bag), *model.arguments, *model.calibration, "--lockstep"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "the node ended with exit code -9" in capsys.readouterr().err
    values = read(tmp_path / "out" / "metrics.json")
    assert "exit code -9" in values["partial"]
    assert values["frames_scored"] == 2 and result(values, "calibration")["frames"] == 2


@pytest.mark.parametrize("option", ["--json", "--foxglove"])
def test_what_cannot_be_written_is_told_before_a_node_starts(tmp_path, option, capsys):
    place = str(tmp_path / "none" / "file.mcap")
    assert main(["replay", "no.bag", option, place, "--out", str(tmp_path / "out")]) == 1
    assert f"{option} {place}: its folder does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--rate", "0"], "expected a number from 0.01 to 100"),
        (["--rate", "1", "--lockstep"], "not allowed with argument"),
        (["--frames", "-1"], "--frames: got '-1', expected a whole number from 0"),
        (["--timeout", "-1"], "--timeout: got '-1', expected a number of seconds above 0"),
        (["--timeout", "nan"], "--timeout: got 'nan'"),
    ],
)
def test_wrong_ways_to_play_are_refused(arguments, text, capsys):
    with pytest.raises(SystemExit):
        main(["replay", "bag", *arguments])
    assert text in capsys.readouterr().err


def test_an_input_that_is_none_starts_no_node(tmp_path, model, capsys):
    out = tmp_path / "out"
    assert main(["replay", str(tmp_path / "none"), *model.arguments, "--out", str(out)]) == 1
    assert "there is no recording" in capsys.readouterr().err and not out.exists()
    taken = tmp_path / "file"
    taken.write_text("mine")
    assert main(["replay", str(tmp_path), *model.arguments, "--out", str(taken)]) == 1
    assert "is a file" in capsys.readouterr().err and taken.read_text() == "mine"


def test_the_facts_name_the_folder_that_one_is_in_and_what_was_fitted_to_it(tmp_path, monkeypatch):
    from dpt_ros.cli import replay

    (tmp_path / "drive").mkdir()
    monkeypatch.chdir(tmp_path / "drive")
    options = SimpleNamespace(
        model="dpt_tiny", bag=".", lockstep=True, device="cpu", precision="auto"
    )
    bag = SimpleNamespace(camera_info_topic="info", image_topic="image", image_count=1)
    truth = SimpleNamespace(missing="", warnings=[], rejected={}, found=1, source="drive")
    model = SimpleNamespace(checkpoint_sha256="")
    metres = SimpleNamespace(has_any=True, source="", doubt=lambda sources: f"saw {sources}")
    result = SimpleNamespace(
        why_no_metres="",
        log=SimpleNamespace(timing=None, troubles=[]),
        losses={},
        load={},
        stages_ms={},
        network={},
        partial="",
    )
    facts = replay._facts(options, bag, truth, model, metres, result)
    assert facts.title == "dpt_tiny on drive, played through the node"
    assert facts.troubles == ["saw ['drive']"]
