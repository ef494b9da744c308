"""Report: 10,000 rows read and summed up in the function. `GET /reports/sales`."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from benchmarks.storm.clients import Held, transaction
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import NOTE

held = Held()


async def initialise() -> None:
    await held.session()


async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    session = await held.session()
    async with transaction(session):
        rows = await session.fetch("SELECT day, region, amount FROM storm.sale ORDER BY id")
        await session.execute(NOTE, context.aws_request_id, context.attempt, 1, 1)
    sums: Counter[str] = Counter()
    for _, region, amount in rows:
        sums[region] += amount
    return {"statusCode": 200, "body": json.dumps({"rows": len(rows), "amounts": sums})}
