"""A TLS stream is a stream: what is written comes out, at any size and cut anywhere, and ends are told
apart."""

from __future__ import annotations

import contextlib
import gc
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolproxy.frontend.encrypting import ClientEncryption, Encryption
from poolproxy.tls import ClientTls, TlsFiles
from poolproxy.transport.client_hello import ClientHello
from poolproxy.transport.handshake import LIGHT, Accepting, Cost, Handshake, HandshakeFailed
from poolproxy.transport.stream import KEEP_LIMIT
from poolproxy.transport.tls_stream import TlsStream, whole_records
from poolproxy.transport.workers import Call, Done, Workers
from tests.unit.transport.table import Table, laid

AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("db.example")


def server_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    context.num_tickets = 0
    ISSUED.configure_cert(context)
    return context


def client_context(newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.maximum_version = newest
    AUTHORITY.configure_trust(context)
    return context


class Light(Cost):
    """However slow the machine is: the poller's own thread computes."""

    __slots__ = ()

    def of(self, group: int, step: int) -> float:
        return LIGHT / 2


class Here(Workers):
    """Computes at once, on the thread that asks."""

    def __init__(self) -> None:
        super().__init__(1, lambda call: None)

    def submit(self, since: float, call: Call, done: Done) -> None:
        try:
            result = call()
        except Exception as error:
            done(None, error)
        else:
            done(result, None)


class Line:
    """A stream of ours, and the far end as OpenSSL has it: bytes are carried between them when `carry` is
    called."""

    def __init__(
        self, table: Table, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, buffer: int = 0
    ) -> None:
        self.table = table
        self.plain, self.handler, self.sock = table.pair(buffer)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.far = client_context().wrap_bio(self.incoming, self.outgoing, server_hostname="db.example")
        self.stream: TlsStream | None = None
        self.failure: HandshakeFailed | None = None
        self.cost: Cost = Light()
        self.workers: Workers = Here()
        self.since = 0.0
        self.hellos: list[ClientHello] = []
        self.heard = b""
        self.ended = False
        self._begin(table, version)

    def _begin(self, table: Table, version: ssl.TLSVersion) -> None:
        context = server_context(version)
        Accepting(self.plain, context, self.workers, self.since, self._over, self.cost, self._look)

    def _look(self, hello: ClientHello) -> None:
        self.hellos.append(hello)

    def _over(self, stream: TlsStream | None, _: Handshake, failure: HandshakeFailed | None) -> None:
        self.failure = failure
        if stream is not None:
            self.stream = stream
            self.handler.stream = stream

    def carry(self) -> None:
        """All that either side has to say, until both are silent."""
        for _ in range(200):
            said = self.outgoing.read()
            if said:
                self.sock.setblocking(True)
                self.sock.sendall(said)
                self.sock.setblocking(False)
            self.table.settle()
            heard = self.table.heard(self.sock)
            self.incoming.write(heard)
            if not said and not heard:
                return

    def meet(self) -> TlsStream:
        """The handshake."""
        for _ in range(10):
            try:
                self.far.do_handshake()
            except ssl.SSLWantReadError:
                self.carry()
            else:
                break
        self.carry()
        assert self.stream is not None
        return self.stream

    def listen(self) -> bytes:
        """What the far end reads."""
        self.carry()
        while True:
            try:
                heard = self.far.read(65536)
            except ssl.SSLWantReadError:
                return self.heard
            except ssl.SSLZeroReturnError:
                heard = b""
            if not heard:
                self.ended = True
                return self.heard
            self.heard += heard


@pytest.fixture
def line(table: Table) -> Line:
    return Line(table)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ways(table: Table, version: ssl.TLSVersion) -> None:
    line = Line(table, version)
    stream = line.meet()
    line.far.write(b"hello")
    line.carry()
    assert line.handler.data == b"hello"
    stream.send(b"good day")
    assert line.listen() == b"good day"
    assert line.far.version() == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 131_072, 1_000_000])
