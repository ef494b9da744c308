"""LISTEN and NOTIFY through a pool: who hears what, when, and as whom (sessions.md, rule 15)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.support import messages as m
from tests.support.messages import Message
from tests.support.proxy import ProxyProcess
from tests.support.sessions import straight
from tests.support.stage import Stage
from tests.support.wire import Wire


@pytest.fixture
def proxy(stage: Stage) -> ProxyProcess:
    return stage.proxy(pool_size=2)


def heard(read: list[Message]) -> list[tuple[str, str]]:
    """(channel, payload) of each notification."""
    return [
        tuple(part.decode() for part in each.body[4:-1].split(b"\0")) for each in read if each.letter == "A"
    ]


def pid_of(message: Message) -> int:
    return int.from_bytes(message.body[:4], "big")


def run(wire: Wire, *texts: str) -> list[Message]:
    """Each text as an exchange of its own; all that came back."""
    read: list[Message] = []
    for text in texts:
        read += wire.ask(m.query(text))
    assert m.errors(read) == []
    return read


def extended(wire: Wire, text: str) -> list[Message]:
    """As asyncpg does: parsed and described in one exchange, run in the next."""
    read = wire.ask(m.parse(text, "s") + m.describe_statement("s") + m.SYNC)
    read += wire.ask(m.bind(statement="s") + m.execute() + m.close_statement("s") + m.SYNC)
    assert m.errors(read) == []
    return read


def pipelined(wire: Wire, *texts: str) -> list[Message]:
    wire.send(b"".join(m.query(text) for text in texts))
    return wire.read_ready(len(texts))


def end_hub(stage: Stage) -> None:
    """Its last text is a LISTEN or, where it was only a fence, an empty one."""
    mine = "backend_type = 'client backend' and application_name = '' and query in ('', 'LISTEN \"here\"')"
    assert stage.direct.rows(f"select pg_terminate_backend(pid) from pg_stat_activity where {mine}")


def test_a_listener_holds_no_server(stage: Stage, proxy: ProxyProcess) -> None:
    with proxy.login() as one, proxy.login() as two, proxy.login() as three:
        before = proxy.metrics()
        for wire in (one, two, three):
            run(wire, "listen here")
        run(three, "notify here, 'word'")
        for wire in (one, two):
            message = wire.read()
            assert heard([message]) == [("here", "word")]
            assert pid_of(message) == three.pid
        run(one, "begin")
        run(two, "begin")  # both servers of the pool are to be had
        after = proxy.metrics()
        assert after.by("poolproxy_pins_total", "reason") == before.by("poolproxy_pins_total", "reason")
        assert after.value("poolproxy_listening_clients") == 3
        run(one, "commit")
        run(two, "commit")


@pytest.mark.parametrize("listen", [run, extended], ids=["simple", "extended"])
@pytest.mark.parametrize(
    "texts",
    [
        ["notify here, 'own'"],
        ["begin; notify here, 'own'; commit"],
        ["begin", "notify here, 'own'", "commit"],
        ["select pg_notify('here', 'own')"],
    ],
    ids=lambda texts: texts[0].split(";")[0],
)
def test_its_own_come_before_its_ready_for_query(
    proxy: ProxyProcess, listen: Callable[[Wire, str], list[Message]], texts: list[str]
) -> None:
    with proxy.login() as client:
        listen(client, "listen here")
        *before, last = texts
        assert heard(run(client, *before)) == []
        read = run(client, last)
        assert heard(read) == [("here", "own")]
        assert read[-2].letter == "A", m.letters(read)
        assert read[-1].letter == "Z"
        assert pid_of(read[-2]) == client.pid


@pytest.mark.parametrize("listening", [False, True], ids=["silent", "listening"])
@pytest.mark.parametrize(
    "notify",
    [
        lambda client: run(client, "notify here, 'word'"),
        lambda client: run(client, "begin", "notify here, 'word'", "select 1", "commit"),
        lambda client: run(client, "begin; select pg_notify('here', 'word'); commit"),
        lambda client: extended(client, "select pg_notify('here', 'word')"),
        lambda client: client.ask(m.extended("select pg_notify('here', 'word')") + m.SYNC),
        lambda client: pipelined(client, "select 1", "notify here, 'word'"),
    ],
    ids=["alone", "in a transaction", "in one text", "prepared", "unnamed", "behind another"],
)
def test_whoever_notifies_is_known_by_its_own_pid(
    proxy: ProxyProcess, notify: Callable[[Wire], list[Message]], listening: bool
) -> None:
    with proxy.login() as one, proxy.login() as two, proxy.login() as three:
        run(one, "listen here")
        for client in (two, three) if listening else ():
            run(client, "listen elsewhere")
        for client in (two, three, two):
            notify(client)
            message = one.read()
            assert heard([message]) == [("here", "word")]
            assert pid_of(message) == client.pid


def test_what_no_text_shows_is_never_taken_for_another_clients(stage: Stage, narrow: ProxyProcess) -> None:
    stage.direct.rows(
        "create or replace function tell(what text) returns void language plpgsql as"
        " $$ begin perform pg_notify('here', what); end $$"
    )
    with narrow.login() as one, narrow.login() as two, narrow.login() as three:
        run(one, "listen here")
        for _ in range(20):
            # All on one server, as fast as they can.
            two.send(m.query("select tell('hidden')"))
            three.send(m.query("notify here, 'shown'"))
            pids = {}
            for _ in range(2):
                message = one.read()
                pids[heard([message])[0][1]] = pid_of(message)
            for client in (two, three):
                client.read_ready()
            assert pids["shown"] == three.pid
            assert pids["hidden"] not in (one.pid, three.pid)


def test_listen_and_notify_in_one_transaction(proxy: ProxyProcess) -> None:
    with proxy.login() as client:
        assert heard(run(client, "begin; listen fresh; notify fresh, 'a'; commit")) == [("fresh", "a")]
        assert heard(run(client, "listen other; notify other, 'b'")) == [("other", "b")]


def test_what_others_have_committed_comes_with_the_next_answer(proxy: ProxyProcess) -> None:
    with proxy.login() as listener, proxy.login() as other:
        run(listener, "listen here")
        for number in range(50):
            run(other, f"notify here, '{number}'")
            assert heard(run(listener, "select 1")) == [("here", str(number))]


def test_nothing_is_heard_inside_a_transaction(proxy: ProxyProcess) -> None:
    with proxy.login() as listener, proxy.login() as other:
        run(listener, "listen here", "begin")
        run(other, "notify here, 'now'")
        assert heard(run(listener, "select 1", "select 2")) == []
        assert heard(run(listener, "commit")) == [("here", "now")]


def test_what_was_notified_before_it_listened_is_not_heard(proxy: ProxyProcess) -> None:
    with proxy.login() as first, proxy.login() as late, proxy.login() as other:
        run(first, "listen here")  # the hub listens already
        for number in range(20):
            run(other, f"notify here, 'early {number}'")
            assert heard(run(late, "listen here")) == []
            run(other, f"notify here, '{number}'")
            assert heard(run(late, "unlisten here")) == [("here", str(number))]
        run(late, "begin", "listen here")
        run(other, "notify here, 'before its commit'")
        run(late, "select 1")
        assert heard(run(late, "commit")) == []


def test_nor_where_the_hub_hears_of_it_late(stage: Stage, proxy: ProxyProcess) -> None:
    with proxy.login() as first, proxy.login() as late, proxy.login() as other, straight(stage) as direct:
        run(first, "listen here")
        for ending in ("commit", "select 1; commit"):
            run(late, "begin", "listen here")
            [(hub,)] = stage.direct.rows("select pid from pg_stat_activity where query = 'LISTEN \"here\"'")
            os.kill(hub, signal.SIGSTOP)
            try:
                run(direct, "notify here, 'before its commit'")  # through the proxy it would wait for the hub
                late.send(m.query(ending))
                run(other, *["select 1"] * 10)  # it has been read, and all that nothing holds up is done
            finally:
                os.kill(hub, signal.SIGCONT)
            assert heard(late.read_ready()) == []
            run(other, "notify here, 'behind it'")
            assert heard(run(late, "unlisten here")) == [("here", "behind it")]


@pytest.mark.parametrize("listen", ["listen here", "begin; listen here; commit"])
def test_nothing_is_heard_twice_where_the_server_is_its_own(
    stage: Stage, proxy: ProxyProcess, listen: str
) -> None:
    with proxy.login() as client, proxy.login() as other:
        run(client, "listen here", "select setseed(0.5)", listen, "listen there")
        assert proxy.metrics().value("poolproxy_servers_pinned", reason="seed") == 1
        for text in ("listen here; notify here, 'own'", "notify here, 'own'"):
            assert heard(run(client, text)) == [("here", "own")]
        run(other, "notify here, 'one'", "notify there, 'two'")
        assert sorted(heard(run(client, "select 1"))) == [("here", "one"), ("there", "two")]
        assert heard(run(client, "select 2")) == []


def test_what_changes_a_subscription_behind_others_in_one_write(stage: Stage, proxy: ProxyProcess) -> None:
    """What is put ahead of it must not get ahead of those."""
    texts = [
        "select 1",
        "do $$ begin end $$",
        "select 2",
        "unlisten here",
        "select 3",
        "listen here",
        "select 4",
    ]
    sent = b"".join(m.query(text) for text in texts)
    with straight(stage) as direct, proxy.login() as client:
        for wire in (direct, client):
            wire.query("listen here")
            wire.send(sent)
        expected, found = direct.read_ready(len(texts)), client.read_ready(len(texts))
        assert m.letters(found) == m.letters(expected)
        assert m.rows(found) == m.rows(expected)
        assert heard(run(client, "notify here, 'x'")) == [("here", "x")]


#: What a client does, and whether it listens to a, and to b, behind it.
ENDINGS: dict[str, tuple[list[str], str]] = {
    "unlisten": (["unlisten a"], "b"),
    "unlisten all": (["unlisten *"], ""),
    "discard all": (["discard all"], ""),
    "quoted": (['unlisten "a"'], "b"),
    "capitals": (["UNLISTEN A"], "b"),
    "another": (["unlisten c"], "ab"),
    "in a transaction": (["begin", "unlisten a", "commit"], "b"),
    "in one text": (["begin; unlisten a; commit"], "b"),
    "rolled back": (["begin", "unlisten a", "rollback"], "ab"),
    "failed": (["begin", "unlisten a", "selec", "commit"], "ab"),
    "to a savepoint": (["begin", "savepoint s", "unlisten *", "rollback to s", "commit"], "ab"),
    "all in a transaction": (["begin", "select 1", "unlisten *", "commit"], ""),
    "and back": (["begin", "unlisten *", "listen b", "commit"], "b"),
    "twice": (["begin", "unlisten a", "unlisten b", "commit"], ""),
    "around a savepoint": (
        ["begin", "unlisten a", "savepoint s", "rollback to s", "unlisten b", "commit"],
        "",
    ),
    "hidden in code": (["do $$ begin execute 'unlisten a'; end $$"], "b"),
    "listen rolled back": (["begin", "listen c", "rollback"], "ab"),
    "more": (["begin", "listen c", "commit"], "abc"),
    "nothing": (["select 1"], "ab"),
}


def listens_to(client: Wire, other: Wire) -> str:
    """Which of a, b and c the client still hears of."""
    run(other, "notify a; notify b; notify c")
    return "".join(name for name, _ in heard(run(client, "select 1")))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("way", ["simple", "extended"])
def test_unlisten_is_transactional(proxy: ProxyProcess, ending: str, way: str) -> None:
    texts, left = ENDINGS[ending]
    with proxy.login() as client, proxy.login() as other:
        run(client, "listen a; listen b")
        for text in texts:
            if way == "extended" and ";" not in text:
                client.ask(m.extended(text) + m.SYNC)
            else:
                client.ask(m.query(text))
        assert listens_to(client, other) == left


@pytest.mark.parametrize("ending", [ending for ending, (texts, _) in ENDINGS.items() if ";" not in texts[0]])
@pytest.mark.parametrize("way", ["named", "unnamed"])
def test_nor_where_another_server_had_parsed_it(proxy: ProxyProcess, ending: str, way: str) -> None:
    """What runs is a statement that its server is given right there, ahead of the Bind."""
    texts, left = ENDINGS[ending]
    with proxy.login() as client, proxy.login() as other, proxy.login() as first, proxy.login() as second:
        run(client, "listen a; listen b")
        run(first, "begin")
        names = [f"{ending}{number}" if way == "named" else "" for number in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            if way == "named" or text is texts[0]:
                client.ask(m.parse(text, name) + m.SYNC)
        run(second, "begin")
        run(first, "commit")
        for name, text in zip(names, texts, strict=True):
            again = b"" if way == "named" or text is texts[0] else m.parse(text)
            client.ask(again + m.bind(statement=name) + m.execute() + m.SYNC)
        run(second, "commit")
        assert listens_to(client, other) == left


@pytest.mark.parametrize(
    ("behind", "left"),
    [
        ("unlisten a", "b"),
        ("unlisten *", ""),
        ("listen c", "abc"),
        ("select 1 / 0", "ab"),
    ],
)
@pytest.mark.parametrize("way", ["named", "unnamed"])
def test_nor_behind_another_statement_of_its_batch(
    proxy: ProxyProcess, behind: str, left: str, way: str
) -> None:
    """No Query of ours can stand there: both are one transaction."""
    name = "s" if way == "named" else ""
    with proxy.login() as client, proxy.login() as other:
        run(client, "listen a; listen b")
        batch = m.extended("select 'first'") + m.parse(behind, name) + m.bind(statement=name) + m.execute()
        answer = client.ask(batch + m.extended("select 'last'") + m.SYNC)
        if "/" not in behind:
            assert [row[0] for row in m.rows(answer)] == [b"first", b"last"]
            assert m.letters(answer) == "12TDC12C12TDCZ"
        assert listens_to(client, other) == left
        run(client, "select 2")
        assert listens_to(client, other) == left


@pytest.mark.parametrize("ending", ["unlisten a", "select 1 / 0"])
def test_nor_in_a_batch_that_fails(proxy: ProxyProcess, ending: str) -> None:
    with proxy.login() as client, proxy.login() as other:
        run(client, "listen a; listen b")
        batch = [m.extended(text) for text in ("select 1", "unlisten *", "select 1 / 0")]
        assert m.errors(client.ask(b"".join(batch) + m.SYNC)) == ["22012"]
        assert listens_to(client, other) == "ab"
        client.ask(m.extended("select 1") + m.extended("unlisten a") + m.SYNC)
        assert listens_to(client, other) == "b"


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("Plain", "plain"),
        ('"Quoted ""Name"""', 'Quoted "Name"'),
        ('"with space; and \'"', "with space; and '"),
        ("größe", "größe"),
        ('"€"', "€"),
        ("a" * 63, "a" * 63),
        ("b" * 80, "b" * 63),
        ('"' + "ü" * 60 + '"', "ü" * 31),
        ("dollar$1", "dollar$1"),
    ],
)
def test_names_of_any_spelling(proxy: ProxyProcess, spelled: str, name: str) -> None:
    with proxy.login() as client, proxy.login() as other:
        before = proxy.metrics().value("poolproxy_pins_total")
        run(client, f"listen {spelled}")
        run(other, f"notify {spelled}")
        assert [channel for channel, _ in heard(run(client, "select 1"))] == [name]
        assert proxy.metrics().value("poolproxy_pins_total") == before


