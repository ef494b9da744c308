"""Documents over a stream socket: what an environment that is a process is asked, and what it answers.

JSON, because that is what Lambda hands to a function, behind a length of four bytes. The same class serves
both ends. Must not know processes.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from dataclasses import fields
from typing import Any, TypeAlias

from benchmarks.storm.clients import Meter
from benchmarks.storm.runtime.runtime import Answer

Document: TypeAlias = "dict[str, Any]"

LENGTH = 4  #: bytes


class Channel:
    """One end. Made by `open`."""

    __slots__ = ("_reader", "_writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """The end that `sock` is, a Unix stream socket, which belongs to the channel from now on."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def send(self, document: Document) -> None:
        """Raises TypeError for what has no form in JSON. That the other end is gone, `receive` will see."""
        body = json.dumps(document).encode()
        try:
            self._writer.write(len(body).to_bytes(LENGTH, "big") + body)
            await self._writer.drain()
        except ConnectionError:
            pass

    async def receive(self) -> Document | None:
        """The next document; None when the other end is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH), "big")
            document: Document = json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return document

    def close(self) -> None:
        """At once; what has not been sent is dropped. Harmless when repeated."""
        self._writer.transport.abort()


def answer_as_document(answer: Answer) -> Document:
    meter = {field.name: getattr(answer.meter, field.name) for field in fields(Meter)}
    return {"failed": answer.failed, "label": answer.label, "message": answer.message, "meter": meter}


def answer_from_document(document: Document) -> Answer:
    meter = Meter(**{**document["meter"], "errors": Counter(document["meter"]["errors"])})
    return Answer(document["failed"], document["label"], document["message"], meter)
