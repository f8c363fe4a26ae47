"""A page in a real browser: all of it shows, nothing is fetched, and nothing sticks out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure

from dpt_ros.report import Page

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
LOOK = """<script>addEventListener("load", () => {
  const root = document.documentElement, pictures = [...document.images];
  const fetched = performance.getEntriesByType("resource").map(entry => entry.name);
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    sticks_out: root.scrollWidth - root.clientWidth,
    pictures: pictures.length,
    broken: pictures.filter(i => !i.complete || !i.naturalWidth).length,
    plots: [...document.querySelectorAll("svg")].filter(plot => plot.clientWidth > 0).length,
    fetched: fetched.filter(name => !name.startsWith("data:")),
  }), "*");
});</script>"""
HOST = """<body><script>addEventListener("message", e => { document.body.dataset.seen = e.data; });
</script><iframe src="page.html" width="WIDTH" height="844" style="border: 0"></iframe></body>"""


def long_page() -> Page:
    page = Page("A model with_a_name_that_is_rather_long_for_a_phone", "and `more`")
    page.headlines([(f"figure {n}", f"{n} m", "95 %: 0.10 to 0.12") for n in range(6)])
    page.section("Everything")
    page.table([f"column {n}" for n in range(14)], [[0.123456 * n for n in range(14)]] * 3)
    page.text("/a/path/" + "without/any/space/" * 12)
    figure = Figure(figsize=(9, 3))
    figure.add_subplot().plot([1, 2, 3])
    page.figure(figure, "a plot")
    page.image(np.full((300, 1600, 3), 90, np.uint8), "wide")
    page.images([(np.full((48, 64, 3), 9, np.uint8), f"picture {n}") for n in range(5)])
    page.settings({"model": {"checkpoint": "/very" * 40 + "/long.safetensors"}})
    return page


@pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed")
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_a_browser_shows_all_of_a_page(tmp_path, width):
    shown = long_page().html().replace("</body>", f"{LOOK}</body>")
    (tmp_path / "page.html").write_text(shown, encoding="utf-8")
    host = tmp_path / "host.html"
    host.write_text(HOST.replace("WIDTH", str(width)), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [BROWSER, *FLAGS, profile, "--window-size=1400,900", "--dump-dom", host.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    found = re.search(r'data-seen="([^"]+)"', result.stdout)
    assert found, result.stderr[-2000:]
    seen = json.loads(html.unescape(found[1]))
    expected = {"width": width, "sticks_out": 0, "pictures": 6, "broken": 0, "plots": 1}
    assert seen == {**expected, "fetched": []}