@pytest.mark.parametrize(
    "text", ['listen U&"\\0068ere"', "listen /* where */ here", "do $$ begin execute 'listen here'; end $$"]
)
def test_a_name_that_the_text_does_not_show_is_heard_on_its_own_server(
    proxy: ProxyProcess, text: str
) -> None:
    with proxy.login() as client, proxy.login() as other:
        before = proxy.metrics().by("poolproxy_pins_total", "reason").get("listen", 0)
        run(client, text)
        assert proxy.metrics().by("poolproxy_pins_total", "reason").get("listen", 0) == before + 1
        run(other, "notify here, 'word'")
        assert heard([client.read()]) == [("here", "word")]
        assert heard(run(client, "notify here, 'own'")) == [("here", "own")]
        run(client, "unlisten *")
        assert pid_of(run(client, text, "notify here")[-2]) == client.pid
        run(client, "unlisten *")
        assert heard(run(client, f"{text}; notify here, 'at once'")) == [("here", "at once")]
        run(client, "unlisten *")
        assert proxy.metrics().value("poolproxy_servers_pinned", reason="listen") == 0


def test_encodings_differ(proxy: ProxyProcess) -> None:
    with (
        proxy.login(client_encoding="LATIN1") as latin,
        proxy.login() as utf8,
        proxy.login() as other,
    ):
        run(utf8, 'listen "größe"')
        assert m.errors(latin.ask(m.query('listen "größe"'.encode("latin-1")))) == []
        run(other, "notify \"größe\", 'häßlich'")
        assert utf8.read().body[4:] == "größe\0häßlich\0".encode()
        assert latin.read().body[4:] == "größe\0häßlich\0".encode("latin-1")
        run(other, "notify \"größe\", '1 €'")
        assert heard([utf8.read()]) == [("größe", "1 €")]
        read = latin.read_to_end()
        assert m.errors(read) == ["22P05"]
        run(utf8, "select 1")


