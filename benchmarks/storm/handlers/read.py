"""API read: one item by its key. `GET /items/{id}`, as an HTTP API hands it over."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.storm.clients import Held, transaction
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import NOTE

held = Held()


async def initialise() -> None:
    await held.session()


async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    key = int(event["pathParameters"]["id"])
    session = await held.session()
    async with transaction(session):
        rows = await session.fetch("SELECT name, price FROM storm.item WHERE id = $1", key)
        await session.execute(NOTE, context.aws_request_id, context.attempt, 1, 1)
    if not rows:
        return {"statusCode": 404, "body": json.dumps({"message": f"there is no item {key}"})}
    name, price = rows[0]
    return {"statusCode": 200, "body": json.dumps({"id": key, "name": name, "price": price})}
