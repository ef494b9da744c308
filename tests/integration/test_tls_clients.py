"""Clients over TLS: asked for and direct, what is demanded of them, and what must never be believed."""

from __future__ import annotations

import contextlib
import datetime
import signal
import socket
import ssl
import struct
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import psycopg
import pytest
import trustme

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.tls_wire import client_hello
from tests.support.waiting import eventually

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSSENC_REQUEST = struct.pack("!ii", 8, 80877104)


class Files(NamedTuple):
    authorities: str
    certificate: str
    key: str


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write(folder: Path, authority: trustme.CA, issued: trustme.LeafCert, name: str = "server") -> Files:
    files = Files(*(str(folder / f"{name}.{kind}") for kind in ("ca", "pem", "key")))
    authority.cert_pem.write_to_path(files.authorities)
    issued.private_key_and_cert_chain_pem.write_to_path(files.certificate)
    issued.private_key_pem.write_to_path(files.key)
    return files


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Files:
    return write(tmp_path, authority, authority.issue_cert("127.0.0.1", "localhost", "orders.db.example"))


def context(files: Files, client: Files | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=files.authorities)
    made.set_alpn_protocols(["postgresql"])
    if client is not None:
        made.load_cert_chain(client.certificate, client.key)
    return made


def tls(stage: Stage, files: Files, **settings: Any) -> ProxyProcess:
    return stage.fresh(tls_cert_file=files.certificate, tls_key_file=files.key, **settings)


async def connect(proxy: ProxyProcess, tls: ssl.SSLContext, user: str = "app", **options: Any) -> Any:
    return await asyncpg.connect(
        host="127.0.0.1", port=proxy.port, user=user, ssl=tls,
        **{"database": DATABASE, "password": PASSWORDS[user], **options},
    )  # fmt: skip


async def test_asked_for_and_direct(stage: Stage, files: Files) -> None:
    proxy = tls(stage, files)
    for direct in (False, True):
        connection = await connect(proxy, context(files), direct_tls=direct)
        try:
            assert await connection.fetchval("select $1::int + 1", 41) == 42
            text = "x" * 5_000_000
            assert await connection.fetchval("select $1::text", text) == text
        finally:
            await connection.close()
    assert proxy.metrics().by("poolproxy_tls_handshakes_total", "result") == {"ok": 2}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(stage: Stage, files: Files, version: ssl.TLSVersion) -> None:
    proxy = tls(stage, files)
    made = context(files)
    made.minimum_version = made.maximum_version = version
    connection = await connect(proxy, made)
    assert await connection.fetchval("select 1") == 1
    await connection.close()


def raw(proxy: ProxyProcess) -> socket.socket:
    return socket.create_connection(proxy.address, timeout=15)


def test_what_was_said_before_is_never_taken_for_what_is_said_after(stage: Stage, files: Files) -> None:
    stage.expect_log("08P01|login")
    proxy = tls(stage, files, auth_method="trust")
    said = SSL_REQUEST + m.startup({"user": "app", "database": DATABASE}) + m.query("select 1")
    for cut in range(8, len(said), 7):
        with raw(proxy) as sock:
            sock.sendall(said[:cut])
            if cut == 8:
                assert sock.recv(1) == b"S"
            sock.sendall(said[cut:])
            heard = b""
            while more := sock.recv(4096):
                heard += more
            # An error of ours in plain text, or nothing: what came behind it was taken for a handshake.
            assert not heard or b"unencrypted data" in heard or heard[:1] == b"\x15"
    assert proxy.metrics().value("poolproxy_clients", state="idle") == 0


def test_each_request_is_answered_once(stage: Stage, files: Files) -> None:
    stage.expect_log("08P01|login")
    proxy = tls(stage, files)
    with raw(proxy) as sock:
        sock.sendall(GSSENC_REQUEST)
        assert sock.recv(1) == b"N"
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with context(files).wrap_socket(sock, server_hostname="127.0.0.1") as encrypted:
            encrypted.sendall(SSL_REQUEST)
            assert b"twice" in encrypted.recv(4096)


@pytest.mark.parametrize("offered", [None, ["http/1.1"]])
def test_direct_tls_is_for_those_who_mean_postgresql(
    stage: Stage, files: Files, offered: list[str] | None
) -> None:
    stage.expect_log("handshake failed")
    proxy = tls(stage, files)
    made = ssl.create_default_context(cafile=files.authorities)
    if offered is not None:
        made.set_alpn_protocols(offered)
    with raw(proxy) as sock, pytest.raises(ssl.SSLError, match="no application protocol"):
        made.wrap_socket(sock, server_hostname="127.0.0.1")
    assert proxy.metrics().value("poolproxy_rejections_total", reason="tls") == 1