def test_any_size(line: Line, size: int) -> None:
    stream = line.meet()
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    for start in range(0, size, 65_536):
        line.far.write(data[start : start + 65_536])
        line.carry()
    assert line.handler.data == data
    assert stream.write(bytearray(b"ab" + data), 2, size + 2) or stream.backlog
    assert line.listen() == data
    assert stream.backlog == 0


@given(
    st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=6),
    st.lists(st.integers(1, 30_000), max_size=20),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
def test_cut_anywhere(messages: list[bytes], cuts: list[int]) -> None:
    """Whatever arrives together or apart: records, and parts of records."""
    for table in laid_out():
        line = Line(table)
        line.meet()
        for message in messages:
            line.far.write(message)
        sealed = line.outgoing.read()
        for cut in cuts:
            line.sock.send(sealed[:cut])
            sealed = sealed[cut:]
            table.settle()
        line.sock.setblocking(True)
        line.sock.settimeout(20)
        while sealed:
            sealed = sealed[line.sock.send(sealed[:60_000]) :]
            table.settle()
        line.sock.setblocking(False)
        table.settle()
        assert line.handler.data == b"".join(messages)


def laid_out() -> Iterator[Table]:
    yield from laid()


def test_a_pause_holds_what_has_come(line: Line) -> None:
    stream = line.meet()
    stream.pause()
    line.far.write(b"later")
    line.carry()
    assert line.handler.data == b""
    stream.resume()
    line.carry()
    assert line.handler.data == b"later"


def test_a_pause_in_the_midst_of_a_chunk(line: Line) -> None:
    """What came with the bytes that made the reader pause is not lost, and not read before its time."""
    stream = line.meet()
    line.handler.on = lambda chunk: stream.pause()
    for number in range(40):
        line.far.write(bytes([number]) * 10_000)
    said = line.outgoing.read()
    sent = 0
    for _ in range(200):
        if sent < len(said):
            with contextlib.suppress(BlockingIOError):
                sent += line.sock.send(said[sent:])
        line.table.settle()
        stream.resume()
    assert line.handler.data == b"".join(bytes([number]) * 10_000 for number in range(40))
    assert KEEP_LIMIT >= 131_072


def test_a_full_socket_keeps_the_rest(table: Table) -> None:
    line = Line(table, buffer=4096)
    stream = line.meet()
    data = b"x" * 200_000
    assert not stream.write(data, 0, len(data))
    assert stream.backlog
    assert line.listen() == data
    assert "drained" in line.handler.told
    assert stream.backlog == 0


def test_a_farewell_is_an_end(line: Line) -> None:
    stream = line.meet()
    line.far.write(b"bye")
    with pytest.raises(ssl.SSLWantReadError):
        line.far.unwrap()
    line.carry()
    assert line.handler.data == b"bye"
    assert line.handler.lost == ["eof"]
    assert stream.closed


def test_the_end_of_the_connection_is_one_too(line: Line) -> None:
    line.meet()
    line.sock.close()
    line.table.settle()
    assert line.handler.lost == ["eof"]


def test_a_record_that_is_cut_off_is_never_read(line: Line) -> None:
    line.meet()
    line.far.write(b"half")
    line.sock.send(line.outgoing.read()[:-1])
    line.sock.close()
    line.table.settle()
    assert line.handler.data == b""
    assert line.handler.lost == ["eof"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"select 1", "wrong version number"),
        (b"\x17\x03\x03\x00\x05abcde", ""),
        (b"\x17\x03\x03\xff\xff", "length"),
    ],
)
def test_what_is_no_record_of_theirs_ends_it(line: Line, said: bytes, reason: str) -> None:
    line.meet()
    line.far.write(b"before")
    line.sock.send(line.outgoing.read() + said)
    line.table.settle()
    assert line.handler.data == b"before"
    (lost,) = line.handler.lost
    assert lost.startswith("TLS: ")
    assert reason in lost


