"""Limits before the login, over real sockets: connections of an address, logins at once, wrong passwords.

Loopback has many addresses: 127.0.0.2 and 127.0.0.3 are two clients' here.
"""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Address, Wire, WireError

HERE, THERE = "127.0.0.2", "127.0.0.3"
LIMIT = 3


def login(proxy: ProxyProcess, source: str = HERE, password: str = "", user: str = "app") -> Wire:
    return Wire.login(proxy.address, user, password or PASSWORDS[user], DATABASE, source=source)


def connect(proxy: ProxyProcess, source: str = HERE) -> Wire:
    return Wire(proxy.address, source=source)


def guess(address: Address, source: str = "", ahead: bytes = b"", user: str = "app") -> Wire:
    """A wrong proof has been sent; nobody has read what is said to it."""
    wire = Wire(address, source=source)
    wire.send(ahead + m.startup({"user": user, "database": DATABASE}))
    wire.read()
    wire.send(m.message("p", b"md5" + b"0" * 32 + b"\0"))
    return wire


def silent(*wires: Wire) -> bool:
    """Whether none of these has been told anything."""
    return not select.select([wire.sock for wire in wires], [], [], 0)[0]


# Connections of an address.


@pytest.fixture
def limited(stage: Stage) -> ProxyProcess:
    """Whoever says nothing stays for as long as a test takes."""
    stage.expect_log("login refused")
    return stage.fresh(max_connections_per_address=LIMIT)


def is_full(proxy: ProxyProcess, source: str = HERE) -> bool:
    return refusal(lambda: login(proxy, source)) == "53300"


def refusal(log_in: Callable[[], Wire]) -> str:
    """The SQLSTATE that a login is refused with; empty, where it is not."""
    try:
        log_in().close()
    except WireError as error:
        return error.sqlstate
    return ""


def has_room(proxy: ProxyProcess, source: str = HERE) -> None:
    """For LIMIT connections exactly, once those that have left are known to have."""

    def filled() -> bool:
        with contextlib.ExitStack() as stack:
            try:
                for _ in range(LIMIT):
                    stack.enter_context(login(proxy, source))
            except WireError:
                return False
            assert is_full(proxy, source)
            return True

    eventually(filled, f"room for {LIMIT} from {source}")


def test_logins_and_clients_of_an_address_count(limited: ProxyProcess) -> None:
    with login(limited) as client, connect(limited), connect(limited), login(limited, THERE):
        with pytest.raises(WireError, match=r"53300.*max_connections_per_address"):
            login(limited)
        assert not is_full(limited, THERE)
        assert client.value("select 1") == "1"
    has_room(limited)
    line = limited.wait_log(lambda line: line.get("sqlstate") == "53300")
    assert line["client"].startswith(HERE)
    assert limited.metrics().value("poolproxy_rejections_total", reason="too_many_from_address") >= 1


def orderly(proxy: ProxyProcess) -> None:
    login(proxy).close()


def vanishing(proxy: ProxyProcess) -> None:
    wire = login(proxy)
    wire.send(m.query("begin"))
    wire.vanish()


def wrong(proxy: ProxyProcess) -> None:
    with pytest.raises(WireError, match="28P01"):
        login(proxy, password="wrong")


def nowhere(proxy: ProxyProcess) -> None:
    with pytest.raises(WireError, match="3D000"):
        Wire.login(proxy.address, "app", PASSWORDS["app"], "nowhere", source=HERE)


def nonsense(proxy: ProxyProcess) -> None:
    with connect(proxy) as wire:
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        wire.read_to_end()


def nonsense_later(proxy: ProxyProcess) -> None:
    with login(proxy) as wire:
        wire.send(b"\0" * 10)
        wire.read_to_end()


def half(proxy: ProxyProcess) -> None:
    with connect(proxy) as wire:
        wire.send(m.startup({"user": "app"})[:9])
        wire.vanish()


def cancelling(proxy: ProxyProcess) -> None:
    with connect(proxy) as wire:
        wire.send(m.cancel_request(1, b"none"))
        assert wire.read_to_end() == []


