"""A page in a real browser: all of it shows, nothing is fetched, and nothing sticks out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from dpt_ros.bags.dataset import DatasetWriter, Sample, sample_id
from dpt_ros.bags.sample_settings import SampleSettings
from dpt_ros.config import values_of
from dpt_ros.evaluation.evaluation_report import build_report
from dpt_ros.evaluation.live import LiveEvaluation, LiveFrame
from dpt_ros.evaluation.protocols import choose_protocols
from dpt_ros.evaluation.recordings import open_dataset
from dpt_ros.evaluation.replay_report import ReplayFacts, build_replay_report
from dpt_ros.evaluation.run import Plan, evaluate
from dpt_ros.evaluation.timing import FrameTime, TimingLog, losses
from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference.metres import MetresOfImage
from dpt_ros.report import Page

CAMERA = Camera(320, 240, 250.0, 250.0, 159.5, 119.5)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=10000",
]
WATCH = """<script>window.said = [];
addEventListener("error", e => said.push(`error: ${e.message || e.target.tagName}`), true);
addEventListener("unhandledrejection", e => said.push(`rejected: ${e.reason}`));
document.addEventListener("securitypolicyviolation", e => said.push(`refused: ${e.blockedURI}`));
for (const kind of ["log", "info", "warn", "error", "debug"])
  console[kind] = (...words) => said.push(`${kind}: ${words.join(" ")}`);
</script>"""
LOOK = """<script>addEventListener("load", () => {
  const root = document.documentElement, pictures = [...document.images];
  const fetched = performance.getEntriesByType("resource").map(entry => entry.name);
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    sticks_out: root.scrollWidth - root.clientWidth,
    pictures: pictures.length,
    broken: pictures.filter(i => !i.complete || !i.naturalWidth).length,
    plots: [...document.querySelectorAll("svg")].filter(plot => plot.clientWidth > 0).length,
    said: said,
    fetched: fetched.filter(name => !name.startsWith("data:")),
  }), "*");
});</script>"""
WIDTHS = (1280, 390)
"""A desktop's and a phone's."""
FRAME = '<iframe src="page.html" width="{}" height="844" style="border: 0"></iframe>'
HOST = f"""<body data-seen=""><script>addEventListener("message", e => {{
  document.body.dataset.seen += e.data + "\\n";
}});</script>{"".join(map(FRAME.format, WIDTHS))}</body>"""


def long_page() -> Page:
    page = Page("A model with_a_name_that_is_rather_long_for_a_phone", "and `more`")
    page.headlines([(f"figure {n}", f"{n} m", "95 %: 0.10 to 0.12") for n in range(6)])
    page.section("Everything")
    page.table([f"column {n}" for n in range(14)], [[0.123456 * n for n in range(14)]] * 3)
    page.text("/a/path/" + "without/any/space/" * 12)
    figure = Figure(figsize=(9, 3))
    figure.add_subplot().plot([1, 2, 3])
    page.figure(figure, "a plot")
    page.images([(np.full((300, 1600, 3), 90, np.uint8), "wide")])
    page.images([(np.full((48, 64, 3), 9, np.uint8), f"picture {n}") for n in range(5)])
    page.settings({"model": {"checkpoint": "/very" * 40 + "/long.safetensors"}})
    return page


def live_frame(index: int) -> LiveFrame:
    """A frame of 320x240 whose depth is off by 10 % and more."""
    generator = np.random.default_rng(index)
    truth = np.tile(np.linspace(2.0, 20.0, 320), (240, 1)).astype(np.float32)
    depth = truth * np.float32(1.1 + 0.1 * index)
    sparse = np.where(generator.random(truth.shape) < 0.1, truth, np.nan).astype(np.float32)
    return LiveFrame(
        name=sample_id("a_recording_with_a_rather_long_name_that_has_no_spaces", index),
        stamp_ns=index * 10**8,
        rgb=generator.integers(0, 255, (240, 320, 3), np.uint8),
        inverse_depth=2.0 / depth,
        depth_m=depth,
        truth_m=sparse,
        camera=CAMERA,
    )


def replay_page() -> Page:
    """With all that a replay can tell."""
    evaluation = LiveEvaluation(
        lambda camera: {"calibration": MetresOfImage(ScaleShift(0.5, 0.0))},
        choose_protocols(["full", "kitti"]),
    )
    timing = TimingLog()
    for index in range(4):
        evaluation.add(live_frame(index))
        timing.add(FrameTime(index * 10**8, index * 0.1, index * 0.1 + 0.01, index * 0.1 + 0.2))
    facts = ReplayFacts(
        title="dpt_tiny on a_recording_with_a_rather_long_name.mcap, played through the node",
        mode="real time at rate 1",
        recording={"path": "/very" * 30 + "/long.mcap", "pictures": 4},
        model={"model": "dpt_tiny", "checkpoint_sha256": "0123456789abcdef" * 4},
        samples=values_of(SampleSettings()),
        timing=timing,
        losses=losses(5, 4, {"received": 5, "published": 4, "overwritten": 1}),
        load={
            "cpu_percent": {"mean": 101.0, "max": 140.0},
            "gpu": "none: no NVIDIA driver answers",
        },
        stages_ms={"network p50": 12.5, "overhead p50": 2.0},
        network={"device": "cpu (asked for)"},
        missing=["odometry: " + "nobody_publishes_" * 8],
        troubles=["image stamps went back by 0.150 s at picture 3"],
        rejected={"no scan within 0.05 s": 3},
        partial="the node ended with exit code -9",
    )
    return build_replay_report(evaluation, facts)


class Halved:
    """A model that says half of the truth's depth."""

    is_baseline = False

    def __init__(self, label: str) -> None:
        self.label, self.description, self.failures = label, {"checkpoint": "/very" * 30}, {}

    def known(self, camera):
        return {"none": MetresOfImage(ScaleShift(1.0, 0.0))}

    def doubt(self, sources):
        return ""

    def prepare(self, dataset, progress):
        pass

    def prediction(self, dataset, record):
        depth = np.nan_to_num(dataset[dataset.records.index(record)].depth_m, nan=7.0)
        return (2.0 / depth).astype(np.float32)