def test_who_has_asked_for_tls_may_name_no_protocol_but_no_other(stage: Stage, files: Files) -> None:
    """As PostgreSQL has it."""
    stage.expect_log("handshake failed")
    proxy = tls(stage, files)
    made = ssl.create_default_context(cafile=files.authorities)
    made.set_alpn_protocols(["http/1.1"])
    with raw(proxy) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            made.wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.mark.parametrize("group", ["ffdhe2048", "ffdhe8192"])
def test_nobody_has_us_compute_over_a_large_field(stage: Stage, files: Files, group: str) -> None:
    """A packet of a stranger's would hold everybody up for 140 ms; PostgreSQL offers curves alone, too."""
    stage.expect_log("handshake failed")
    proxy = tls(stage, files)
    made = context(files)
    made.set_ecdh_curve(group)
    with raw(proxy) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            made.wrap_socket(sock, server_hostname="127.0.0.1")
    assert proxy.metrics().value("poolproxy_tls_handshakes_total", result="failed") == 1


@pytest.mark.parametrize("group", ["X25519", "prime256v1", "secp384r1", "secp521r1", "X448"])
async def test_curves(stage: Stage, files: Files, group: str) -> None:
    proxy = tls(stage, files)
    made = context(files)
    made.set_ecdh_curve(group)
    for _ in range(3):  # in a thread first, then as what it takes is known
        connection = await connect(proxy, made)
        assert await connection.fetchval("select 1") == 1
        await connection.close()


def test_who_is_refused_in_the_handshake_keeps_no_descriptor(stage: Stage, files: Files) -> None:
    """However long it holds on to its end."""
    stage.expect_log("handshake failed")
    proxy = tls(stage, files)
    made = ssl.create_default_context(cafile=files.authorities)
    before = proxy.descriptors()
    with contextlib.ExitStack() as held:
        for _ in range(10):
            sock = held.enter_context(raw(proxy))
            sock.sendall(client_hello(made))
        proxy.wait_gauge("poolproxy_rejections_total", 10, reason="tls")
        eventually(lambda: proxy.descriptors() <= before, "their descriptors are free", 30)


def test_bytes_one_by_one(stage: Stage, files: Files) -> None:
    """A handshake and a login of one byte a segment; OpenSSL is asked for each whole record alone."""
    proxy = tls(stage, files, auth_method="trust")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(files).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with raw(proxy) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def trickle() -> None:
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))

        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                trickle()
                incoming.write(sock.recv(65536))
        client.write(m.startup({"user": "app", "database": DATABASE}) + m.query("select 'here'"))
        trickle()
        heard = b""
        while b"here" not in heard:
            try:
                heard += client.read(65536)  # one record; more may have come with it
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))


def test_tls_that_is_demanded(stage: Stage, files: Files, tmp_path: Path) -> None:
    stage.expect_log("28000|login")
    proxy = tls(stage, files, require_tls=True, unix_socket_dir=str(tmp_path))
    url = f"postgresql://app@127.0.0.1:{proxy.port}/{DATABASE}?sslmode="
    with pytest.raises(psycopg.OperationalError, match="connection requires TLS"):
        psycopg.connect(url + "disable", password=PASSWORDS["app"])
    for where in (url + "require", f"postgresql://app@/{DATABASE}?host={tmp_path}&port={proxy.port}"):
        with psycopg.connect(where, password=PASSWORDS["app"]) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("binding", ["require", "prefer", "disable"])
def test_scram_bound_to_the_certificate(stage: Stage, files: Files, binding: str) -> None:
    proxy = tls(stage, files)
    with psycopg.connect(
        host="127.0.0.1", port=proxy.port, user="app", password=PASSWORDS["app"], dbname=DATABASE,
        sslmode="verify-full", sslrootcert=files.authorities, channel_binding=binding,
    ) as connection:  # fmt: skip
        assert connection.pgconn.ssl_in_use
        assert connection.execute("select 1").fetchone() == (1,)


