from __future__ import annotations

import pytest

from benchmarks.storm.context import Context


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def context(clock: Clock, deadline: float = 1003.0) -> Context:
    return Context("orders", 512, "11111111-2222", deadline, clock, attempt=2, environment=255)


def test_what_lambda_tells() -> None:
    told = context(Clock())
    assert told.function_name == "orders"
    assert told.function_version == "$LATEST"
    assert told.invoked_function_arn == "arn:aws:lambda:eu-central-1:123456789012:function:orders"
    assert told.memory_limit_in_mb == "512"
    assert told.aws_request_id == "11111111-2222"
    assert told.log_group_name == "/aws/lambda/orders"
    assert told.log_stream_name == "[$LATEST]000000000000000000000000000000ff"
    assert told.identity is None
    assert told.client_context is None
    assert told.attempt == 2


@pytest.mark.parametrize(
    ("now", "left"), [(1000.0, 3000), (1002.5, 500), (1002.9996, 0), (1003.0, 0), (2000.0, 0)]
)
def test_the_time_that_is_left_in_whole_milliseconds_and_never_less_than_none(now: float, left: int) -> None:
    clock = Clock()
    told = context(clock)
    clock.now = now
    assert told.get_remaining_time_in_millis() == left


def test_it_shows_its_state() -> None:
    assert repr(context(Clock())) == "<Context orders 11111111-2222 attempt 2, 3000 ms left>"