def test_finishing_says_so(line: Line) -> None:
    stream = line.meet()
    stream.send(b"last words")
    stream.finish()
    assert line.listen() == b"last words"
    assert line.ended
    line.sock.close()
    line.table.settle()
    assert stream.closed


def test_what_came_with_the_end_of_the_handshake_is_read(line: Line) -> None:
    """A client may say its first words together with its last message of the handshake."""
    with pytest.raises(ssl.SSLWantReadError):
        line.far.do_handshake()
    line.carry()
    line.far.do_handshake()
    line.far.write(b"a" * 20_000)
    line.far.write(b"b" * 20_000)
    sealed = line.outgoing.read()
    line.sock.send(sealed[:-100])
    line.table.settle()
    assert line.handler.data == b"a" * 20_000 + b"b" * (16_384)
    line.sock.send(sealed[-100:])
    line.table.settle()
    assert line.handler.data == b"a" * 20_000 + b"b" * 20_000


def test_a_handshake_that_cannot_be_is_told(table: Table) -> None:
    line = Line(table)
    line.sock.send(b"\x16\x03\x01\x00\x04abcd")
    table.settle()
    assert line.failure is not None
    assert line.stream is None
    assert table.heard(line.sock)[:1] == b"\x15"  # an alert


def test_a_handshake_that_never_ends_has_an_end(table: Table) -> None:
    line = Line(table)
    line.sock.setblocking(True)
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + bytes(16_380)
    for _ in range(20):
        try:
            line.sock.sendall(record)
        except OSError:
            break
        table.settle()
        if line.failure is not None:
            break
    assert line.failure is not None


@given(st.binary(max_size=40))
def test_whole_records_of_anything(data: bytes) -> None:
    whole = whole_records(data, len(data))
    assert 0 <= whole <= len(data)
    assert whole_records(bytearray(data), len(data)) == whole


def test_whole_records() -> None:
    record = b"\x17\x03\x03\x00\x02ab"
    assert whole_records(record, len(record)) == 7
    assert whole_records(record, 6) == 0
    assert whole_records(record + record[:3], 10) == 7
    assert whole_records(b"\x00" + record, 8) == 8  # no record: all of it is for OpenSSL
    assert whole_records(b"\x17\x03\x03\xff\xff", 5) == 5
    with pytest.raises(ValueError, match="8 bytes of 7"):
        whole_records(record, 8)


def ours() -> int:
    """TLS objects of the server's side that are still there."""
    return sum(isinstance(each, ssl.SSLObject) and each.server_side for each in gc.get_objects())


class Entered(Line):
    """One whose handshake is begun as the front door begins it."""

    def __init__(self, table: Table, folder: Path) -> None:
        self._folder = folder
        super().__init__(table)

    def _begin(self, table: Table, version: ssl.TLSVersion) -> None:
        file = self._folder / "server.pem"
        ISSUED.private_key_and_cert_chain_pem.write_to_path(file)
        tls = ClientTls(TlsFiles(str(file), "", "", "", "TLSv1.2"))
        self._encryption = ClientEncryption(tls, "prefer", self.workers)
        self._encryption.begin(self.plain, 0.0, False, self._entered)

    def _entered(self, stream: TlsStream | None, shown: Encryption | None, error: Exception | None) -> None:
        self.stream = stream
        if stream is not None:
            assert shown is not None
            assert (shown.version, shown.server_name, shown.certificate) == ("TLSv1.3", "db.example", None)
            self.handler.stream = stream


@pytest.mark.parametrize("finished", [True, False])
def test_nothing_is_left_to_the_garbage_collector(table: Table, tmp_path: Path, finished: bool) -> None:
    """A TLS connection is some twelve KiB, and the collector comes when it comes."""
    gc.collect()
    gc.disable()
    try:
        before = ours()
        line = Entered(table, tmp_path)
        if finished:
            line.meet().close()
            line.stream = None
        else:
            line.plain.close()
        line.handler.stream = line.plain
        assert ours() == before
    finally:
        gc.enable()
