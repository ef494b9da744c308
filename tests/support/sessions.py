"""What exchanges are answered, in a form that is the same through a proxy and on a direct connection."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.messages import Message
from tests.support.stage import Stage
from tests.support.wire import Wire

#: Where in PostgreSQL's source an error was raised.
SOURCE_FIELDS = "FLR"


def answers(wire: Wire, program: list[bytes]) -> Iterator[list[str]]:
    """Each exchange is one write; its answer ends with as many ReadyForQuery as it has Syncs and Queries."""
    for exchange in program:
        wire.send(exchange)
        count = sum(1 for letter in m.frontend_letters(exchange) if letter in "QS")
        yield [normalised(message) for message in wire.read_ready(count)]


def normalised(message: Message) -> str:
    """What must be equal on any connection."""
    if message.letter in "EN":
        return str({field: value for field, value in message.fields.items() if field not in SOURCE_FIELDS})
    if message.letter == "T":
        return f"T{without_tables(message.body)!r}"
    return f"{message.letter}{message.body!r}"


def without_tables(description: bytes) -> bytes:
    """A RowDescription's body without the tables' oids."""
    kept, at = description[:2], 2
    while at < len(description):
        end = description.index(0, at) + 1
        kept += description[at:end] + description[end + 4 : end + 18]
        at = end + 18
    return kept


def straight(stage: Stage, user: str = "app") -> Wire:
    """A session of `user`'s, straight at PostgreSQL."""
    return Wire.login((stage.postgres.host, stage.postgres.port), user, PASSWORDS[user], DATABASE)
