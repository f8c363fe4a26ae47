"""Whole evaluations of made-up models whose errors are known."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dpt_ros.bags.dataset import DatasetWriter, Sample, sample_id
from dpt_ros.evaluation.evaluation_report import build_report
from dpt_ros.evaluation.frame_pictures import frames_to_show
from dpt_ros.evaluation.models import BaselineModel
from dpt_ros.evaluation.protocols import choose_protocols
from dpt_ros.evaluation.recordings import RecordingError, open_dataset, recording_folder
from dpt_ros.evaluation.run import Plan, evaluate
from dpt_ros.evaluation.tables import frames_csv, summary_csv, to_json
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference.metres import MetresOfImage
from dpt_ros.metrics import METRICS
from dpt_ros.whole_file import json_text

CAMERA = Camera(48, 36, 40.0, 40.0, 23.5, 17.5)


class FactorModel:
    """Says the truth times a factor, which grows with the frame by `step`; metric if told so."""

    is_baseline = False

    def __init__(self, label, factor, step=0.0, metric=True):
        self.label, self.factor, self.step, self.metric = label, factor, step, metric
        self.description, self.failures = {"factor": factor}, {}

    def known(self, camera):
        earned = MetresOfImage(ScaleShift(1.0, 0.0))
        return {"none": earned if self.metric else MetresOfImage(why_not="relative only")}

    def doubt(self, sources):
        return ""

    def prepare(self, dataset, progress):
        pass

    def prediction(self, dataset, record):
        depth = np.nan_to_num(dataset[dataset.records.index(record)].depth_m, nan=7.0)
        return (1.0 / (depth * (self.factor + self.step * (record.stamp_ns % 1000)))).astype("f4")


def truth(index: int) -> np.ndarray:
    depth = np.tile(np.linspace(1.0, 30.0, 48), (36, 1)) + index % 3
    depth[np.random.default_rng(index).random(depth.shape) > 0.3] = np.nan
    return depth.astype(np.float32)


def make_dataset(folder, count=6, source="drive", depth=truth):
    with DatasetWriter(folder, dense=False, options={}) as writer:
        for index in range(count):
            rgb = np.random.default_rng(index).integers(0, 255, (36, 48, 3), np.uint8)
            sample = Sample(sample_id(source, index), source, index, rgb, depth(index), CAMERA)
            writer.add(sample)
        writer.finish_source(source, {"rejected": {"a reason": 2}, "warnings": ["mind the gap"]})
    return open_dataset(folder)


def quiet(items, what):
    return items


def run(recordings, models, protocols=("full",), **settings):
    return evaluate(recordings, models, Plan(choose_protocols(protocols), **settings), quiet)


def numbers(evaluation, label, alignment="none"):
    [found] = [r for r in evaluation.results if r.model.label == label]
    return found.summary("full", alignment)


def test_the_settings_that_truth_was_made_with_are_told(tmp_path):
    folder = tmp_path / "data"
    with DatasetWriter(folder, dense=False, options={"kind": "bags", "max_gap_s": 0.025}) as writer:
        rgb = np.zeros((36, 48, 3), np.uint8)
        writer.add(Sample(sample_id("drive", 1), "drive", 1, rgb, truth(1), CAMERA))
        writer.finish_source("drive", {"options": {"body_box": "lidar 0 1 0 1 0 1"}})
    evaluation = run([open_dataset(folder)], [FactorModel("tenth", 1.1)])
    body = {"body_box": "lidar 0 1 0 1 0 1"}
    expected = {"kind": "bags", "max_gap_s": 0.025, "drive": body}
    assert to_json(evaluation)["samples"] == {str(folder): expected}
    page = build_report(evaluation).html()
    assert "samples.data.max_gap_s" in page and "samples.data.drive.body_box" in page


def test_the_baseline_of_a_training_set_made_anew_is_another(tmp_path):
    """With the same frames, cameras and numbers of points: the list of samples stays the same."""

    def ramp(factor):
        return lambda index: (np.linspace(2.0, 20.0, 36 * 48).reshape(36, 48) * factor).astype("f4")

    means = []
    for folder, depth in (("a", ramp(1.0)), ("b", ramp(1.0)), ("c", lambda _: ramp(1.0)(0)[::-1])):
        training = make_dataset(tmp_path / folder, 2, depth=depth).dataset
        model = BaselineModel(training, tmp_path / "kept", quiet)
        means.append(model.prediction(training, training.records[0]))
    assert np.array_equal(means[0], means[1])
    assert not np.allclose(means[0], means[2], rtol=0.1)


def test_several_models_side_by_side(tmp_path):
    models = [FactorModel("tenth", 1.1), FactorModel("fifth", 1.2), FactorModel("r", 1.3, 0, False)]
    evaluation = run([make_dataset(tmp_path / "data")], models)
    assert numbers(evaluation, "tenth").metrics["abs_rel"] == pytest.approx(0.1, abs=1e-6)
    assert numbers(evaluation, "tenth").metrics["delta1"] == 1.0
    assert numbers(evaluation, "fifth").metrics["abs_rel"] == pytest.approx(0.2, abs=1e-6)
    assert numbers(evaluation, "r").why_not == "relative only"
    for alignment in ("least_squares", "median"):
        assert numbers(evaluation, "r", alignment).metrics["abs_rel"] < 1e-6
    assert evaluation.frames == 6 and numbers(evaluation, "tenth").frames == 6


def test_the_same_evaluation_gives_the_same_files(tmp_path):
    recording = make_dataset(tmp_path / "data", 20)
    once, again = (
        run([recording], [FactorModel("m", 1.1, 0.01)], ["full", "kitti"], jobs=jobs)
        for jobs in (1, 3)
    )
    assert json_text(to_json(once)) == json_text(to_json(again))
    assert frames_csv(once) == frames_csv(again) and summary_csv(once) == summary_csv(again)


def test_csv_holds_every_frame_and_every_range(tmp_path):
    evaluation = run([make_dataset(tmp_path / "data", 3)], [FactorModel("m", 1.1)])
    frames = list(csv.DictReader(io.StringIO(frames_csv(evaluation))))
    assert len(frames) == 3 * 4  # alignments
    first = frames[0]
    assert first["frame"] == sample_id("drive", 0) and first["alignment"] == "none"
    assert float(first["abs_rel"]) == pytest.approx(0.1, abs=1e-6)
    without = next(line for line in frames if line["alignment"] == "calibration")
    assert without["abs_rel"] == "" and without["remark"]

    summary = list(csv.DictReader(io.StringIO(summary_csv(evaluation))))
    ranges = [line["range"] for line in summary if line["alignment"] == "none"]
    assert ranges == ["all", "0-5 m", "5-10 m", "10-20 m", "20-40 m", "40-80 m"]
    assert set(METRICS) <= set(summary[0]) and summary[0]["abs_rel_low"]


def test_json_says_what_was_evaluated_on_what(tmp_path):
    recording = make_dataset(tmp_path / "data")
    told = json.loads(json_text(to_json(run([recording], [FactorModel("m", 1.1)]))))
    assert told["inputs"][0]["fingerprint"] == recording.dataset.fingerprint
    assert told["inputs"][0]["rejected"] == {"a reason": 2}
    assert told["models"] == [{"label": "m", "factor": 1.1}]
    assert told["protocols"]["full"]["range_edges_m"] == [0, 5, 10, 20, 40, 80]
    by_name = {(r["model"], r["alignment"]): r for r in told["results"]}
    assert by_name["m", "none"]["metrics"]["abs_rel"] == pytest.approx(0.1, abs=1e-6)
    assert by_name["m", "calibration"]["frames"] == 0


def test_two_recordings_are_one_evaluation_and_may_not_share_a_frame(tmp_path):
    first = make_dataset(tmp_path / "a", 2)
    second = make_dataset(tmp_path / "b", 3, source="other")
    assert numbers(run([first, second], [FactorModel("m", 1.1)]), "m").frames == 5
    twin = make_dataset(tmp_path / "c", 2)
    with pytest.raises(RecordingError, match=r"drive/0+ is in .*a and in .*c"):
        run([first, twin], [FactorModel("m", 1.1)])


def test_nothing_to_evaluate_is_told(tmp_path):
    with pytest.raises(RecordingError, match="not one frame"):
        run([make_dataset(tmp_path / "empty", 0)], [FactorModel("m", 1.1)])


def test_frames_without_a_prediction_do_not_count_as_good(tmp_path):
    class Failing(FactorModel):
        def prediction(self, dataset, record):
            return None if record.stamp_ns == 1 else super().prediction(dataset, record)

    summary = numbers(run([make_dataset(tmp_path / "data", 3)], [Failing("m", 1.1)]), "m")
    assert (summary.frames, summary.unscored) == (2, 1)
    assert "no prediction" in next(iter(summary.remarks))


def test_a_damaged_frame_is_left_out_and_named(tmp_path):
    recording = make_dataset(tmp_path / "data", 4)
    record = recording.dataset.records[1]
    path = tmp_path / "data" / record.depth
    path.write_bytes(path.read_bytes()[:40])
    evaluation = run([recording], [FactorModel("tenth", 1.1), FactorModel("fifth", 1.2)])
    assert list(evaluation.unreadable) == [record.id]
    assert [numbers(evaluation, name).frames for name in ("tenth", "fifth")] == [3, 3]
    [text] = evaluation.troubles()
    assert "left out 1 frame" in text and str(path) in text
    assert to_json(evaluation)["unreadable"] == evaluation.unreadable
    assert str(path) in Page(build_report(evaluation).html()).text


def test_memory_does_not_grow_with_the_recording(tmp_path):
    """A frame of 48 x 36 takes 5 kB as depth alone; what stays of it are its scores."""
    recording = make_dataset(tmp_path / "data", 150)
    model = FactorModel("m", 1.1)
    grown = []
    for count in (50, 150):
        part = recording.dataset.select(["drive"])
        part.records = part.records[:count]
        few = type(recording)(recording.path, part)
        run([few], [model], alignments=("none",))  # caches are filled
        tracemalloc.start()
        evaluation = run([few], [model], alignments=("none",))
        grown.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert evaluation.frames == count
    assert (grown[1] - grown[0]) / 100 < 2500


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.images = [], "", 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("data:", "#"))

    def handle_data(self, data):
        self.text += data + " "


def test_the_report_shows_figures_pictures_and_settings(tmp_path):
    models = [FactorModel("first model", 1.1, 0.01), FactorModel("second <model>", 1.2)]
    evaluation = run([make_dataset(tmp_path / "data", 8)], models, ["full", "kitti"])
    page = Page(build_report(evaluation, pictures=2).html())
    for words in (
        "first model and second <model> on data",
        "mind the gap",
        "2 x a reason",
        "Error against range",
        "Prediction against truth",
        "Chosen frames",
        "Worst frames",
        "KITTI: crop of Garg et al.",
        "fingerprint",
    ):
        assert words in page.text
    # Camera, depth, measurement and error of each frame, depth and error of the other model.
    assert page.tags.count("img") == 4 * 6
    # Ranges, bias, scatter, frames, and a cloud for each frame.
    assert page.tags.count("svg") == 4 + 4
    worst = page.text[page.text.index("Worst frames", page.text.index("Chosen frames")) :]
    assert sample_id("drive", 7) in worst and sample_id("drive", 6) in worst


@pytest.mark.parametrize(
    ("count", "chosen", "worst"),
    [(1, [0], [7]), (2, [0, 5], [7, 6]), (8, list(range(8)), []), (0, [], [])],
)
def test_the_worst_frame_is_among_the_worst(tmp_path, count, chosen, worst):
    """The last of eight frames is the worst, and would also be among the evenly spread ones."""
    evaluation = run([make_dataset(tmp_path / "data", 8)], [FactorModel("m", 1.1, 0.01)])
    assert frames_to_show(evaluation, "none", count) == {
        "Chosen frames": [sample_id("drive", index) for index in chosen],
        "Worst frames": [sample_id("drive", index) for index in worst],
    }


def test_inputs_of_one_name_are_told_apart(tmp_path):
    first = make_dataset(tmp_path / "a" / "data", 1)
    second = make_dataset(tmp_path / "b" / "data", 2, source="other")
    text = Page(build_report(run([first, second], [FactorModel("m", 1.1)])).html()).text
    assert f"m on {first.path} and {second.path}" in text
    assert f"inputs.{first.path}" in text and "frames: 1" in text
    assert f"inputs.{second.path}" in text and "frames: 2" in text
    assert f"Left out of {second.path}" in text


def test_the_folder_that_one_is_in_has_a_name(tmp_path, monkeypatch):
    make_dataset(tmp_path / "data", 1)
    monkeypatch.chdir(tmp_path / "data")
    page = build_report(run([open_dataset(Path())], [FactorModel("m", 1.1)]))
    assert "m on data" in Page(page.html()).text


def test_a_recording_with_other_files_beside_it_is_the_same(tmp_path):
    bag, keep = tmp_path / "bag", tmp_path / "keep"
    bag.mkdir()
    (bag / "metadata.yaml").write_text("version: 9")
    (bag / "bag_0.mcap").write_bytes(b"messages")
    before = recording_folder(bag, {}, keep)
    (bag / "evaluation").mkdir()
    (bag / "evaluation" / "report.html").write_text("ours")
    (bag / "notes.txt").write_text("theirs")
    assert recording_folder(bag, {}, keep) == before
    (bag / "bag_0.mcap").write_bytes(b"other messages")
    assert recording_folder(bag, {}, keep) != before


def test_one_reason_of_several_alignments_is_told_once(tmp_path):
    evaluation = run([make_dataset(tmp_path / "data", 2)], [FactorModel("m", 1.1)], ["nyu"])
    why = "the nyu protocol is for images of 640x480, got 48x36"
    [((label, told), alignments)] = evaluation.without_figures().items()
    assert label == "m" and told.startswith(why)
    assert alignments == ["none", "calibration", "least_squares", "median"]
    text = Page(build_report(evaluation).html()).text
    assert text.count(why) == 1


def test_the_report_tells_which_of_its_alignments_are_from_the_truth(tmp_path):
    recording, model = make_dataset(tmp_path), FactorModel("m", 1.1)
    texts = [
        Page(build_report(run([recording], [model], alignments=names)).html()).text
        for names in (["none"], ["none", "median"])
    ]
    assert "from the truth of the frame" not in texts[0]
    assert "of median are from the truth of the frame" in " ".join(texts[1].split())


def test_without_truth_there_are_pictures_and_the_reason(tmp_path):
    nothing = make_dataset(
        tmp_path / "data", 3, depth=lambda _: np.full((36, 48), np.nan, np.float32)
    )
    evaluation = run([nothing], [FactorModel("m", 1.1)])
    page = Page(build_report(evaluation).html())
    assert "nothing to compare with" in page.text and "Figures" not in page.text
    assert page.tags.count("img") == 2 * 3 and page.tags.count("svg") == 0


def test_a_model_without_figures_does_not_hide_those_of_others(tmp_path):
    relative, metric = FactorModel("relative", 1.1, metric=False), FactorModel("metric", 1.2)
    recording = make_dataset(tmp_path / "data", 3)
    both = Page(build_report(run([recording], [relative, metric], alignments=["none"])).html())
    assert "AbsRel of metric" in both.text and "20.0 %" in both.text
    assert "relative only" in both.text and both.text.count("metric: error") == 3
    alone = Page(build_report(run([recording], [relative], alignments=["none"])).html())
    assert "relative only" in alone.text


def test_more_models_than_colours_make_a_report(tmp_path):
    models = [FactorModel(f"m{index}", 1.1) for index in range(9)]
    evaluation = run([make_dataset(tmp_path / "data", 2)], models, alignments=["none"])
    assert "m8" in build_report(evaluation, pictures=0).html()


def test_one_frame_without_an_interval_still_makes_a_report(tmp_path):
    evaluation = run([make_dataset(tmp_path / "data", 1)], [FactorModel("m", 1.1)])
    assert "nan" not in Page(build_report(evaluation).html()).text.lower()
