"""PostgreSQL's encodings by their names (manual 23.3.1, Table 23.3), as Python knows them.

Only what we read or write ourselves is converted here; everything else is converted by PostgreSQL.
"""

from __future__ import annotations

from typing import Final

#: PostgreSQL's name, in capitals -> Python's codec. Python has none for EUC_TW and MULE_INTERNAL; SQL_ASCII
#: is no encoding.
_CODECS: Final[dict[str, str]] = {
    "UTF8": "utf-8",
    "UNICODE": "utf-8",
    **{
        f"LATIN{number}": f"iso8859-{part}"
        for number, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)
    },
    **{f"ISO_8859_{part}": f"iso8859-{part}" for part in (5, 6, 7, 8)},
    **{
        f"WIN{page}": f"cp{page}" for page in (866, 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)
    },
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "EUC_CN": "gb2312",
    "EUC_JP": "euc_jp",
    "EUC_JIS_2004": "euc_jis_2004",
    "EUC_KR": "euc_kr",
    "BIG5": "big5",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "JOHAB": "johab",
    "SJIS": "cp932",
    "SHIFT_JIS_2004": "shift_jis_2004",
    "UHC": "cp949",
}


def codec_of(encoding: str) -> str | None:
    """Python's codec for an encoding of PostgreSQL's; None where bytes are to be left alone."""
    return _CODECS.get(encoding.upper())


class Inconvertible(Exception):
    """A text has a character that the other encoding does not have."""


def convert(text: bytes, source: str, target: str) -> bytes:
    """`text` from one encoding of PostgreSQL's to another, as PostgreSQL does it between server and client
    (manual 23.3.3): SQL_ASCII on either side means that nothing is converted. Raises Inconvertible."""
    if source == target or text.isascii() or "SQL_ASCII" in (source, target):
        return text
    decoder, encoder = codec_of(source), codec_of(target)
    if decoder is None or encoder is None:
        raise Inconvertible
    try:
        return text.decode(decoder).encode(encoder)
    except UnicodeError as error:
        raise Inconvertible from error
