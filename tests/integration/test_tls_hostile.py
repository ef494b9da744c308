"""Clients over TLS as nobody sane is: what is said before a handshake, in it, and in place of it; records
that are cut, spoilt and trickled; connections that end without goodbye; certificates that change meanwhile.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from tests.support import messages as m
from tests.support.certificates import Certificates
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess, tls_settings
from tests.support.stage import Stage
from tests.support.tls_wire import TlsWire, alert_in, client_context, client_hello
from tests.support.waiting import eventually
from tests.support.wire import Wire, WireError

#: Alerts (RFC 8446, 6).
TOO_LONG, NO_VERSION = 22, 70


@pytest.fixture(autouse=True)
def _refusals_are_logged(stage: Stage) -> None:
    stage.expect_log("08P01|28000|TLS|certificate|client left|login")


@pytest.fixture
def proxy(stage: Stage, certificates: Certificates) -> ProxyProcess:
    return stage.proxy(**tls_settings(certificates))


@pytest.fixture
def trusting(stage: Stage, certificates: Certificates) -> Iterator[ProxyProcess]:
    """Whatever it takes for a startup packet comes in and writes a note, which is looked for afterwards."""
    stage.direct.rows("truncate note")
    yield stage.proxy(**tls_settings(certificates, auth_method="trust"))
    assert stage.direct.rows("select body from note") == []


INJECTED = m.startup({"user": "trusted", "database": DATABASE}) + m.query(
    "insert into note values (1, 'injected')"
)


def heard_to_end(sock: socket.socket) -> bytes:
    """All that the other side says until it closes, which it must."""
    heard = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            heard += data
    return bytes(heard)


def still_serves(proxy: ProxyProcess) -> bool:
    with TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE) as client:
        return client.value("select 1") == "1"


# Before the handshake.


def test_what_is_injected_would_be_obeyed(stage: Stage, certificates: Certificates) -> None:
    """Without SSLRequest before it: else the next test could not fail."""
    stage.direct.rows("truncate note")
    with Wire(stage.proxy(**tls_settings(certificates, auth_method="trust")).address) as wire:
        wire.send(INJECTED)
        wire.read_ready(2)
    assert stage.direct.rows("select body from note") == [("injected",)]
    stage.direct.rows("truncate note")


@pytest.mark.parametrize(
    "before", [m.ssl_request(), m.gssenc_request() + m.ssl_request()], ids=["ssl", "gss"]
)
def test_plain_bytes_behind_the_request(trusting: ProxyProcess, before: bytes) -> None:
    """CVE-2021-3935: they came before the handshake, and are never taken for what comes after."""
    data = before + INJECTED
    for cut in range(len(data) + 1):
        with Wire(trusting.address) as wire:
            wire.send(data[:cut])
            if cut == len(before):
                assert wire.sock.recv(2) in (b"S", b"N", b"NS")  # the rest comes in a segment of its own
            with contextlib.suppress(ConnectionError):
                wire.send(data[cut:])
            heard = heard_to_end(wire.sock).lstrip(b"NS")
            assert not heard or heard[:1] == b"E" or alert_in(heard), (cut, heard)
    assert still_serves(trusting)


def test_plain_bytes_behind_the_request_and_then_a_handshake(trusting: ProxyProcess) -> None:
    """The same by one who then goes on as if nothing had been."""
    with Wire(trusting.address) as wire:
        wire.send(m.ssl_request() + INJECTED + client_hello())
        heard = heard_to_end(wire.sock)
        assert heard.lstrip(b"S")[:1] in (b"", b"E", b"\x15"), heard


def test_a_handshake_right_behind_the_request(trusting: ProxyProcess) -> None:
    """A client that does not wait for `S`: PostgreSQL refuses it, for who could say where plain text ends."""
    with Wire(trusting.address) as wire:
        wire.send(m.ssl_request() + client_hello())
        heard = heard_to_end(wire.sock)
        assert heard[:1] == b"E", heard
        assert b"unencrypted data" in heard


def test_requests_in_turns(proxy: ProxyProcess) -> None:
    """CVE-2026-6479: each is answered once at most."""
    with Wire(proxy.address) as wire:
        with contextlib.suppress(ConnectionError):
            wire.send((m.gssenc_request() + m.ssl_request()) * 10_000)
        heard = heard_to_end(wire.sock)
        assert heard[:1] == b"N"
        assert heard.count(b"N") <= 2
        assert b"C08P01\0" in heard
    for request in (m.ssl_request, m.gssenc_request):
        with TlsWire.encrypted(proxy.address) as wire:
            wire.send(request())
            (error,) = wire.read_to_end()
            assert error.sqlstate == "08P01"
    assert still_serves(proxy)


def test_tls_within_tls(proxy: ProxyProcess) -> None:
    with TlsWire.encrypted(proxy.address) as wire:
        wire.send(client_hello())
        assert m.errors(wire.read_to_end()) in ([], ["08P01"])
    assert still_serves(proxy)


# The handshake.


@pytest.mark.parametrize("alpn", [None, "http/1.1", "h2", "postgresql2"])
def test_direct_tls_without_our_protocol(proxy: ProxyProcess, alpn: str | None) -> None:
    """Else a browser could be had to speak to us, with words of others (ALPACA)."""
    with pytest.raises((OSError, EOFError)):
        TlsWire.encrypted(proxy.address, client_context(alpn=alpn), direct=True).enter(
            "app", PASSWORDS["app"], DATABASE
        )
    assert still_serves(proxy)


def test_tls_that_is_asked_for_may_come_without(proxy: ProxyProcess) -> None:
    """Drivers older than ALPN."""
    wire = TlsWire.encrypted(proxy.address, client_context(alpn=None))
    with wire.enter("app", PASSWORDS["app"], DATABASE):
        assert wire.value("select 1") == "1"


@pytest.mark.parametrize("direct", [False, True], ids=["asked", "direct"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda v: v.name)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_that_are_too_old(proxy: ProxyProcess, version: ssl.TLSVersion, direct: bool) -> None:
    hello = client_hello(client_context(least=version, most=version))
    with Wire(proxy.address) as wire:
        if not direct:
            wire.send(m.ssl_request())
            assert wire.read_exactly(1) == b"S"
        wire.send(hello)
        assert alert_in(heard_to_end(wire.sock)) == NO_VERSION


def test_the_least_version_can_be_newer(stage: Stage, certificates: Certificates) -> None:
    proxy = stage.proxy(**tls_settings(certificates, tls_min_version="TLSv1.3"))
    with pytest.raises(ssl.SSLError, match="version"):
        TlsWire.encrypted(proxy.address, client_context(most=ssl.TLSVersion.TLSv1_2))
    assert still_serves(proxy)


@pytest.mark.parametrize("cut", [1, 2, 5, 100])
@pytest.mark.parametrize("garbage", [b"garbage " * 40, bytes(300), b"\x16\x03\x03\xff\xff" + bytes(65535)])
def test_garbage_behind_a_client_hello(proxy: ProxyProcess, cut: int, garbage: bytes) -> None:
    hello = client_hello()
    for data in (hello + garbage, hello[:cut] + garbage):
        with Wire(proxy.address) as wire:
            with contextlib.suppress(ConnectionError):
                wire.send(data)
                wire.sock.shutdown(socket.SHUT_WR)
            heard_to_end(wire.sock)
    assert still_serves(proxy)


def test_a_record_that_claims_too_much(proxy: ProxyProcess) -> None:
    """Refused at its header: nobody waits for 65,535 bytes that no record may have."""
    for direct in (False, True):
        with Wire(proxy.address) as wire:
            if not direct:
                wire.send(m.ssl_request())
                assert wire.read_exactly(1) == b"S"
            wire.send(b"\x16\x03\x01\xff\xff\x01")
            assert alert_in(heard_to_end(wire.sock)) == TOO_LONG
    with TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE) as wire:
        wire.tls.send_raw(b"\x17\x03\x03\xff\xff\x01")
        wire.tls.plain.settimeout(15)
        assert wire.read_to_end() == []


def test_handshakes_that_stop(stage: Stage, certificates: Certificates) -> None:
    """Two hundred that ask for one and stop, at each of its stages: everybody else goes on meanwhile."""
    proxy = stage.fresh(**tls_settings(certificates))
    hello = client_hello()
    with contextlib.ExitStack() as stack:
        bystander = stack.enter_context(
            TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE)
        )
        for number in range(200):
            wire = stack.enter_context(Wire(proxy.address))
            if number % 2:
                wire.send(hello[: (len(hello), 3, 5, len(hello) // 2)[number // 2 % 4]])
            else:
                wire.send(m.ssl_request())
                assert wire.read_exactly(1) == b"S"
                wire.send(hello[: (len(hello), 0, 1, len(hello) - 1)[number // 2 % 4]])
            assert bystander.value(f"select {number}") == str(number)
        assert proxy.metrics().value("poolproxy_clients_in_login") == 200
        assert still_serves(proxy)


def test_a_handshake_that_stops_is_ended(stage: Stage, certificates: Certificates) -> None:
    proxy = stage.fresh(**tls_settings(certificates, client_login_timeout=0.5))
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(proxy.address)) for _ in range(4)]
        for wire, part in zip(wires, (1, 5, 100, len(client_hello())), strict=True):
            wire.send(client_hello()[:part])
        for wire in wires:
            heard_to_end(wire.sock)
    assert proxy.metrics().value("poolproxy_logins_total", result="timeout") == 4


@pytest.mark.parametrize("direct", [False, True], ids=["asked", "direct"])
@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def test_byte_by_byte(stage: Stage, proxy: ProxyProcess, most: ssl.TLSVersion, direct: bool) -> None:
    """A handshake, a login and queries in segments of one byte, with one byte in each record."""
    wire = TlsWire.encrypted(proxy.address, client_context(most=most), direct=direct, piece=1, record=1)
    with wire.enter("app", PASSWORDS["app"], DATABASE, application_name="slow"):
        assert wire.value("show application_name") == "slow"
        assert wire.tls.tls.version() == most.name.replace("v1_", "v1.")


def test_records_of_one_byte_by_the_thousand(proxy: ProxyProcess) -> None:
    """They come all at once: 22 bytes around each."""
    text = "x" * 20_000
    with TlsWire.encrypted(proxy.address, record=1).enter("app", PASSWORDS["app"], DATABASE) as wire:
        assert wire.value(f"select '{text}'") == text


# Records.


@pytest.mark.parametrize("place", [0, 1, 2, 5, 20, -1])
def test_a_spoilt_record(stage: Stage, trusting: ProxyProcess, place: int) -> None:
    """Nothing of it is obeyed, nor of what comes after."""
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        spoilt = bytearray(wire.tls.sealed(m.query("insert into note values (1, 'spoilt')")))
        spoilt[place] ^= 0x40
        whole = wire.tls.sealed(m.query("insert into note values (2, 'behind it')"))
        wire.tls.send_raw(bytes(spoilt) + whole)
        wire.tls.plain.shutdown(socket.SHUT_WR)
        assert wire.read_to_end() == []
    assert still_serves(trusting)


def test_a_record_twice(trusting: ProxyProcess) -> None:
    """Replayed by somebody who can write into the connection."""
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        once = wire.tls.sealed(m.query("select 1"))
        wire.tls.send_raw(once + once)
        said = wire.read_to_end()
        assert m.letters(said) in ("TDCZ", "")


def test_records_out_of_order(trusting: ProxyProcess) -> None:
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        first = wire.tls.sealed(m.query("select 1"))
        second = wire.tls.sealed(m.query("insert into note values (1, 'first')"))
        wire.tls.send_raw(second + first)
        assert wire.read_to_end() == []


def test_plain_text_within(trusting: ProxyProcess) -> None:
    """As if there had been no handshake."""
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        wire.tls.send_raw(m.query("insert into note values (1, 'plain')"))
        wire.tls.plain.shutdown(socket.SHUT_WR)
        assert wire.read_to_end() == []


# Ends.


def ended_well(wire: TlsWire) -> bool:
    """Whether the other side has said goodbye, and not just gone."""
    with contextlib.suppress(EOFError):
        while wire.tls.recv(1 << 16):
            pass
        return True
    return False


def test_we_say_goodbye(proxy: ProxyProcess) -> None:
    """Without it nobody knows whether somebody has cut off the end of what we said."""
    with TlsWire.encrypted(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        with pytest.raises(WireError):
            wire.authenticate("app", "wrong")
        assert ended_well(wire)
    with TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE) as wire:
        wire.send(m.message("z"))
        assert ended_well(wire)


@pytest.mark.parametrize("goodbye", [True, False], ids=["said", "unsaid"])
def test_a_client_that_leaves_without_terminate(stage: Stage, trusting: ProxyProcess, goodbye: bool) -> None:
    """Its transaction is undone, with and without TLS's goodbye."""
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        wire.query("begin")
        wire.query("insert into note values (1, 'undone')")
        if goodbye:
            wire.tls.say_goodbye()
        wire.tls.plain.shutdown(socket.SHUT_WR)
        assert wire.read_to_end() == []
    assert still_serves(trusting)


