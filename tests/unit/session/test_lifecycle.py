"""The tables of states: complete, ending in "closed", and the flat form says the same."""

from __future__ import annotations

import pytest

from poolproxy.session import lifecycle
from poolproxy.session.lifecycle import (
    CLIENT_MOVES,
    CLIENT_STATES,
    CLIENT_TABLE,
    SERVER_MOVES,
    SERVER_STATES,
    SERVER_TABLE,
)

TABLES = pytest.mark.parametrize(
    ("states", "moves", "table"),
    [(CLIENT_STATES, CLIENT_MOVES, CLIENT_TABLE), (SERVER_STATES, SERVER_MOVES, SERVER_TABLE)],
    ids=["client", "server"],
)


@TABLES
def test_the_flat_table_is_the_table(
    states: tuple[str, ...], moves: dict[int, tuple[int, ...]], table: bytes
) -> None:
    assert sorted(moves) == list(range(len(states)))
    assert {(old, new) for old in moves for new in moves[old]} == {
        divmod(place, 5) for place, yes in enumerate(table) if yes
    }


@TABLES
def test_every_state_can_end_and_none_follows_the_end(
    states: tuple[str, ...], moves: dict[int, tuple[int, ...]], table: bytes
) -> None:
    closed = states.index("closed")
    assert moves[closed] == ()
    assert all(closed in moves[state] for state in range(len(states)) if state != closed)
    assert not any(state in moves[state] for state in moves)


@TABLES
def test_every_state_can_be_reached(
    states: tuple[str, ...], moves: dict[int, tuple[int, ...]], table: bytes
) -> None:
    reached = {0}
    for _ in states:
        reached |= {new for old in reached for new in moves[old]}
    assert reached == set(moves)


def test_a_server_passes_to_another_client_only_by_being_idle() -> None:
    before_active = [old for old, news in SERVER_MOVES.items() if lifecycle.SERVER_ACTIVE in news]
    assert before_active == [lifecycle.SERVER_IDLE]


def test_every_state_has_its_own_number_and_name() -> None:
    for prefix, names in (("CLIENT", CLIENT_STATES), ("SERVER", SERVER_STATES)):
        assert [getattr(lifecycle, f"{prefix}_{name.upper()}") for name in names] == list(range(len(names)))
