"""Logins: from the first byte to the greeting, or to the one FATAL that says why not."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import NoReturn

import pytest
from scramp import ScramClient, ScramException  # type: ignore[import-untyped]

from poolproxy.metrics.families import PROCESS
from poolproxy.protocol.scram import secret_from_password
from tests.dialogues.stage import PASSWORD, ClientPeer, Stage
from tests.dialogues.words import END, answer, ended
from tests.support import messages as m
from tests.support.messages import message, query

STARTUP = m.startup({"user": "app", "database": "app"})
OFFER = message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")


def scram(client: ClientPeer, password: str = PASSWORD) -> ScramClient:
    """The SASL dialogue up to and without the server's last word, which the caller takes."""
    client << OFFER
    dialogue = ScramClient(["SCRAM-SHA-256"], "app", password)
    first = dialogue.get_client_first().encode()
    client >> message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
    challenge = client.take()
    assert (challenge.letter, challenge.body[:4]) == ("R", struct.pack("!i", 11))
    dialogue.set_server_first(challenge.body[4:].decode())
    client >> message("p", dialogue.get_client_final().encode())
    return dialogue


def md5(client: ClientPeer, user: str, password: str) -> None:
    asked = client.take()
    assert (asked.letter, asked.body[:4]) == ("R", struct.pack("!i", 5))
    inner = hashlib.md5((password + user).encode()).hexdigest()
    outer = hashlib.md5(inner.encode() + asked.body[4:]).hexdigest()
    client >> message("p", b"md5" + outer.encode() + b"\0")


def test_trust(stage: Stage) -> None:
    stage.server()
    client = stage.client()
    assert client.parameters["server_version"] == "18.6"
    assert stage.door.login_results == {("trust", "ok"): 1}
    stage.nothing_more()


def test_scram(stages: Callable[..., Stage]) -> None:
    stage = stages(auth_method="scram-sha-256")
    server, client = stage.server(), stage.knock()
    client >> STARTUP
    dialogue = scram(client)
    server.learn()
    final = client.take()
    assert (final.letter, final.body[:4]) == ("R", struct.pack("!i", 12))
    dialogue.set_server_final(final.body[4:].decode())
    client.greeted()
    stage.ask(client, server, "select 1")
    stage.nothing_more()


@pytest.mark.parametrize("user", ["app", "nobody"])
def test_scram_with_a_wrong_password_or_an_unknown_user(stages: Callable[..., Stage], user: str) -> None:
    """The same dialogue, the same words: who exists is not told."""
    stage = stages(auth_method="scram-sha-256")
    client = stage.knock()
    client >> m.startup({"user": user, "database": "app"})
    scram(client, "wrong horse")
    client << ended("28P01", f'password authentication failed for user "{user}"') << END
    assert stage.door.login_results == {("scram-sha-256", "failed"): 1}
    assert stage.pool().size() == 0
    stage.nothing_more()


def test_an_unknown_users_salt_does_not_change(stages: Callable[..., Stage]) -> None:
    stage = stages(auth_method="scram-sha-256")
    salts = []
    for _ in range(2):
        client = stage.knock()
        client >> m.startup({"user": "nobody", "database": "app"})
        client << OFFER
        first = ScramClient(["SCRAM-SHA-256"], "nobody", "x").get_client_first().encode()
        client >> message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        salts.append(client.take().body[4:].decode().split(",")[1:])
    assert salts[0] == salts[1]


@pytest.mark.parametrize(
    "said",
    [
        message("p", b"PLAIN\0" + struct.pack("!i", 1) + b"x"),
        message("p", b"SCRAM-SHA-256-PLUS\0" + struct.pack("!i", 1) + b"p"),
        message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", 500) + b"n,,n=,r=x"),
        message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", 4) + b"nons"),
        message("p"),
        query("select 1"),
        b"p\xff\xff\xff\xff",
        b"p\0\0\x27\x11",
        b"p\0\0\0\3",
    ],
    ids=["plain", "plus", "length", "nonsense", "empty", "query", "all ones", "too long", "too short"],
)
def test_a_dialogue_that_is_not_one(stages: Callable[..., Stage], said: bytes) -> None:
    stage = stages(auth_method="scram-sha-256")
    client = stage.knock()
    client >> STARTUP
    client << OFFER
    client >> said
    client << ended("08P01") << END
    assert not stage.door.logins
    stage.nothing_more()