@pytest.mark.parametrize("part", [1, 4, 5, 6, 40, -1])
def test_a_connection_cut_in_the_midst_of_a_record(trusting: ProxyProcess, part: int) -> None:
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        wire.tls.send_raw(wire.tls.sealed(m.query("insert into note values (1, 'half')"))[:part])
        wire.tls.plain.shutdown(socket.SHUT_WR)
        assert wire.read_to_end() == []
    assert still_serves(trusting)


def test_a_connection_cut_in_the_midst_of_a_message(trusting: ProxyProcess) -> None:
    """Between two records: what has come is whole to TLS, and not to PostgreSQL."""
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        wire.sock.sendall(m.query("insert into note values (1, 'half')")[:-1])
        wire.tls.say_goodbye()
        wire.tls.plain.shutdown(socket.SHUT_WR)
        assert wire.read_to_end() == []


def test_words_behind_a_goodbye(trusting: ProxyProcess) -> None:
    """What a client says after it are nobody's words."""
    with TlsWire.encrypted(trusting.address).enter("trusted", "", DATABASE) as wire:
        later = wire.tls.sealed(m.query("insert into note values (1, 'later')"))
        wire.tls.say_goodbye()
        with contextlib.suppress(OSError):
            wire.tls.send_raw(later)
            wire.tls.plain.shutdown(socket.SHUT_WR)
        assert wire.read_to_end() == []


