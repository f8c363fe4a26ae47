from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dpt_ros.report import Page
from dpt_ros.report.figures import plot_style
from dpt_ros.report.pictures import MAX_SIDE_PX

REFERRING = {"href", "src", "xlink:href", "action", "poster", "data", "srcset"}


class Parsed(HTMLParser):
    """The page's tags, texts, ids and whatever an attribute refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.images: list[dict[str, str]] = []
        self.best: list[str] = []
        self._attributes: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = {name: value or "" for name, value in attributes}
        self.tags.append(tag)
        self.references += [value for name, value in found.items() if name in REFERRING]
        self.ids += [found["id"]] if "id" in found else []
        self.images += [found] if tag == "img" else []
        self._attributes = found

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())
            if "best" in self._attributes.get("class", ""):
                self.best.append(data.strip())


def full_page() -> Page:
    page = Page("Depth <of> tiny", "two & a half frames")
    page.headlines([("AbsRel", "0.112", "95 %: 0.10 to 0.12"), ("RMSE", "4 m", "")])
    page.section("Models")
    page.text("What `dpt_tiny` <script>alert(1)</script> says.\n\nAnd more.")
    page.warning("No LiDAR in the bag.")
    page.table(
        ["model", "abs_rel", "delta1", "frames"],
        [["a", 0.25, 0.8125, 1200], ["<b>", 0.125, None, 7]],
        caption="All of them",
        highlight={"abs_rel": "min", "delta1": "max"},
    )
    with plot_style():
        for _ in range(2):
            figure = Figure()
            axes = figure.subplots()
            axes.plot([1, 2], [3, 4], label="line")
            axes.scatter(range(9), range(9), rasterized=True)
            axes.set_xlabel("range <m>")
            axes.legend()
            page.figure(figure, "error against range", alt="rises")
    page.section("Pictures")
    page.images([(noise(40, 60), "wide")])
    page.images([(noise(8, 9), "left"), (np.zeros((5, 6, 3), np.uint8), "right")])
    page.settings({"model": "dpt_tiny", "fit": {"trim": 0.2, "bins": [5, 10]}, "checkpoint": None})
    return page


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_everything_added_is_in_the_page_and_escaped():
    html = full_page().html()
    parsed = Parsed(html)
    text = " ".join(parsed.texts)
    expected = ["Depth <of> tiny", "two & a half frames", "AbsRel", "0.112", "95 %: 0.10 to 0.12"]
    expected += ["No LiDAR in the bag.", "All of them", "dpt_tiny", "And more.", "range <m>"]
    expected += ["error against range", "wide", "left", "right", "fit.trim", "0.2", "fit.bins"]
    for piece in expected:
        assert piece in text
    assert "script" not in parsed.tags and "<script>alert(1)</script>" in text
    assert parsed.tags.count("svg") == 2 and parsed.tags.count("table") == 1
    assert "b" not in parsed.tags  # the cell "<b>"


def test_nothing_outside_the_file_is_referred_to():
    html = full_page().html()
    for reference in Parsed(html).references:
        assert reference.startswith(("data:", "#")), reference[:80]
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", re.sub(r"base64,[^\"]*", "", html))


def test_two_figures_share_no_id_and_refer_to_their_own():
    parsed = Parsed(full_page().html())
    assert len(parsed.ids) == len(set(parsed.ids))
    local = {reference[1:] for reference in parsed.references if reference.startswith("#")}
    assert local <= set(parsed.ids) and any(name.startswith("figure-2") for name in local)


def test_plots_follow_the_page_from_light_to_dark():
    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1], color="black")  # outside of the common look
    page = Page("plots")
    page.figure(figure)
    svg = re.search(r"<svg.*</svg>", page.html(), re.DOTALL).group(0)
    assert "var(--ink)" in svg and "#000000" not in svg and "#ffffff" not in svg
    assert "<text" in svg  # texts, not outlines of letters


def test_the_same_page_is_the_same_file():
    assert full_page().html() == full_page().html()


def test_tables_round_mark_the_best_and_show_what_is_missing():
    parsed = Parsed(full_page().html())
    assert parsed.best == ["0.1250"]  # one number alone in delta1 is no competition
    assert {"0.2500", "0.8125", "1,200", "\N{EN DASH}"} <= set(parsed.texts)
    page = Page("numbers")
    page.table(
        ["value"],
        [[value] for value in (12.3456, 123456.7, 1e-6, 0.000213456, 0.0, float("nan"), 3)],
    )
    assert {"12.35", "123,457", "1.000e-06", "0.0002135", "0", "\N{EN DASH}", "3"} <= set(
        Parsed(page.html()).texts
    )


def test_pictures_keep_their_pixels_and_their_text():
    images = Parsed(full_page().html()).images
    assert [image["alt"] for image in images] == ["wide", "left", "right"]
    assert images[0]["src"].startswith("data:image/jpeg")
    assert images[2]["src"].startswith("data:image/png")  # few colours: without loss
    assert np.array_equal(pixels(images[2]["src"]), np.zeros((5, 6, 3)))
    assert np.abs(pixels(images[0]["src"]).astype(int) - noise(40, 60)).mean() < 12


def test_a_huge_picture_is_scaled_down():
    page = Page("large")
    page.images([(np.zeros((400, 4000, 3), np.uint8), "wide")])
    assert pixels(Parsed(page.html()).images[0]["src"]).shape == (160, MAX_SIDE_PX, 3)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        Page("bad").images([(np.zeros(shape, np.uint8), "")])


def test_a_wrong_table_is_refused():
    with pytest.raises(ValueError, match="row of 1 for 2"):
        Page("bad").table(["a", "b"], [[1]])
    with pytest.raises(ValueError, match="'c'"):
        Page("bad").table(["a"], [[1]], highlight={"c": "min"})


def test_saving_replaces_the_whole_file_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    page = full_page()
    monkeypatch.setattr(page, "html", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page.save(path)
    assert path.read_text() == "old"
    assert full_page().save(path) == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
