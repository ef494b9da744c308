"""Targets: where TLS records end, and what a client's hello says."""

from __future__ import annotations

from poolproxy.transport.client_hello import HelloRefused, first_word, is_hello, read_client_hello
from poolproxy.transport.tls_stream import whole_records
from tests.fuzz.readers import holds
from tests.fuzz.target import Target

#: What a record may have behind its header (RFC 5246, 6.2.3).
LONGEST = 16384 + 2048


def _records(data: bytes, size: int) -> list[bytes]:
    """What whole_records cuts off the front, one after the other, when the bytes come in pieces of a size.
    What is no record ends it."""
    found: list[bytes] = []
    kept = b""
    for start in range(0, len(data), size):
        kept += data[start : start + size]
        while kept:
            whole = whole_records(kept, len(kept))
            holds(0 <= whole <= len(kept), "more than there is")
            first = _first(kept)
            if first == 0:
                holds(whole == len(kept), "what is no record is waited for")
                return [*found, b"no record"]
            if first > len(kept):
                holds(whole == 0, "a part of a record")
                break
            holds(whole >= first, "a record is held back")
            found.append(kept[:first])
            kept = kept[first:]
    return found


def _first(data: bytes) -> int:
    """How many bytes the first record has, as far as can be told; 0 where it is none. Slow and simple."""
    if not 20 <= data[0] <= 23:
        return 0
    if len(data) < 5:
        return 5
    size = int.from_bytes(data[3:5], "big")
    return 5 + size if data[1] == 3 and size <= LONGEST else 0


def records(data: bytes) -> None:
    whole = _records(data, len(data) or 1)
    holds(_records(data, 7) == whole, "pieces are cut otherwise")
    for size in (0, len(data) // 2, len(data)):
        alone = whole_records(data[:size], size)
        holds(whole_records(data, size) == alone, "what stands behind was read")
        holds(whole_records(bytearray(data), size) == alone, "another buffer is read otherwise")


def client_hello(data: bytes) -> None:
    """As a handshake reads it: of whole records alone, and again while one is missing."""
    cut = data[: whole_records(data, len(data))]
    try:
        position = first_word(cut)
    except HelloRefused as refused:
        holds(len(cut) >= 64 * 5, str(refused))
        return
    holds(-1 <= position < max(1, len(cut)), "no position")
    if position < 0 or not is_hello(cut, position):
        return
    try:
        hello = read_client_hello(cut, position)
    except HelloRefused as refused:
        holds(refused.alert == 50 and len(str(refused)) < 60, "a refusal without a reason")
        return
    if hello is None:
        return
    holds(position + 5 + 42 <= hello.end <= len(cut), "more than there is")
    holds(not hello.ordinary or hello.group in (23, 24, 25, 29, 30), "a group that nobody has measured")
    holds(hello.end - position <= 64 * 5 + 16384 + 4, "too long")
    holds(hello.server_name is None or len(hello.server_name) < 65536, "a name that is none")
    again = read_client_hello(cut[: hello.end], position)
    holds(repr(again) == repr(hello), "what stands behind it was read")
    early = read_client_hello(
        cut[position : position + 5 + int.from_bytes(cut[position + 3 : position + 5])], 0
    )
    holds(early is None or early.end == hello.end - position, "it ends twice")


TARGETS = (
    Target(
        "records",
        records,
        (b"\x16\x03\x01", b"\x17\x03\x03\x00\x01", b"\x14\x03\x03\x00\x01\x01", b"\x48\x00"),
    ),
    Target(
        "client_hello",
        client_hello,
        (
            b"\x16\x03\x01",
            b"\x01\x00\x01",
            b"\x00\x33",
            b"\x00\x2b\x00\x03\x02\x03\x04",
            b"\x00\x0a",
            b"\x01\x04",
            b"\x00\x10",
        ),
    ),
)
