"""An order as `order` places it, by a function that expects its connection to be lost while it is frozen.

BEGIN finds out, and then it connects again and goes on: as deploy/lambda does it.
"""

from __future__ import annotations

from typing import Any

from benchmarks.storm.clients import Held
from benchmarks.storm.context import Context
from benchmarks.storm.handlers.order import place

held = Held()


async def initialise() -> None:
    await held.session()


async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    async with held.transaction() as session:
        return await place(session, event, context)
