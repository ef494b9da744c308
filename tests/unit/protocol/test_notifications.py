"""NotificationResponse, and the conversion of what it carries."""

from __future__ import annotations

import pytest

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.protocol.encodings import Inconvertible, codec_of, convert
from poolproxy.protocol.notifications import notification, read_notification


def test_there_and_back() -> None:
    message = notification(7, b"here", b"word")
    assert message == b"A\0\0\0\x12\0\0\0\x07here\0word\0"
    assert read_notification(message[5:]) == (7, b"here", b"word")


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0", b"\0\0\0\x07here", b"\0\0\0\x07here\0word", b"\0\0\0\x07a\0b\0c"]
)
def test_what_is_none(body: bytes) -> None:
    with pytest.raises(UnexpectedServerAnswer):
        read_notification(body)


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [
        ("häßlich", "UTF8", "LATIN1"),
        ("häßlich", "LATIN1", "UTF8"),
        ("1 €", "LATIN9", "WIN1252"),
        ("日本", "EUC_JP", "SJIS"),
        ("日本", "UTF8", "utf8"),
        ("Ж", "KOI8R", "ISO_8859_5"),
        ("plain", "EUC_TW", "UTF8"),
    ],
)
def test_converted(text: str, source: str, target: str) -> None:
    there = codec_of(source) or "ascii"
    assert convert(text.encode(there), source, target) == text.encode(codec_of(target) or "ascii")


@pytest.mark.parametrize(
    ("source", "target"), [("SQL_ASCII", "UTF8"), ("LATIN1", "SQL_ASCII"), ("LATIN1", "LATIN1")]
)
def test_left_alone(source: str, target: str) -> None:
    assert convert(b"\xe9", source, target) == b"\xe9"


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [("€".encode(), "UTF8", "LATIN1"), (b"\xff", "UTF8", "LATIN1"), (b"\xe9", "MULE_INTERNAL", "UTF8")],
)
def test_cannot_be_converted(text: bytes, source: str, target: str) -> None:
    with pytest.raises(Inconvertible):
        convert(text, source, target)


def test_codecs_exist() -> None:
    names = "UTF8 LATIN1 LATIN10 ISO_8859_8 WIN866 WIN1258 KOI8R KOI8U EUC_CN EUC_JP EUC_JIS_2004 EUC_KR BIG5"
    for name in [*names.split(), "GBK", "GB18030", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"]:
        assert "x".encode(codec_of(name) or "") == b"x"
