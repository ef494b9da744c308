"""The HTTP side: `/metrics` for Prometheus, `/health` and `/ready` for whoever runs the container.

A small HTTP/1.1 server for exactly three pages: GET and HEAD, no request bodies. It shares its thread with
the data plane, so everything is bounded: a request's size, the time for sending it and for taking its answer,
the connections, and the bytes handled between two turns of the event loop. A database that is down is a
metric and never a failed probe: restarting the proxy would not bring it back.

Must not know what the metrics are, nor about pools or settings: it is given a function that renders a scrape.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

from poolproxy.log import get_logger
from poolproxy.transport.sockets import TcpOptions, listen_tcp

MAX_REQUEST: Final = 8192  #: bytes of a request line with its headers
MAX_FIELDS: Final = 100  #: in a query
MAX_CONNECTIONS: Final = 32  #: at once; one more is answered 503
BACKLOG: Final = 8  #: accepted at one go, so the most that are open beyond those
REQUEST_TIMEOUT: Final = 10.0  #: seconds for a whole request, the wait for it on a kept connection included
SEND_TIMEOUT: Final = 30.0  #: seconds for making an answer and the client's taking it
PIECE: Final = 16 * 1024  #: bytes compressed or written between two turns of the event loop

Piece: TypeAlias = bytes | bytearray
#: Renders a scrape, in OpenMetrics when told so, of the metrics of these names, or of all where there is
#: none; must let the loop run in between.
Render: TypeAlias = Callable[[bool, Set[str]], Awaitable[list[Piece]]]

TEXT: Final = "text/plain; charset=utf-8"
PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TEXT: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 1024 * 1024


class BadRequest(Exception):
    """What was sent gets this status, and its connection closes."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)


@dataclass(frozen=True, slots=True)
class Request:
    """A request line and its headers; names in lower case, repeated ones joined by commas (RFC 9110, 5.3).
    `names` are the values of `name[]` in its query: the way to narrow a scrape that Prometheus' client
    libraries have."""

    method: str
    path: str
    names: frozenset[str]
    headers: Mapping[str, str]
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Response:
    status: HTTPStatus
    pieces: list[Piece]
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


def parse_request(head: bytes) -> Request:
    """The request in `head`, which ends before the empty line. Raises BadRequest."""
    line, *header_lines = head.decode("latin-1").split("\r\n")
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequest(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if version.startswith("HTTP/") else HTTPStatus.BAD_REQUEST
        )
    headers: dict[str, str] = {}
    for header in header_lines:
        name, colon, value = header.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    try:
        parts = urlsplit(target)
        names = frozenset(parse_qs(parts.query, max_num_fields=MAX_FIELDS).get("name[]", ()))
    except ValueError:
        raise BadRequest(HTTPStatus.BAD_REQUEST) from None
    if method not in ("GET", "HEAD"):
        raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED)
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise BadRequest(HTTPStatus.BAD_REQUEST)  # a body we would have to skip to find the next request
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return Request(
        method, parts.path, names, headers, keep_alive=version == "HTTP/1.1" and "close" not in options
    )


def weights(accept: str) -> dict[str, float]:
    """What an Accept or Accept-Encoding header names, with weights (RFC 9110, 12.4.2); 0 = unwanted."""
    found: dict[str, float] = {}
    for item in accept.lower().split(","):
        value, *parameters = (part.strip() for part in item.split(";"))
        options = dict(parameter.partition("=")[::2] for parameter in parameters)
        if options.get("version", "1.0.0") not in ("0.0.4", "1.0.0"):
            continue
        try:
            weight = float(options.get("q", "1"))
        except ValueError:
            weight = 0.0
        found[value] = max(weight, found.get(value, 0.0))
    return found


def wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics is named, and not as less welcome than Prometheus' own text format."""
    found = weights(accept)
    return found.get("application/openmetrics-text", 0.0) > 0.0 and (
        found["application/openmetrics-text"] >= found.get("text/plain", 0.0)
    )


