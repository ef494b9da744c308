"""PROXY headers of load balancers: who is believed to forward others, and who the client is then."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from poolproxy.protocol.proxy_header import SIGNATURE
from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError

V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 5432\r\n"
V2 = SIGNATURE + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, b"\xc0\0\2\1", b"\xc0\0\2\2", 51000, 5432)
UNKNOWN = b"PROXY UNKNOWN\r\n"
#: 0x20: the balancer's own connection, as for its health checks.
OWN = SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "hba"
    path.write_text("host all app 192.0.2.1/32 scram-sha-256\nhost all other 127.0.0.0/8 scram-sha-256\n")
    return str(path)


@pytest.fixture
def proxy(stage: Stage, rules: str) -> ProxyProcess:
    return stage.fresh(proxy_protocol_networks=["127.0.0.0/8"], auth_hba_file=rules)


def login(proxy: ProxyProcess, ahead: bytes, user: str = "app", bytewise: bool = False) -> Wire:
    wire = Wire(proxy.address)
    try:
        first = ahead + m.startup({"user": user, "database": DATABASE})
        wire.send_split(first, 1 if bytewise else len(first))
        wire.authenticate(user, PASSWORDS[user])
    except BaseException:
        wire.close()
        raise
    return wire


def client_in_log(proxy: ProxyProcess) -> str:
    return str(proxy.wait_log(lambda line: line.get("event") == "client logged in")["client"])


@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_the_client_is_whom_the_header_names(proxy: ProxyProcess, header: bytes, bytewise: bool) -> None:
    with login(proxy, header, bytewise=bytewise) as client:
        assert client.value("select current_user") == "app"
    assert client_in_log(proxy) == "192.0.2.1:51000"


@pytest.mark.parametrize("header", [UNKNOWN, OWN], ids=["unknown", "own"])
def test_a_header_that_names_nobody_leaves_the_balancers_address(proxy: ProxyProcess, header: bytes) -> None:
    with login(proxy, header, "other") as client:
        assert client.value("select current_user") == "other"
    assert client_in_log(proxy).startswith("127.0.0.1:")


def test_a_header_does_not_let_in_whom_the_rules_do_not(stage: Stage, proxy: ProxyProcess) -> None:
    stage.expect_log("28000|login")
    with pytest.raises(WireError, match=r'no pg_hba[.]conf entry for host "192[.]0[.]2[.]1", user "other"'):
        login(proxy, V2, "other")


@pytest.mark.parametrize("ahead", [b"", b"PROXY TCP4 nowhere\r\n"], ids=["none", "malformed"])
def test_from_there_a_header_must_come_first(stage: Stage, proxy: ProxyProcess, ahead: bytes) -> None:
    stage.expect_log("08P01|login")
    with pytest.raises(WireError, match=r"08P01.*PROXY header"):
        login(proxy, ahead, "other")
    with login(proxy, UNKNOWN, "other") as client:
        assert client.value("select 1") == "1"


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8"]], ids=["none listed", "others listed"])
def test_from_elsewhere_nobody_is_believed(
    stage: Stage, rules: str, header: bytes, networks: list[str]
) -> None:
    stage.expect_log("08P01|login")
    proxy = stage.fresh(proxy_protocol_networks=networks, auth_hba_file=rules)
    with Wire(proxy.address) as wire:
        wire.send(header)
        assert m.errors(wire.read_to_end()) == ["08P01"]


def test_a_cancel_request_comes_behind_one_too(stage: Stage, proxy: ProxyProcess) -> None:
    with login(proxy, V1) as client:
        client.send(m.query("select pg_sleep(60)"))
        stage.direct.wait_running("pg_sleep(60)")
        with Wire(proxy.address) as other:
            other.send(V2 + m.cancel_request(client.pid, client.key))
        assert m.errors(client.read_ready()) == ["57014"]
