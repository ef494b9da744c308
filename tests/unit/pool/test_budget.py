"""The budget of one database: room, places, and what PostgreSQL's "too many" teaches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.pool.budget import CAUTIOUS, UNBOUNDED, Budget, database_limit


def test_places_end_at_the_limit_and_come_back() -> None:
    budget = Budget("shop", 2)
    assert [budget.take(), budget.take(), budget.take()] == [True, True, False]
    assert budget.servers == 2
    budget.give()
    assert budget.room() == 1
    assert budget.take()


def test_our_own_connections_count() -> None:
    budget = Budget("shop", 2)
    budget.control = 1
    assert [budget.take(), budget.take()] == [True, False]


class TestUnknown:
    """Before PostgreSQL has said how many it takes."""

    def test_one_server_beside_the_connection_that_asks(self) -> None:
        budget = Budget("shop")
        budget.control = 1
        assert [budget.take(), budget.take()] == [True, False]
        budget.limit = 10
        assert budget.room() == 8

    def test_nothing_bounds_what_postgresql_alone_is_to_bound(self) -> None:
        budget = Budget("shop")
        budget.unknown = UNBOUNDED
        assert all(budget.take() for _ in range(1000))
        assert budget.room() > 1000

    @pytest.mark.parametrize("usable", [-1, 0, 1, 97])
    def test_it_turns_out_to_be_at_least_what_was_open(self, usable: int) -> None:
        assert database_limit(0, 1, usable) >= CAUTIOUS + 1


def test_a_limit_lowered_below_what_is_open_leaves_no_room() -> None:
    budget = Budget("shop", 5)
    for _ in range(5):
        budget.take()
    budget.limit = 2
    assert budget.room() == 0
    assert not budget.take()


class TestRefused:
    """PostgreSQL had no slot: with this many open there is no room, whatever the limit says."""

    def test_no_room_until_some_are_closed(self) -> None:
        budget = Budget("shop", 10)
        for _ in range(4):
            budget.take()
        budget.refused()
        assert (budget.room(), budget.take()) == (0, False)
        budget.give()
        assert budget.room() == 7, "what PostgreSQL said of four no longer counts for three"

    def test_also_where_no_limit_is_known(self) -> None:
        budget = Budget("shop")
        budget.unknown = UNBOUNDED
        budget.take()
        budget.refused()
        assert budget.room() == 0

    def test_with_nothing_open_one_may_try(self) -> None:
        """Others have all the slots: without any attempt we would never learn that one is free."""
        budget = Budget("shop", 10)
        budget.refused()
        assert budget.room() == 1

    def test_never_above_the_limit(self) -> None:
        budget = Budget("shop", 2)
        budget.take()
        budget.refused()
        budget.refused_at = 9
        assert budget.room() == 1


@given(st.integers(0, 6), st.lists(st.sampled_from(["take", "give", "refused"]), max_size=40))
def test_never_more_than_the_limit_and_never_less_than_none(limit: int, steps: list[str]) -> None:
    budget, held = Budget("shop", limit), 0
    for step in steps:
        if step == "take":
            room = budget.room()
            taken = budget.take()
            assert taken == bool(room)
            held += taken
        elif step == "give" and held:
            budget.give()
            held -= 1
        elif step == "refused":
            budget.refused()
        assert budget.servers == held
        assert budget.room() >= 0
        assert not limit or held <= limit


@pytest.mark.parametrize(
    ("absolute", "percent", "usable", "limit"),
    [(0, 100, 97, 97), (0, 50, 97, 48), (0, 1, 97, 2), (0, 1, 10, 2), (30, 100, 97, 30), (30, 1, 10, 30)],
)
def test_database_limit(absolute: int, percent: int, usable: int, limit: int) -> None:
    """Absolute if set, else a percentage, rounded down, but never below two."""
    assert database_limit(absolute, percent, usable) == limit


def test_repr() -> None:
    budget = Budget("shop", 20)
    budget.take()
    budget.control = 1
    assert repr(budget) == "<Budget shop 1+1 of 20>"
    assert repr(Budget("shop")) == "<Budget shop 0+0 of unknown>"