def test_large_payloads(proxy: ProxyProcess) -> None:
    payload = "x" * 7999
    with proxy.login() as client, proxy.login() as other:
        run(client, "listen here")
        for _ in range(100):
            run(other, f"notify here, '{payload}'")
        assert heard([client.read() for _ in range(100)]) == [("here", payload)] * 100


def test_a_listener_that_does_not_read_is_told_and_disturbs_nobody(proxy: ProxyProcess) -> None:
    payload = "x" * 7900
    with (
        proxy.login(receive_buffer=4096) as lazy,
        proxy.login() as busy,
        proxy.login() as other,
    ):
        run(lazy, "listen here")
        run(busy, "listen here", "begin")
        text = m.query("; ".join(f"notify here, '{number}{payload}'" for number in range(100)))
        for _ in range(12):
            assert m.errors(other.ask(text)) == []
        assert m.errors(busy.read_to_end()) == ["53400"]
        run(other, "select 1")
        proxy.wait_gauge("poolproxy_listening_clients", 0)


def test_the_hub_is_lost(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=2, catalogue_poll_interval=0)
    stage.expect_log("listening server lost")
    with proxy.login() as listener, proxy.login() as other:
        run(listener, "listen here")
        end_hub(stage)
        assert m.errors(listener.read_to_end()) == ["08006"]
        run(other, "listen here")
        assert heard(run(other, "notify here, 'again'")) == [("here", "again")]
        assert proxy.metrics().value("poolproxy_hub_losses_total") == 1


