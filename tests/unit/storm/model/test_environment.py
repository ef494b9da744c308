from __future__ import annotations

import itertools

import pytest

from benchmarks.storm.model.coldstart import ColdStart
from benchmarks.storm.model.environment import DEAD, FROZEN, INIT, INVOKE, MOVES, Environment, IllegalMove
from benchmarks.storm.model.function import Function

LEGAL = {
    (INIT, INVOKE),
    (INIT, FROZEN),
    (INIT, DEAD),
    (INVOKE, FROZEN),
    (INVOKE, DEAD),
    (FROZEN, INVOKE),
    (FROZEN, DEAD),
}


def environment(state: str = INIT) -> Environment:
    made = Environment(7, Function("order"), 1.0, cold_start=ColdStart(0.1, 0.1))
    made.state = state
    return made


@pytest.mark.parametrize(("before", "after"), list(itertools.product(MOVES, MOVES)))
def test_only_the_tables_moves_are_made(before: str, after: str) -> None:
    made = environment(before)
    if (before, after) in LEGAL:
        made.move(after, 2.0)
        assert (made.state, made.since) == (after, 2.0)
    else:
        with pytest.raises(IllegalMove, match=f"Environment 7 order {before}, used 0> cannot go to {after}"):
            made.move(after, 2.0)
        assert (made.state, made.since) == (before, 1.0)


def test_repr_is_a_status_line() -> None:
    made = environment(FROZEN)
    made.used, made.initialise, made.retired, made.provisioned = 3, True, True, True
    assert repr(made) == "<Environment 7 order FROZEN, provisioned, used 3, initialise, retired>"