@pytest.mark.parametrize("password", [PASSWORD, "wrong horse"])
def test_md5(stages: Callable[..., Stage], password: str) -> None:
    stage = stages(auth_method="md5")
    server, client = stage.server(), stage.knock()
    client >> STARTUP
    md5(client, "app", password)
    if password == PASSWORD:
        server.learn()
        client.greeted()
    else:
        client << ended("28P01") << END
        assert not server.heard
    stage.nothing_more()


ASKED_MD5 = struct.pack("!i", 5)
ASKED_SCRAM = struct.pack("!i", 10)


@pytest.mark.parametrize(
    ("password", "asked"), [(PASSWORD, ASKED_MD5), (secret_from_password(PASSWORD).format(), ASKED_SCRAM)]
)
def test_md5_asks_whom_scram_alone_serves_for_scram(
    stages: Callable[..., Stage], password: str, asked: bytes
) -> None:
    """As PostgreSQL does; and whoever does not exist as those who do."""
    stage = stages(auth_method="md5", users={"app": {"password": password}})
    for user in ("app", "nobody"):
        client = stage.knock()
        client >> m.startup({"user": user, "database": "app"})
        assert client.take().body[:4] == asked, user
        client.hang_up()
    server, client = stage.server(), stage.knock()
    client >> STARTUP
    if asked == ASKED_MD5:
        md5(client, "app", PASSWORD)
        server.learn()
    else:
        dialogue = scram(client)
        server.learn()
        dialogue.set_server_final(client.take().body[4:].decode())
    client.greeted()
    stage.ask(client, server, "select 1")
    stage.nothing_more()


def test_a_proof_and_a_query_in_one_write(stages: Callable[..., Stage]) -> None:
    stage = stages(auth_method="md5")
    server, client = stage.server(), stage.knock()
    client >> STARTUP
    asked = client.take()
    inner = hashlib.md5((PASSWORD + "app").encode()).hexdigest()
    outer = hashlib.md5(inner.encode() + asked.body[4:]).hexdigest()
    client >> message("p", b"md5" + outer.encode() + b"\0") + query("select 1")
    server.learn()
    client.greeted()
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()


def test_an_unknown_database_is_told_behind_the_proof(stages: Callable[..., Stage]) -> None:
    stage = stages(auth_method="md5")
    for password, sqlstate in ((PASSWORD, "3D000"), ("wrong horse", "28P01")):
        client = stage.knock()
        client >> m.startup({"user": "app", "database": "nowhere"})
        md5(client, "app", password)
        client << ended(sqlstate) << END
    stage.nothing_more()


# First packets.


@pytest.mark.parametrize("asked", [m.ssl_request(), m.gssenc_request()], ids=["ssl", "gssenc"])
def test_encryption_is_answered_no_once(stage: Stage, asked: bytes) -> None:
    server, client = stage.server(), stage.knock()
    client >> asked
    client << b"N"
    client >> STARTUP
    server.learn()
    client.greeted()
    stage.nothing_more()


def test_both_kinds_of_encryption_are_answered_and_no_third_time(stage: Stage) -> None:
    client = stage.knock()
    client >> m.gssenc_request()
    client << b"N"
    client >> m.ssl_request()
    client << b"N"
    client >> m.gssenc_request()
    client << ended("08P01") << END
    stage.nothing_more()


def test_everything_at_once(stage: Stage) -> None:
    """One write: both requests, the startup, a query."""
    server, client = stage.server(), stage.knock()
    client >> m.ssl_request() + m.gssenc_request() + STARTUP + query("select 1")
    client << b"NN"
    server.learn()
    client.greeted()
    server << query("select 1")
    stage.nothing_more()