def test_the_hub_is_lost_and_listeners_are_warned(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=2, listener_loss="warn", catalogue_poll_interval=0)
    stage.expect_log("listening server lost")
    with proxy.login() as listener, proxy.login() as other:
        run(listener, "listen here")
        end_hub(stage)
        warning = listener.read()
        assert (warning.letter, warning.fields["S"], warning.fields["C"]) == ("N", "WARNING", "01000")
        run(other, "notify here, 'again'")
        assert heard([listener.read()]) == [("here", "again")]


def test_the_hub_goes_when_nobody_listens(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=2)
    with proxy.login() as client:
        run(client, "listen here")
        assert proxy.metrics().value("poolproxy_database_servers", database="app") == 2
        run(client, "unlisten *")
        proxy.wait_gauge("poolproxy_database_servers", 1)
        run(client, "listen here")
        assert heard(run(client, "notify here, 'back'")) == [("here", "back")]


def test_no_room_for_a_hub(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1, max_connections=1, catalogue_poll_interval=0)
    with proxy.login() as client:
        run(client, "listen here")
        assert heard(run(client, "notify here, 'own'")) == [("here", "own")]
        assert proxy.metrics().value("poolproxy_servers_pinned", reason="listen") == 1


def test_listening_while_pinned_for_something_else(proxy: ProxyProcess) -> None:
    with proxy.login() as client, proxy.login() as other:
        run(client, "create temp table mine (a int)", "listen here")
        assert heard(run(client, "notify here, 'own'")) == [("here", "own")]
        run(other, "notify here, 'word'")
        assert heard([client.read()]) == [("here", "word")]
        run(client, "unlisten here", "notify here", "drop table mine")
        assert proxy.metrics().value("poolproxy_servers_pinned") == 0


