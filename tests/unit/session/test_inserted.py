"""What a batch is made to run for us: under a name of ours, leaving nothing behind."""

from __future__ import annotations

import pytest

from poolproxy.session.inserted import FORGETTING, LENDING, run_in_batch, steps_of
from poolproxy.session.pipeline import CLOSED, PARSED
from poolproxy.session.prepared import PREFIX, Statement
from tests.support import messages as m


@pytest.mark.parametrize("mark", [FORGETTING, LENDING])
def test_it_is_parsed_run_and_closed_under_a_name_of_ours(mark: Statement) -> None:
    assert mark.name.startswith(PREFIX)
    name = mark.name.decode()
    assert run_in_batch(mark, b"select 1") == (
        m.parse("select 1", name)
        + m.bind(statement=name, portal=name)
        + m.execute(name)
        + m.close_portal(name)
        + m.close_statement(name)
    )


def test_its_first_step_tells_whose_it_is() -> None:
    first, *others = steps_of(LENDING)
    assert (first.kind, first.own, first.statement) == (PARSED, True, LENDING)
    assert [(step.kind, step.own, step.statement) for step in others] == [(CLOSED, True, None)] * 2