def evaluation_page(folder: Path) -> Page:
    """Of two models with long names on a small data set."""
    with DatasetWriter(folder, dense=False, options=values_of(SampleSettings())) as writer:
        for index in range(3):
            frame = live_frame(index)
            writer.add(Sample(f"s/{index}", "s", index, frame.rgb, frame.truth_m, CAMERA))
        writer.finish_source("s", {"warnings": ["mind the gap"], "rejected": {"a reason": 2}})
    models = [Halved("dpt_tiny (some_weights_with_a_long_name)"), Halved("dpt_hybrid_kitti")]
    plan = Plan(choose_protocols(["full", "kitti"]))
    found = evaluate([open_dataset(folder)], models, plan, lambda items, what: items)
    return build_report(found)


def page_of(kind: str, folder: Path) -> Page:
    if kind == "evaluation":
        return evaluation_page(folder / "frames")
    return replay_page() if kind == "replay" else long_page()


@pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed")
@pytest.mark.parametrize(
    ("kind", "pictures", "plots"), [("made up", 6, 1), ("replay", 16, 10), ("evaluation", 18, 7)]
)
def test_a_browser_shows_all_of_a_page(tmp_path, kind, pictures, plots):
    page = page_of(kind, tmp_path).html()
    assert page.count("<head>") == page.count("</body>") == 1
    shown = page.replace("<head>", f"<head>{WATCH}").replace("</body>", f"{LOOK}</body>")
    (tmp_path / "page.html").write_text(shown, encoding="utf-8")
    host = tmp_path / "host.html"
    host.write_text(HOST, encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [BROWSER, *FLAGS, profile, "--window-size=1800,900", "--dump-dom", host.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    found = re.search(r'data-seen="([^"]*)"', result.stdout)
    assert found, result.stderr[-2000:]
    seen = [json.loads(line) for line in html.unescape(found[1]).splitlines()]
    whole = {"pictures": pictures, "broken": 0, "plots": plots}
    expected = {"sticks_out": 0, **whole, "fetched": [], "said": []}
    by_width = sorted(seen, key=lambda page: -page["width"])
    assert by_width == [{"width": width, **expected} for width in WIDTHS]
