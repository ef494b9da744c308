"""Login: the methods, what a stranger may learn, what a client is told, and the protocol versions."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from poolproxy.protocol.scram import secret_from_password
from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.messages import Message
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError

PROTOCOL_3_2 = 0x00030002


def asked_method(proxy: ProxyProcess, user: str) -> int:
    """The code of the first authentication request this user gets."""
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": user, "database": DATABASE}))
        (code,) = struct.unpack_from("!i", wire.read().body)
        return int(code)


def refusal(proxy: ProxyProcess, user: str, password: str, database: str = DATABASE) -> list[Message]:
    """All messages of a login that must fail, up to the closing of the connection."""
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": user, "database": database}))
        with pytest.raises(WireError) as caught:
            wire.authenticate(user, password)
        assert wire.read_to_end() == [], "an error in the login closes the connection"
        return [caught.value.message]


@pytest.mark.parametrize(("method", "code"), [("scram-sha-256", 10), ("md5", 5), ("trust", 0)])
def test_methods(stage: Stage, method: str, code: int) -> None:
    proxy = stage.proxy(auth_method=method)
    assert asked_method(proxy, "app") == code
    with proxy.login() as client:
        assert client.value("select current_user") == "app"


@pytest.mark.parametrize("method", ["scram-sha-256", "md5"])
def test_wrong_password_and_wrong_user_look_alike(stage: Stage, method: str) -> None:
    """Same dialogue, same error but for the name, whether the user is known or not."""
    stage.expect_log("28P01|login|password")
    proxy = stage.proxy(auth_method=method)
    (known,) = refusal(proxy, "app", "wrong")
    (unknown,) = refusal(proxy, "nobody", "wrong")
    assert known.fields["S"] == "FATAL"
    assert known.sqlstate == "28P01"
    assert {**known.fields, "M": ""} == {**unknown.fields, "M": ""}
    assert known.fields["M"].replace("app", "nobody") == unknown.fields["M"]


def challenge(proxy: ProxyProcess, user: str) -> bytes:
    """Salt and rounds that this user is asked to prove a password with."""
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": user, "database": DATABASE}))
        wire.read()
        first = b"n,,n=,r=clientnonce"
        wire.send(m.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        server_first = wire.read().body[4:]
        return b",".join(server_first.split(b",")[1:])


def test_the_dialogue_of_an_unknown_user_is_stable(proxy: ProxyProcess, stage: Stage) -> None:
    """The salt of an unknown user must not change from login to login: a real one does not."""
    stage.expect_log(".")
    assert challenge(proxy, "stranger") == challenge(proxy, "stranger")
    assert challenge(proxy, "stranger") != challenge(proxy, "another stranger")
    assert len(challenge(proxy, "stranger")) == len(challenge(proxy, "app"))


def test_unknown_users_are_of_the_kind_of_those_whose_secrets_are_stored(stage: Stage) -> None:
    """With as many rounds, a salt as long, and the same one from another process that has the same key."""
    stage.expect_log(".")
    secret = secret_from_password("pencil", 10_000, b"s" * 20).format()
    asked = []
    for key in ("of all replicas 1", "of all replicas 1", "of another set 2"):
        proxy = stage.fresh(users={"app": {"password": secret}}, mock_salt_key=key)
        asked.append([challenge(proxy, user) for user in ("app", "stranger")])
        assert proxy.stop() == 0
    for known, unknown in asked:
        assert known.endswith(b",i=10000")
        assert (unknown[-8:], len(unknown)) == (known[-8:], len(known))
    assert asked[0] == asked[1]
    assert [known == asked[0][0] for known, _ in asked] == [True] * 3
    assert asked[2][1] != asked[0][1]


def test_unknown_database_only_after_the_login(proxy: ProxyProcess, stage: Stage) -> None:
    stage.expect_log("3D000|28P01|database|login")
    (wrong,) = refusal(proxy, "app", "wrong", "nosuch")
    assert wrong.sqlstate == "28P01"
    (right,) = refusal(proxy, "app", PASSWORDS["app"], "nosuch")
    assert right.sqlstate == "3D000"
    assert right.fields["S"] == "FATAL"


def test_no_user(proxy: ProxyProcess, stage: Stage) -> None:
    stage.expect_log("28000|user")
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"database": DATABASE}))
        (error,) = wire.read_to_end()
        assert error.sqlstate == "28000"


@pytest.mark.parametrize("value", ["true", "on", "1", "yes", "database"])
def test_replication_is_refused(proxy: ProxyProcess, stage: Stage, value: str) -> None:
    stage.expect_log("0A000|replication")
    with pytest.raises(WireError) as caught:
        proxy.login(replication=value)
    assert caught.value.sqlstate == "0A000"
    assert "directly" in caught.value.fields["H"]


@pytest.mark.parametrize("value", ["false", "off", "0"])
def test_replication_off_is_no_replication(proxy: ProxyProcess, value: str) -> None:
    with proxy.login(replication=value) as client:
        assert client.value("select 1") == "1"


def test_parameters_are_those_of_a_direct_login(proxy: ProxyProcess, stage: Stage) -> None:
    """Every ParameterStatus of a direct login, at the first login and at one that needs no server."""
    options: dict[str, Any] = {"application_name": "params", "timezone": "Asia/Tokyo", "datestyle": "German"}
    address = (stage.postgres.host, stage.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE, **options) as direct:
        expected = direct.parameters
    for _ in range(2):
        with proxy.login(**options) as client:
            assert client.parameters == expected


def test_login_needs_no_server_once_parameters_are_known(stage: Stage, direct: Direct) -> None:
    """With the only server busy, others can still log in."""
    proxy = stage.proxy(pool_size=1, connection_borrow_timeout=20)
    with proxy.login() as busy:
        busy.query("begin")
        with proxy.login() as second, proxy.login() as third:
            assert second.parameters == third.parameters == busy.parameters
            assert second.status == "I"
        busy.query("commit")


def test_keys_differ_and_are_not_the_servers(proxy: ProxyProcess, direct: Direct) -> None:
    with proxy.login() as one, proxy.login() as two:
        assert (one.pid, one.key) != (two.pid, two.key)
        assert len(one.key) == 4
        assert one.pid not in {pid for pid, _, _ in direct.sessions()}


def test_long_keys_of_protocol_3_2(proxy: ProxyProcess) -> None:
    with proxy.login(version=PROTOCOL_3_2) as client:
        assert 4 < len(client.key) <= 256
        assert client.value("select 1") == "1"


def test_protocol_3_1_needs_no_negotiation(proxy: ProxyProcess) -> None:
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}, 0x00030001))
        assert "v" not in m.letters(wire.authenticate("app", PASSWORDS["app"]))
        assert len(wire.key) == 4


@pytest.mark.parametrize("version", [0x00030003, 0x0003270F])
def test_a_higher_minor_version_is_negotiated(proxy: ProxyProcess, version: int) -> None:
    with Wire(proxy.address) as wire:
        options = {"user": "app", "database": DATABASE, "_pq_.one": "1", "_pq_.two": "2"}
        wire.send(m.startup(options, version))
        negotiation = wire.read()
        assert negotiation.letter == "v"
        minor, count = struct.unpack_from("!ii", negotiation.body)
        names = negotiation.body[8:].split(b"\0")[:-1]
        # PostgreSQL sends the whole version number, older ones its minor part; drivers take both.
        assert minor & 0xFFFF == 2
        assert count == 2
        assert sorted(names) == [b"_pq_.one", b"_pq_.two"]
        later = wire.authenticate("app", PASSWORDS["app"])
        assert "v" not in m.letters(later), "told once"
        assert wire.value("select 1") == "1"


def test_an_unknown_option_alone_is_negotiated(proxy: ProxyProcess, stage: Stage) -> None:
    """The same answer as PostgreSQL gives, byte by byte."""
    packet = m.startup({"user": "app", "database": DATABASE, "_pq_.x": "1"})
    with Wire(proxy.address) as wire, Wire((stage.postgres.host, stage.postgres.port)) as direct:
        wire.send(packet)
        direct.send(packet)
        assert wire.read() == direct.read()


@pytest.mark.parametrize("version", [0x00030003, PROTOCOL_3_2, 0x00030001])
def test_negotiation_is_postgres_own(proxy: ProxyProcess, stage: Stage, version: int) -> None:
    packet = m.startup({"user": "app", "database": DATABASE}, version)
    with Wire(proxy.address) as wire, Wire((stage.postgres.host, stage.postgres.port)) as direct:
        wire.send(packet)
        direct.send(packet)
        ours, theirs = wire.read(), direct.read()
        assert ours.letter == theirs.letter
        if ours.letter == "v":
            assert ours == theirs


def test_ssl_and_gss_are_declined_in_any_order(proxy: ProxyProcess) -> None:
    with Wire(proxy.address) as wire:
        for request in (m.ssl_request(), m.gssenc_request()):
            wire.send(request)
            assert wire.read_exactly(1) == b"N"
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        wire.authenticate("app", PASSWORDS["app"])
        assert wire.value("select 1") == "1"


@pytest.mark.parametrize("user", ["other", "md5user"])
def test_each_user_is_itself_at_the_server(proxy: ProxyProcess, user: str) -> None:
    """A server of one user never serves another, and md5 towards PostgreSQL works as SCRAM does."""
    with proxy.login(user) as client, proxy.login("app") as app:
        assert client.value("select current_user || '/' || session_user") == f"{user}/{user}"
        assert app.value("select current_user") == "app"


def test_a_stored_secret_is_as_good_as_the_password(stage: Stage, direct: Direct) -> None:
    """The client's password need not be known: its SCRAM secret of PostgreSQL's own is enough to check it."""
    secret = direct.value("select rolpassword from pg_authid where rolname = 'app'")
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    proxy = stage.proxy(
        databases={DATABASE: {"url": f"postgres://other:other%2Fsecret@{place}/{DATABASE}"}},
        users={"app": {"password": secret}},
    )
    with proxy.login("app") as client:
        assert client.value("select current_user") == "other"
    stage.expect_log("28P01|login")
    assert refusal(proxy, "app", "wrong")[0].sqlstate == "28P01"


def test_database_url_alone(stage: Stage) -> None:
    """The black-box contract: one variable, and the database is served to that user."""
    url = f"postgres://app:app%20secret@{stage.postgres.host}:{stage.postgres.port}/{DATABASE}"
    proxy = stage.fresh({"DATABASE_URL": url, "POOLPROXY_POOL_SIZE": "2"}, plain=True)
    with proxy.login() as client:
        assert client.value("select current_user") == "app"
    with pytest.raises(WireError):
        proxy.login("other")
    stage.expect_log("28P01|login")


def test_a_password_the_server_refuses(stage: Stage) -> None:
    """The client is right and the proxy's own login is wrong: not the client's fault, and it says so."""
    stage.expect_log(".")
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    proxy = stage.fresh(
        databases={DATABASE: {"url": f"postgres://app:wrong@{place}/{DATABASE}"}},
        connection_borrow_timeout=1,
    )
    with pytest.raises(WireError) as caught, proxy.login() as client:
        client.query("select 1")
    assert caught.value.sqlstate in {"08006", "28P01"}


def test_a_server_that_asks_otherwise_than_it_may_is_refused(stage: Stage) -> None:
    stage.expect_log("not by require_auth")
    proxy = stage.fresh(require_auth="md5")
    with pytest.raises(WireError, match="SCRAM-SHA-256: not by require_auth"):
        proxy.login("app")
    with proxy.login("md5user") as client:
        assert client.value("select current_user") == "md5user"
