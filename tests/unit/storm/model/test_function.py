from __future__ import annotations

from typing import Any

import pytest

from benchmarks.storm.model.function import Function


def test_the_defaults_are_lambdas() -> None:
    function = Function("order")
    assert (function.timeout, function.retries, function.max_event_age) == (3.0, 2, 21_600.0)
    assert (function.reserved, function.provisioned, function.extension) == (None, 0, False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "a function has a name"),
        ({"runtime": "cobol"}, "runtime is one of python3.12, .*, not 'cobol'"),
        ({"memory": 127}, "memory is 128 to 10,240 MB, not 127"),
        ({"memory": 10_241}, "memory is 128 to 10,240 MB, not 10241"),
        ({"timeout": 0.5}, "timeout is 1 to 900 s, not 0.5"),
        ({"timeout": 901}, "timeout is 1 to 900 s, not 901"),
        ({"retries": 3}, "retries is 0 to 2, not 3"),
        ({"max_event_age": 59}, "max_event_age is 60 to 21,600 s, not 59"),
        ({"max_event_age": 21_601}, "max_event_age is 60 to 21,600 s, not 21601"),
        ({"package": 0}, "package is more than 0 and at most 10,240 MB, not 0"),
        ({"reserved": -1}, "reserved is None or at least 0, not -1"),
        ({"provisioned": -1}, "provisioned is at least 0, not -1"),
        ({"reserved": 4, "provisioned": 5}, r"provisioned is at most reserved \(4\), not 5"),
    ],
)
def test_what_is_out_of_range_says_what_is_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Function(**({"name": "order"} | settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"memory": 128, "timeout": 1, "retries": 0, "max_event_age": 60, "reserved": 0},
        {"memory": 10_240, "timeout": 900, "package": 10_240, "reserved": 5, "provisioned": 5},
    ],
)
def test_the_limits_themselves_are_allowed(settings: dict[str, Any]) -> None:
    assert Function("order", **settings).memory == settings["memory"]
