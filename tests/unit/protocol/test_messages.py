"""Builders against the bytes of the manual, readers against builders, and both against hostile input."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy import errors
from poolproxy.errors import ProtocolViolation, UnexpectedServerAnswer
from poolproxy.protocol import codes
from poolproxy.protocol import messages as m

texts = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"z"))
int32s = st.integers(-(2**31), 2**31 - 1)


def body(message: bytes, kind: int) -> bytes:
    """The body of a single whole message of this type."""
    assert message[0] == kind
    assert int.from_bytes(message[1:5], "big") == len(message) - 1
    return message[5:]


# One row a builder: what it builds, and the message as the manual lays it out.
BYTES = [
    (m.authentication_ok(), b"R\0\0\0\x08\0\0\0\0"),
    (m.authentication_cleartext(), b"R\0\0\0\x08\0\0\0\x03"),
    (m.authentication_md5(b"salt"), b"R\0\0\0\x0c\0\0\0\x05salt"),
    (m.authentication_sasl([b"A", "B"]), b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0"),
    (m.authentication_sasl_continue(b"data"), b"R\0\0\0\x0c\0\0\0\x0bdata"),
    (m.authentication_sasl_final(b"data"), b"R\0\0\0\x0c\0\0\0\x0cdata"),
    (m.parameter_status("a", b"b"), b"S\0\0\0\x08a\0b\0"),
    (m.backend_key_data(1, b"key!"), b"K\0\0\0\x0c\0\0\0\x01key!"),
    (m.backend_key_data(-2, b"key!"), b"K\0\0\0\x0c\xff\xff\xff\xfekey!"),
    (m.ready_for_query(codes.STATUS_IDLE), b"Z\0\0\0\x05I"),
    (m.command_complete("SELECT 1"), b"C\0\0\0\x0dSELECT 1\0"),
    (m.notification_response(1, "c", "p"), b"A\0\0\0\x0c\0\0\0\x01c\0p\0"),
    (m.negotiate_protocol_version(2, ["o"]), b"v\0\0\0\x0e\0\x03\0\x02\0\0\0\x01o\0"),
    (m.data_row([b"ab", None, b""]), b"D\0\0\0\x14\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0"),
    (m.startup_message({"user": "b"}), b"\0\0\0\x10\0\x03\0\x02user\0b\0\0"),
    (m.startup_message({"user": "b"}, minor=0), b"\0\0\0\x10\0\x03\0\0user\0b\0\0"),
    (m.cancel_request(7, b"key!"), b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07key!"),
    (m.ssl_request(), b"\0\0\0\x08\x04\xd2\x16\x2f"),
    (m.gssenc_request(), b"\0\0\0\x08\x04\xd2\x16\x30"),
    (m.password_message("pw"), b"p\0\0\0\x07pw\0"),
    (m.sasl_initial_response("M", b"d"), b"p\0\0\0\x0bM\0\0\0\0\x01d"),
    (m.sasl_initial_response("M", None), b"p\0\0\0\x0aM\0\xff\xff\xff\xff"),
    (m.sasl_response(b"d"), b"p\0\0\0\x05d"),
    (m.query("é"), b"Q\0\0\0\x07\xc3\xa9\0"),
    (m.parse("s", "q", [23, 0]), b"P\0\0\0\x12s\0q\0\0\x02\0\0\0\x17\0\0\0\0"),
    (m.bind("p", "s"), b"B\0\0\0\x0ep\0s\0\0\0\0\0\0\0"),
    (
        m.bind("", "s", [b"v", None], [1, 0], [1]),
        b"B\0\0\0\x1c\0s\0\0\x02\0\x01\0\0\0\x02\0\0\0\x01v\xff\xff\xff\xff\0\x01\0\x01",
    ),
    (m.describe(b"S", "s"), b"D\0\0\0\x07Ss\0"),
    (m.execute("p", 5), b"E\0\0\0\x0ap\0\0\0\0\x05"),
    (m.close(b"P"), b"C\0\0\0\x06P\0"),
    (m.function_call(9, [b"v"], [1], 1), b"F\0\0\0\x15\0\0\0\x09\0\x01\0\x01\0\x01\0\0\0\x01v\0\x01"),
    (m.flush(), b"H\0\0\0\x04"),
    (m.sync(), b"S\0\0\0\x04"),
    (m.terminate(), b"X\0\0\0\x04"),
    (m.copy_data(b"d"), b"d\0\0\0\x05d"),
    (m.copy_done(), b"c\0\0\0\x04"),
    (m.copy_fail("r"), b"f\0\0\0\x06r\0"),
    (m.message(codes.NO_DATA), b"n\0\0\0\x04"),
]


class TestBuilders:
    @pytest.mark.parametrize(("built", "expected"), BYTES)
    def test_bytes(self, built: bytes, expected: bytes) -> None:
        assert built == expected

    @pytest.mark.parametrize(
        "build",
        [
            lambda s: m.query(s),
            lambda s: m.parse(s, ""),
            lambda s: m.parse("", s),
            lambda s: m.bind(s, ""),
            lambda s: m.bind("", s),
            lambda s: m.parameter_status("a", s),
            lambda s: m.startup_message({"user": s}),
            lambda s: m.startup_message({s: "bob"}),
            lambda s: m.password_message(s),
            lambda s: m.notification_response(1, "c", s),
        ],
    )
    def test_a_zero_byte_cannot_smuggle_a_field(self, build: Callable[[str], bytes]) -> None:
        with pytest.raises(ValueError, match="zero byte"):
            build("x\0role\0postgres")

    @pytest.mark.parametrize("size", [0, 3, 257])
    def test_cancel_keys_out_of_range(self, size: int) -> None:
        with pytest.raises(ValueError, match="cancel key"):
            m.backend_key_data(1, b"k" * size)
        with pytest.raises(ValueError, match="cancel key"):
            m.cancel_request(1, b"k" * size)

    def test_md5_salts_have_4_bytes(self) -> None:
        with pytest.raises(ValueError, match="4 bytes"):
            m.authentication_md5(b"12345")

    def test_bytes_that_are_not_utf8_survive(self) -> None:
        assert m.query(b"\xff".decode("utf-8", "surrogateescape")) == m.query(b"\xff")


class TestErrors:
    def test_layout(self) -> None:
        error = body(m.error_response_fields("ERROR", "42601", "no", "d", "h"), codes.ERROR_RESPONSE)
        assert error == b"SERROR\0VERROR\0C42601\0Mno\0Dd\0Hh\0\0"
        notice = body(m.notice_response_fields("WARNING", "01000", "no"), codes.NOTICE_RESPONSE)
        assert notice == b"SWARNING\0VWARNING\0C01000\0Mno\0\0"

    def test_of_an_error_of_ours(self) -> None:
        fields = m.error_fields(body(m.error_response(errors.ReplicationRefused()), codes.ERROR_RESPONSE))
        assert fields == {
            "S": "FATAL",
            "V": "FATAL",
            "C": "0A000",
            "M": "replication connections cannot share servers",
            "H": errors.ReplicationRefused.hint,
        }

    def test_foreign_text_never_stops_a_report(self) -> None:
        built = m.error_response_fields(
            "ERROR", "42601", "a\0Hb" + b"\xff".decode("utf-8", "surrogateescape")
        )
        assert m.error_fields(body(built, codes.ERROR_RESPONSE))["M"] == "aHb?"

    @pytest.mark.parametrize(
        ("raw", "fields"),
        [
            (b"", {}),
            (b"\0", {}),
            (b"SERROR", {"S": "ERROR"}),
            (b"SERROR\0Mhalf", {"S": "ERROR", "M": "half"}),
            (b"M\xff\0\0", {"M": "�"}),
            (b"M\0C42601\0\0", {"M": "", "C": "42601"}),
            (b"Mone\0Mtwo\0\0", {"M": "one"}),
            (b"Mone\0\0Ctrailing\0", {"M": "one"}),
        ],
    )
    def test_fields_are_read_however_garbled(self, raw: bytes, fields: dict[str, str]) -> None:
        assert m.error_fields(raw) == fields
        assert m.error_fields(memoryview(raw)) == fields

    @given(st.binary())
    @settings(deadline=None)
    def test_any_bytes_are_read(self, raw: bytes) -> None:
        assert all(len(letter) == 1 for letter in m.error_fields(raw))


class TestReaders:
    @given(texts, texts)
    @settings(deadline=None)
    def test_parameter_status(self, name: bytes, value: bytes) -> None:
        raw = body(m.parameter_status(name, value), codes.PARAMETER_STATUS)
        assert m.parameter_status_fields(raw) == m.parameter_status_fields(memoryview(raw)) == (name, value)

    @given(int32s, st.binary(min_size=4, max_size=256))
    @settings(deadline=None)
    def test_backend_key_data(self, pid: int, key: bytes) -> None:
        raw = body(m.backend_key_data(pid, key), codes.BACKEND_KEY_DATA)
        assert m.backend_key_fields(raw) == m.backend_key_fields(memoryview(raw)) == (pid, key)

    @pytest.mark.parametrize("status", [codes.STATUS_IDLE, codes.STATUS_TRANSACTION, codes.STATUS_ERROR])
    def test_ready_for_query(self, status: int) -> None:
        assert m.ready_status(body(m.ready_for_query(status), codes.READY_FOR_QUERY)) == status

    @given(texts)
    @settings(deadline=None)
    def test_command_complete(self, tag: bytes) -> None:
        assert m.command_tag(body(m.command_complete(tag), codes.COMMAND_COMPLETE)) == tag

    @given(int32s, texts, texts)
    @settings(deadline=None)
    def test_notification(self, pid: int, channel: bytes, payload: bytes) -> None:
        raw = body(m.notification_response(pid, channel, payload), codes.NOTIFICATION_RESPONSE)
        assert m.notification_fields(raw) == (pid, channel, payload)

    @given(st.lists(st.none() | st.binary(max_size=20), max_size=20))
    @settings(deadline=None)
    def test_data_row(self, values: list[bytes | None]) -> None:
        assert m.data_row_values(body(m.data_row(values), codes.DATA_ROW)) == values

    @given(st.lists(texts.filter(bool), min_size=1, max_size=5))
    @settings(deadline=None)
    def test_sasl_mechanisms(self, names: list[bytes]) -> None:
        raw = body(m.authentication_sasl(names), codes.AUTHENTICATION)
        code, data = m.authentication_fields(raw)
        assert (code, m.sasl_mechanisms(data)) == (codes.AUTH_SASL, names)

    @given(st.integers(0, 0xFFFF), st.lists(texts, max_size=5))
    @settings(deadline=None)
    def test_negotiated_version(self, minor: int, options: list[bytes]) -> None:
        raw = body(m.negotiate_protocol_version(minor, options), codes.NEGOTIATE_PROTOCOL_VERSION)
        assert m.negotiated_version(raw) == (minor, options)

    @given(texts, st.none() | st.binary(max_size=40))
    @settings(deadline=None)
    def test_sasl_initial_response(self, mechanism: bytes, data: bytes | None) -> None:
        raw = body(m.sasl_initial_response(mechanism, data), codes.PASSWORD)
        assert m.sasl_initial_fields(raw) == (mechanism, data)

    @given(texts)
    @settings(deadline=None)
    def test_password(self, password: bytes) -> None:
        assert m.password_text(body(m.password_message(password), codes.PASSWORD)) == password


SERVER_READERS: list[tuple[Callable[[bytes], object], list[bytes]]] = [
    (m.parameter_status_fields, [b"", b"a", b"a\0", b"a\0b", b"a\0b\0c", b"a\0b\0c\0", b"a\0b\0\0"]),
    (m.backend_key_fields, [b"", b"\0" * 4, b"\0" * 7, b"\0" * 261]),
    (m.ready_status, [b"", b"X", b"II", b"\0"]),
    (m.command_tag, [b"", b"SELECT", b"a\0b", b"a\0\0"]),
    (m.notification_fields, [b"", b"\0\0\0", b"\0\0\0\1c\0p", b"\0\0\0\1c\0p\0x"]),
    (m.authentication_fields, [b"", b"\0\0\0"]),
    (m.sasl_mechanisms, [b"", b"\0", b"A\0", b"A", b"\0A\0\0", b"A\0\0\0"]),
    (
        m.negotiated_version,
        [b"", b"\0" * 7, b"\0\2\0\0\0\0\0\0", b"\0\3\0\0\xff\xff\xff\xff", b"\0\3\0\0\0\0\0\1o"],
    ),
    (m.negotiated_version, [b"\0\3\0\0\x7f\xff\xff\xffo\0", b"\0\3\0\0\0\0\0\0x"]),
    (
        m.data_row_values,
        [b"", b"\0", b"\0\1", b"\0\1\0\0\0\2a", b"\0\1\xff\xff\xff\xfe", b"\0\0x", b"\xff\xff"],
    ),
    (m.data_row_values, [b"\0\1\x7f\xff\xff\xffab", b"\0\2\0\0\0\1a"]),
]
CLIENT_READERS: list[tuple[Callable[[bytes], object], list[bytes]]] = [
    (m.password_text, [b"", b"pw", b"pw\0x", b"p\0w\0"]),
    (m.sasl_initial_fields, [b"", b"M", b"M\0", b"M\0\0\0\0", b"M\0\0\0\0\2d", b"M\0\0\0\0\1dd"]),
    (m.sasl_initial_fields, [b"M\0\xff\xff\xff\xffd", b"M\0\xff\xff\xff\xfe", b"M\0\x7f\xff\xff\xffd"]),
]


class TestHostileInput:
    @pytest.mark.parametrize(("read", "raw"), [(read, raw) for read, raws in SERVER_READERS for raw in raws])
    def test_malformed_server_messages(self, read: Callable[[bytes], object], raw: bytes) -> None:
        with pytest.raises(UnexpectedServerAnswer, match="malformed"):
            read(raw)

    @pytest.mark.parametrize(("read", "raw"), [(read, raw) for read, raws in CLIENT_READERS for raw in raws])
    def test_malformed_client_messages(self, read: Callable[[bytes], object], raw: bytes) -> None:
        with pytest.raises(ProtocolViolation, match="malformed"):
            read(raw)

    @given(st.sampled_from([read for read, _ in SERVER_READERS + CLIENT_READERS]), st.binary(max_size=300))
    @settings(deadline=None, max_examples=500)
    def test_any_bytes_give_a_value_or_an_error_of_ours(
        self, read: Callable[[bytes], object], raw: bytes
    ) -> None:
        with contextlib.suppress(UnexpectedServerAnswer, ProtocolViolation):
            read(raw)

    def test_a_length_claims_no_memory(self) -> None:
        with pytest.raises(UnexpectedServerAnswer):
            m.data_row_values(struct.pack("!Hi", 1, 0x7FFFFFFF))