def blocks(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The same bytes in blocks of about `PIECE`: no small packets, no copy of everything at once."""
    gathered = bytearray()
    for piece in pieces:
        for start in range(0, len(piece), PIECE):
            gathered += piece[start : start + PIECE]
            if len(gathered) >= PIECE:
                yield bytes(gathered)
                gathered.clear()
    if gathered:
        yield bytes(gathered)


async def compressed(pieces: Iterable[Piece]) -> list[Piece]:
    """gzip, at its fastest level: a scrape shrinks to a tenth already. Lets the loop run after each block."""
    compressor = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS + 16)
    found: list[Piece] = []
    for block in blocks(pieces):
        found.append(compressor.compress(block))
        await asyncio.sleep(0)
    return [*found, compressor.flush()]


class HttpServer:
    """The listening server; made by `start_http`."""

    def __init__(
        self, render: Render, is_ready: Callable[[], bool], request_timeout: float, send_timeout: float
    ) -> None:
        self.port = 0  #: the real one, once listening
        self.request_timeout = request_timeout
        self.send_timeout = send_timeout
        self._render = render
        self._is_ready = is_ready
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._scrape = asyncio.Lock()

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError where the address cannot be had."""
        sockets = listen_tcp(host, port, TcpOptions())
        self.port = sockets[0].getsockname()[1]
        for sock in sockets:
            self._servers.append(
                await asyncio.start_server(self._accept, sock=sock, limit=MAX_REQUEST, backlog=BACKLOG)
            )

    async def close(self) -> None:
        """Stop listening and drop all connections; nothing of the server is left when this returns."""
        for server in self._servers:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    async def answer(self, request: Request) -> Response:
        """The page asked for."""
        if request.path == "/metrics":
            return await self._metrics(request)
        if request.path == "/health":
            return Response(HTTPStatus.OK, [b"alive\n"])
        if request.path == "/ready":
            if self._is_ready():
                return Response(HTTPStatus.OK, [b"ready\n"])
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, [b"not ready: draining, or not listening\n"])
        return Response(HTTPStatus.NOT_FOUND, [b"poolproxy serves /metrics, /health and /ready here\n"])

    async def _metrics(self, request: Request) -> Response:
        openmetrics = wants_openmetrics(request.headers.get("accept", ""))
        headers = {"Vary": "Accept, Accept-Encoding"}
        # One at a time: several scrapers must not take several slices of each turn of the loop.
        async with self._scrape:
            pieces = await self._render(openmetrics, request.names)
            if weights(request.headers.get("accept-encoding", "")).get("gzip", 0.0) > 0.0:
                pieces = await compressed(pieces)
                headers["Content-Encoding"] = "gzip"
        return Response(HTTPStatus.OK, pieces, OPENMETRICS_TEXT if openmetrics else PROMETHEUS_TEXT, headers)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            response = Response(HTTPStatus.SERVICE_UNAVAILABLE, [b"too many connections\n"])
            writer.write(head_of(response, keep_alive=False) + b"".join(response.pieces))
            writer.close()
            return
        connection = _Connection(self, reader, writer)
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)


class _Connection:
    """One client: its requests, one after the other."""

    def __init__(
        self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._received = bytearray()
        # drain() then waits until the kernel has taken everything: a deadline sees who does not read.
        writer.transport.set_write_buffer_limits(high=0)

    async def serve(self) -> None:
        """Answer requests until the client or a deadline ends it."""
        try:
            while await self._exchange():
                pass
            await self._linger()
        except OSError:  # the client is gone, or (TimeoutError) did not take its answer in time
            pass
        finally:
            self._writer.transport.abort()

    async def _exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            async with asyncio.timeout(self._server.request_timeout):
                head = await self._read_head()
            if head is None:
                return False
            request = parse_request(head)
        except BadRequest as error:
            return await self._send_status(error.status)
        except TimeoutError:
            return bool(self._received) and await self._send_status(HTTPStatus.REQUEST_TIMEOUT)
        async with asyncio.timeout(self._server.send_timeout):
            try:
                response = await self._server.answer(request)
            except Exception:
                get_logger().exception("http request failed", path=request.path)
                return await self._send_status(HTTPStatus.INTERNAL_SERVER_ERROR)
            await self._send(response, request.keep_alive, with_body=request.method == "GET")
        return request.keep_alive

    async def _read_head(self) -> bytes | None:
        """Up to the empty line that ends the headers; None when the client closed instead."""
        while (end := self._received.find(b"\r\n\r\n")) < 0 and len(self._received) <= MAX_REQUEST:
            chunk = await self._reader.read(MAX_REQUEST)
            if not chunk:
                return None
            self._received += chunk
        if not 0 <= end <= MAX_REQUEST:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        head = bytes(self._received[:end])
        del self._received[: end + 4]
        return head

    async def _send_status(self, status: HTTPStatus) -> bool:
        """An answer that says its status only, the last one of its connection."""
        headers = {"Allow": "GET, HEAD"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        response = Response(status, [f"{status.phrase}\n".encode()], headers=headers)
        async with asyncio.timeout(self._server.send_timeout):
            await self._send(response, keep_alive=False, with_body=True)
        return False

    async def _send(self, response: Response, keep_alive: bool, with_body: bool) -> None:
        for block in blocks([head_of(response, keep_alive), *(response.pieces if with_body else ())]):
            self._check_open()
            self._writer.write(block)
            await self._writer.drain()
            await asyncio.sleep(0)

    def _check_open(self) -> None:
        """A transport that has closed already raises other things on other event loops."""
        if self._writer.transport.is_closing():
            raise ConnectionResetError

    async def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes would reset the connection and lose our answer."""
        self._check_open()
        self._writer.write_eof()
        unread = _LINGER_BYTES
        async with asyncio.timeout(_LINGER_SECONDS):
            while unread > 0 and (chunk := await self._reader.read(MAX_REQUEST)):
                unread -= len(chunk)


def head_of(response: Response, keep_alive: bool) -> bytes:
    """Status line and headers, with the empty line that ends them."""
    headers = {
        "Date": formatdate(usegmt=True),
        "Content-Type": response.content_type,
        "Content-Length": str(sum(map(len, response.pieces))),
        "Cache-Control": "no-store",
        "Connection": "keep-alive" if keep_alive else "close",
        **response.headers,
    }
    lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def start_http(
    host: str,
    port: int,
    render: Render,
    is_ready: Callable[[], bool],
    *,
    request_timeout: float = REQUEST_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
) -> HttpServer:
    """Listen on `host`:`port` (0 = a free one, see `.port`). Raises OSError where that cannot be had.

    Timeouts in seconds. In the app `render` is `functools.partial(metrics.render, source)`.
    """
    server = HttpServer(render, is_ready, request_timeout, send_timeout)
    await server.listen(host, port)
    return server
