"""The books against a model of PostgreSQL: any messages, answers after any delay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.session.pipeline import Pipeline
from tests.unit.session.dialogue import Dialogue, talk
from tests.unit.session.postgres_model import MESSAGES
from tests.unit.twins import source_of

SOURCE = source_of("session.pipeline")

steps = st.sampled_from(MESSAGES + ">>>>><<<<<*")
#: What drivers do: answers are awaited where they must be.
EXCHANGES = [
    *("QF", "PBDES", "1BES", "3BES", "PpBES", "PBeES", "PBES>>>><<<<", "C*ddd.", "C*dxd.", "C*!", "Pc*dd.S"),
    *("Pc*dxd.S", "Pc*!S", "PcS*d.S", "0Q", "*", ">", "<"),
]
plain = st.lists(st.sampled_from(EXCHANGES), max_size=10).map("".join)


def play(script: str | list[str]) -> Dialogue:
    """A dialogue of whatever can be forwarded of `script`."""
    dialogue = Dialogue()
    for step in script:
        if step == ">":
            dialogue.work()
        elif step == "<":
            dialogue.hear()
        elif step == "*":
            dialogue.finish()
        else:
            dialogue.send(step)
    return dialogue


@settings(max_examples=1500, deadline=None)
@given(st.lists(steps, max_size=24))
def test_said_to_be_idle_a_server_owes_nothing(script: list[str]) -> None:
    """`Dialogue.check` looks after every step. The other way round nothing is promised to a client that sends
    what no rule allows: its server stays with it."""
    play(script).finish()


@settings(max_examples=400, deadline=None)
@given(plain)
def test_ordinary_dialogues_come_to_rest(script: str) -> None:
    dialogue = play(script)
    dialogue.finish()
    for ending in ".S":  # whatever is open is ended as a client would end it
        if dialogue.pipeline.copying_in if ending == "." else dialogue.pipeline.open:
            dialogue.send(ending)
            dialogue.finish()
    assert dialogue.agreed()
    assert dialogue.pipeline.idle() or dialogue.pipeline.unclear or dialogue.server.dead


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=24))
def test_both_builds_keep_the_same_books(script: list[str]) -> None:
    names = ("status", "open", "failed", "copying_in", "swallowed", "unclear", "hasty", "parses", "closes")
    seen = []
    for pipeline in (Pipeline, SOURCE.Pipeline):
        dialogue = Dialogue(pipeline)
        books: list[object] = []
        for step in script:
            try:
                if step in "<>*":
                    {"<": dialogue.hear, ">": dialogue.work, "*": dialogue.finish}[step]()
                else:
                    dialogue.send(step)
            except AssertionError as error:
                books.append(type(error))
                break
            books.append(
                [getattr(dialogue.pipeline, name) for name in names] + [len(dialogue.pipeline.units)]
            )
        seen.append(books)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("script", ["P.cS.P3", "P.cS.P1", ".P.cS", "PE.cS.P3", "PS.cS.P3"])
def test_a_copy_that_is_ended_before_it_begins(script: str) -> None:
    """PostgreSQL ignores a CopyDone while nothing copies in: it is not the end of a COPY behind it."""
    dialogue = play(script)
    dialogue.finish()
    assert dialogue.agreed()


def test_the_model_swallows_a_sync_in_copy_mode() -> None:
    """The model itself: what the rules in sessions stand on."""
    assert [letter for letter, _ in talk("Pc S").server.after(list("PcSd.S")).answers] == list("1GCZ")
    assert talk("Pc").server.after(list("PcQ")).dead
    assert [letter for letter, _ in talk("Q").server.after(list("PpBQS")).answers] == list("1EZ")
