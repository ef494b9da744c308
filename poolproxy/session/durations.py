"""Times as settings have them: `5s`, `500`, `1.5 min` (guc.c: parse_int, convert_to_base_unit)."""

from __future__ import annotations

import re
from typing import Final

_MILLISECONDS: Final = {
    "": 1.0, "us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0
}  # fmt: skip

#: What PostgreSQL takes at most (INT_MAX milliseconds); more is an error there.
_MOST: Final = 2**31 - 1
_LONGEST: Final = 300

_DURATION = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|0x[0-9a-f]+)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII
)


def seconds_of(fragment: str) -> float:
    """What a fragment gives a setting that is counted in milliseconds; 0 where it is none, or means never."""
    match = _DURATION.fullmatch(fragment.strip("'"))
    # Numbers that long are refused by PostgreSQL, and by int().
    if match is None or match[2] not in _MILLISECONDS or len(match[1]) > _LONGEST:
        return 0.0
    number = match[1].lower()
    value = int(number, 16) if number.startswith("0x") else float(number)
    if number.isdigit() and number.startswith("0"):
        try:
            value = int(number, 8)
        except ValueError:
            return 0.0
    milliseconds = value * _MILLISECONDS[match[2]]
    return round(milliseconds) / 1000 if 0 < milliseconds <= _MOST else 0.0
