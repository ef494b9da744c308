"""S3 uploads into PostgreSQL, through poolproxy: one row for each upload, however often we are told of it.

One connection per execution environment, made when the environment is (INIT) and kept for all invocations.
Each invocation is one explicit transaction, and leaves none behind: it commits, or it rolls back and raises,
so that Lambda calls again. Calling again is harmless: a row is known by S3's own name of the upload.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import asyncpg

CONNECT = 5.0  #: seconds that a connection and its login may take
UNANSWERED = 3.0  #: seconds without an acknowledgement, after which a connection has been lost without a word
RESERVE = 1.0  #: seconds before Lambda's timeout at which we stop, to roll back; Lambda itself just kills

LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresError)  #: what a connection that is gone may raise
#: poolproxy ends a connection whose BEGIN has waited in vain. Who asks again at once makes it worse.
TURNED_AWAY = (asyncpg.TooManyConnectionsError, asyncpg.CannotConnectNowError)

STORE = """
INSERT INTO upload (bucket, key, sequencer, version, etag, size, uploaded)
SELECT * FROM
    unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[])
ON CONFLICT DO NOTHING
"""


class Loop(asyncio.SelectorEventLoop):
    """An event loop that notices early when a connection has been lost without a word.

    Who keeps us waiting still acknowledges what we have sent; who is not there any more does not. asyncpg
    lets nobody at its sockets, but our loop makes them.
    """

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        transport, protocol = await super().create_connection(*args, **options)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNANSWERED * 1000))
        return transport, protocol


async def connect() -> asyncpg.Connection[Any]:
    name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "uploads")  # poolproxy logs it
    return await asyncpg.connect(
        os.environ["DATABASE_URL"], timeout=CONNECT, server_settings={"application_name": name}
    )


loop = Loop()
connection = loop.run_until_complete(connect())  # INIT: once per execution environment


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Called by Lambda for each event. When it raises, Lambda calls again, and gives up in the end."""
    rows = [row(record) for record in event["Records"]]
    stored = loop.run_until_complete(invoke(rows, context.get_remaining_time_in_millis() / 1000))
    return {"stored": stored, "known": len(rows) - stored}


def row(record: dict[str, Any]) -> tuple[object, ...]:
    """What we keep of a record. (bucket, key, sequencer) names an upload: S3 counts those of each key."""
    s3 = record["s3"]
    stored = s3["object"]
    return (
        s3["bucket"]["name"],
        unquote_plus(stored["key"]),
        stored["sequencer"],
        stored.get("versionId"),
        stored["eTag"],
        stored["size"],
        datetime.fromisoformat(record["eventTime"]),
    )


async def invoke(rows: list[tuple[object, ...]], remaining: float) -> int:
    """One transaction, ended one way or the other before the `remaining` seconds are over."""
    try:
        async with asyncio.timeout(remaining - RESERVE):
            await begin()
            stored = await store(rows)
            if await connection.execute("COMMIT") != "COMMIT":
                raise RuntimeError("rolled back: a statement had failed, and nobody said so")
            return stored
    except BaseException:
        await leave_nothing()
        raise


async def begin() -> None:
    """Begin the transaction, on a new connection if need be.

    Here a connection shows that it was lost while we were frozen; nobody need ask beforehand. Nothing that
    does anything has been sent yet, so to begin again is safe. Once, and only here: whatever fails later may
    have been run.
    """
    global connection
    try:
        await connection.execute("BEGIN")
    except LOST as error:
        if not connection.is_closed() or isinstance(error.__cause__, TURNED_AWAY):
            raise
        connection = await connect()
        await connection.execute("BEGIN")


async def store(rows: Iterable[tuple[object, ...]]) -> int:
    """Your work: any statements, all in the one transaction. Returns how many uploads were new."""
    tag = await connection.execute(STORE, *(list(column) for column in zip(*rows, strict=True)))
    return int(tag.split()[-1])


async def leave_nothing() -> None:
    """Roll back. Where even that is not answered, drop the connection: poolproxy then rolls back for us."""
    try:
        async with asyncio.timeout(RESERVE / 2):
            await connection.execute("ROLLBACK")  # asyncpg cancels first what is still running
    except LOST:
        connection.terminate()
        await asyncio.sleep(0)  # the socket is closed by the loop's next turn, and we are about to be frozen
