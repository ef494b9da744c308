"""The mistake that a freeze makes worse: a transaction is begun, and the handler returns in the midst of it.

An await that was forgotten, a callback that was not waited for. The next invocation of the environment, which
may be minutes later, goes on where it was: it writes and commits, and raises what becomes of that. The first
one's note is then a half until the second completes it: whoever else commits what it has begun is found by
the ledger.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.storm.clients import Session, connect
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import NOTE, NOTED

TAKE = NOTED + "UPDATE storm.item SET stock = stock - 1 WHERE id = $5"

PARTS = 2


class Begun(NamedTuple):
    """A transaction, and the invocation and attempt that has left it open."""

    session: Session
    invocation: str
    attempt: int


begun: list[Begun] = []


async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    invocation, attempt = context.aws_request_id, context.attempt
    if not begun:
        session = await connect()
        await session.execute("BEGIN")
        await session.execute(TAKE, invocation, attempt, 1, PARTS, int(event["pathParameters"]["id"]))
        begun.append(Begun(session, invocation, attempt))
        return {"statusCode": 202}
    before = begun.pop()
    session = before.session
    await session.execute(NOTE, before.invocation, before.attempt, 2, PARTS)
    await session.execute(NOTE, invocation, attempt, 1, 1)
    tag = await session.execute("COMMIT")
    return {"statusCode": 200 if tag == "COMMIT" else 500}
