"""The mistake that a freeze makes worse: a transaction is begun, and the handler returns in the midst of it.

An await that was forgotten, a callback that was not waited for. The next invocation of the environment, which
may be minutes later, goes on where it was: it writes and commits, and raises what becomes of that.
"""

from __future__ import annotations

from typing import Any

from benchmarks.storm.clients import Session, connect
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import NOTE

TAKE = "UPDATE storm.item SET stock = stock - 1 WHERE id = $1"

begun: list[Session] = []


async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    if not begun:
        session = await connect()
        await session.execute("BEGIN")
        await session.execute(TAKE, int(event["pathParameters"]["id"]))
        begun.append(session)
        return {"statusCode": 202}
    session = begun.pop()
    await session.execute(NOTE, context.aws_request_id, context.attempt, 1, 1)
    tag = await session.execute("COMMIT")
    return {"statusCode": 200 if tag == "COMMIT" else 500}
