"""Times as settings have them."""

from __future__ import annotations

import pytest

from poolproxy.session.durations import seconds_of


@pytest.mark.parametrize(
    ("fragment", "seconds"),
    [
        ("500", 0.5), ("'500'", 0.5), ("'5s'", 5.0), ("' 5 s '", 5.0), ("'1.5min'", 90.0), ("'1h'", 3600.0),
        ("'1d'", 86400.0), ("'300ms'", 0.3), ("'1500us'", 0.002), ("0", 0.0), ("'0'", 0.0), ("'-1'", 0.0),
        ("'5 S'", 0.0), ("'soon'", 0.0), ("''", 0.0), ("'1e3'", 1.0), ("0x10", 0.016), ("'010'", 0.008),
        ("'.5s'", 0.5), ("'09'", 0.0), ("'2147483647'", 2147483.647),
        # What PostgreSQL refuses: more than an int holds, digits of other scripts.
        ("'2147483648'", 0.0), ("'1e400'", 0.0), ("'-1e400'", 0.0),
        (f"'{'9' * 5000}'", 0.0), (f"'0{'7' * 5000}'", 0.0),
        ("'\u0665'", 0.0), ("'0\u0665'", 0.0),
    ],
)  # fmt: skip
def test_seconds(fragment: str, seconds: float) -> None:
    assert seconds_of(fragment) == seconds
