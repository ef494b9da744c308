"""The mistake that a pooler must survive: every invocation opens a connection, and none is ever closed.

The same read as `read`, without its care. The connections stay open until the environment is gone.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.storm.clients import Session, connect, transaction
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import NOTE

leaked: list[Session] = []


async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    session = await connect()
    leaked.append(session)
    async with transaction(session):
        key = int(event["pathParameters"]["id"])
        rows = await session.fetch("SELECT name, price FROM storm.item WHERE id = $1", key)
        await session.execute(NOTE, context.aws_request_id, context.attempt, 1, 1)
    return {"statusCode": 200 if rows else 404, "body": json.dumps(rows)}
