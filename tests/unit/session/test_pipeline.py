"""The books of one server: dialogues as tables, and what each leaves owed.

In the scripts a letter is sent (see postgres_model), `>` lets the server read one message, `<` lets its next
answer arrive, and `*` delivers everything.
"""

from __future__ import annotations

import pytest

from poolproxy.session.assignments import Assignment
from poolproxy.session.pipeline import CLOSED, PARSED, Pipeline, Step
from tests.unit.session.dialogue import IDLE, talk

ASSIGNED = (Assignment("work_mem", "1"),)

AT_REST = [
    "",
    "Q*",
    "q*",
    "F*",
    "QQQ*",
    "QqQ*",
    "S*",
    "PBDES*",
    "PBES PBES*",
    "PBeES*",
    "pBES*",
    "PBEH>>><<< S*",
    "Pp*QS*",  # a failed batch skips a Query
    "0*",
    "00Q*",
    "B1ES*",
    "B3ES*",
    "P1BES P1BES*",
    "C*ddd.*",
    "C*d!*",
    "C*dx*",
    "Cd.*",  # not waiting for the CopyInResponse
    "C*dxd.*",  # late CopyData and CopyDone: dropped by the server
    "PBc*dd.S*",
    "PBcS*d.S*",  # the first Sync is swallowed
    "PBcSS*d.S*",
    "PBc*dxd.S*",
    "PBc*d!S*",
    "PBcd.S*",
]

OWED = [
    # script, owed, open, copying in
    ("Q", 1, False, False),
    ("QQ", 2, False, False),
    ("QQ>><", 2, False, False),  # the CommandComplete alone ends nothing
    ("QQ>><<", 1, False, False),
    ("PBE", 0, True, False),
    ("PBE*", 0, True, False),  # all answered, and yet an implicit transaction is open
    ("PBES", 1, False, False),
    ("PBESP", 1, True, False),
    ("p*", 0, True, False),
    ("p*Q", 0, True, False),
    ("H", 0, False, False),
    ("C*", 1, False, True),
    ("C*.", 1, False, False),
    ("Pc*", 0, True, True),
    ("PcS*", 0, True, True),
    ("PcS*.", 0, True, False),
    ("PcS*.S", 1, False, False),
]

UNCLEAR = [
    "Pc*S",  # swallowed, unless an error is on its way
    "C*S",
    "PBE*Q*",  # PostgreSQL 18 does not say what it does with a Query in an open batch; see the manual, 54.2.3
    "PBEF*",
    "PpQ*",  # was the Query skipped, or did it fail itself?
]

#: Where the answer is not certain either way, the books may say so, but not be wrong.
HONEST = [
    "QpQ*S*",
    "QPQ*",
    "0pQ*S*",
    "CS*.*",
    "CS*d.S*",
    "P.c*d.S*",
    "cxS*",
    "cdxSd!Sqx*",
    "P1Q*",
    "B3q*",
    "pcS*",
    "c.S*",
]


@pytest.mark.parametrize("script", AT_REST)
def test_what_is_answered_in_full_is_at_rest(script: str) -> None:
    dialogue = talk(script.replace("H", "") if script == "H" else script)
    assert dialogue.pipeline.idle()
    assert dialogue.pipeline.quiet()
    assert not dialogue.server.open
    assert repr(dialogue.pipeline) == "<Pipeline I owes 0>"


@pytest.mark.parametrize(("script", "owed", "opened", "copying"), OWED)
def test_what_is_owed(script: str, owed: int, opened: bool, copying: bool) -> None:
    if script == "H":
        pipeline = Pipeline()  # a Flush of nothing is answered by nothing
    else:
        pipeline = talk(script).pipeline
    assert (len(pipeline.units), pipeline.open, pipeline.copying_in) == (owed, opened, copying)
    assert pipeline.quiet() == pipeline.idle() == (script == "H")


@pytest.mark.parametrize("script", UNCLEAR)
def test_what_cannot_be_told_is_said_to_be_unclear(script: str) -> None:
    dialogue = talk(script)
    assert dialogue.pipeline.unclear
    assert not dialogue.pipeline.idle()
    dialogue.finish()
    assert not dialogue.pipeline.idle()


