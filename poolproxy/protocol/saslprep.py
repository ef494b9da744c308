"""SASLprep (RFC 4013), which SCRAM applies to passwords before hashing them. It knows nothing of SCRAM."""

from __future__ import annotations

import stringprep
import unicodedata


def saslprep(password: str) -> bytes:
    """The password as PostgreSQL hashes it: prepared where that is possible, else its bytes as they are.

    To the letter as pg_saslprep does it, or a password set there would not match here: what SASLprep
    prohibits is hashed raw, U+200B becomes a space rather than nothing, and the checks are made before the
    normalisation.
    """
    raw = password.encode("utf-8", "surrogateescape")
    if password.isascii():
        return raw
    mapped = "".join(map(_mapped, password))
    if not mapped or any(map(_prohibited, mapped)) or not _bidi_allowed(mapped):
        return raw
    return unicodedata.normalize("NFKC", mapped).encode("utf-8")


def _mapped(c: str) -> str:
    """RFC 4013 2.1: other spaces (RFC 3454 C.1.2) to a space, some invisible characters (B.1) to nothing."""
    if stringprep.in_table_c12(c):
        return " "
    return "" if stringprep.in_table_b1(c) else c


def _prohibited(c: str) -> bool:
    """RFC 4013 2.3, and unassigned code points (RFC 3454 A.1)."""
    return (
        stringprep.in_table_c21_c22(c)
        or stringprep.in_table_c3(c)
        or stringprep.in_table_c4(c)
        or stringprep.in_table_c5(c)
        or stringprep.in_table_c6(c)
        or stringprep.in_table_c7(c)
        or stringprep.in_table_c8(c)
        or stringprep.in_table_c9(c)
        or stringprep.in_table_a1(c)
    )


def _bidi_allowed(text: str) -> bool:
    """RFC 3454 6: right-to-left text holds nothing left-to-right, and begins and ends right-to-left."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(map(stringprep.in_table_d2, text))