def test_resets(proxy: ProxyProcess) -> None:
    """At every stage: nothing stays behind, which is looked at after each test."""
    for stage_of in range(4):
        wire = Wire(proxy.address)
        if stage_of == 1:
            wire.send(m.ssl_request())
        elif stage_of == 2:
            wire.send(client_hello())
        elif stage_of == 3:
            wire.close()
            wire = TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE)
            wire.send(m.query("select pg_sleep(0.05)"))
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.sock.close()
    assert still_serves(proxy)


def test_one_who_does_not_read(stage: Stage, certificates: Certificates) -> None:
    """The proxy's memory is bounded: it stops reading the server, encrypted or not."""
    proxy = stage.fresh(**tls_settings(certificates))
    assert still_serves(proxy)
    before = proxy.resident_bytes()
    with TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE) as wire:
        wire.send(m.query("select repeat('x', 1000) from generate_series(1, 200000)"))
        with TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE) as other:
            for number in range(200):
                assert other.value(f"select {number}") == str(number)
        assert proxy.resident_bytes() - before < 16 << 20
        assert len(m.rows(wire.read_ready())) == 200_000


# Files that change.


def shown_to(proxy: ProxyProcess) -> bytes:
    with TlsWire.encrypted(proxy.address) as wire:
        return wire.certificate