def certificate_for(authority: trustme.CA, folder: Path, name: str, **issued: Any) -> Files:
    return write(folder, authority, authority.issue_cert(common_name=name, **issued), name)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_certificates_that_are_demanded(
    stage: Stage, files: Files, authority: trustme.CA, tmp_path: Path, mode: str
) -> None:
    stage.expect_log("28000|login")
    stage.expect_log("handshake failed")
    proxy = tls(stage, files, tls_mode=mode, tls_ca_file=files.authorities)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    shown = {
        "right": certificate_for(authority, tmp_path, "app"),
        "other": certificate_for(authority, tmp_path, "other"),
        "foreign": certificate_for(trustme.CA(), tmp_path, "app "),
        "expired": certificate_for(authority, tmp_path, " app", not_after=yesterday),
        "none": None,
    }
    outcomes = {}
    for kind, client in shown.items():
        options = {} if client is None else {"sslcert": client.certificate, "sslkey": client.key}
        if client is not None:
            Path(client.key).chmod(0o600)
        try:
            psycopg.connect(
                host="127.0.0.1", port=proxy.port, user="app", password=PASSWORDS["app"], dbname=DATABASE,
                sslmode="require", sslcertmode="allow", **options,
            ).close()  # fmt: skip
            outcomes[kind] = "in"
        except psycopg.OperationalError as error:
            outcomes[kind] = str(error)
    assert outcomes["right"] == "in"
    assert "requires a valid client certificate" in outcomes["none"]
    assert "unknown ca" in outcomes["foreign"]
    assert "expired" in outcomes["expired"]
    if mode == "verify-ca":
        assert outcomes["other"] == "in"
    else:
        assert 'certificate authentication failed for user "app"' in outcomes["other"]


async def test_a_database_by_the_name_of_ours(stage: Stage, files: Files) -> None:
    url = f"postgres://{stage.postgres.host}:{stage.postgres.port}"
    proxy = tls(
        stage,
        files,
        databases={
            DATABASE: {"url": f"{url}/{DATABASE}"},
            "second": {"url": f"{url}/second", "tls_hostnames": ["orders.DB.example"]},
        },
    )
    made = context(files)
    made.check_hostname = False
    for name, database in (("Orders.db.example", "second"), ("localhost", DATABASE)):
        connection = await connect(proxy, Renamed(made, name))
        assert await connection.fetchval("select current_database()") == database
        await connection.close()
    assert proxy.wait_log(lambda line: line.get("tls_name") == "Orders.db.example")["tls"] == "TLSv1.3"
    stage.expect_log("28P01|login")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(proxy, Renamed(made, "mistaken.example"), password="wrong")
    refused = proxy.wait_log(lambda line: line.get("tls_name") == "mistaken.example")
    assert (refused["event"], refused["tls"]) == ("login refused", "TLSv1.3")


class Renamed(ssl.SSLContext):
    """A context that calls whomever it meets by one name."""

    def __new__(cls, context: ssl.SSLContext, name: str) -> Renamed:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._name = name

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *_: Any, **__: Any) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side=False, server_hostname=self._name)


async def test_certificates_that_are_replaced(
    stage: Stage, files: Files, authority: trustme.CA, tmp_path: Path
) -> None:
    stage.expect_log("certificate not renewed")
    proxy = tls(stage, files)
    before = await connect(proxy, context(files))

    def shown() -> bytes:
        with raw(proxy) as sock, context(files).wrap_socket(sock, server_hostname="127.0.0.1") as encrypted:
            return encrypted.getpeercert(binary_form=True) or b""

    first = shown()
    newer = authority.issue_cert("127.0.0.1")
    # The certificate alone does not fit its key: who comes meanwhile gets the old pair.
    newer.cert_chain_pems[0].write_to_path(files.certificate)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_log(lambda line: line.get("event") == "certificate not renewed")
    assert shown() == first
    newer.private_key_pem.write_to_path(files.key)
    proxy.wait_log(lambda line: line.get("event") == "certificate renewed")
    assert shown() == ssl.PEM_cert_to_DER_cert(newer.cert_chain_pems[0].bytes().decode())
    assert await before.fetchval("select 1") == 1
    await before.close()


def test_who_says_nothing_is_told_nothing(stage: Stage, files: Files) -> None:
    """In the midst of a handshake there is nothing that the client could read."""
    stage.expect_log("login refused")
    proxy = tls(stage, files, client_login_timeout=0.5)
    with raw(proxy) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        assert sock.recv(1) == b""
    assert proxy.metrics().value("poolproxy_logins_total", result="timeout") == 1