def test_a_newer_protocol_is_negotiated(stage: Stage) -> None:
    server, client = stage.server(), stage.knock()
    asked = {"user": "app", "database": "app", "_pq_.fast": "1", "_pq_.loud": "1"}
    client >> m.startup(asked, m.PROTOCOL_3_0 + 9)
    server.learn()
    told = client.take()
    assert told.letter == "v"
    assert struct.unpack("!ii", told.body[:8]) == (m.PROTOCOL_3_0 + 2, 2)
    assert told.body[8:] == b"_pq_.fast\0_pq_.loud\0"
    assert len(client.greeted().key) == 32
    stage.nothing_more()


def test_a_newer_protocol_is_negotiated_ahead_of_the_proof(stages: Callable[..., Stage]) -> None:
    stage = stages(auth_method="md5")
    server, client = stage.server(), stage.knock()
    client >> m.startup({"user": "app", "database": "app"}, m.PROTOCOL_3_0 + 9)
    assert client.take().letter == "v"
    md5(client, "app", PASSWORD)
    server.learn()
    client.greeted()
    stage.nothing_more()


@pytest.mark.parametrize("value", ["database", "true", "on", "1", "yes"])
def test_replication_is_refused(stage: Stage, value: str) -> None:
    client = stage.knock()
    client >> m.startup({"user": "app", "database": "app", "replication": value})
    client << ended("0A000", "replication") << END
    assert stage.door.rejections["replication"] == 1
    stage.nothing_more()


@pytest.mark.parametrize(
    ("packet", "sqlstate"),
    [
        (m.startup({"user": "app"}, 2 << 16), "0A000"),
        (m.startup({"user": "app"}, 4 << 16), "0A000"),
        (m.startup({"database": "app"}), "28000"),
        (m.startup({"user": "app", "a b; drop": "x"}), "42704"),
        (m.startup({"user": "app", "a.b; drop": "x"}), "42602"),
        (m.startup({"user": "app", "options": "-Z"}), "42601"),
        (m.startup({"user": "app", "options": "-c work_mem"}), "42601"),
        (m.startup({"user": "app", "options": "nonsense"}), "42601"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "08P01"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "08P01"),
        (b"\0\0\0\0", "08P01"),
        (b"\0\0\0\7", "08P01"),
        (b"\xff\xff\xff\xff", "08P01"),
        (struct.pack("!i", 10_001), "08P01"),
        (m.untyped(struct.pack("!i", m.PROTOCOL_3_0) + b"user\0app"), "08P01"),
        (m.untyped(struct.pack("!i", m.PROTOCOL_3_0) + b"user\0app\0odd\0\0"), "08P01"),
        (m.cancel_request(1, b""), "08P01"),
        (m.cancel_request(1, b"x" * 300), "08P01"),
        (m.untyped(struct.pack("!i", m.SSL) + b"x"), "08P01"),
    ],
)
def test_what_cannot_be_a_login_is_refused(stage: Stage, packet: bytes, sqlstate: str) -> None:
    client = stage.knock()
    client >> packet
    client << ended(sqlstate) << END
    assert not stage.door.logins
    assert stage.pool().waiting.size() == 0
    stage.nothing_more()


def test_one_client_too_many(stages: Callable[..., Stage]) -> None:
    stage = stages(max_client_connections=2)
    server, first, _ = stage.server(), stage.client(), stage.client()
    third = stage.knock()
    third >> STARTUP
    third << ended("53300") << END
    assert stage.door.rejections["too_many_clients"] == 1
    first.leave()
    stage.ask(stage.client(), server, "select 1")
    stage.nothing_more()


