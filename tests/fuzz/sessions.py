"""Targets: what clients and servers say once they are logged in, on the stage of the dialogues."""

from __future__ import annotations

import contextlib

from tests.dialogues import words
from tests.dialogues.fake_postgres import FakePostgres
from tests.dialogues.stage import Stage
from tests.fuzz.readers import holds
from tests.fuzz.target import Target
from tests.support import messages as m

#: What has been asked of a server before it says what an input says.
_ASKED = (
    b"",
    m.query("select 1"),
    m.query("listen x"),
    m.extended("select 1") + m.SYNC,
    m.query("copy t from stdin"),
    m.parse("select 1", "p") + m.bind(statement="p") + m.execute() + m.SYNC,
    m.query("set work_mem to 1"),
    m.query("begin"),
)


def hostile_server(data: bytes) -> None:
    """The first byte says what the server has been asked; the rest is its answer. Whatever it is, only its
    own client may suffer."""
    control, said = data[0] if data else 0, data[1:]
    stage = Stage(handover_reset="always" if control & 8 else "auto")
    try:
        stage.settings.databases["app"]  # the stage serves one database
        server, client = stage.server(), stage.client()
        client >> _ASKED[control % 8]
        if control & 16:
            server >> words.done(
                "SELECT 1", "T" if control & 32 else "I"
            )  # the audit, or a reset, comes next
        server.push(said)
        stage.settle()
        server.hang_up()
        stage.settle()
        _serves(stage)
        holds(not stage.internal_errors, f"internal error: {stage.internal_errors}")
    finally:
        stage.close()


def _serves(stage: Stage) -> None:
    """Another client gets the answer of another server, and no word of the first one's."""
    bystander, other = stage.knock(), FakePostgres(stage.server())
    bystander >> m.startup({"user": "app", "database": "app"})
    bystander >> m.query("select 1 /* client 99 Q */")
    for _ in range(20):
        if not other.answer():
            break
    holds(b"client 99" in bytes(bystander.heard), f"nobody served it: {bystander}")


def hostile_client(data: bytes) -> None:
    """What a client says that has logged in, to a server that answers as PostgreSQL counts."""
    stage = Stage()
    try:
        server, client = FakePostgres(stage.server()), stage.client()
        with contextlib.suppress(BlockingIOError):
            client.push(data)
        stage.settle()
        for _ in range(500):
            if not server.answer():
                break
        client.leave()
        for _ in range(20):
            if not server.answer():
                break
        _serves(stage)
        holds(not stage.internal_errors, f"internal error: {stage.internal_errors}")
    finally:
        stage.close()


_ANSWERS = (
    words.PARSED,
    words.BOUND,
    words.CLOSED,
    words.NO_DATA,
    words.COPY_IN,
    words.COPY_OUT,
    words.DESCRIPTION,
    words.row("role", "none", "app"),
    words.row("ours", "", "1"),
    words.row("x"),
    words.ready(),
    words.ready("T"),
    words.ready("E"),
    words.tag("SELECT 1"),
    words.tag("SET"),
    words.error("22012"),
    words.fatal("57P01"),
    words.parameter("TimeZone", "UTC"),
    words.notification("x", "y"),
    words.notice("n"),
    words.PARAMETERS,
)
_SAID = (
    m.SYNC,
    m.FLUSH,
    m.COPY_DONE,
    m.TERMINATE,
    m.query("begin"),
    m.query("set a.b to c"),
    m.query("listen x"),
    m.parse("select 1"),
    m.parse("select 1", "p"),
    m.bind(),
    m.bind(statement="p"),
    m.describe_statement("p"),
    m.describe_portal(),
    m.execute(),
    m.close_statement("p"),
    m.copy_data(b"1"),
    m.copy_fail("no"),
    m.function_call(957, b"1"),
    m.query("discard all"),
    m.query("deallocate p"),
)

TARGETS = (
    Target("hostile_server", hostile_server, _ANSWERS, room=4 << 20),
    Target("hostile_client", hostile_client, _SAID, room=4 << 20),
)
