"""Reports for people: one self-contained HTML file of cards, tables, figures and pictures.

Knows nothing of depth: it shows what it is given.
"""

from __future__ import annotations

from dpt_ros.report.page import Page

__all__ = ["Page"]
