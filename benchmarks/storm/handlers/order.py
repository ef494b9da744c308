"""Order: a transaction of five statements, three of which write. `POST /orders`: customer, item, quantity.

With `pause` it does what one should not: in the transaction it waits so many seconds for somebody else. BEGIN
and COMMIT not counted: seven exchanges. Each statement that writes carries its part of the ledger, so a
transaction that came apart anywhere is seen.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.storm.clients import Held, Session, transaction
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import NOTED

PRICE = "SELECT price, stock FROM storm.item WHERE id = $1 FOR UPDATE"
PURCHASE = NOTED + "INSERT INTO storm.purchase (customer) VALUES ($5) RETURNING id"
LINE = NOTED + "INSERT INTO storm.purchase_line (purchase, item, quantity, price) VALUES ($5, $6, $7, $8)"
TAKE = NOTED + "UPDATE storm.item SET stock = stock - $5 WHERE id = $6"
TOTAL = "SELECT sum(quantity * price) FROM storm.purchase_line WHERE purchase = $1"

PARTS = 3

held = Held()


async def initialise() -> None:
    await held.session()


async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    session = await held.session()
    async with transaction(session):
        return await place(session, event, context)


async def place(session: Session, event: dict[str, Any], context: Context) -> dict[str, Any]:
    """The order, in the transaction that the session is in."""
    wanted = json.loads(event["body"])
    item, quantity = wanted["item"], wanted["quantity"]
    invocation, attempt = context.aws_request_id, context.attempt
    ((price, stock),) = await session.fetch(PRICE, item)
    if stock < quantity:
        raise ValueError(f"only {stock} of item {item} are left")
    ((purchase,),) = await session.fetch(PURCHASE, invocation, attempt, 1, PARTS, wanted["customer"])
    if pause := wanted.get("pause", 0):
        await asyncio.sleep(pause)
    await session.execute(LINE, invocation, attempt, 2, PARTS, purchase, item, quantity, price)
    await session.execute(TAKE, invocation, attempt, 3, PARTS, quantity, item)
    ((total,),) = await session.fetch(TOTAL, purchase)
    return {"statusCode": 201, "body": json.dumps({"order": purchase, "total": total})}
