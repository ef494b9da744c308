"""DISCARD ALL as its parts, so that what others have prepared on a server stays (sessions.md, rule 20).

Pools of drivers end every use of a connection with it. Its client hears what PostgreSQL says to it:
ParameterStatus where a setting is another one now, and one tag. Must not know the frontend.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from poolproxy.backend.server import Server
from poolproxy.backend.sink import Sink
from poolproxy.protocol import messages
from poolproxy.session.parameters import DISCARD_ALL

_DONE: Final = messages.message(0x43, b"DISCARD ALL\0")
_READY: Final = messages.ready_for_query(0x49)


def discard_all(server: Server, ahead: bytes) -> None:
    """Discard all that its client's session holds, and answer the client: `ahead` goes before the tag. Only
    where `server.discardable()`; nothing else is sent to the server meanwhile."""
    sink = server.sink
    assert sink is not None
    sink.hold()
    server.discarding = True
    server.ask(DISCARD_ALL, partial(_discarded, server, sink, ahead))


def _discarded(server: Server, sink: Sink, ahead: bytes, refusal: dict[str, str] | None) -> None:
    server.discarding = False
    if server.sink is not sink:
        return  # its client has left, and the server looks after itself
    if refusal is not None:
        sqlstate = refusal.get("C", "XX000")
        errors = server.pool.counters.errors
        errors[sqlstate[:2]] = errors.get(sqlstate[:2], 0) + 1
        error = messages.error_response_fields(
            "ERROR", sqlstate, refusal.get("M", ""), refusal.get("D", ""), refusal.get("H", "")
        )
        _answer(server, sink, ahead + error)
        return
    server.discarded()
    sink.discarded()
    if server.parameters is sink.parameters:
        _answer(server, sink, ahead + _DONE)
    else:
        # Back to what it started with, ahead of its ReadyForQuery: it must not be told of the way there.
        server.apply(sink.parameters, partial(_restored, server, sink, ahead + _DONE))


def _restored(server: Server, sink: Sink, answer: bytes, refusal: dict[str, str] | None) -> None:
    if server.sink is sink:
        _answer(server, sink, answer)


def _answer(server: Server, sink: Sink, answer: bytes) -> None:
    now = server.stream.poller.now
    counters = server.pool.counters
    counters.queries += 1
    counters.transactions += 1
    counters.query.observe(now - server.exchange_at)
    counters.transaction.observe(now - server.transaction_at)
    server.exchange_at = server.transaction_at = now
    sink.write(answer, 0, len(answer))
    if sink.told is not server.reported:
        server.tell(sink)
    sink.write(_READY, 0, len(_READY))
    sink.let_go()
