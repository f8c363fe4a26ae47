"""Plots in the page's colours: the common look, and matplotlib figures as inline SVG."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#3b82f6", "#f08a24", "#22a06b", "#d6529c", "#8b6cef", "#14a3b8", "#c2a013", "#e0524d")
"""Colours of lines and bars, in their order: they read well on white and on black."""

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#b0b0b0",
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.figsize": (6.8, 3.2),
    "font.size": 10,
    "grid.color": "#b0b0b0",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
    "patch.linewidth": 0.0,
    "xtick.color": "#b0b0b0",
    "xtick.labelcolor": "#000000",
    "ytick.color": "#b0b0b0",
    "ytick.labelcolor": "#000000",
}
_PAGE_COLORS = {"#000000": "var(--ink)", "#ffffff": "var(--surface)", "#b0b0b0": "var(--line)"}
_RASTER_DPI = 144
_REM_PER_INCH, _LEAST_REM_PER_INCH = 7.4, 3.4


@contextlib.contextmanager
def plot_style() -> Iterator[None]:
    """Give the figures made and drawn upon within it the reports' common look.

    Use `matplotlib.figure.Figure` in it, which needs no screen and no global state. Draw what has
    thousands of points with `rasterized=True`.
    """
    import matplotlib
    from cycler import cycler

    style: Any = {**_STYLE, "axes.prop_cycle": cycler(color=COLORS)}
    with matplotlib.rc_context(style):
        yield


def figure_to_svg(figure: Figure, name: str) -> str:
    """A figure as SVG that can stand inside an HTML page, beside others.

    Args:
        figure: the matplotlib figure; white is the page's background.
        name: unlike that of any other figure of the page; becomes part of every id.

    Returns:
        `<svg ...>`: the same for the same figure; black, white and the grid's grey are the page's
        `--ink`, `--surface` and `--line`; texts are texts; it refers to nothing outside itself.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            buffer,
            format="svg",
            dpi=_RASTER_DPI,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # no XML declaration, no link to a DTD
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", svg)
    head, body = svg.split(">", 1)
    # As wide as the page allows, up to where its texts have the page's size, and then scrolled.
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    width_in = float(figure.get_size_inches()[0])
    rems = (factor * width_in for factor in (_REM_PER_INCH, _LEAST_REM_PER_INCH))
    size = "max-width:{:.4g}rem;min-width:{:.4g}rem".format(*rems)
    return f'{head} style="{size}">{_with_page_colors(_with_own_ids(body, name))}'


def _with_own_ids(svg: str, name: str) -> str:
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    return re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{name}-\1"', svg)


def _with_page_colors(svg: str) -> str:
    for color, page_color in _PAGE_COLORS.items():
        svg = svg.replace(color, page_color)
    return svg