def test_a_cancel_request_gets_in_when_nobody_else_does(stages: Callable[..., Stage]) -> None:
    """It is what a client that waits for ever has left."""
    stage = stages(max_client_connections=1)
    server, client = stage.server(), stage.client()
    client >> query("select pg_sleep(1000)")
    server << query("select pg_sleep(1000)")
    canceller = stage.knock()
    canceller >> m.cancel_request(client.pid, client.key)
    canceller << END
    assert stage.pools.canceller.asked == [server.server]
    server >> answer("1")
    client << answer("1")
    server.server.cancel_over()
    stage.nothing_more()


@pytest.mark.parametrize("said", [b"", STARTUP[:20], m.ssl_request(), STARTUP])
def test_a_login_that_takes_too_long_is_ended(stages: Callable[..., Stage], said: bytes) -> None:
    stage = stages(auth_method="scram-sha-256", client_login_timeout=60)
    client = stage.knock()
    client >> said
    client.heard.clear()
    stage.later(59)
    stage.nothing_more()
    stage.later(61)
    client << ended("08P01", "client_login_timeout") << END
    assert not stage.door.logins
    stage.nothing_more()


@pytest.mark.parametrize("said", [b"", STARTUP[:20], m.ssl_request(), STARTUP])
def test_a_client_that_leaves_its_login(stages: Callable[..., Stage], said: bytes) -> None:
    stage = stages(auth_method="scram-sha-256")
    client = stage.knock()
    client >> said
    client.leave()
    assert not stage.door.logins
    assert len(stage.door.clients) == 0


def test_a_servers_signature_that_is_not_ours_is_noticed(stages: Callable[..., Stage]) -> None:
    """The oracle itself: scramp does check what we sign."""
    stage = stages(auth_method="scram-sha-256")
    server, client = stage.server(), stage.knock()
    client >> STARTUP
    dialogue = scram(client)
    server.learn()
    final = client.take().body[4:].decode()
    forged = "v=" + "A" * 43 + "="
    assert final != forged
    with pytest.raises(ScramException):
        dialogue.set_server_final(forged)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "protocol"),
        (m.startup({"user": "app"}, 4 << 16), "protocol"),
        (m.startup({"database": "app"}), "protocol"),
        (m.startup({"user": "app", "a b; drop": "x"}), "startup_parameter"),
        (m.startup({"user": "app", "options": "nonsense"}), "startup_parameter"),
        (m.startup({"user": "app", "replication": "true"}), "replication"),
        (STARTUP, "too_many_clients"),
    ],
)
def test_who_is_turned_away_is_counted_once(stages: Callable[..., Stage], packet: bytes, reason: str) -> None:
    """As a rejection with its reason, and not as a login as well: logins + rejections are the clients."""
    stage = stages(max_client_connections=1 if reason == "too_many_clients" else 2)
    stage.server(), stage.client()
    client = stage.knock()
    client >> packet
    client.take()
    client << END
    assert stage.door.rejections == {reason: 1}
    assert stage.door.login_results == {("trust", "ok"): 1}
    (rejections,) = (family for family in PROCESS if family.name == "poolproxy_rejections")
    assert reason in rejections.values


def test_a_login_ended_by_a_drain_is_counted_once(stage: Stage) -> None:
    stage.knock()
    stage.door.drain()
    stage.settle()
    assert stage.door.rejections == {"draining": 1}
    assert stage.door.login_results == {}


@pytest.mark.parametrize(
    ("database", "sqlstate"), [("nosuch", "3D000"), ("app", "XX000")], ids=["database", "internal"]
)
def test_a_login_that_is_not_served_is_counted_once(stage: Stage, database: str, sqlstate: str) -> None:
    """Nothing was wrong with its password: a login with the result `refused`."""
    if database == "app":
        stage.pools.pool = broken
    client = stage.knock()
    client >> m.startup({"user": "app", "database": database})
    client << ended(sqlstate) << END
    assert stage.door.rejections == {}
    assert stage.door.login_results == {("trust", "refused"): 1}
    stage.internal_errors.clear()


def broken(_: object) -> NoReturn:
    raise RuntimeError("no pool can be made")