def test_rules_tell_encrypted_connections_apart(stage: Stage, files: Files, tmp_path: Path) -> None:
    stage.expect_log("28000|login")
    rules = tmp_path / "pg_hba.conf"
    rules.write_text("hostnossl all other all scram-sha-256\nhostssl all app all scram-sha-256\n")
    proxy = tls(stage, files, auth_hba_file=str(rules))
    found = {}
    for user in ("app", "other"):
        for mode in ("require", "disable"):
            try:
                psycopg.connect(
                    host="127.0.0.1", port=proxy.port, user=user, password=PASSWORDS[user], dbname=DATABASE,
                    sslmode=mode,
                ).close()  # fmt: skip
                found[user, mode] = "in"
            except psycopg.OperationalError as error:
                found[user, mode] = str(error).rpartition(", ")[2].strip()
    assert found == {
        ("app", "require"): "in",
        ("app", "disable"): "no encryption",
        ("other", "require"): "SSL encryption",
        ("other", "disable"): "in",
    }


def try_in(proxy: ProxyProcess, user: str, password: str | None, **options: Any) -> str:
    """ "in", or what the client is told."""
    try:
        with psycopg.connect(
            host=options.pop("host", "127.0.0.1"), port=proxy.port, user=user, password=password,
            dbname=DATABASE, **{"sslmode": "require", **options},
        ) as connection:  # fmt: skip
            assert connection.execute("select 1").fetchone() == (1,)
        return "in"
    except psycopg.OperationalError as error:
        return str(error)


def test_passwords_in_clear_text_over_tls_alone(stage: Stage, files: Files, tmp_path: Path) -> None:
    stage.expect_log("28000|login")
    stage.expect_log("28P01|login")
    proxy = tls(stage, files, auth_method="password", unix_socket_dir=str(tmp_path))
    assert try_in(proxy, "app", PASSWORDS["app"]) == "in"
    assert try_in(proxy, "app", PASSWORDS["app"], host=str(tmp_path)) == "in"
    assert "connection requires TLS" in try_in(proxy, "app", PASSWORDS["app"], sslmode="disable")
    for user in ("app", "stranger"):
        assert f'password authentication failed for user "{user}"' in try_in(proxy, user, "wrong")


def test_a_certificate_in_place_of_a_password(
    stage: Stage, files: Files, authority: trustme.CA, tmp_path: Path
) -> None:
    stage.expect_log("28000|login")
    rules, maps = tmp_path / "pg_hba.conf", tmp_path / "pg_ident.conf"
    rules.write_text(
        'hostssl all app all cert\nhostssl all other all cert clientname=DN map="crew"\n'
        "hostssl all md5user all scram-sha-256 clientcert=verify-ca\n"
    )
    maps.write_text('crew "/^CN=robert,OU=.*,O=trustme.*$" other\n')
    proxy = tls(
        stage, files, auth_hba_file=str(rules), auth_ident_file=str(maps), tls_ca_file=files.authorities
    )

    def shown(name: str) -> dict[str, str]:
        client = certificate_for(authority, tmp_path, name)
        Path(client.key).chmod(0o600)
        return {"sslcert": client.certificate, "sslkey": client.key}

    assert try_in(proxy, "app", None, **shown("app")) == "in"
    assert try_in(proxy, "other", None, **shown("robert")) == "in"
    assert try_in(proxy, "md5user", PASSWORDS["md5user"], **shown("robert")) == "in"
    for user, name in (("app", "robert"), ("other", "app"), ("other", "other")):
        assert f'certificate authentication failed for user "{user}"' in try_in(
            proxy, user, None, **shown(name)
        )
    for user in ("app", "other", "md5user"):
        assert "requires a valid client certificate" in try_in(proxy, user, PASSWORDS[user])


def test_a_method_for_all(stage: Stage, files: Files, authority: trustme.CA, tmp_path: Path) -> None:
    stage.expect_log("28000|login")
    proxy = tls(stage, files, auth_method="cert", tls_ca_file=files.authorities)
    client = certificate_for(authority, tmp_path, "app")
    Path(client.key).chmod(0o600)
    shown = {"sslcert": client.certificate, "sslkey": client.key}
    assert try_in(proxy, "app", None, **shown) == "in"
    assert "certificate authentication failed" in try_in(proxy, "other", None, **shown)
    assert "requires a valid client certificate" in try_in(proxy, "app", None, sslmode="disable")
