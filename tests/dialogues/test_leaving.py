"""A client leaves, in every state it can be in: what it had begun is ended, and nobody else meets it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from poolproxy.session.lifecycle import SERVER_RESETTING
from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import (
    BOUND,
    COPY_IN,
    DESCRIPTION,
    END,
    PARSED,
    ROLL_BACK,
    answer,
    done,
    error,
    ready,
    row,
    tag,
)
from tests.support import messages as m
from tests.support.messages import FLUSH, SYNC, TERMINATE, bind, copy_data, execute, extended, parse, query

Leave = Callable[[ClientPeer], None]


def by_terminate(client: ClientPeer) -> None:
    client >> TERMINATE
    client << END


def by_hanging_up(client: ClientPeer) -> None:
    client.leave()


@pytest.fixture(params=[by_terminate, by_hanging_up], ids=["terminate", "eof"])
def leave(request: pytest.FixtureRequest) -> Leave:
    """The two ways to leave."""
    way: Leave = request.param
    return way


def is_free(stage: Stage, server: ServerPeer) -> None:
    """The server serves the next one, who hears what is meant for it alone."""
    assert stage.pool().idle == [server.server]
    stage.ask(stage.client(), server, "select 'other'")
    stage.nothing_more()


def test_idle(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client()
    leave(client)
    assert len(stage.door.clients) == 0
    is_free(stage, server)


def test_with_a_query_under_way(stage: Stage, leave: Leave) -> None:
    """It is finished: on a direct connection, too, an INSERT sent is an INSERT done (rule 23)."""
    server, client = stage.server(), stage.client()
    client >> query("insert into t values (1)")
    server << query("insert into t values (1)")
    leave(client)
    assert stage.pool().in_state(SERVER_RESETTING) == [server.server]
    server >> done("INSERT 0 1")
    is_free(stage, server)


def test_with_pipelined_queries_under_way(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1") + query("select 2") + extended("select 3") + SYNC
    server << query("select 1") + query("select 2") + extended("select 3") + SYNC
    server >> answer("1") + answer("2")[:10]
    client << answer("1") + DESCRIPTION
    leave(client)
    server >> answer("2")[10:]
    assert not stage.pool().idle
    server >> PARSED + BOUND + answer("3")
    is_free(stage, server)


def test_in_a_transaction(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    leave(client)
    server << query("ROLLBACK")
    server >> done("ROLLBACK")
    is_free(stage, server)


def test_in_a_failed_transaction_that_may_have_left_something(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client()
    client >> query("begin; listen x; select 1/0")
    server << query("begin; listen x; select 1/0")
    server >> tag("BEGIN") + tag("LISTEN") + error("22012") + ready("E")
    client << tag("BEGIN") + tag("LISTEN") + error("22012") + ready("E")
    leave(client)
    server << query("ROLLBACK")
    server >> done("ROLLBACK")
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    is_free(stage, server)


@pytest.mark.parametrize("flush", [b"", FLUSH], ids=["unflushed", "flushed"])
def test_in_a_batch_without_its_sync(stage: Stage, leave: Leave, flush: bytes) -> None:
    """A Sync alone would commit what it did not."""
    server, client = stage.server(), stage.client()
    client >> extended("insert into t values (1)") + flush
    server << extended("insert into t values (1)") + flush
    if flush:
        server >> PARSED + BOUND + DESCRIPTION + tag("INSERT 0 1")
        client << PARSED + BOUND + DESCRIPTION + tag("INSERT 0 1")
    leave(client)
    server << ROLL_BACK
    if not flush:
        server >> PARSED + BOUND + DESCRIPTION + tag("INSERT 0 1")
    server >> PARSED + BOUND + done("ROLLBACK")
    is_free(stage, server)


def test_in_a_batch_that_begins_a_copy(stage: Stage, leave: Leave) -> None:
    """What comes behind is read as data: it cannot be told where the answers end."""
    server, client = stage.server(), stage.client()
    client >> extended("copy t from stdin")
    server << extended("copy t from stdin")
    leave(client)
    server << ROLL_BACK
    server >> PARSED + BOUND + COPY_IN
    server << END
    assert stage.pool().size() == 0
    stage.nothing_more()


def test_in_a_batch_that_has_failed(stage: Stage, leave: Leave) -> None:
    """Nothing of it can be committed any more, and what comes behind is skipped."""
    server, client = stage.server(), stage.client()
    client >> extended("select 1/0") + FLUSH
    server << extended("select 1/0") + FLUSH
    server >> PARSED + BOUND + DESCRIPTION + error("22012")
    client << PARSED + BOUND + DESCRIPTION + error("22012")
    leave(client)
    server << ROLL_BACK
    server >> ready()
    is_free(stage, server)


def test_in_the_middle_of_a_copy(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client()
    client >> query("copy t from stdin")
    server << query("copy t from stdin")
    server >> COPY_IN
    client << COPY_IN
    client >> copy_data(b"1\n")
    server << copy_data(b"1\n")
    leave(client)
    assert server.take().letter == "f"
    server >> error("57014") + ready()
    is_free(stage, server)


def test_in_the_middle_of_a_copy_of_a_batch(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client()
    client >> parse("copy t from stdin") + bind() + execute()
    server << parse("copy t from stdin") + bind() + execute()
    server >> PARSED + BOUND + COPY_IN
    client << PARSED + BOUND + COPY_IN
    leave(client)
    assert server.take().letter == "f"
    server << SYNC
    server >> error("57014") + ready()
    is_free(stage, server)


@pytest.mark.parametrize("ending", [m.COPY_DONE, m.copy_fail("enough")])
def test_behind_a_copy_that_has_swallowed_its_sync(stage: Stage, leave: Leave, ending: bytes) -> None:
    """All sent at once, but for the Sync that PostgreSQL reads: it would wait for that."""
    server, client = stage.server(), stage.client()
    said = parse("copy t from stdin") + bind() + execute() + SYNC + copy_data(b"1\n") + ending
    client >> said
    server << said
    leave(client)
    server >> PARSED + BOUND + COPY_IN
    server << ROLL_BACK
    server >> error("57014", "COPY from stdin failed") + ready()
    server << END  # it is not certain what was swallowed
    stage.nothing_more()


def test_in_the_middle_of_a_message_that_was_passed_on_in_part(stage: Stage) -> None:
    """The rest of it will never come: this server has no use any more."""
    server, client = stage.server(), stage.client()
    large = query("select '" + "x" * 300_000 + "'")
    client.push(large[:200_000])
    stage.settle()
    assert server.heard
    server.heard.clear()
    client.leave()
    server << END
    assert stage.pool().size() == 0
    stage.nothing_more()


def test_in_the_middle_of_a_message_that_is_still_here(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client()
    client >> query("drop table t")[:-1]
    client.leave()
    is_free(stage, server)


def test_waiting_for_a_server(stage: Stage) -> None:
    client = stage.knock()
    client >> m.startup({"user": "app", "database": "app"})
    assert stage.pool().waiting.size() == 1
    client.leave()
    assert stage.pool().waiting.size() == 0
    assert len(stage.door.clients) == 0
    stage.nothing_more()


SAID = query("insert a") + extended("insert b") + SYNC + TERMINATE


def test_what_it_said_before_it_left_is_run_when_its_turn_comes(stage: Stage) -> None:
    """Fired and forgotten: PostgreSQL would have run it."""
    server, holder, client = stage.server(), stage.client(), stage.client()
    holder >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client.push(SAID)
    client.leave()
    assert stage.pool().waiting.size() == 1
    holder << done("BEGIN", "T")
    holder >> query("commit")
    server << query("commit")
    server >> done("COMMIT")
    server << query("insert a") + extended("insert b") + SYNC
    assert len(stage.door.clients) == 1
    server >> done("INSERT 0 1")
    server >> PARSED + BOUND + done("INSERT 0 1")
    holder << done("COMMIT")
    is_free(stage, server)


def test_a_goodbye_while_it_waits_frees_its_place(stage: Stage) -> None:
    server, holder, client = stage.server(), stage.client(), stage.client()
    holder >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client >> query("insert a")
    assert stage.pool().waiting.size() == 1
    client >> TERMINATE
    client.leave()
    assert stage.pool().waiting.size() == 0
    holder << done("BEGIN", "T")
    stage.nothing_more()


@pytest.mark.parametrize("missing", [1, len(TERMINATE), len(TERMINATE) + 1])
def test_what_it_did_not_say_to_the_end_frees_its_place(stage: Stage, missing: int) -> None:
    server, holder, client = stage.server(), stage.client(), stage.client()
    holder >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client >> SAID[:-missing]
    assert stage.pool().waiting.size() == 1
    client.leave()
    assert stage.pool().waiting.size() == 0
    holder << done("BEGIN", "T")
    stage.nothing_more()


def test_what_it_said_before_it_was_greeted_is_run(stage: Stage) -> None:
    client = stage.knock()
    client.push(m.startup({"user": "app", "database": "app"}) + query("insert a") + TERMINATE)
    stage.settle()
    client.sock.shutdown(socket.SHUT_WR)
    stage.settle()
    assert stage.pool().waiting.size() == 1
    server = stage.server().learn()
    server << query("insert a")
    client.greeted()
    client << END
    server >> done("INSERT 0 1")
    is_free(stage, server)


def test_while_its_settings_go_ahead(stage: Stage, leave: Leave) -> None:
    server, client = stage.server(), stage.client(work_mem="81MB")
    stage.ask(stage.client(), server, "select 1")
    client >> query("select 2")
    heard = server.take_all()
    assert [said.letter for said in heard] == ["Q", "Q"]
    leave(client)
    server >> done("SET")
    server >> answer("2")
    assert stage.pool().idle == [server.server]
    stage.ask(stage.client(), server, "select 3", query('SET LOCAL exit_on_error = on; RESET "work_mem"'))
    stage.nothing_more()


def test_not_reading_its_answers(stage: Stage) -> None:
    """What was on its way to it is thrown away; the server is read on."""
    server, client = stage.server(), stage.client(buffer=4096)
    client.deaf = True
    client >> query("select x")
    server << query("select x")
    rows = DESCRIPTION + row("x" * 1000) * 200
    server.push(rows)
    stage.settle()
    client.leave()
    server >> done("SELECT 200")
    is_free(stage, server)


def test_a_server_that_does_not_end_what_an_absent_client_began(stage: Stage) -> None:
    """The janitor's business; until then it is handed to nobody."""
    server, client = stage.server(), stage.client()
    client >> query("select pg_sleep(1000)")
    server << query("select pg_sleep(1000)")
    client.leave()
    assert stage.pool().in_state(SERVER_RESETTING) == [server.server]
    assert server.server.rescue_until > stage.poller.now
    other = stage.client()
    other >> query("select 1")
    stage.nothing_more()
    server >> error("57014") + ready()
    server << query("select 1")
    server >> answer("1")
    other << answer("1")
    stage.nothing_more()


@pytest.mark.parametrize("refused", ["ROLLBACK", "DISCARD ALL"])
def test_a_server_that_cannot_be_cleaned_is_closed(stage: Stage, refused: str) -> None:
    server, client = stage.server(), stage.client()
    client >> query("begin; listen x")
    server << query("begin; listen x")
    server >> tag("BEGIN") + done("LISTEN", "T")
    client << tag("BEGIN") + done("LISTEN", "T")
    client.leave()
    server << query("ROLLBACK")
    if refused == "DISCARD ALL":
        server >> done("ROLLBACK")
        server << query("DISCARD ALL")
    server >> error("57014") + ready("E")
    server << END
    assert stage.pool().size() == 0
    stage.nothing_more()
