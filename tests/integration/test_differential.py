"""The same bytes to PostgreSQL and through the proxy: the same answers, whole and cut into single bytes."""

from __future__ import annotations

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.exchanges import ALL, Exchange
from tests.support.messages import Message
from tests.support.stage import Stage
from tests.support.wire import Address, Wire

#: Above this many bytes a conversation is cut into larger pieces: a test is no benchmark of system calls.
SPLIT_WHOLLY = 3_000

#: Where in PostgreSQL's source an error was raised: not of the session, and no promise of anybody's.
SOURCE_FIELDS = "FLR"


def normalised(message: Message) -> str:
    """A message as text, without what may differ from session to session."""
    if message.letter in "EN":
        kept = {field: value for field, value in message.fields.items() if field not in SOURCE_FIELDS}
        return f"{message.letter}{kept}"
    if message.letter == "A":
        return f"A{message.body[4:]!r}"
    return f"{message.letter}{message.body!r}"


def converse(address: Address, exchange: Exchange, *, split: bool) -> tuple[list[str], str]:
    """Hold one conversation on a connection of its own; the answers, and those to a question behind them
    all.
    """
    user = "app"
    answers: list[Message] = []
    with Wire.login(address, user, PASSWORDS[user], DATABASE) as wire:
        for step in exchange.steps:
            if split:
                wire.send_split(step.data, 1 if len(step.data) <= SPLIT_WHOLLY else 1_001)
            else:
                wire.send(step.data)
            if step.ends:
                answers += wire.read_to_end()
                return [normalised(message) for message in answers], "closed"
            answers += wire.read_until(step.until) if step.until else wire.read_ready(step.ready)
        # Whatever came too much would come before this answer.
        if wire.status != "I":
            answers += wire.ask(m.query("rollback"))
        answers += wire.ask(m.query("select 'in step'"))
    return [normalised(message) for message in answers], wire.status


def outcome(stage: Stage, address: Address, exchange: Exchange, *, split: bool = False) -> object:
    """The conversation, and what it left in the database."""
    stage.direct.rows("truncate note")
    said = converse(address, exchange, split=split)
    return said, stage.direct.rows("select id, body from note order by id, body")


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.name.replace(" ", "-"))
def test_same_answers(stage: Stage, direct: Direct, exchange: Exchange, mode: str) -> None:
    proxy = stage.proxy(pool_mode=mode)
    expected = outcome(stage, (stage.postgres.host, stage.postgres.port), exchange)
    assert outcome(stage, proxy.address, exchange) == expected
    assert outcome(stage, proxy.address, exchange, split=True) == expected
