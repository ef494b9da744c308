"""Texts that must wait before they are forwarded, though their client has a server: databases that are to be
left first, temp_buffers that its server may not take.

Must not know messages.
"""

from __future__ import annotations

from functools import partial

from poolproxy.backend.server import Server
from poolproxy.frontend.buffering import ASKED, NOT_ASKED, PROBE, YES, buffers_probed
from poolproxy.frontend.client_session import ClientSession
from poolproxy.protocol.codes import STATUS_IDLE
from poolproxy.session.statements import Finding


def must_wait(client: ClientSession, server: Server, finding: Finding) -> bool:
    """Whether the text with this finding must; then it is read again when the client is to `proceed`."""
    if finding.buffers and _asks_for_buffers(client, server):
        return True
    names = finding.databases
    if names and names != client.vacated and not server.pipeline.doomed():
        vacate = client.pool.vacate
        if vacate is not None and vacate(names, partial(_vacated, client, names)):
            client.awaiting = True
            return True
    client.vacated = ()
    return False


def _vacated(client: ClientSession, names: tuple[str, ...]) -> None:
    """Our idle servers have left these databases (rule 20)."""
    if not client.closed():
        client.vacated = names
        client.proceed()


def _asks_for_buffers(client: ClientSession, server: Server) -> bool:
    """A text may set temp_buffers: its server is asked whether it would take it, and replaced where it has
    used temporary tables of somebody's (rule 18)."""
    pipeline = server.pipeline
    if client.buffers == YES or server.pin or pipeline.open or pipeline.unclear:
        client.buffers = NOT_ASKED
        return False
    if not pipeline.owes_client():
        if pipeline.status != STATUS_IDLE:
            return False
        if client.buffers == NOT_ASKED:
            client.buffers = ASKED
            client._prefix += server.ahead(PROBE, partial(buffers_probed, client, server))
    client.awaiting = True
    return True