def test_a_pinned_client_notifies_in_the_second_batch_of_one_write(proxy: ProxyProcess) -> None:
    """What it has to wait for opens a batch, which keeps its server; its ReadyForQuery was kept for ever."""
    with proxy.login() as listener, proxy.login() as pinned:
        run(listener, "listen here")
        run(pinned, "select pg_advisory_lock(7)")
        text = "notify here, 'in steps'"
        steps = m.parse(text) + m.describe_statement() + m.SYNC + m.bind() + m.execute() + m.SYNC
        pinned.send(steps + m.query("select 1"))
        assert m.letters(pinned.read_ready(3)) == "1tnZ2CZTDCZ"
        assert heard(run(listener, "select 1")) == [("here", "in steps")]


def test_session_mode_is_left_alone(stage: Stage) -> None:
    proxy = stage.proxy(pool_size=3, pool_mode="session")
    with proxy.login() as client, proxy.login() as other:
        run(client, "listen here")
        run(other, "notify here, 'word'")
        assert heard([client.read()]) == [("here", "word")]
        assert heard(run(client, "notify here, 'own'")) == [("here", "own")]


@pytest.mark.parametrize(
    "hidden", ["do $$ begin perform 1; end $$", 'select U&"\\0061" from (values (1)) v (a)']
)
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_what_is_lent_for_a_text_behind_others_is_not_their_answer(
    proxy: ProxyProcess, hidden: str, extended: bool
) -> None:
    """A text that may hide an UNLISTEN, in one write with what goes ahead of it."""
    with proxy.login() as client:
        run(client, "listen here")
        text = m.extended(hidden) + m.SYNC if extended else m.query(hidden)
        client.send(m.query("select 'first'") + m.query("select 'second'") + text + m.query("select 'last'"))
        answer = client.read_ready(4)
        assert m.errors(answer) == []
        words = [row[0] for row in m.rows(answer)]
        assert (words[:2], words[-1]) == ([b"first", b"second"], b"last")
        run(client, "notify here, 'still'")
        assert m.letters(answer).count("Z") == 4
