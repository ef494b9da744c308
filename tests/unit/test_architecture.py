"""ARCHITECTURE.md shows the life cycles as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolproxy.session import lifecycle

PAGE = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("title", "states", "moves"),
    [
        ("client", lifecycle.CLIENT_STATES, lifecycle.CLIENT_MOVES),
        ("server", lifecycle.SERVER_STATES, lifecycle.SERVER_MOVES),
    ],
)
def test_the_page_shows_the_table(
    title: str, states: tuple[str, ...], moves: dict[int, tuple[int, ...]]
) -> None:
    rows = [
        f"| {states[old]} | {', '.join(states[new] for new in following) or '-'} |"
        for old, following in moves.items()
    ]
    assert "\n".join([f"| {title} | may become |", "|---|---|", *rows]) in PAGE
