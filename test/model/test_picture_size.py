"""Sizes as a user writes them, and what is said of those that a network does not take."""

from __future__ import annotations

import pytest

from dpt_ros.config import ConfigError
from dpt_ros.model.picture_size import check_multiple, parse_size


def test_a_size_is_width_and_height() -> None:
    assert parse_size("640x480") == (640, 480)


@pytest.mark.parametrize(
    "text",
    ["", "640", "640x", "x480", "640X480", "640x480x3", "0x480", "640x0", "-6x4", "²x4", "٣x4"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_size(text, "size")
    assert str(caught.value) == f"size: got {text!r}, expected WIDTHxHEIGHT such as 640x480"
    with pytest.raises(ConfigError, match=r"^got "):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "nearest"), [((100, 96), "96x96"), ((96, 108), "96x112"), ((3, 5), "16x16")]
)
def test_the_nearest_size_is_named(size: tuple[int, int], nearest: str) -> None:
    told = rf"^--size: got {size[0]}x{size[1]}, expected multiples of 16, which net takes; such as "
    with pytest.raises(ConfigError, match=f"{told}{nearest}$"):
        check_multiple("--size", size, 16, "net")
    check_multiple("--size", (96, 112), 16, "net")
