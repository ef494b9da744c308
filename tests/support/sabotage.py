"""Proxies with a defect made on purpose, to see whether a checker is alive. The product knows nothing of it.

`python -m tests.support.sabotage run` is `poolproxy run` with the defect that TESTS_SABOTAGE names. The
modules are interpreted: what is compiled cannot be patched.
"""

from __future__ import annotations

import asyncio
import os
import runpy
from collections.abc import Callable
from typing import Any

from tests.support import interpreted

VARIABLE = "TESTS_SABOTAGE"


def skip_replay() -> None:
    """Settings that a client wants are booked, and not sent."""
    from poolproxy.backend.server_session import ServerSession

    def settle(self: Any, wanted: Any) -> bytes:
        self.parameters = wanted
        return b""

    ServerSession.settle = settle  # type: ignore[method-assign]


def shift_answer() -> None:
    """Now and then somebody gets the rows that were sent before."""
    from poolproxy.frontend.client import Client

    write = Client.write
    sent: list[bytes] = []

    def shifted(self: Any, buffer: bytearray | bytes, start: int, end: int) -> bool:
        data = bytes(buffer[start:end])
        if data[:1] == b"T":
            sent.append(data)
            if len(sent) % 7 == 0:
                data = sent[-2]
        return write(self, data, 0, len(data))

    Client.write = shifted  # type: ignore[method-assign]


def late_cancel() -> None:
    """A cancel request goes to the server that its client had last, whoever has it now."""
    from poolproxy.frontend.client_session import ClientSession
    from poolproxy.frontend.door import FrontDoor
    from poolproxy.protocol import messages

    attach = ClientSession.attach
    last: dict[Any, Any] = {}

    def attached(self: Any, server: Any) -> None:
        last[self] = server
        attach(self, server)

    async def send(server: Any) -> None:
        target = server.pool.route.target
        _, writer = await asyncio.open_connection(target.host, target.port)
        writer.write(messages.cancel_request(server.pid, server.key))
        await writer.drain()
        await asyncio.sleep(1)
        writer.close()

    def cancel(self: Any, pid: int, key: bytes) -> None:
        client = self.clients.find(pid, key)
        if client in last:
            tasks.append(asyncio.get_running_loop().create_task(send(last[client])))

    tasks: list[Any] = []
    ClientSession.attach = attached  # type: ignore[method-assign]
    FrontDoor.cancel = cancel  # type: ignore[method-assign]


def keep_lock() -> None:
    """A session's advisory lock does not pin, and is not released either."""
    from poolproxy.backend import auditing, returning, server_session

    read = auditing.read_audit

    def blind(*arguments: Any) -> Any:
        found = read(*arguments)
        found.left -= {"advisory_lock"}
        return found

    unlock = b"SELECT pg_catalog.pg_advisory_unlock_all()"
    assert unlock in server_session.HANDOVER
    auditing.read_audit = blind
    for module in (returning, server_session):
        module.HANDOVER = module.HANDOVER.replace(unlock, b"SELECT 1")


def believe_tag() -> None:
    """A SET in a transaction is booked when its tag comes, whatever becomes of the transaction."""
    from poolproxy.backend.server import Server
    from poolproxy.session.parameters import apply_assignment

    def assigned(self: Any, unit: Any, before: int) -> None:
        for assignment in unit.assignments:
            self.parameters = apply_assignment(self.parameters, assignment)
        if self.sink is not None:
            self.sink.assigned(unit.assignments, self.reported)

    Server._assigned = assigned  # type: ignore[method-assign]


def trust_descriptions() -> None:
    """What another server says of a statement is not compared with what its client was told."""
    from poolproxy.session.prepared import ServerStatements

    described = ServerStatements.described

    def trusting(self: Any, statement: Any, types: bytes, shape: bytes) -> bool:
        if statement.types is not None:
            types, shape = statement.types, statement.shape
        return described(self, statement, types, shape)

    ServerStatements.described = trusting  # type: ignore[method-assign]


def drop_notification() -> None:
    """Every third notification is lost on its way through the hub."""
    from poolproxy.backend.hub import Hub

    notified = Hub.notified
    count = 0

    def forgetful(self: Any, message: bytes) -> None:
        nonlocal count
        count += 1
        if count % 3:
            notified(self, message)

    Hub.notified = forgetful  # type: ignore[method-assign]


def skip_handover() -> None:
    """Where the books know of nothing, nothing is reset for the next client."""
    from poolproxy.backend import returning, server_session
    from poolproxy.session.parameters import EMPTY, HANDOVER

    def credulous(module: Any, method: Callable[..., Any]) -> Callable[..., Any]:
        def reset(self: Any, *arguments: Any) -> Any:
            module.HANDOVER = b"SELECT 1" if self.parameters is EMPTY else HANDOVER
            return method(self, *arguments)

        return reset

    leaving, staying = returning.ReturningServer, server_session.ServerSession
    leaving.hand_over = credulous(returning, leaving.hand_over)  # type: ignore[method-assign]
    staying._turn_into = credulous(server_session, staying._turn_into)  # type: ignore[method-assign]


def wrong_pid() -> None:
    """Notifications name somebody else as their sender, one's own, too."""
    from poolproxy.frontend import hearing

    notification = hearing.notification
    hearing.notification = lambda pid, *parts: notification(pid + 1, *parts)


DEFECTS: dict[str, Callable[[], None]] = {
    defect.__name__: defect
    for defect in (
        *(skip_replay, shift_answer, late_cancel, keep_lock, believe_tag),
        *(trust_descriptions, drop_notification, skip_handover, wrong_pid),
    )
}

if __name__ == "__main__":
    interpreted.install()
    DEFECTS[os.environ[VARIABLE]]()
    runpy.run_module(interpreted.PACKAGE, run_name="__main__", alter_sys=True)
