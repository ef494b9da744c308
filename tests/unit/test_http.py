"""The HTTP server over real sockets: what a scraper, a probe, and a client that means no good may send it."""

from __future__ import annotations

import asyncio
import functools
import gzip
import http.client
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Set
from typing import Any, TypeVar

import pytest
import uvloop
from prometheus_client.openmetrics import parser as openmetrics_parser

from poolproxy import http as product
from poolproxy.event_loop import EventLoop
from poolproxy.http import HttpServer, Piece, blocks, start_http, wants_openmetrics, weights
from poolproxy.metrics import render
from poolproxy.transport.poller import Poller
from tests.fakes.snapshots import BusySource

T = TypeVar("T")
parse_openmetrics: Any = openmetrics_parser.text_string_to_metric_families
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=0.0.4;q=0.25,*/*;q=0.1"
)


class Running:
    """A server on an event loop in a thread of its own, so that tests may block on plain sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        self.ready = True
        self.loop = loop
        self.thread = threading.Thread(target=loop.run_forever)
        self.thread.start()
        options = {"render": functools.partial(render, BusySource(pools=3)), **options}
        self.server: HttpServer = self.run(start_http("127.0.0.1", 0, is_ready=lambda: self.ready, **options))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=20)

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        client.settimeout(20)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.server.port))
        return client

    def raw(self, data: bytes) -> bytes:
        """Everything answered up to the server's closing."""
        with self.connect() as client:
            client.sendall(data)
            return everything(client)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    async def _tasks_left(self) -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    def stop(self) -> None:
        """Close; fails when a task of the server is left."""
        try:
            self.run(self.server.close())
            left = self.run(self._tasks_left())
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(20)
            self.loop.close()
        assert not left


def everything(client: socket.socket) -> bytes:
    """All bytes up to the server's closing; a reset ends them too."""
    found = bytearray()
    try:
        while chunk := client.recv(65536):
            found += chunk
    except ConnectionResetError:
        pass
    return bytes(found)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def answered(client: socket.socket) -> int:
    """The status of one answer, read to its end on a connection that stays open."""
    response = http.client.HTTPResponse(client)
    response.begin()
    response.read()
    return response.status


Start = Callable[..., Running]


def ours() -> EventLoop:
    """The loop that the proxy runs on."""
    return EventLoop(Poller(lambda pollable, error: None))


@pytest.fixture(
    params=[ours, asyncio.new_event_loop, uvloop.new_event_loop], ids=["ours", "asyncio", "uvloop"]
)
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    running: list[Running] = []

    def starting(**options: Any) -> Running:
        running.append(Running(request.param(), **options))
        return running[-1]

    yield starting
    for one in running:
        one.stop()


@pytest.fixture
def served(start: Start) -> Running:
    return start()


def test_health(served: Running) -> None:
    served.ready = False  # alive all the same
    response, body = served.get("/health")
    assert (response.status, body) == (200, b"alive\n")


def test_ready_follows_the_app(served: Running) -> None:
    assert served.get("/ready")[0].status == 200
    served.ready = False
    response, body = served.get("/ready")
    assert response.status == 503
    assert b"draining" in body


def test_metrics_in_both_formats(served: Running) -> None:
    response, body = served.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"] == product.PROMETHEUS_TEXT
    assert b"poolproxy_clients{" in body
    response, body = served.get("/metrics?any=thing", Accept=PROMETHEUS)
    assert response.headers["Content-Type"] == product.OPENMETRICS_TEXT
    assert len(list(parse_openmetrics(body.decode()))) > 30


def test_metrics_compressed_when_asked(served: Running) -> None:
    response, body = served.get("/metrics", Accept_Encoding="gzip")
    assert response.headers["Content-Encoding"] == "gzip"
    text = gzip.decompress(body)
    assert text.count(b"poolproxy_clients{") == 9
    assert len(body) < len(text) / 5
    response, body = served.get("/metrics", Accept_Encoding="gzip;q=0, identity")
    assert response.headers["Content-Encoding"] is None
    assert b"poolproxy_clients{" in body


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/nowhere"])
def test_head_is_get_without_the_body(served: Running, path: str) -> None:
    got, body = served.get(path)
    head, nothing = served.get(path, method="HEAD")
    assert (head.status, nothing) == (got.status, b"")
    assert abs(int(head.headers["Content-Length"]) - len(body)) < 20  # CPU time has more digits by then
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    answer = served.raw(f"HEAD {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/health/../metrics", "*", "//metrics"])
def test_other_paths(served: Running, path: str) -> None:
    answer = served.raw(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    assert status(answer) == 404


def test_absolute_targets(served: Running) -> None:
    answer = served.raw(b"GET http://proxy:9127/health?x HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert status(answer) == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_other_methods(served: Running, method: str) -> None:
    answer = served.raw(f"{method} /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".encode())
    assert status(answer) == 405
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", 400),
        (b"GET /health", 400),
        (b"GET /health HTTP/2.0", 505),
        (b"GET /health FTP/1.1", 400),
        (b"GET http://[::1/health HTTP/1.1", 400),
        (b"GET /health HTTP/1.1\r\nno colon", 400),
        (b"GET /health HTTP/1.1\r\n: no name", 400),
        (b"GET /health HTTP/1.1\r\nSpaced : name", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: 1", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5", 400),
        (b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", 400),
    ],
)
def test_malformed_requests(served: Running, head: bytes, expected: int) -> None:
    answer = served.raw(head + b"\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
    assert status(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == 1  # what followed is not taken for a request
    assert b"\r\nConnection: close\r\n" in answer


def test_a_request_in_single_bytes(served: Running) -> None:
    with served.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /health HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n":
            client.sendall(bytes((byte,)))
        assert everything(client).endswith(b"\r\n\r\nalive\n")


def test_a_connection_is_kept(served: Running) -> None:
    with served.connect() as client:
        for _ in range(3):
            client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert answered(client) == 200
        client.sendall(b"GET /ready HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = everything(client)
    assert status(answer) == 200
    assert b"HTTP/1.1 404 " in answer


@pytest.mark.parametrize(
    "request_line", [b"GET /health HTTP/1.0", b"GET /health HTTP/1.1\r\nConnection: Close"]
)
def test_a_connection_is_closed_when_asked(served: Running, request_line: bytes) -> None:
    answer = served.raw(request_line + b"\r\n\r\n")
    assert status(answer) == 200
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize("size", [product.MAX_REQUEST + 1, 200_000])
def test_oversized_requests(served: Running, size: int) -> None:
    """Cut off although the headers never end; the answer survives what was sent after it."""
    answer = served.raw(b"GET /health HTTP/1.1\r\nX: ".ljust(size, b"x"))
    assert status(answer) == 431


def test_a_large_request_within_the_limit(served: Running) -> None:
    head = b"GET /health HTTP/1.1\r\nConnection: close\r\nX: ".ljust(product.MAX_REQUEST, b"x")
    assert status(served.raw(head + b"\r\n\r\n")) == 200


def test_a_client_that_does_not_finish_is_cut(start: Start) -> None:
    served = start(request_timeout=0.2)
    assert status(served.raw(b"GET /health HTTP/1.1\r\nHost")) == 408


def test_a_silent_client_is_cut_without_a_word(start: Start) -> None:
    served = start(request_timeout=0.2)
    assert served.raw(b"") == b""


def test_a_client_that_drips_is_cut(start: Start) -> None:
    """The deadline is for the whole request, not for the next byte."""
    served = start(request_timeout=0.3)
    with served.connect() as client:
        try:
            while True:
                client.sendall(b"X")
                client.settimeout(0.02)
                try:
                    first = client.recv(65536)
                    break
                except TimeoutError:
                    client.settimeout(20)
        except (ConnectionResetError, BrokenPipeError):
            pytest.fail("reset before the answer could be read")
    assert status(first) == 408


def test_a_client_that_does_not_read_is_cut(start: Start) -> None:
    """Its page is given up at the deadline; others are served meanwhile."""
    length = 32 * 1024 * 1024

    async def huge(_: bool, names: Set[str]) -> list[Piece]:
        return [bytearray(length)]

    served = start(render=huge, send_timeout=0.5)
    with served.connect(receive_buffer=4096) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert served.get("/health")[0].status == 200
        # Connections end in the order of their deadlines, and this one's comes after the stalled one's.
        with served.connect(receive_buffer=4096) as later:
            later.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert len(drained_after_close(served, later)) < length
        assert len(everything(client)) < length


def drained_after_close(served: Running, client: socket.socket) -> bytes:
    """What was sent to a client that began to read only when the server had given it up."""

    async def given_up() -> None:
        while served.server._connections:  # ends by another task's deadline
            await asyncio.sleep(0.01)

    served.run(given_up())
    return everything(client)


def test_a_client_that_leaves_early_does_no_harm(served: Running) -> None:
    for request in (b"", b"GET /me", b"GET /metrics HTTP/1.1\r\n\r\n"):
        served.connect().close()
        with served.connect() as client:
            client.sendall(request)
    assert served.get("/health")[0].status == 200


def test_more_connections_than_allowed(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "MAX_CONNECTIONS", 2)
    held = [served.connect() for _ in range(2)]
    for client in held:
        client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert answered(client) == 200
    assert status(served.raw(b"")) == 503
    for client in held:
        client.close()

    async def free() -> None:
        while served.server._connections:
            await asyncio.sleep(0.01)

    served.run(free())
    assert served.get("/health")[0].status == 200


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("name[]=poolproxy_pool_size", {"poolproxy_pool_size"}),
        ("name%5B%5D=poolproxy_pool_size&name[]=poolproxy_tasks", {"poolproxy_pool_size", "poolproxy_tasks"}),
        ("name[]=nobody_has_it", set()),
        ("other=poolproxy_tasks&name=poolproxy_tasks", None),
        ("", None),
    ],
)
def test_a_scrape_of_some_metrics_only(served: Running, query: str, shown: set[str] | None) -> None:
    response, body = served.get(f"/metrics?{query}")
    assert response.status == 200
    found = {line.split(b" ")[2].decode() for line in body.splitlines() if line.startswith(b"# TYPE")}
    if shown is None:
        assert len(found) > 40
    else:
        assert found == shown


def test_a_query_of_too_many_names_is_refused(served: Running) -> None:
    assert served.get("/metrics?" + "&".join(["name[]=x"] * 101))[0].status == 400
    assert served.get("/metrics")[0].status == 200


def test_scrapes_take_turns(start: Start) -> None:
    running: list[int] = [0]
    most: list[int] = [0]

    async def watched(openmetrics: bool, names: Set[str]) -> list[Piece]:
        running[0] += 1
        most[0] = max(most[0], running[0])
        pieces = await render(BusySource(pools=20), openmetrics, names)
        running[0] -= 1
        return pieces

    served = start(render=watched)
    clients = [served.connect() for _ in range(4)]
    for client in clients:
        client.sendall(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
    for client in clients:
        assert status(everything(client)) == 200
        client.close()
    assert most[0] == 1


def test_a_failing_scrape_is_logged_and_answered(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    async def failing(_: bool, names: Set[str]) -> list[Piece]:
        raise RuntimeError("broken snapshot")

    served = start(render=failing)
    assert served.get("/metrics")[0].status == 500
    assert served.get("/health")[0].status == 200
    assert "broken snapshot" in capfd.readouterr().err


def test_close_drops_connections_and_frees_the_port(start: Start) -> None:
    served = start()
    client = served.connect()
    client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
    assert answered(client) == 200
    port = served.server.port
    served.run(served.server.close())
    assert everything(client) == b""
    client.close()
    again = served.run(start_http("127.0.0.1", port, functools.partial(render, BusySource()), lambda: True))
    assert again.port == port
    served.run(again.close())


def test_a_taken_port_is_an_error(served: Running) -> None:
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
        served.run(start_http("127.0.0.1", served.server.port, functools.partial(render, BusySource()), bool))


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0,text/plain", False),
        ("application/openmetrics-text;q=0.5,text/plain;version=0.0.4;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("APPLICATION/OpenMetrics-Text;Q=0.9, text/plain;q=0.1", True),
        (PROMETHEUS, True),
        (";;,=,;q=,", False),
    ],
)
def test_content_negotiation(accept: str, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics


def test_weights() -> None:
    assert weights("gzip;q=0.5, br, identity;q=0") == {"gzip": 0.5, "br": 1.0, "identity": 0.0}


def test_blocks_keep_the_bytes_and_bound_their_size() -> None:
    pieces: list[Piece] = [b"head", bytearray(range(256)) * 1000, b"", b"tail"]
    made = list(blocks(pieces))
    assert b"".join(made) == b"".join(pieces)
    assert max(map(len, made)) < 2 * product.PIECE
