"""The demo asks again for points that did not come: topics connect one by one."""

from __future__ import annotations

from typing import Any

import pytest

from dpt_ros.cli import demo


class Player:
    """Answers with colours at once, and with points from the given time on that it plays."""

    def __init__(self, points_from: int) -> None:
        self.played = 1
        self._points_from = points_from

    def play(self, rgb: Any, camera: Any, awaited: Any, timeout_s: float) -> dict[str, Any]:
        self.played += 1
        return self.wait(awaited, timeout_s)

    def wait(self, awaited: Any, timeout_s: float) -> dict[str, Any]:
        answers = {"color": f"colour {self.played}"}
        if self.played >= self._points_from:
            answers["points"] = f"points {self.played}"
        return answers


class Picture:
    rgb = camera = None


@pytest.mark.parametrize(("points_from", "played"), [(1, 1), (2, 2), (3, 2)])
def test_points_that_did_not_come_are_asked_for_once_more(points_from: int, played: int) -> None:
    player = Player(points_from)
    answers = demo._wait_for_points(player, Picture())
    assert player.played == played
    assert answers["color"] == f"colour {played}"
    assert answers.get("points") == (f"points {played}" if points_from <= played else None)
