"""The first packet: any split, any length, any bytes."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poolproxy.errors import MissingUser, ProtocolViolation, UnsupportedProtocol
from poolproxy.protocol import codes, messages
from poolproxy.protocol.startup import (
    CancelRequest,
    FirstPacket,
    GssEncRequest,
    SslRequest,
    StartupMessage,
    negotiation,
    read_first_packet,
)

# What fits in a startup packet: bytes without zero, and names that are not empty.
values = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"z"))
names = values.filter(bool)


def packet(code: int, body: bytes) -> bytes:
    return struct.pack("!II", len(body) + 8, code) + body


def startup(body: bytes, code: int = codes.PROTOCOL_3_0) -> bytes:
    return packet(code, body)


def read(data: bytes) -> FirstPacket:
    """The one packet that is all of `data`."""
    answer = read_first_packet(data)
    assert answer is not None
    assert answer[1] == len(data)
    return answer[0]


def read_startup(data: bytes) -> StartupMessage:
    found = read(data)
    assert isinstance(found, StartupMessage)
    return found


class TestStartupMessage:
    def test_reads_version_and_parameters(self) -> None:
        found = read_startup(startup(b"user\0bob\0database\0shop\0\0", codes.PROTOCOL_3_2))
        assert found == StartupMessage(3, 2, {"user": "bob", "database": "shop"})
        assert (found.user, found.database) == ("bob", "shop")

    @pytest.mark.parametrize("body", [b"user\0bob\0\0", b"user\0bob\0database\0\0\0"])
    def test_database_defaults_to_the_user(self, body: bytes) -> None:
        assert read_startup(startup(body)).database == "bob"

    def test_the_last_of_equal_names_counts(self) -> None:
        assert read_startup(startup(b"user\0bob\0user\0eve\0\0")).user == "eve"

    def test_protocol_options_are_set_apart(self) -> None:
        found = read_startup(startup(b"user\0bob\0_pq_.shiny\0on\0_pq_.b\0\0\0"))
        assert found.options_unknown == ("_pq_.shiny", "_pq_.b")
        assert found.parameters == {"user": "bob"}

    @given(st.dictionaries(names, values, max_size=20))
    @settings(deadline=None)
    def test_bytes_of_any_kind_survive_the_round_trip(self, pairs: dict[bytes, bytes]) -> None:
        given_pairs = {name: value for name, value in pairs.items() if not name.startswith(b"_pq_.")}
        given_pairs[b"user"] = b"\xff\xfe bob"
        body = b"".join(name + b"\0" + value + b"\0" for name, value in given_pairs.items()) + b"\0"
        found = read_startup(startup(body)).parameters
        assert {messages.encoded(n): messages.encoded(v) for n, v in found.items()} == given_pairs

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"user",
            b"user\0bob",
            b"user\0bob\0",
            b"user\0\0",
            b"user\0bob\0\0\0",
            b"user\0bob\0\0database\0shop\0\0",
            b"\0bob\0\0",
            b"\0\0\0",
            b"\0user\0bob\0\0",
        ],
    )
    def test_a_wrong_layout_is_refused(self, body: bytes) -> None:
        with pytest.raises(ProtocolViolation, match="layout"):
            read_first_packet(startup(body))

    @pytest.mark.parametrize("body", [b"\0", b"database\0shop\0\0", b"user\0\0\0"])
    def test_a_user_is_needed(self, body: bytes) -> None:
        with pytest.raises(MissingUser):
            read_first_packet(startup(body))

    @pytest.mark.parametrize(("major", "minor"), [(2, 0), (4, 0), (0, 0), (1234, 1), (0x47, 0x4554)])
    def test_another_major_version_is_refused_before_its_body_has_come(self, major: int, minor: int) -> None:
        with pytest.raises(UnsupportedProtocol, match=rf"protocol {major}\.{minor}"):
            read_first_packet(struct.pack("!IHH", 5000, major, minor))


class TestRequests:
    def test_encryption(self) -> None:
        assert read(messages.ssl_request()) == SslRequest()
        assert read(messages.gssenc_request()) == GssEncRequest()

    @pytest.mark.parametrize("code", [codes.SSL_REQUEST, codes.GSSENC_REQUEST])
    def test_encryption_request_with_a_body_is_refused(self, code: int) -> None:
        with pytest.raises(ProtocolViolation, match="encryption request"):
            read_first_packet(struct.pack("!II", 9, code))

    @pytest.mark.parametrize("size", [4, 5, 32, 256])
    def test_cancel_keys_of_4_to_256_bytes(self, size: int) -> None:
        key = bytes(range(256))[:size]
        assert read(messages.cancel_request(77, key)) == CancelRequest(77, key)
        assert read(messages.cancel_request(-1, key)) == CancelRequest(-1, key)

    @pytest.mark.parametrize("size", [0, 3, 257, 9000])
    def test_other_cancel_keys_are_refused_at_the_header(self, size: int) -> None:
        with pytest.raises(ProtocolViolation, match="cancel request"):
            read_first_packet(struct.pack("!II", 12 + size, codes.CANCEL_REQUEST))

    def test_a_cancel_key_stays_out_of_the_repr(self) -> None:
        assert "secret" not in repr(CancelRequest(1, b"secret"))


class TestSplitsAndLengths:
    @given(st.data())
    @settings(deadline=None)
    def test_nothing_is_decided_until_the_last_byte(self, data: st.DataObject) -> None:
        whole = data.draw(
            st.sampled_from(
                [
                    messages.startup_message({"user": "bob", "options": "-c a=b"}),
                    messages.cancel_request(9, b"0123456789"),
                    messages.ssl_request(),
                    messages.gssenc_request(),
                ]
            )
        )
        cut = data.draw(st.integers(0, len(whole) - 1))
        rest = data.draw(st.binary(max_size=20))
        assert read_first_packet(whole[:cut]) is None
        assert read_first_packet(whole + rest) == (read(whole), len(whole))

    @given(st.integers(0, 0xFFFFFFFF).filter(lambda n: not 8 <= n <= codes.MAX_STARTUP_LENGTH))
    @example(0)
    @example(7)
    @example(codes.MAX_STARTUP_LENGTH + 1)
    @example(0x7FFFFFFF)
    @example(0x80000000)
    @example(0xFFFFFFFF)
    @settings(deadline=None)
    def test_a_length_out_of_range_is_refused_at_its_fourth_byte(self, length: int) -> None:
        claim = struct.pack("!I", length)
        assert read_first_packet(claim[:3]) is None
        with pytest.raises(ProtocolViolation, match="length of startup packet"):
            read_first_packet(claim)

    def test_the_largest_packet(self) -> None:
        room = codes.MAX_STARTUP_LENGTH - len(startup(b"user\0bob\0p\0\0\0"))
        assert read_startup(startup(b"user\0bob\0p\0" + b"x" * room + b"\0\0")).parameters["p"] == "x" * room

    @pytest.mark.parametrize(
        "noise", [b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("16030100f8010000f4"), b"\n" * 8]
    )
    def test_strangers_are_refused(self, noise: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            read_first_packet(noise)

    @given(st.integers(0, 80), st.sampled_from([0x00030000, 0x00030002, 80877102, 80877103, 7]), st.binary())
    @settings(deadline=None, max_examples=300)
    def test_any_bytes_give_a_packet_more_bytes_or_an_error_of_ours(
        self, length: int, code: int, body: bytes
    ) -> None:
        with contextlib.suppress(ProtocolViolation, UnsupportedProtocol, MissingUser):
            answer = read_first_packet(struct.pack("!II", length, code) + body)
            assert answer is None or 8 <= answer[1] == length


class TestNegotiation:
    def test_what_we_speak_needs_none(self) -> None:
        for minor in (0, 1, 2):
            assert negotiation(StartupMessage(3, minor, {"user": "bob"})) == b""

    def test_a_higher_version_is_answered_with_ours(self) -> None:
        # A grease version, as libpq sends it: length 12, version 3.2, no options.
        asked = StartupMessage(3, 9999, {"user": "bob"})
        assert negotiation(asked) == bytes.fromhex("76 0000000c 00030002 00000000")

    def test_unknown_options_are_named(self) -> None:
        asked = StartupMessage(3, 0, {"user": "bob"}, ("_pq_.a", "_pq_.b"))
        assert negotiation(asked) == bytes.fromhex("76 0000001a 00030000 00000002") + b"_pq_.a\0_pq_.b\0"