def test_a_certificate_that_is_replaced(stage: Stage, certificates: Certificates) -> None:
    """New handshakes get the new one; who is in stays in; by a signal, and without one."""
    own = certificates.copy(certificates.server, "replaced")
    proxy = stage.fresh(**tls_settings(certificates, identity=own))
    with TlsWire.encrypted(proxy.address).enter("app", PASSWORDS["app"], DATABASE) as wire:
        wire.query("begin")
        for newer, signalled in ((certificates.server_rsa, True), (certificates.server, False)):
            own.replace_by(newer)
            if signalled:
                proxy.process.send_signal(signal.SIGHUP)
            eventually(lambda: shown_to(proxy) == newer.leaf, "the new certificate is shown", 30)  # noqa: B023
            assert wire.value("select 1") == "1"
            with TlsWire.encrypted(proxy.address, client_context(certificates.ca)) as bound:
                bound.binding = bound.end_point
                assert bound.enter("app", PASSWORDS["app"], DATABASE).value("select 1") == "1"


def test_a_login_across_the_change_is_bound_to_what_it_was_shown(
    stage: Stage, certificates: Certificates
) -> None:
    own = certificates.copy(certificates.server, "across")
    proxy = stage.fresh(**tls_settings(certificates, identity=own))
    with TlsWire.encrypted(proxy.address) as wire:
        own.replace_by(certificates.server_rsa)
        proxy.process.send_signal(signal.SIGHUP)
        eventually(
            lambda: shown_to(proxy) == certificates.server_rsa.leaf, "the new certificate is shown", 30
        )
        wire.binding = wire.end_point
        assert wire.enter("app", PASSWORDS["app"], DATABASE).value("select 1") == "1"


