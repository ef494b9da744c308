"""S3 upload: the metadata of each new object becomes a row.

Takes S3's own event, or a batch of SQS messages with S3's events in them, which is how people put a queue in
between. All objects of an event are one transaction, each with its part of the ledger. S3 may tell of an
object twice: the row is written over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from benchmarks.storm.clients import Held, transaction
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import NOTED

UPSERT = (
    NOTED + "INSERT INTO storm.upload (bucket, key, size, etag) VALUES ($5, $6, $7, $8)"
    " ON CONFLICT (bucket, key) DO UPDATE SET size = excluded.size, etag = excluded.etag, seen = now()"
)

held = Held()


async def initialise() -> None:
    await held.session()


def objects(event: dict[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    """(bucket, key, size, ETag) of every object that the event tells of."""
    for record in event["Records"]:
        if record["eventSource"] == "aws:sqs":
            yield from objects(json.loads(record["body"]))
        else:
            s3 = record["s3"]
            stored = s3["object"]
            yield s3["bucket"]["name"], unquote_plus(stored["key"]), stored["size"], stored["eTag"]


async def handler(event: dict[str, Any], context: Context) -> dict[str, int]:
    found = list(objects(event))
    session = await held.session()
    async with transaction(session):
        for part, stored in enumerate(found, 1):
            note = (context.aws_request_id, context.attempt, part, len(found))
            await session.execute(UPSERT, *note, *stored)
    return {"stored": len(found)}