@pytest.mark.parametrize("script", HONEST)
def test_an_odd_dialogue_is_counted_right_or_said_to_be_unclear(script: str) -> None:
    dialogue = talk(script)
    assert dialogue.agreed(), f"{dialogue.pipeline} with {dialogue.server}"


def test_a_cancelled_copy_leaves_it_unclear_whether_a_sync_was_swallowed() -> None:
    dialogue = talk("PcS*")
    dialogue.pipeline.error(False)
    assert dialogue.pipeline.unclear
    dialogue = talk("PcS*")
    dialogue.pipeline.error(True)
    assert not dialogue.pipeline.unclear


@pytest.mark.parametrize("status", [0x49, 0x54, 0x45])
def test_only_outside_a_transaction_is_idle(status: int) -> None:
    pipeline = Pipeline()
    pipeline.query(())
    pipeline.ready(status)
    assert pipeline.status == status
    assert pipeline.quiet()
    assert pipeline.idle() == (status == IDLE)


def test_our_own_queries_are_told_apart_from_the_clients() -> None:
    pipeline = Pipeline()
    pipeline.skip_query()
    pipeline.query(())
    assert pipeline.skipping()
    unit = pipeline.ready(IDLE)
    assert unit is not None
    assert unit.skip
    assert not pipeline.skipping()
    unit = pipeline.ready(IDLE)
    assert unit is not None
    assert not unit.skip
    assert not pipeline.skipping()
    assert pipeline.ready(IDLE) is None


def test_answers_to_what_we_put_into_a_batch_are_ours() -> None:
    pipeline = Pipeline()
    pipeline.parse(())
    pipeline.expect(Step(PARSED, True))
    pipeline.close()
    pipeline.expect(Step(CLOSED, True))
    pipeline.parse(())
    assert pipeline.complete(PARSED) is None  # before and after the Sync alike
    pipeline.sync()
    assert [pipeline.complete(PARSED) is None for _ in range(2)] == [False, True]
    assert [pipeline.complete(CLOSED) is None for _ in range(2)] == [True, False]
    pipeline.ready(IDLE)
    pipeline.parse(())
    assert pipeline.complete(PARSED) is None


def test_a_close_of_ours_in_the_next_batch_is_not_the_last_ones() -> None:
    pipeline = Pipeline()
    pipeline.close()
    pipeline.copy_ended()  # a CopyDone ahead of its CopyInResponse: this batch has books of its own
    pipeline.sync()
    pipeline.expect(Step(CLOSED, True))
    assert pipeline.complete(CLOSED) is None
    pipeline.ready(IDLE)
    assert pipeline.complete(CLOSED) is not None


# Assignments.


def test_an_assignment_comes_back_with_the_end_of_its_unit() -> None:
    pipeline = Pipeline()
    pipeline.query(ASSIGNED)
    pipeline.query(())
    first, second = pipeline.ready(IDLE), pipeline.ready(IDLE)
    assert first is not None
    assert second is not None
    assert (first.assignments, second.assignments) == (ASSIGNED, ())


@pytest.mark.parametrize(
    ("parses", "executes", "certain"),
    [(1, 1, True), (1, 0, False), (1, 2, False), (2, 1, False), (2, 2, False)],
)
def test_only_one_statement_executed_once_is_certain(parses: int, executes: int, certain: bool) -> None:
    pipeline = Pipeline()
    for _ in range(parses):
        pipeline.parse(ASSIGNED)
    pipeline.extended()
    for _ in range(executes):
        pipeline.execute()
    assert pipeline.certain() is certain
    pipeline.sync()
    unit = pipeline.ready(IDLE)
    assert unit is not None
    assert unit.assignments == (ASSIGNED if certain else ())
    assert pipeline.certain()


def test_an_assignment_in_a_batch_that_a_query_ends_is_not_forgotten() -> None:
    """It was executed and committed: a server that goes to the next client with it unrecorded is a leak."""
    pipeline = Pipeline()
    pipeline.parse(ASSIGNED)
    pipeline.execute()
    pipeline.query(())
    unit = pipeline.ready(IDLE)
    assert unit is not None
    assert unit.assignments == ASSIGNED or not pipeline.idle()


def test_a_failed_unit_is_known_until_its_end() -> None:
    pipeline = Pipeline()
    pipeline.query(ASSIGNED)
    pipeline.error(True)
    assert pipeline.failed
    pipeline.ready(IDLE)
    assert not pipeline.failed