def refused(proxy: ProxyProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(connect(proxy))
        assert is_full(proxy)


@pytest.mark.parametrize(
    "way", [orderly, vanishing, wrong, nowhere, nonsense, nonsense_later, half, cancelling, refused]
)
def test_every_way_to_leave_gives_the_place_back(
    limited: ProxyProcess, way: Callable[[ProxyProcess], None]
) -> None:
    for _ in range(LIMIT + 1):
        way(limited)
    has_room(limited)


def test_who_says_nothing_for_too_long_gives_the_place_back(stage: Stage) -> None:
    stage.expect_log("login refused")
    proxy = stage.fresh(max_connections_per_address=LIMIT, client_login_timeout=1)

    def silence(_: int) -> None:
        with connect(proxy) as wire:
            assert m.errors(wire.read_to_end()) == ["08P01"]

    silence(0)
    with ThreadPoolExecutor(LIMIT) as threads:
        list(threads.map(silence, range(LIMIT)))
    has_room(proxy)


def test_a_cancel_gets_through_beyond_the_limit(stage: Stage, direct: Direct) -> None:
    stage.expect_log("login refused")
    proxy = stage.fresh(max_connections_per_address=1)
    with login(proxy) as client:
        client.send(m.query("select pg_sleep(60)"))
        direct.wait_running("pg_sleep(60)")
        with connect(proxy) as other:
            other.send(m.cancel_request(client.pid, client.key))
            assert other.read_to_end() == []
        assert m.errors(client.read_ready()) == ["57014"]


def test_whom_a_balancer_forwards_counts(stage: Stage) -> None:
    """Its own address never does."""
    stage.expect_log("login refused")
    proxy = stage.fresh(max_connections_per_address=1, proxy_protocol_networks=["127.0.0.0/8"])

    def forwarded(host: str) -> Wire:
        wire = connect(proxy)
        try:
            packet = m.startup({"user": "app", "database": DATABASE})
            wire.send(f"PROXY TCP4 {host} 192.0.2.9 51000 5432\r\n".encode() + packet)
            wire.authenticate("app", PASSWORDS["app"])
        except BaseException:
            wire.close()
            raise
        return wire

    with connect(proxy), connect(proxy), forwarded("198.51.100.1"), forwarded("198.51.100.2"):
        assert refusal(lambda: forwarded("198.51.100.1")) == "53300"
    eventually(lambda: not refusal(lambda: forwarded("198.51.100.1")), "the place to be given back")
    line = proxy.wait_log(lambda line: line.get("sqlstate") == "53300")
    assert line["client"] == "198.51.100.1:51000"


# Wrong passwords.


@pytest.fixture
def guarded(stage: Stage) -> ProxyProcess:
    """Answers to wrong passwords take so long that nobody hears one by chance."""
    stage.expect_log("login refused")
    return stage.fresh(auth_method="md5", failed_login_delay=60)


@pytest.fixture
def guessers(guarded: ProxyProcess) -> Iterator[list[Wire]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(guess(guarded.address, HERE, user=user)) for user in ("app", "nobody") * 5]


def test_a_right_password_is_answered_while_wrong_ones_wait(
    guarded: ProxyProcess, guessers: list[Wire]
) -> None:
    """From the same address, from another one, as the same user: at once."""
    guarded.wait_log(lambda line: line.get("event") == "login refused")
    for source in (HERE, THERE):
        for user in ("app", "md5user"):
            with login(guarded, source, user=user) as client:
                assert client.value("select current_user") == user
    eventually(
        lambda: guarded.metrics().value("poolproxy_logins_total", method="md5", result="failed") == 10,
        "all guesses counted, answered or not",
    )
    assert guarded.metrics().value("poolproxy_clients_in_login") == 0
    assert silent(*guessers)


def test_the_end_of_the_proxy_waits_for_no_answer(guarded: ProxyProcess, guessers: list[Wire]) -> None:
    eventually(
        lambda: guarded.metrics().value("poolproxy_logins_total", method="md5", result="failed") == 10,
        "all guesses counted",
    )
    assert silent(*guessers)
    assert guarded.stop() == 0
    for wire in guessers:
        assert m.errors(wire.read_to_end()) == ["28P01"]


def test_wrong_passwords_take_longer_each_time(stage: Stage) -> None:
    """Those of known users and of others: with settings as they come, 0.2 s, 0.4 s, 0.8 s, ..."""
    stage.expect_log("login refused")
    url = stage.settings()["databases"][DATABASE]["url"]
    users = {user: {"password": password} for user, password in PASSWORDS.items() if password}
    proxy = stage.fresh(plain=True, databases={DATABASE: {"url": url}}, users=users)
    for seconds, user in zip((0.2, 0.4, 0.8, 1.6), ("app", "nobody") * 2, strict=True):
        began = time.monotonic()
        with pytest.raises(WireError, match="28P01"):
            login(proxy, password="wrong", user=user)
        assert time.monotonic() - began >= seconds


def test_over_a_unix_socket_they_are_slow_as_well(stage: Stage) -> None:
    with tempfile.TemporaryDirectory(prefix="pp") as folder:
        stage.expect_log("login refused")
        proxy = stage.fresh(auth_method="md5", failed_login_delay=60, unix_socket_dir=folder)
        path = str(Path(folder) / f".s.PGSQL.{proxy.port}")
        with guess(path) as guesser:
            proxy.wait_log(lambda line: line.get("event") == "login refused")
            with Wire.login(path, "app", PASSWORDS["app"], DATABASE) as client:
                assert client.value("select 1") == "1"
            assert silent(guesser)


def test_guesses_of_an_address_are_bounded_with_its_connections(stage: Stage) -> None:
    """Who hangs up and does not wait for his answer has not gained a place for another guess."""
    stage.expect_log("login refused")
    proxy = stage.fresh(auth_method="md5", failed_login_delay=60, max_connections_per_address=LIMIT)
    for number in range(LIMIT):
        guess(proxy.address, HERE).close()
        eventually(
            lambda count=number + 1: (  # type: ignore[misc]
                proxy.metrics().value("poolproxy_logins_total", method="md5", result="failed") == count
            ),
            "the guess to be counted",
        )
    assert is_full(proxy)
    assert not is_full(proxy, THERE), "the same user from another address"


# Logins at once.


def silent_sockets(stack: contextlib.ExitStack, proxy: ProxyProcess, count: int) -> None:
    for _ in range(count):
        stack.enter_context(socket.create_connection(proxy.address))


@pytest.fixture
def many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


@pytest.mark.usefixtures("many_files")
def test_two_thousand_silent_sockets_keep_nobody_out(stage: Stage, direct: Direct) -> None:
    """As many as may log in at once, with settings as they come: clients go on, get servers and log in, a
    cancel request gets through, and HTTP answers."""
    stage.expect_log("accepting paused|login refused")
    proxy = stage.fresh()
    with contextlib.ExitStack() as stack, proxy.login() as inside:
        silent_sockets(stack, proxy, 2000)
        proxy.wait_log(lambda line: line.get("event") == "accepting paused: no room for more connections")
        assert inside.value("select 1") == "1"
        with proxy.login() as client:
            client.send(m.query("select pg_sleep(60)"))
            direct.wait_running("pg_sleep(60)")
            with Wire(proxy.address) as other:
                other.send(m.cancel_request(client.pid, client.key))
            assert m.errors(client.read_ready()) == ["57014"]
        assert proxy.get("/health")[0] == 200
    assert proxy.metrics().value("poolproxy_accept_pauses_total", reason="logins") >= 1
    assert proxy.metrics().value("poolproxy_accept_pauses_total", reason="clients") == 0


def test_a_storm_of_more_logins_than_may_be_under_way(stage: Stage) -> None:
    """Nobody is refused: who comes while the others log in waits, and is in when it is its turn."""
    stage.expect_log("accepting paused")
    proxy = stage.fresh(max_logins=3)
    stuck = [socket.create_connection(proxy.address) for _ in range(2)]  # one place is left for all others

    def one(_: int) -> str | None:
        with proxy.login() as client:
            return client.value("select 1")

    with ThreadPoolExecutor(30) as threads:
        answers = list(threads.map(one, range(60)))
    assert answers == ["1"] * 60
    for sock in stuck:
        sock.close()
    scrape = proxy.metrics()
    assert scrape.by("poolproxy_rejections_total", "reason") == {}
    assert scrape.value("poolproxy_accept_pauses_total", reason="logins") >= 1
