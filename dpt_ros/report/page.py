"""One self-contained HTML page: what is added to it appears in that order."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from dpt_ros import __version__
from dpt_ros.report.figures import figure_to_svg
from dpt_ros.report.pictures import picture_to_data_uri
from dpt_ros.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FOLDER = Path(__file__).resolve().parent
_NOTHING = "\N{EN DASH}"


@dataclasses.dataclass(frozen=True)
class _Cell:
    text: str
    is_number: bool = False
    is_best: bool = False


@dataclasses.dataclass
class _Section:
    title: str
    anchor: str
    blocks: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Page:
    """A report that grows from the top to the bottom, and is then saved.

    Everything is escaped, pictures and plots are part of the file, and nothing is fetched: the
    file can be mailed, and opens on a phone without a network.

    Args:
        title: what the report is about; the page's and the browser tab's title.
        subtitle: one line below it.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._subtitle = subtitle
        self._cards: list[tuple[str, str, str]] = []
        self._sections = [_Section("", "top")]
        self._figure_count = 0

    def headlines(self, cards: Iterable[tuple[str, str, str]]) -> None:
        """Add cards at the top: (label, value as text, note) each; the note may be ""."""
        self._cards += [(str(label), str(value), str(note)) for label, value, note in cards]

    def section(self, title: str) -> None:
        """Start a section; what is added next belongs to it."""
        self._sections.append(_Section(title, f"section-{len(self._sections)}"))

    def text(self, text: str) -> None:
        """Add paragraphs, which empty lines separate; what stands in `backticks` is code."""
        self._add("text", paragraphs=_paragraphs(text))

    def warning(self, text: str) -> None:
        """Add a remark that nobody should miss."""
        self._add("warning", paragraphs=_paragraphs(text))

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        caption: str = "",
        highlight: Mapping[str, str] | None = None,
    ) -> None:
        """Add a table.

        Args:
            columns: the heads.
            rows: as many values each: texts, numbers (shown with four digits), or None for what
                is not there.
            caption: what the table shows.
            highlight: which cells are the best: a column's head to "min" or "max".

        Raises:
            ValueError: a row of another length, an unknown column, or another word than min, max.
        """
        listed = [list(row) for row in rows]
        for row in listed:
            if len(row) != len(columns):
                raise ValueError(f"table: got a row of {len(row)} for {len(columns)} columns")
        best = _best_values(columns, listed, highlight or {})
        cells = [
            [
                _Cell(_shown(value), _is_number(value), _is_number(value) and best[i] == value)
                for i, value in enumerate(row)
            ]
            for row in listed
        ]
        numeric = [
            bool(cells) and all(row[i].is_number or row[i].text == _NOTHING for row in cells)
            for i in range(len(columns))
        ]
        heads = list(zip(columns, numeric, strict=True))
        self._add("table", columns=heads, rows=cells, caption=caption)

    def figure(self, figure: Figure, caption: str = "", alt: str = "") -> None:
        """Add a plot, which takes the page's colours in light and dark.

        Black is drawn in the page's text colour and white in its background's. Make it within
        `dpt_ros.report.figures.plot_style()`, which gives it the reports' common look.
        """
        self._figure_count += 1
        svg = figure_to_svg(figure, f"figure-{self._figure_count}")
        self._add("figure", svg=Markup(svg), caption=caption, alt=alt or caption)  # noqa: S704

    def images(self, pictures: Iterable[tuple[NDArray[np.uint8], str]]) -> None:
        """Add pictures, (rgb uint8 [H, W, 3], caption) each, side by side where there is room.

        Raises:
            ValueError: another shape or type.
        """
        shown = [(picture_to_data_uri(rgb), caption) for rgb, caption in pictures]
        self._add("images", images=shown)

    def settings(self, settings: Mapping[str, Any]) -> None:
        """Add names and values; nested mappings become dotted names."""
        self._add("settings", items=list(_flatten(settings)))

    def html(self) -> str:
        """The page as text."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        css = (_FOLDER / "page.css").read_text(encoding="utf-8")
        return environment.get_template("page.html").render(
            title=self._title,
            subtitle=self._subtitle,
            css=Markup(css),  # noqa: S704  our own file
            cards=self._cards,
            sections=[s for s in self._sections if s.blocks or s.title],
            version=__version__,
        )

    def save(self, path: str | Path) -> Path:
        """Write the page; a file that was there is replaced as a whole or not at all.

        Returns:
            The path.

        Raises:
            OSError: the file can't be written.
        """
        write_whole(path, self.html().encode())
        return Path(path)

    def _add(self, kind: str, **values: Any) -> None:
        self._sections[-1].blocks.append({"kind": kind, **values})


def _paragraphs(text: str) -> list[list[tuple[str, bool]]]:
    """Paragraphs as lists of (text, whether it is code)."""
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    return [
        [(piece, index % 2 == 1) for index, piece in enumerate(paragraph.split("`")) if piece]
        for paragraph in paragraphs
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value as people read it: four digits, no trailing exponent for usual sizes."""
    if value is None or (_is_number(value) and math.isnan(value)):
        return _NOTHING
    if isinstance(value, (float, np.floating)):
        size = abs(float(value))
        if size == 0.0 or math.isinf(size):
            return f"{float(value):g}"
        if not 1e-4 <= size < 1e7:
            return f"{float(value):.3e}"
        first = math.floor(math.log10(size))
        decimals = max(0, 3 - first) if first < -1 else min(4, max(0, 3 - first))
        return f"{float(value):,.{decimals}f}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{int(value):,}"
    return str(value)


def _best_values(
    columns: Sequence[str], rows: list[list[Any]], highlight: Mapping[str, str]
) -> list[float | None]:
    """The best number of each column; None where none is to be marked."""
    wrong = {name: word for name, word in highlight.items() if word not in ("min", "max")}
    unknown = set(highlight) - set(columns)
    if wrong or unknown:
        raise ValueError(
            f"highlight: got {wrong or sorted(unknown)}, expected one of {list(columns)} to min "
            "or max"
        )
    best: list[float | None] = []
    for index, name in enumerate(columns):
        numbers = [row[index] for row in rows if _is_number(row[index])]
        numbers = [number for number in numbers if math.isfinite(number)]
        if name not in highlight or len(numbers) < 2:
            best.append(None)
        else:
            best.append(min(numbers) if highlight[name] == "min" else max(numbers))
    return best


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or _NOTHING
        else:
            # Settings are told exactly, not as measurements are.
            is_nothing = value is None or value == ""
            yield f"{prefix}{name}", _NOTHING if is_nothing else str(value)