@pytest.mark.parametrize("broken", [b"", b"nothing in PEM", None], ids=["empty", "nonsense", "gone"])
def test_a_certificate_that_is_broken(stage: Stage, certificates: Certificates, broken: bytes | None) -> None:
    """The old one stays, the log says so, and the next whole one is taken."""
    stage.expect_log("certificate not renewed")
    own = certificates.copy(certificates.server, "broken")
    proxy = stage.fresh(**tls_settings(certificates, identity=own))
    if broken is None:
        own.certificate.unlink()
    else:
        own.certificate.write_bytes(broken)
    proxy.process.send_signal(signal.SIGHUP)
    line = proxy.wait_log(lambda line: line["event"] == "certificate not renewed")
    assert str(own.certificate) in line["reason"]
    assert shown_to(proxy) == certificates.server.leaf
    own.replace_by(certificates.server_rsa)
    eventually(lambda: shown_to(proxy) == certificates.server_rsa.leaf, "the new certificate is shown", 30)


def test_authorities_that_are_replaced(stage: Stage, certificates: Certificates) -> None:
    """Whom they let in is in; who comes after them is not."""
    authorities = certificates.folder / "authorities.pem"
    authorities.write_bytes(certificates.client_ca.read_bytes())
    proxy = stage.fresh(**tls_settings(certificates, "verify-full", tls_ca_file=str(authorities)))
    context = client_context(certificates.ca, certificates.app)

    def enter() -> TlsWire:
        return TlsWire.encrypted(proxy.address, context).enter("app", PASSWORDS["app"], DATABASE)

    with enter() as wire:
        authorities.write_bytes(certificates.stranger_ca.read_bytes())
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_log(lambda line: line["event"] == "certificate renewed")
        with pytest.raises((ssl.SSLError, ConnectionError), match=r"(?i)unknown ca|reset|pipe"):
            enter()
        assert wire.value("select 1") == "1"
